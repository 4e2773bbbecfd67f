/**
 * The bad network of the lab (`lab/netem-proxy`) as a child process, from the moment that somebody asks for it. The lab is part of a
 * checkout and not of the published command, so it is started and not imported; see docs/decisions/0032-live.md.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { LabNetwork, LabOrder, LabProfile, LabState } from "@sluice/transceiver";

const HOST = "127.0.0.1";
const ANSWER_MS = 5_000;

/** The proxy's program, where this file is the checkout's own source; `undefined` in a published package. */
export function findLab(): string | undefined {
  if (!import.meta.filename.endsWith(".ts")) return undefined;
  const program = join(import.meta.dirname, "..", "..", "lab", "netem-proxy", "main.ts");
  return existsSync(program) ? program : undefined;
}

/** One direction of a network as the proxy describes it. */
interface Direction {
  readonly delayMs?: number;
  readonly loss?: number | { readonly goodToBad: number; readonly badToGood: number };
}

interface ProxyProfile {
  readonly name: string;
  readonly about: string;
  readonly up: Direction;
  readonly down: Direction;
  readonly measured: string;
  readonly source: string;
  readonly assumed: string;
}

interface Running {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  readonly port: number;
  readonly waiting: PromiseWithResolvers<unknown>[];
  readonly profiles: readonly LabProfile[];
}

/** The network; its process starts with the first request, and ends with this one, however it ends. */
export class LabProcess implements LabNetwork {
  readonly #program: string;
  readonly #target: string;
  #starting: Promise<Running> | undefined;
  #port: number | undefined;
  #profile: string | null = null;

  constructor(program: string, udpPort: number) {
    this.#program = program;
    this.#target = `${HOST}:${udpPort}`;
  }

  get place() {
    return this.#profile === null || this.#port === undefined ? undefined : { address: HOST, port: this.#port };
  }

  async state(): Promise<LabState> {
    const running = await this.#run();
    const { up, down } = (await ask(running, { stats: true })) as Record<"up" | "down", Record<string, number>>;
    const sum = (name: string) => (up[name] ?? 0) + (down[name] ?? 0);
    const dropped = ["lost", "queueDropped", "tooBig", "blackholed", "outageLost"].reduce(
      (all, it) => all + sum(it),
      0,
    );
    return { profiles: running.profiles, profile: this.#profile, packets: { carried: sum("delivered"), dropped } };
  }

  async apply({ profile, rebind, blackout_ms: blackout }: LabOrder): Promise<void> {
    const running = await this.#run();
    if (typeof profile === "string" && !running.profiles.some(({ name }) => name === profile)) {
      throw new RangeError(`There is no network '${profile}'.`);
    }
    // Connections that go through it stay there: for them, straight is a clear way.
    if (profile !== undefined) await ask(running, { profile: profile ?? "clear" });
    if (rebind === true) await ask(running, { rebind });
    if (blackout !== undefined) await ask(running, { blackout });
    if (profile !== undefined) this.#profile = profile;
  }

  async close(): Promise<void> {
    const running = await this.#starting?.catch(() => undefined);
    if (!running || running.child.exitCode !== null || running.child.signalCode !== null) return;
    const exited = once(running.child, "exit");
    running.child.kill();
    await exited;
  }

  #run(): Promise<Running> {
    this.#starting ??= this.#start().catch((cause: unknown) => {
      this.#starting = undefined;
      throw cause;
    });
    return this.#starting;
  }

  async #start(): Promise<Running> {
    const flags = ["--listen", `${HOST}:0`, "--target", this.#target];
    const child = spawn(process.execPath, ["--conditions=sluice-source", this.#program, ...flags], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    const greeting = Promise.withResolvers<unknown>();
    const waiting: PromiseWithResolvers<unknown>[] = [greeting];
    createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()?.resolve(JSON.parse(line)));
    child.stdin.on("error", () => undefined); // told by its end
    const end = () => {
      for (const { reject } of waiting.splice(0)) reject(new Error("the lab's network ended"));
      this.#starting = this.#port = undefined;
      this.#profile = null;
    };
    child.once("error", end);
    child.once("exit", end);
    const { listening: port } = (await within(greeting.promise)) as { readonly listening: number };
    const asked = (await ask({ child, waiting }, { profiles: true })) as { readonly profiles: readonly ProxyProfile[] };
    this.#port = port;
    return { child, port, waiting, profiles: asked.profiles.map(describe) };
  }
}

async function ask({ child, waiting }: Pick<Running, "child" | "waiting">, order: object): Promise<unknown> {
  const answer = Promise.withResolvers<unknown>();
  waiting.push(answer);
  child.stdin.write(`${JSON.stringify(order)}\n`);
  const told = await within(answer.promise);
  if (typeof told === "object" && told !== null && "error" in told) throw new Error(String(told.error));
  return told;
}

function within<T>(answer: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("the lab's network does not answer")), ANSWER_MS);
  return Promise.race([answer, late.promise]).finally(() => clearTimeout(timer));
}

function describe({ name, about, up, down, measured, source, assumed }: ProxyProfile): LabProfile {
  const round_trip_ms = (up.delayMs ?? 0) + (down.delayMs ?? 0);
  const { loss = 0 } = up;
  const share = typeof loss === "number" ? loss : loss.goodToBad / (loss.goodToBad + loss.badToGood);
  return { name, about, round_trip_ms, loss: Math.round(share * 1e4) / 1e4, measured, source, assumed };
}
