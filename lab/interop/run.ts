/**
 * `npm run interop`: Sluice beside other stacks, over loopback: their clients against Sluice, their servers and relays by our
 * instrument; and our page in their browser. What is not installed is skipped with a line. Figures go to `lab/report/peers.json`, which `npm run lab` shows; rows
 * that are measured again replace those before.
 *
 *     npm run interop [-- --only aiortc,janus] [--parts clients,servers,relays,browsers] [--install] [--json] [--docs]
 *                     [--rounds 3] [--sessions 10] [--seconds 5] [--calls 4] [--repeat 1] [--out FILE]
 *
 * `--repeat N`: each client calls N times at each loss, with other losses each time; a row works if all of them did.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { launchFirefox } from "../firefox.ts";
import { servePulse } from "../pulse.ts";
import { describeCommit, describeMachine } from "../report.ts";
import { startSluice } from "../sluice.ts";
import { PIPES, talkInFirefox } from "./browsers.ts";
import { converse, startAgent } from "./conversation.ts";
import { type LoadFigures, measureEchoLoss, measureLoad, median, startEcho } from "./echo.ts";
import { absence, installPeers, PEERS, type Peer } from "./peers.ts";
import {
  type BrowserRow,
  type ClientRow,
  type PeersReport,
  type Provenance,
  type RelayRow,
  renderMarkdown,
  type ServerRow,
} from "./report.ts";

const PARTS = ["clients", "servers", "relays", "browsers"] as const;
const LOSSES = [0, 0.1, 0.2] as const;
const RELAY_LIMIT_MS = 400_000;
/** Both directions and all proxies of a call take seeds near to each other. */
const SEED_STEP = 100;

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    parts: { type: "string", default: PARTS.join(",") },
    install: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    docs: { type: "boolean", default: false },
    rounds: { type: "string", default: "3" },
    sessions: { type: "string", default: "10" },
    seconds: { type: "string", default: "5" },
    calls: { type: "string", default: "4" },
    repeat: { type: "string", default: "1" },
    out: { type: "string", default: join(import.meta.dirname, "..", "report", "peers.json") },
  },
});
const only = values.only?.split(",");
const parts = values.parts.split(",").filter((part) => part !== "");
const unknown = [
  ...(only ?? []).filter((name) => !PEERS.some((peer) => peer.name === name)),
  ...parts.filter((part) => !PARTS.some((known) => known === part)),
];
if (unknown.length > 0) {
  console.error(
    `nothing is called ${unknown.join(", ")}; peers: ${PEERS.map(({ name }) => name).join(", ")}; parts: ${PARTS.join(", ")}`,
  );
  process.exit(2);
}
const chosen = PEERS.filter(({ name }) => only === undefined || only.includes(name));
if (values.install) installPeers(chosen);
const { cpu, cores, os, node } = describeMachine();
const place = {
  commit: describeCommit().replace(/^(.{12})[0-9a-f]*/, "$1"),
  date: new Date().toISOString(),
  machine: `${cpu}, ${cores} cores, ${os}, Node ${node}`,
};
const earlier: Partial<PeersReport> = existsSync(values.out) ? JSON.parse(readFileSync(values.out, "utf8")) : {};
const measured: { clients: ClientRow[]; servers: ServerRow[]; relays: RelayRow[]; browsers: BrowserRow[] } = {
  clients: [],
  servers: [],
  relays: [],
  browsers: [],
};

if (parts.includes("clients")) await measureClients(chosen.filter(({ client }) => client));
if (parts.includes("servers")) await measureServers(chosen.filter(({ server }) => server));
if (parts.includes("relays") && chosen.some(({ relay }) => relay))
  await measureRelays(chosen.filter(({ relay }) => relay));
if (parts.includes("browsers")) await measureBrowsers(chosen.filter(({ browser }) => browser));
const report: PeersReport = {
  clients: merge(earlier.clients ?? [], measured.clients),
  servers: merge(earlier.servers ?? [], measured.servers),
  relays: merge(earlier.relays ?? [], measured.relays),
  browsers: merge(earlier.browsers ?? [], measured.browsers),
};
mkdirSync(dirname(values.out), { recursive: true });
writeFileSync(values.out, `${JSON.stringify(report, null, 1)}\n`);
if (values.docs) writeFileSync(join(import.meta.dirname, "..", "..", "docs", "peers.md"), renderMarkdown(report));
console.log(values.json ? JSON.stringify(measured) : renderMarkdown({ ...measured }));
const failed = [
  ...measured.clients.filter(({ works, loss }) => works === false && loss === 0),
  ...measured.browsers.filter(({ pipe, missing }) => pipe !== undefined && missing !== undefined),
];
process.exit(failed.length > 0 ? 1 : 0); // node-datachannel keeps threads for a while

