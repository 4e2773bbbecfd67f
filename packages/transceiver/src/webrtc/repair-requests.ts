/** Which missing packets to ask for again and when (generic NACK, RFC 4585 section 6.2.1): few tries, a round trip apart. */
import type { Milli } from "@sluice/conversation";

interface Request {
  readonly since: Milli;
  tries: number;
  lastAt: Milli | undefined;
  nextAt: Milli;
}

/** How a packet that was missing came. */
export type Arrival = "reordered" | "retransmitted";

const MAX_REQUESTS = 128;
const MAX_TRIES = 4;
/** Packets may overtake each other by this much before a request is made. */
const REORDER_ALLOWANCE_MS: Milli = 10;
const MIN_RETRY_MS: Milli = 25;
/** Requests in vain, none ever answered, after which the peer is taken not to answer any. */
const UNANSWERED_LIMIT = 8;
/** Until the round trip is known. */
const ASSUMED_ROUND_TRIP_MS: Milli = 100;

/** The missing packets of one stream, by unwrapped sequence number. */
export class RepairRequests {
  readonly #enabled: boolean;
  readonly #missing = new Map<number, Request>();
  #roundTripMs: Milli | undefined;
  #answered = 0;
  #unanswered = 0;

  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  /** How long an answer to the first request may take; 0 when none is to be expected. */
  get answerMs(): Milli {
    if (!this.#enabled || (this.#answered === 0 && this.#unanswered >= UNANSWERED_LIMIT)) return 0;
    return REORDER_ALLOWANCE_MS + 1.5 * this.#roundTrip;
  }

  get #roundTrip(): Milli {
    return this.#roundTripMs ?? ASSUMED_ROUND_TRIP_MS;
  }

  handleRoundTrip(roundTripMs: Milli): void {
    this.#roundTripMs = Math.max(0, roundTripMs);
  }

  /** `sequenceNumber` did not come where it should have. */
  handleMissing(now: Milli, sequenceNumber: number): void {
    if (this.#missing.size >= MAX_REQUESTS) return;
    const nextAt = this.#enabled ? now + REORDER_ALLOWANCE_MS : Infinity;
    this.#missing.set(sequenceNumber, { since: now, tries: 0, lastAt: undefined, nextAt });
  }

  /** `sequenceNumber` came: how, and how long it was missed; `undefined` when it was not. */
  settle(now: Milli, sequenceNumber: number): { readonly arrival: Arrival; readonly missedMs: Milli } | undefined {
    const request = this.#missing.get(sequenceNumber);
    if (request === undefined) return undefined;
    this.#missing.delete(sequenceNumber);
    // An answer takes a round trip: what comes sooner was only late.
    const answered = request.lastAt !== undefined && (request.tries > 1 || now - request.lastAt >= this.#roundTrip / 2);
    if (answered) this.#answered += 1;
    return { arrival: answered ? "retransmitted" : "reordered", missedMs: now - request.since };
  }

  /** `sequenceNumber` is not waited for any longer. */
  giveUp(sequenceNumber: number): void {
    const request = this.#missing.get(sequenceNumber);
    if (request === undefined) return;
    this.#missing.delete(sequenceNumber);
    if (request.tries > 0) this.#unanswered += 1;
  }

  pollTimeout(): Milli | undefined {
    let earliest = Infinity;
    for (const request of this.#missing.values()) earliest = Math.min(earliest, request.nextAt);
    return earliest === Infinity ? undefined : earliest;
  }

  /** The sequence numbers to ask for at `now`, ascending, in 16 bits. */
  takeDue(now: Milli): number[] {
    const due: number[] = [];
    for (const [sequenceNumber, request] of this.#missing) {
      if (request.nextAt > now) continue;
      due.push(sequenceNumber);
      request.tries += 1;
      request.lastAt = now;
      request.nextAt = request.tries < MAX_TRIES ? now + Math.max(MIN_RETRY_MS, this.#roundTrip * 1.25) : Infinity;
    }
    return due.sort((a, b) => a - b).map((sequenceNumber) => sequenceNumber & 0xffff);
  }

  clear(): void {
    this.#missing.clear();
  }
}
