/** The course of one scripted call: when each piece comes, and whether and how it goes wrong. */
import { setTimeout as sleepFor } from "node:timers/promises";
import type { Milli } from "@sluice/conversation";
import { EngineError, type EngineStage } from "../http/engine-error.ts";
import { createDelays, createRandom, type Quantiles, type Random } from "./random.ts";

/** Something that goes wrong in a call. */
export interface Fault {
  /** `stall`: nothing more comes, ever; `cut`: the connection breaks; `error`: the engine says that it failed. */
  readonly kind: "stall" | "cut" | "error";
  /** In which calls, counted from 0; or how likely in each. */
  readonly calls: readonly number[] | { readonly share: number };
  /** After this many pieces. Default 0: before the first. */
  readonly after?: number;
}

/** What all scripted engines are made with. */
export interface ScriptOptions {
  /** The same seed gives the same delays and faults, call by call. Default 1. */
  readonly seed?: number;
  /** Request to the first piece. */
  readonly first: Quantiles | Milli;
  /** Between one piece and the next. Default 0. */
  readonly between?: Quantiles | Milli;
  readonly faults?: readonly Fault[];
  /** Waits `ms`, or less when `signal` aborts; default: by the machine's clock. A lab passes its virtual one. */
  readonly sleep?: (ms: Milli, signal: AbortSignal) => Promise<void>;
}

/** Hands out the courses of an engine's calls. */
export class Script {
  readonly #stage: EngineStage;
  readonly #options: ScriptOptions;
  readonly #random: Random;
  #calls = 0;

  constructor(stage: EngineStage, options: ScriptOptions) {
    this.#stage = stage;
    this.#options = options;
    this.#random = createRandom(options.seed ?? 1);
  }

  /** The course of the next call. Its chances are drawn now, so that calls side by side stay repeatable. */
  begin(): Pace {
    const { first, between = 0, faults = [], sleep = wait } = this.#options;
    const call = this.#calls++;
    const random = createRandom(Math.floor(this.#random() * 2 ** 32));
    const fault = faults.find(({ calls }) => ("share" in calls ? random() < calls.share : calls.includes(call)));
    return new Pace(this.#stage, createDelays(first, random), createDelays(between, random), fault, sleep);
  }
}

/** One call under way. */
export class Pace {
  readonly #stage: EngineStage;
  readonly #first: () => Milli;
  readonly #between: () => Milli;
  readonly #fault: Fault | undefined;
  readonly #sleep: (ms: Milli, signal: AbortSignal) => Promise<void>;
  #pieces = 0;

  constructor(
    stage: EngineStage,
    first: () => Milli,
    between: () => Milli,
    fault: Fault | undefined,
    sleep: (ms: Milli, signal: AbortSignal) => Promise<void>,
  ) {
    this.#stage = stage;
    this.#first = first;
    this.#between = between;
    this.#fault = fault;
    this.#sleep = sleep;
  }

  /** Waits for the next piece; false when `signal` aborted meanwhile. Throws when the call goes wrong here. */
  async next(signal: AbortSignal): Promise<boolean> {
    const fault = this.#fault;
    if (fault && this.#pieces === (fault.after ?? 0)) await this.#goWrong(fault.kind, signal);
    else await this.#sleep(this.#pieces === 0 ? this.#first() : this.#between(), signal);
    this.#pieces++;
    return !signal.aborted;
  }

  async #goWrong(kind: Fault["kind"], signal: AbortSignal): Promise<void> {
    if (kind === "stall") {
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      return;
    }
    await this.#sleep(this.#pieces === 0 ? this.#first() : this.#between(), signal);
    const stage = this.#stage;
    if (kind === "cut") throw new EngineError({ stage, kind: "cut", message: "the script cut the connection" });
    throw new EngineError({ stage, kind: "failed", message: "the script reported an error" });
  }
}

async function wait(ms: Milli, signal: AbortSignal): Promise<void> {
  if (ms > 0) await sleepFor(ms, undefined, { signal }).catch(() => {});
}
