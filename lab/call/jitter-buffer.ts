/**
 * The caller's playout as browsers do it: packets wait for as long as lately most were late, what is missing when its turn
 * comes is invented, and what comes while it is being invented is played after all. A model of NetEQ's decisions, with the
 * real decoder; without its stretching of speech.
 */

/** Decodes what a jitter buffer plays. */
export interface PlayoutDecoder {
  decode(packet: Uint8Array): Int16Array | undefined;
  conceal(durationMs: number): Int16Array;
}

/** How it waits. */
export interface JitterBufferOptions {
  readonly decoder: PlayoutDecoder;
  /** Waits this long, always, and drops what is later; default: as long as it must. */
  readonly fixedMs?: number;
}

const FRAME_MS = 20;
const FRAME_TICKS = 960;
const FRAME_SAMPLES = 480;
/** Lateness is remembered for this long. */
const MEMORY_MS = 2500;
/** Share of packets that is waited for. */
const SHARE = 0.97;
const LEAST_MS = 20;
const MOST_MS = 400;
/** What is invented at most before there is silence and the next packet begins anew. */
const MAX_INVENTED = 6;
/** A longer hole in the timestamps is a pause. */
const LONGEST_LOSS_MS = 200;

/** One stream's playout. Timestamps are unwrapped by the caller, 48 per millisecond. */
export class JitterBuffer {
  readonly #decoder: PlayoutDecoder;
  readonly #fixedMs: number | undefined;
  readonly #frames = new Map<number, { readonly payload: Uint8Array; readonly arrivedAt: number }>();
  readonly #lateness: { readonly at: number; readonly transitMs: number }[] = [];
  #next: number | undefined; // timestamp that is due; undefined between talkspurts
  #invented = 0;
  /** Frames by what was played for them. */
  readonly counts = { played: 0, concealed: 0, dropped: 0 };

  constructor({ decoder, fixedMs }: JitterBufferOptions) {
    this.#decoder = decoder;
    this.#fixedMs = fixedMs;
  }

  /** How long a packet that is in time waits now. */
  get targetMs(): number {
    if (this.#fixedMs !== undefined) return this.#fixedMs;
    if (this.#lateness.length === 0) return LEAST_MS;
    const sorted = this.#lateness.map(({ transitMs }) => transitMs).sort((a, b) => a - b);
    const late = sorted[Math.floor(SHARE * (sorted.length - 1))]! - sorted[0]!;
    return Math.min(MOST_MS, Math.max(LEAST_MS, late));
  }

  /** One frame, whether its own packet brought it or another's redundancy. */
  handleFrame(now: number, timestamp: number, payload: Uint8Array, redundant = false): void {
    if (!redundant) {
      this.#lateness.push({ at: now, transitMs: now - timestamp / 48 });
      while (this.#lateness[0]!.at < now - MEMORY_MS) this.#lateness.shift();
    }
    if (this.#next !== undefined && timestamp < this.#next) {
      if (!redundant) this.counts.dropped += 1;
      return;
    }
    if (!this.#frames.has(timestamp)) this.#frames.set(timestamp, { payload, arrivedAt: now });
  }

  /** RTP timestamp of what {@link JitterBuffer.play} gave last, unless it was silence. */
  playedTimestamp: number | undefined;

  /** The 20 ms that go to the loudspeaker now. */
  play(now: number): Int16Array {
    this.playedTimestamp = undefined;
    if (this.#next === undefined && !this.#begin(now)) return new Int16Array(FRAME_SAMPLES);
    const due = this.#frames.get(this.#next!);
    if (due) {
      this.#frames.delete(this.#next!);
      this.#advance();
      this.#invented = 0;
      this.counts.played += 1;
      return this.#decoder.decode(due.payload) ?? this.#decoder.conceal(FRAME_MS);
    }
    if (this.#frames.size > 0) {
      // A sender that was late may go on a part of a frame later.
      if (this.#first() - this.#next! < FRAME_TICKS) {
        this.#next = this.#first();
        return this.play(now);
      }
      // Something later is here: this frame is lost, unless the stream paused on purpose.
      if ((this.#first() - this.#next!) / 48 > LONGEST_LOSS_MS) {
        this.#next = undefined;
        return this.play(now);
      }
      this.#advance();
      this.counts.concealed += 1;
      return this.#decoder.conceal(FRAME_MS);
    }
    // Nothing is here: it may be late, or the talkspurt is over.
    this.#invented += 1;
    if (this.#invented > MAX_INVENTED) {
      this.#next = undefined;
      return new Int16Array(FRAME_SAMPLES);
    }
    if (this.#fixedMs !== undefined) this.#advance(); // what comes later is dropped
    return this.#decoder.conceal(FRAME_MS);
  }

  /** Whether a talkspurt begins: its first frame has waited for as long as those after it may be late. */
  #begin(now: number): boolean {
    if (this.#frames.size === 0) return false;
    const first = this.#first();
    if (now < this.#frames.get(first)!.arrivedAt + this.targetMs - FRAME_MS) return false;
    this.#next = first;
    this.#invented = 0;
    return true;
  }

  #advance(): void {
    this.playedTimestamp = this.#next;
    this.#next! += FRAME_TICKS;
  }

  #first(): number {
    return Math.min(...this.#frames.keys());
  }
}
