/**
 * Learns the server's monotonic clock from `sluice.clock` exchanges. The exchange with the shortest round trip bounds
 * the error best (RFC 5905 section 10 calls this the clock filter), so the best of the recent ones counts.
 */

/** A time or a duration in milliseconds of the monotonic clock that its context names. */
export type Milli = number;

const FIRST_BURST = 5;
const LATER_BURST = 3;
const BURST_EVERY_MS = 15_000;
const REPLY_TIMEOUT_MS = 1_000;
const KEPT = 8;

/** Estimates the offset between this clock and the server's. One input, then {@link ClockSync.nextExchange}. */
export class ClockSync {
  readonly #samples: { offsetMs: Milli; roundTripMs: Milli }[] = [];
  #best: { offsetMs: Milli; roundTripMs: Milli } | undefined;
  #left = FIRST_BURST;
  #dueAt: Milli;

  constructor(now: Milli) {
    this.#dueAt = now;
  }

  /** When the next exchange is due. */
  pollTimeout(): Milli {
    return this.#dueAt;
  }

  /** The `client_ms` to send now, or `undefined` when none is due. */
  nextExchange(now: Milli): Milli | undefined {
    if (now < this.#dueAt) return undefined;
    this.#dueAt = now + REPLY_TIMEOUT_MS;
    return now;
  }

  /** Takes a server's reply. Replies from the future, and garbage, are ignored. */
  handleReply(now: Milli, clientMs: Milli, serverMs: Milli): void {
    const roundTripMs = now - clientMs;
    if (!Number.isFinite(roundTripMs) || roundTripMs < 0 || !Number.isFinite(serverMs)) return;
    this.#samples.push({ offsetMs: serverMs - (clientMs + now) / 2, roundTripMs });
    if (this.#samples.length > KEPT) this.#samples.shift();
    this.#best = this.#samples.reduce((best, sample) => (sample.roundTripMs < best.roundTripMs ? sample : best));
    this.#left -= 1;
    if (this.#left > 0) {
      this.#dueAt = now;
    } else {
      this.#left = LATER_BURST;
      this.#dueAt = now + BURST_EVERY_MS;
    }
  }

  /** `localMs` on the server's clock, or `undefined` before the first reply. */
  toServer(localMs: Milli): Milli | undefined {
    return this.#best && localMs + this.#best.offsetMs;
  }

  /** Round trip of the exchange in use; half of it bounds the error. */
  get roundTripMs(): Milli | undefined {
    return this.#best?.roundTripMs;
  }
}
