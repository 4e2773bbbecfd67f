/**
 * Tells whether the way up carries less than what is sent over it: a queue stands there. Two witnesses must say so, at every
 * moment of a second, which is to say by their minima over that window (as in LEDBAT, RFC 6817). *Frames* come later than
 * the quickest did. But a page that stands still sends late, and one whose sound device ran dry is late from then on, for
 * its clock counts samples. *Round trips* take longer than the shortest: acknowledgements are made by the browser's network
 * process whatever its pages do, but the way down may have the queue. Losses hardly count: what waited for a lost packet is
 * delivered with what was sent just now, and only that is looked at; so it is after an outage, or where a radio sends in bursts.
 * Pure.
 */
import type { Milli } from "@sluice/conversation";

/** Later than the quickest by this much: a queue, or a clock. Jitter of mobile networks stays below in most of its samples. */
const LATE_MS: Milli = 100;
/** Longer than the shortest by this much: a queue. Chromium delays acknowledgements by 25 ms. */
const LONG_MS: Milli = 80;
/** So long, and so many samples, must all say so. */
const WINDOW_MS: Milli = 1000;
const LATE_SAMPLES = 8;
const LONG_SAMPLES = 4;
/** And none may be missed for so long: a queue delivers steadily, who stands still, sender or receiver, does not. */
const FRAME_PAUSE_MS: Milli = 300;
const TRIP_PAUSE_MS: Milli = 500;
/** Samples of a second do not begin and end with it. */
const SLACK_MS: Milli = 300;
/** Round trips are asked for where nothing shows them: while frames are late, or room is looked for; and rarely once it is known to be narrow. */
const ASK_EVERY_MS: Milli = 150;
const ASK_EVERY_UNSURE_MS: Milli = 250;
const ASK_EVERY_NARROW_MS: Milli = 1000;
/** The quickest and the shortest of the last one to two of these count: paths change, and clocks drift by 3 ms in that time. */
const FLOOR_WINDOW_MS: Milli = 30_000;
/** There is room for what is no more than useful where in so many spans either was hardly late: of spans with a voice, or any. */
const SPAN_MS: Milli = 500;
const HARDLY_LATE_MS: Milli = 60;
const VOICED_SPAN_BYTES = 1000;
const VOICED_SPANS = 3;
const SPANS = 6;
/** No queue for so long: more is tried. After each try that failed it takes twice as long, up to the longest. */
const FIRST_HOLD_MS: Milli = 30_000;
const LONGEST_HOLD_MS: Milli = 240_000;
/** A try that went well for so long did not fail. */
const PROVEN_MS: Milli = 30_000;

/** What is known of one path. */
export class NarrowPath {
  readonly #frames = new Witness(LATE_MS, LATE_SAMPLES, FRAME_PAUSE_MS);
  readonly #trips = new Witness(LONG_MS, LONG_SAMPLES, TRIP_PAUSE_MS);
  #isNarrow = false;
  #hasRoom = false;
  #askedAt: Milli = -Infinity;
  #clearSince: Milli | undefined; // one of the witnesses sees no queue since then
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

  /** A frame came, with `bytes` of voice, `delayMs` after it was captured, by clocks whose difference does not matter but stays. */
  handleFrame(now: Milli, delayMs: Milli, bytes: number): void {
    const lateMs = this.#frames.handle(now, delayMs);
    this.#look(now, lateMs, bytes);
    this.#judge(now);
  }

  /** A round trip was seen that took `rttMs`. */
  handleRoundTrip(now: Milli, rttMs: Milli): void {
    const longMs = this.#trips.handle(now, rttMs);
    this.#look(now, longMs, 0);
    this.#judge(now);
  }

  /** Whether a round trip is wanted now. It is then counted as asked for. */
  takeAsk(now: Milli): boolean {
    const { isHigh } = this.#frames;
    if (!isHigh && (this.#isNarrow || this.#hasRoom)) return false;
    const every = this.#isNarrow ? ASK_EVERY_NARROW_MS : isHigh ? ASK_EVERY_MS : ASK_EVERY_UNSURE_MS;
    if (now - Math.max(this.#askedAt, this.#trips.at) < every) return false;
    this.#askedAt = now;
    return true;
  }

  #judge(now: Milli): void {
    const frames = this.#frames.hasQueue(now);
    const trips = this.#trips.hasQueue(now);
    if (frames && trips) {
      this.#clearSince = undefined;
      if (!this.#isNarrow) this.#narrow(now);
      return;
    }
    if (!this.#isNarrow) return;
    if (this.#frames.isHigh && this.#trips.isHigh) this.#clearSince = undefined;
    else this.#clearSince ??= now;
    if (this.#clearSince !== undefined && now - this.#clearSince >= this.#holdMs) this.#widen(now);
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
    this.#forgetRoom();
    if (this.#widenedAt === undefined) return;
    const hasFailed = now - this.#widenedAt < PROVEN_MS;
    this.#holdMs = hasFailed ? Math.min(LONGEST_HOLD_MS, 2 * this.#holdMs) : FIRST_HOLD_MS;
  }

  #widen(now: Milli): void {
    this.#isNarrow = false;
    this.#widenedAt = now;
    this.#clearSince = undefined;
    this.#forgetRoom();
  }

  #forgetRoom(): void {
    this.#hasRoom = false;
    this.#goodSpans = 0;
    this.#goodVoicedSpans = 0;
  }
}

/** Delays of one kind against the smallest of them. */
class Witness {
  readonly #highMs: Milli;
  readonly #samples: number;
  readonly #pauseMs: Milli;
  #windowEnd: Milli = -Infinity;
  #floor = Infinity; // the smallest of this window
  #floorBefore = Infinity; // and of the one before
  #count = 0; // of those in a row that are high
  /** The latest is high. */
  isHigh = false;
  /** All of them are, since then. */
  since: Milli = -Infinity;
  /** When the latest came. */
  at: Milli = -Infinity;

  constructor(highMs: Milli, samples: number, pauseMs: Milli) {
    this.#highMs = highMs;
    this.#samples = samples;
    this.#pauseMs = pauseMs;
  }

  /** Takes a delay and gives what it is beyond the smallest. */
  handle(now: Milli, delayMs: Milli): Milli {
    if (now >= this.#windowEnd) {
      this.#floorBefore = this.#floor;
      this.#floor = Infinity;
      this.#windowEnd = now + FLOOR_WINDOW_MS;
    }
    this.#floor = Math.min(this.#floor, delayMs);
    const moreMs = delayMs - Math.min(this.#floor, this.#floorBefore);
    const isHigh = moreMs > this.#highMs;
    // After a pause nothing is known of what lies between.
    if (!isHigh || !this.isHigh || now - this.at > this.#pauseMs) {
      this.since = now;
      this.#count = 0;
    }
    this.isHigh = isHigh;
    this.#count += 1;
    this.at = now;
    return moreMs;
  }

  /** Whether the smallest of the last second is high. */
  hasQueue(now: Milli): boolean {
    return (
      this.isHigh &&
      this.#count >= this.#samples &&
      this.at - this.since >= WINDOW_MS - SLACK_MS &&
      now - this.at <= WINDOW_MS
    );
  }
}
