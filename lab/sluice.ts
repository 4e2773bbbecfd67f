/** A Sluice server of its own process, as `npm start` runs it, on ports of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** A running server. */
export interface SluiceProcess {
  /** Where page and API are. */
  readonly url: string;
  readonly child: ChildProcess;
  /** What it printed so far. */
  output(): string;
  /** Ends it by `signal` (default SIGTERM) and gives its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** How {@link startSluice} starts it. */
export interface SluiceOptions {
  /** More flags of `sluice start`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Flags of Node itself, such as `--cpu-prof`. */
  readonly nodeArgs?: readonly string[];
}

const MAIN = join(import.meta.dirname, "..", "cli", "src", "main.ts");
const START_MS = 30_000;

/** Starts `sluice start` on free ports and waits until it says that it is ready; throws what it printed if it is not. */
export async function startSluice({ args = [], env = {}, nodeArgs = [] }: SluiceOptions = {}): Promise<SluiceProcess> {
  const flags = ["start", "--port", "0", "--udp-port", "0", "--log-level", "warn", ...args];
  const child = spawn(process.execPath, ["--conditions=sluice-source", ...nodeArgs, MAIN, ...flags], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  const { promise: ready, resolve, reject } = Promise.withResolvers<string>();
  const take = (chunk: Buffer) => {
    printed += chunk.toString();
    const url = /https?:\/\/localhost:\d+/.exec(printed)?.[0];
    if (url) resolve(url);
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  child.once("exit", (code) => reject(new Error(`sluice ended with code ${code}:\n${printed}`)));
  const timer = setTimeout(() => reject(new Error(`sluice was not ready in time:\n${printed}`)), START_MS);
  const url = await ready.finally(() => clearTimeout(timer));
  return {
    url,
    child,
    output: () => printed,
    async stop(signal = "SIGTERM") {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exited = once(child, "exit");
      child.kill(signal);
      const [code] = await exited;
      return code as number | null;
    },
  };
}
