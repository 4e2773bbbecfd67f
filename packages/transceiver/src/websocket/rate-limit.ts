/** A token bucket: so much at once, so much a second for long. */
import type { Milli } from "@sluice/conversation";

/** Bounds how much one client may ask for. */
export class RateLimit {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: Milli;

  constructor(now: Milli, perSecond: number, burst: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /** Takes `cost` if there is as much; false, and nothing taken, otherwise. */
  take(now: Milli, cost: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, now - this.#at) * this.#perMs);
    this.#at = now;
    if (cost > this.#tokens) return false;
    this.#tokens -= cost;
    return true;
  }
}
