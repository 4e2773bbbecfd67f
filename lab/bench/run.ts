/**
 * `npm run bench -- NAME --json`: runs one bench. Prose goes to stderr; one JSON object goes to stdout. A bench is a
 * file of this folder that exports `run`; `--key value` reaches it as a flag, `--key` alone as the flag `"true"`.
 * `--record [NAME]` keeps the result as the figure of record of that name (default: the bench's) in `lab/record`.
 */
import { execFileSync } from "node:child_process";
import { globSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { basename, join } from "node:path";
import { inspect } from "node:util";
import { keepRecord } from "../record.ts";

/** What a bench is called with. */
export interface BenchOptions {
  readonly json: boolean;
  readonly flags: Readonly<Record<string, string>>;
}

/** What a bench found: numbers by fixed names, and the details behind them. */
export interface BenchResult {
  readonly metrics: Readonly<Record<string, number>>;
  readonly rows?: readonly unknown[];
}

/** What a bench file exports as `run`. */
export type Bench = (options: BenchOptions) => Promise<BenchResult>;

const { name, flags: all } = parseArguments(process.argv.slice(2));
const { record, ...flags } = all;
const names = globSync("*.ts", { cwd: import.meta.dirname })
  .map((file) => basename(file, ".ts"))
  .filter((bench) => bench !== "run" && !bench.includes("."))
  .sort();
if (name === undefined || !names.includes(name)) {
  console.error(
    `${name === undefined ? "no bench named" : `no bench "${name}"`}; there are: ${names.join(", ") || "none"}`,
  );
  console.error("usage: npm run bench -- NAME [--json] [--record [NAME]] [--key value ...]");
  process.exit(2);
}

// Nothing that a bench or a library of it prints may get into the JSON.
for (const method of ["log", "info", "debug", "table"] as const) console[method] = toStderr;
const { run } = (await import(join(import.meta.dirname, `${name}.ts`))) as { run: Bench };
const { metrics, rows = [] } = await run({ json: flags.json === "true", flags });
const report = { bench: name, commit: commit(), machine: machine(), metrics: rounded(metrics), rows };
process.stdout.write(`${flags.json === "true" ? JSON.stringify(report) : inspect(report, { depth: 6 })}\n`);
if (record !== undefined) {
  const { commit, machine, metrics } = report;
  const given = Object.entries(flags).map(([key, value]) => (value === "true" ? `--${key}` : `--${key} ${value}`));
  const command = ["npm run bench --", name, ...given].join(" ");
  const date = new Date().toISOString().slice(0, 10);
  console.error(
    await keepRecord(record === "true" ? name : record, { command, date, commit, machine, metrics, rows: [...rows] }),
  );
}
process.exitCode = 0;

function parseArguments(args: readonly string[]): { name: string | undefined; flags: Record<string, string> } {
  const flags: Record<string, string> = {};
  let name: string | undefined;
  for (let at = 0; at < args.length; at++) {
    const argument = args[at]!;
    if (!argument.startsWith("--")) {
      name ??= argument;
      continue;
    }
    const [key = "", value] = argument.slice(2).split("=", 2);
    const following = args[at + 1];
    if (value !== undefined) flags[key] = value;
    else if (key === "json" || following === undefined || following.startsWith("--")) flags[key] = "true";
    else flags[key] = args[++at]!;
  }
  return { name, flags };
}

function commit(): string {
  try {
    const git = (...args: string[]) => execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();
    return (
      git("rev-parse", "--short=12", "HEAD") +
      (git("status", "--porcelain", "--", ":/", ":(top,exclude)lab/record") === "" ? "" : "-dirty")
    );
  } catch {
    return "unknown"; // an unpacked archive has no history
  }
}

function machine(): Record<string, string | number> {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memory_gib: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()}`,
    node: process.version,
  };
}

/** Four significant digits: more would pretend to a precision that no machine repeats. */
function rounded(metrics: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(metrics).map(([key, value]) => [key, Number(value.toPrecision(4))]));
}

function toStderr(...parts: unknown[]): void {
  console.error(...parts);
}
