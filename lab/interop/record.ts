/** Where figures of peers are kept: what is measured again replaces what was, row by row, whichever parts a run measures. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { PEERS } from "./peers.ts";
import type { PeersReport, Provenance } from "./report.ts";

const EMPTY: Required<PeersReport> = { clients: [], setups: [], servers: [], relays: [], browsers: [] };

/** What `path` holds; nothing where there is no such file. Throws for one that cannot be read. */
export function readRecord(path: string): PeersReport {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as PeersReport) : EMPTY;
}

/** Puts `measured` into the file, which another run may write at the same time: it is read anew and replaced as a whole. */
export function addToRecord(path: string, measured: PeersReport): PeersReport {
  const merged = mergeReports(readRecord(path), measured);
  mkdirSync(dirname(path), { recursive: true });
  const part = `${path}.${process.pid}`;
  writeFileSync(part, `${JSON.stringify(merged, null, 2)}\n`);
  renameSync(part, path);
  return merged;
}

/** The newest rows of both. A peer that is not installed takes no figures away that were measured elsewhere. */
export function mergeReports(a: PeersReport, b: PeersReport): Required<PeersReport> {
  return {
    clients: newest([...a.clients, ...b.clients]),
    setups: newest([...(a.setups ?? []), ...(b.setups ?? [])]),
    servers: newest([...a.servers, ...b.servers]),
    relays: newest([...a.relays, ...b.relays]),
    browsers: newest([...(a.browsers ?? []), ...(b.browsers ?? [])]),
  };
}

interface Row extends Provenance {
  readonly loss?: number;
  readonly pipe?: string;
}

function newest<T extends Row>(rows: readonly T[]): T[] {
  const kept = new Map<string, T>();
  for (const row of rows) {
    const kind = `${row.peer} ${row.loss} ${row.pipe}`;
    const other = kept.get(kind);
    if (!other || other.date <= row.date) kept.set(kind, row);
  }
  const isInstalled = ({ version }: T) => version !== "";
  const measured = new Set([...kept.values()].filter(isInstalled).map(({ peer }) => peer));
  const place = ({ peer, loss = 0 }: T) => PEERS.findIndex(({ name }) => name === peer) + loss;
  return [...kept.values()]
    .filter((row) => isInstalled(row) || !measured.has(row.peer))
    .sort((one, other) => place(one) - place(other));
}
