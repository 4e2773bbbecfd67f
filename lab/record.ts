/**
 * Figures of record: what the long benches said on a quiet machine, kept with their commit in `lab/record`. A report shows
 * them where its own run, which has ten minutes, measured nothing, and marks them. `npm run bench -- NAME --json --record` writes one.
 */
import { globSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

/** A bench's result, kept. */
export interface BenchRecord {
  readonly command: string;
  /** ISO 8601, to the day. */
  readonly date: string;
  readonly commit: string;
  readonly machine: Readonly<Record<string, unknown>>;
  readonly metrics: Readonly<Record<string, number>>;
  readonly rows: readonly unknown[];
}

const FOLDER = join(import.meta.dirname, "record");

/** Keeps `record` as `name`, instead of the one before; returns where. */
export async function keepRecord(name: string, record: BenchRecord): Promise<string> {
  if (!/^[a-z][a-z-]*$/.test(name)) throw new Error(`a record's name is of small letters and dashes, not "${name}"`);
  const path = join(FOLDER, `${name}.json`);
  await mkdir(FOLDER, { recursive: true });
  await writeFile(path, `${JSON.stringify(record, null, 1)}\n`);
  return path;
}

/** The records there are, by name. */
export async function loadRecords(): Promise<Record<string, BenchRecord>> {
  const records: Record<string, BenchRecord> = {};
  for (const file of globSync("*.json", { cwd: FOLDER }).sort())
    records[basename(file, ".json")] = JSON.parse(await readFile(join(FOLDER, file), "utf8")) as BenchRecord;
  return records;
}
