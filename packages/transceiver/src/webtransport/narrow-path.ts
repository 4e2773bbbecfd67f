/**
 * Tells by how late things come whether a path carries less than what is sent over it. What a queue adds is told from the
 * way itself by the smallest delay of late (as in LEDBAT, RFC 6817). Losses hardly count: what waited for a lost packet
 * is delivered with what was sent just now, and only that is looked at. Pure.
 */
import type { Milli } from "@sluice/conversation";

/** Later than the quickest by this much: a queue. Jitter of mobile networks stays below in most of its samples. */
const LATE_MS: Milli = 120;
/** For so long everything has to be late, and so many of it: an outage makes everything late, but not for long. */
const LATE_FOR_MS: Milli = 300;
const LATE_SAMPLES = 8;
/** The quickest of the last one to two of these counts: paths change, and clocks drift by 3 ms in that time. */
const FLOOR_WINDOW_MS: Milli = 30_000;
/** There is room for what is no more than useful where in so many spans the quickest was hardly late: of spans with a voice, or any. */
const SPAN_MS: Milli = 500;
const HARDLY_LATE_MS: Milli = 60;
const VOICED_SPAN_BYTES = 1000;
const VOICED_SPANS = 3;
const SPANS = 6;
/** Nothing is late for so long: more is tried. After each try that failed it takes twice as long, up to the longest. */
const FIRST_HOLD_MS: Milli = 30_000;
const LONGEST_HOLD_MS: Milli = 240_000;
/** A try that went well for so long did not fail. */
const PROVEN_MS: Milli = 30_000;

/** What is known of one path. */
export class NarrowPath {
  #isNarrow = false;
  #hasRoom = false;
  #windowEnd: Milli | undefined;
  #floor = Infinity; // the smallest delay of this window
  #floorBefore = Infinity; // and of the one before
  #isLate = false;
  #since: Milli | undefined; // samples are late, or not, since then
  #samples = 0; // and how many they are
  #span = { endsAt: 0, quickest: Infinity, bytes: 0 };
  #goodSpans = 0;
  #goodVoicedSpans = 0;
  #widenedAt: Milli | undefined;
  #holdMs = FIRST_HOLD_MS;

  /** Whether less should be sent. */
  get isNarrow(): boolean {
    return this.#isNarrow;
  }

  /** Whether more may be sent than what is needed. */
  get hasRoom(): boolean {
    return this.#hasRoom;
  }

  /** Something of `size` bytes took `delayMs`, by clocks whose difference does not matter but stays. */
  handleDelay(now: Milli, delayMs: Milli, size = 0): void {
    if (this.#windowEnd === undefined || now >= this.#windowEnd) {
      this.#floorBefore = this.#floor;
      this.#floor = Infinity;
      this.#windowEnd = now + FLOOR_WINDOW_MS;
    }
    this.#floor = Math.min(this.#floor, delayMs);
    const lateMs = delayMs - Math.min(this.#floor, this.#floorBefore);
    this.#look(now, lateMs, size);
    const isLate = lateMs > LATE_MS;
    if (isLate !== this.#isLate || this.#since === undefined) {
      this.#isLate = isLate;
      this.#since = now;
      this.#samples = 0;
    }
    this.#samples += 1;
    const forMs = now - this.#since;
    if (isLate) {
      if (!this.#isNarrow && forMs >= LATE_FOR_MS && this.#samples >= LATE_SAMPLES) this.#narrow(now);
    } else if (this.#isNarrow) {
      if (forMs >= this.#holdMs) this.#widen(now);
    }
  }

  /** A queue that stands shows in the quickest of a while; losses, and a sender that waits for them, do not. */
  #look(now: Milli, lateMs: Milli, bytes: number): void {
    const span = this.#span;
    if (now >= span.endsAt) {
      const isGood = span.quickest <= HARDLY_LATE_MS;
      const isVoiced = span.bytes >= VOICED_SPAN_BYTES;
      this.#goodSpans = Math.max(0, this.#goodSpans + (isGood ? 1 : -1));
      this.#goodVoicedSpans = Math.max(0, this.#goodVoicedSpans + (isGood ? Number(isVoiced) : -1));
      if (this.#goodVoicedSpans >= VOICED_SPANS || this.#goodSpans >= SPANS) this.#hasRoom = !this.#isNarrow;
      this.#span = { endsAt: now + SPAN_MS, quickest: lateMs, bytes };
    } else {
      span.quickest = Math.min(span.quickest, lateMs);
      span.bytes += bytes;
    }
  }

  #narrow(now: Milli): void {
    this.#isNarrow = true;
    this.#hasRoom = false;
    this.#goodSpans = 0;
    this.#goodVoicedSpans = 0;
    if (this.#widenedAt === undefined) return;
    const hasFailed = now - this.#widenedAt < PROVEN_MS;
    this.#holdMs = hasFailed ? Math.min(LONGEST_HOLD_MS, 2 * this.#holdMs) : FIRST_HOLD_MS;
  }

  #widen(now: Milli): void {
    this.#isNarrow = false;
    this.#widenedAt = now;
    this.#goodSpans = 0;
    this.#goodVoicedSpans = 0;
  }
}
