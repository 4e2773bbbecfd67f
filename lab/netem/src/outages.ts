/**
 * Times when a path stands still: a busy radio channel, a handover, a satellite out of sight. The times depend on the seed
 * alone, not on the packets, so that both directions of a path can share them.
 */
import { createRandom, type Random } from "./random.ts";

/** One kind of standstill. */
export interface Outage {
  /** Mean time between the beginnings of two, in milliseconds. */
  readonly everyMs: number;
  /** Mean length in milliseconds; lengths are exponential, four means at most. */
  readonly meanMs: number;
  /** Whether they come exactly `everyMs` apart. Default false: at random (exponential). */
  readonly regular?: boolean;
  /** Whether packets are lost meanwhile. Default false: they wait, and leave together when it ends. */
  readonly drops?: boolean;
}

interface Standstill {
  readonly fromMs: number;
  readonly toMs: number;
}

/** The standstills of one kind, in order. Ask with times that do not go back. */
export class OutageSchedule {
  readonly outage: Outage;
  readonly #random: Random;
  #current: Standstill;

  constructor(outage: Outage, seed: number) {
    if (!(outage.everyMs > 0)) throw new RangeError("outages need a time between them");
    this.outage = outage;
    this.#random = createRandom(seed);
    this.#current = this.#after(0);
  }

  /** When the standstill that holds at `now` ends; `undefined` when the path moves. */
  standsUntil(now: number): number | undefined {
    while (now >= this.#current.toMs) this.#current = this.#after(this.#current.fromMs);
    return now >= this.#current.fromMs ? this.#current.toMs : undefined;
  }

  #after(previousFromMs: number): Standstill {
    const { everyMs, meanMs, regular = false } = this.outage;
    const fromMs = previousFromMs + (regular ? everyMs : exponential(this.#random) * everyMs);
    return { fromMs, toMs: fromMs + Math.min(4, exponential(this.#random)) * meanMs };
  }
}

function exponential(random: Random): number {
  return -Math.log(1 - random());
}