async function measureClients(peers: readonly Peer[]): Promise<void> {
  if (peers.length === 0) return;
  const agent = await startAgent();
  try {
    for (const peer of peers) {
      const of = origin(peer, "clients");
      if (of.missing !== undefined) {
        measured.clients.push(of);
        continue;
      }
      for (const loss of LOSSES)
        measured.clients.push({ ...of, loss, ...(await measureClient(peer, agent.firstLine, loss)) });
    }
  } finally {
    await agent.stop();
  }
}

/** The figures of the first call, and whether all were well. */
async function measureClient(peer: Peer, url: string, loss: number): Promise<Partial<ClientRow>> {
  const rows: Partial<ClientRow>[] = [];
  for (let seed = 1; seed <= Number(values.repeat); seed++) {
    const row = await attempt(`${peer.name} calls, ${loss * 100} % lost`, () =>
      converse(peer.client!, url, loss, 1 + (seed - 1) * SEED_STEP),
    );
    if (typeof row === "string") rows.push({ works: false, missing: row });
    else {
      const { works, setup_ms, prompt_wer, answer_wer, missing } = row;
      if (missing.length > 0) console.error(`  not received: ${missing.join(", ")}`);
      rows.push({ works, setup_ms, prompt_wer, answer_wer });
    }
  }
  const well = rows.filter(({ works }) => works).length;
  if (rows.length > 1) console.error(`  ${well} of ${rows.length} calls were well`);
  return { ...rows[0], works: well === rows.length };
}

async function measureServers(peers: readonly Peer[]): Promise<void> {
  const loads = new Map<Peer, LoadFigures[]>();
  const reasons = new Map<Peer, string>();
  const present = peers.filter((peer) => peer.version() !== undefined);
  for (let round = 1; round <= Number(values.rounds); round++)
    for (const peer of present) {
      const load = await attempt(`${peer.name} under load, round ${round}`, () =>
        withEcho(peer, (echo) => measureLoad(echo, Number(values.sessions), Number(values.seconds))),
      );
      if (typeof load === "string") reasons.set(peer, load);
      else loads.set(peer, [...(loads.get(peer) ?? []), load]);
    }
  for (const peer of peers) {
    const of = { ...origin(peer, "servers"), echo: peer.echo! };
    const rounds = loads.get(peer);
    if (!rounds) {
      measured.servers.push({ ...of, missing: of.missing ?? reasons.get(peer) ?? "no round was run" });
      continue;
    }
    const losses: { loss: number; wer?: number; missing?: string }[] = [];
    let took: { red?: boolean; nack?: boolean } = {};
    for (const loss of LOSSES) {
      const found = await attempt(`${peer.name} echoes, ${loss * 100} % lost`, () =>
        withEcho(peer, (echo) => measureEchoLoss(echo, loss, Number(values.calls))),
      );
      losses.push(typeof found === "string" ? { loss, missing: "did not connect" } : { loss, wer: found.wer });
      if (typeof found === "string") break; // nor would it with more loss
      took = { red: found.red, nack: found.nack };
    }
    const middle = (key: "setup_ms" | "cpu_us_per_packet" | "echoed" | "rss_mb") =>
      median(rounds.map((round) => round[key]));
    measured.servers.push({
      ...of,
      sessions: Number(values.sessions),
      setup_ms: middle("setup_ms"),
      cpu_us_per_packet: middle("cpu_us_per_packet"),
      echoed: middle("echoed"),
      rss_mb: middle("rss_mb"),
      rounds: rounds.length,
      losses,
      ...took,
    });
  }
}

async function withEcho<T>(peer: Peer, work: (echo: Awaited<ReturnType<typeof startEcho>>) => Promise<T>): Promise<T> {
  const echo = await startEcho(peer);
  try {
    return await work(echo);
  } finally {
    await echo.server.stop();
  }
}

