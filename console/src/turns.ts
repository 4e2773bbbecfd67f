/** The turns of this page's calls, with the quantiles that a turn is compared to. Pure. */
import type { ServerEventOf } from "@sluice/client";

/** One turn as the server accounts for it. */
export type Turn = ServerEventOf<"sluice.turn">;

/** How a quantity was distributed over the turns. */
export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
}

const MAX_TURNS = 200;

/** Keeps the newest 200 turns. */
export class Turns {
  readonly #turns: Turn[] = [];

  /** Oldest first. */
  get all(): readonly Turn[] {
    return this.#turns;
  }

  /** A turn; one that comes again, now measured at the ear, takes the place of its first account. */
  add(turn: Turn): void {
    const known = this.#turns.findIndex((it) => it.response_id === turn.response_id);
    if (known >= 0) this.#turns[known] = turn;
    else this.#turns.push(turn);
    if (this.#turns.length > MAX_TURNS) this.#turns.shift();
  }

  /** Nearest-rank quantiles of `measure`, or `undefined` without turns. */
  quantiles(measure: (turn: Turn) => number): Quantiles | undefined {
    const sorted = this.#turns.map(measure).sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
    const p50 = at(0.5);
    const p95 = at(0.95);
    return p50 === undefined || p95 === undefined ? undefined : { p50, p95 };
  }
}

/** What the stack added to the pause that was configured. */
export function overheadMs(turn: Turn): number {
  return turn.total_ms - turn.silence_ms;
}
