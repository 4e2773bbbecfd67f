/** Programs that a run starts: each has a time in which it must be ready or done, and none outlives the run. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

/** A server that runs. */
export interface Server {
  readonly pid: number;
  /** The first line that it printed. */
  readonly firstLine: string;
  stop(): Promise<void>;
}

/** How a program is called. */
export type Command = readonly [program: string, ...args: string[]];

const KILL_AFTER_MS = 2000;
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));

/** Node running `file` of this folder. */
export function node(file: string): Command {
  return [process.execPath, "--conditions=sluice-source", file];
}

/** Starts a server, and waits until it prints a line, or `isReady` is true. */
export async function startServer(
  [program, ...args]: Command,
  { limitMs = 20_000, isReady }: { readonly limitMs?: number; readonly isReady?: () => Promise<boolean> } = {},
): Promise<Server> {
  const child = start(program, args);
  const printed = collect(child);
  const ready = Promise.withResolvers<string>();
  child.once("exit", (code) => ready.reject(new Error(`${program} ended with ${code}: ${printed.tail()}`)));
  child.once("error", ready.reject);
  const late = setTimeout(() => ready.reject(new Error(`${program} was not ready: ${printed.tail()}`)), limitMs);
  if (isReady) {
    const ask = setInterval(
      () =>
        void isReady().then(
          (yes) => yes && ready.resolve(""),
          () => {},
        ),
      100,
    );
    ready.promise.finally(() => clearInterval(ask)).catch(() => {});
    child.stdout!.on("data", () => {});
  } else createInterface({ input: child.stdout! }).once("line", ready.resolve);
  try {
    const firstLine = await ready.promise;
    return { pid: child.pid!, firstLine, stop: () => stop(child) };
  } catch (error) {
    await stop(child);
    throw error;
  } finally {
    clearTimeout(late);
  }
}

/** Runs a program to its end; what it printed. Throws when it fails or is not done in time. */
export async function runProgram([program, ...args]: Command, limitMs: number): Promise<string> {
  const child = start(program, args);
  const printed = collect(child);
  let out = "";
  child.stdout!.on("data", (chunk: Buffer) => {
    out += chunk;
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, limitMs);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("close", resolve);
    child.once("error", reject);
  }).finally(() => {
    clearTimeout(timer);
    running.delete(child);
  });
  if (late) throw new Error(`${program} was not done in ${limitMs / 1000} s: ${printed.tail()}`);
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${printed.tail()}`);
  return out;
}

/** Processor time of a process so far, user and system, all threads; in ms. */
export function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10; // ticks of 10 ms (proc(5), _SC_CLK_TCK)
}

/** Memory that a process holds; in MB. */
export function rssMbOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
}

function start(program: string, args: readonly string[]): ChildProcess {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  return child;
}

function collect(child: ChildProcess): { tail(): string } {
  let kept = "";
  const take = (chunk: Buffer) => {
    kept = (kept + chunk).slice(-4000);
  };
  child.stderr!.on("data", take);
  child.stdout!.on("data", take);
  return { tail: () => kept.trim().split("\n").slice(-10).join(" / ") };
}

async function stop(child: ChildProcess): Promise<void> {
  running.delete(child);
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
  await exited;
  clearTimeout(timer);
}