/** By the relay bench, which measures all of them in turn. */
async function measureRelays(peers: readonly Peer[]): Promise<void> {
  const absent = peers.filter((peer) => peer.version() === undefined);
  for (const peer of absent) measured.relays.push(origin(peer, "relays"));
  // The bench needs nginx whatever is asked for, and coturn to compare with.
  const needed = PEERS.filter(({ name }) => name === "nginx" || name === "coturn").filter(
    (peer) => peer.version() === undefined,
  );
  const command = `npm run bench -- relay --json --coturn --rounds ${values.rounds}`;
  const found =
    needed.length > 0
      ? needed.map((peer) => `${peer.name}: ${absence(peer)}`).join("; ")
      : await attempt("relays", async () => {
          const file = join(import.meta.dirname, "..", "bench", "run.ts");
          const args = ["--conditions=sluice-source", file, "relay", "--json", "--coturn", "--rounds", values.rounds];
          const { stdout } = await promisify(execFile)(process.execPath, args, {
            timeout: RELAY_LIMIT_MS,
            maxBuffer: 1 << 26,
          });
          return JSON.parse(stdout) as { metrics: Record<string, number>; rows: Record<string, number | string>[] };
        });
  for (const peer of peers.filter((each) => !absent.includes(each))) {
    const of = { ...origin(peer, "relays"), command };
    if (typeof found === "string") {
      measured.relays.push({ ...of, missing: found });
      continue;
    }
    const name = peer.name === "sluice" ? "relay" : peer.name;
    const delays = found.rows.find(({ subject }) => subject === `${name} at 20k/s`);
    measured.relays.push({
      ...of,
      pps: found.metrics[`${name}_pps`]!,
      cpu_us_per_packet: found.metrics[`${name}_cpu_us`]!,
      delay_ms_p50: Number(delays?.p50_us) / 1000,
      delay_ms_p99: Number(delays?.p99_us) / 1000,
    });
  }
}

/** One after another: a browser slows down what is in a tab behind another. */
async function measureBrowsers(peers: readonly Peer[]): Promise<void> {
  for (const peer of peers) {
    const of = origin(peer, "browsers");
    if (of.missing !== undefined) {
      measured.browsers.push(of);
      continue;
    }
    await using pulse = await servePulse();
    const [server, firefox] = await Promise.all([startSluice(), launchFirefox(pulse.env)]);
    try {
      for (const pipe of PIPES) {
        const turn = await attempt(`${peer.name} over ${pipe}`, () => talkInFirefox(firefox, server.url, pipe));
        if (typeof turn === "string") measured.browsers.push({ ...of, pipe, missing: `${pipe}: ${turn}` });
        else {
          const { connectedMs, mouthToEarMs, likeness } = turn;
          const heard = mouthToEarMs === undefined ? {} : { mouth_to_ear_ms: mouthToEarMs };
          measured.browsers.push({ ...of, pipe, connected_ms: connectedMs, ...heard, likeness });
        }
      }
    } finally {
      await firefox[Symbol.asyncDispose]();
      await server.stop();
    }
  }
}

/** Where a row of `peer` comes from; `missing` when it is not here. */
function origin(peer: Peer, part: string): Provenance {
  const version = peer.version();
  const command = `npm run interop -- --parts ${part} --only ${peer.name}`;
  if (version === undefined) console.error(`${peer.name}: skipped: ${absence(peer)}`);
  return {
    peer: peer.name,
    version: version ?? "",
    command,
    ...place,
    ...(version === undefined ? { missing: absence(peer) } : {}),
  };
}

/** What `work` gives, or why it failed. */
async function attempt<T extends object>(what: string, work: () => Promise<T>): Promise<T | string> {
  const from = performance.now();
  try {
    const result = await work();
    console.error(`${what}: ${((performance.now() - from) / 1000).toFixed(0)} s`);
    return result;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    console.error(`${what}: failed: ${why}`);
    return why.slice(0, 300);
  }
}

/** `now` instead of the rows of the same peers. */
function merge<T extends Provenance>(before: readonly T[], now: readonly T[]): T[] {
  return [...before.filter(({ peer }) => !now.some((row) => row.peer === peer)), ...now];
}
