/** How long to wait for an answer before sending again (RFC 9260 section 6.3.1, as RFC 6298). */
import type { Milli } from "@sluice/conversation";

/** Until the first measurement. RFC: 1 s; a call is being set up, and a lost INIT or OPEN should cost half of that. */
const INITIAL_MS = 500;
/**
 * RFC 9260: 1 s, which is longer than a turn of a conversation may take. Well above the 200 ms that a peer might hold a SACK
 * back, less is not safe; as we ask for a SACK at once (the I bit), it need not be more.
 */
const MIN_MS = 200;
/** RFC: 60 s. Media of the same call goes on meanwhile, so waiting so long would spare the path nothing. */
const MAX_MS = 2_000;
/** Expiries in a row before the time doubles: what is one packet loses nobody's share (as Linux's thin streams). */
const LINEAR_EXPIRIES = 2;

/** The timeout, as it is learnt. */
export class RetransmissionTimeout {
  #smoothed: Milli | undefined;
  #variation: Milli = 0;
  #expiries = 0;

  /** The time to wait now. */
  get ms(): Milli {
    const measured = this.#smoothed === undefined ? INITIAL_MS : this.#smoothed + 4 * this.#variation;
    return Math.min(MAX_MS, Math.max(MIN_MS, measured) * 2 ** Math.max(0, this.#expiries - LINEAR_EXPIRIES));
  }

  /** The smoothed round trip; `undefined` before the first. */
  get roundTripMs(): Milli | undefined {
    return this.#smoothed;
  }

  /** A round trip of something that was sent once took `ms`. */
  handleMeasurement(ms: Milli): void {
    if (this.#smoothed === undefined) {
      this.#smoothed = ms;
      this.#variation = ms / 2;
    } else {
      this.#variation += (Math.abs(this.#smoothed - ms) - this.#variation) / 4;
      this.#smoothed += (ms - this.#smoothed) / 8;
    }
  }

  /** Nothing came in time. */
  handleExpiry(): void {
    this.#expiries = Math.min(this.#expiries + 1, LINEAR_EXPIRIES + 6);
  }

  /** Something was acknowledged that was not before. */
  handleProgress(): void {
    this.#expiries = 0;
  }
}
