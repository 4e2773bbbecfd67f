/**
 * Finds the end of the caller's speech at the microphone itself, for the timeline only: the server's own voice
 * activity detection decides the turn. Energy against an adaptive noise floor is enough, because what matters is *when*
 * the level fell, to a few milliseconds, not whether it was speech: the server ignores ends that fit no turn of its own.
 */
import type { Milli } from "./clock-sync.ts";

/** How the level is judged. */
export interface SpeechEndOptions {
  /** Silence after which speech counts as ended; default 120 ms. Longer: fewer reports in pauses, later ones. */
  readonly silenceMs: Milli;
  /** Sound shorter than this is a click; default 60 ms of voiced blocks. */
  readonly minVoicedMs: Milli;
}

const DEFAULTS: SpeechEndOptions = { silenceMs: 120, minVoicedMs: 60 };
const QUIETEST_DB = -70; // digital silence has no level: no floor below this
const ABOVE_FLOOR_DB = 10;
const BELOW_PEAK_DB = 35; // what is this far under the loudest of the utterance is its echo in the room
const LEAST_VOICED_DB = -55;
const FLOOR_RISE_DB_PER_MS = 0.003; // 3 dB a second: a vowel does not become the floor, a fan does
const PEAK_FALL_DB_PER_MS = 0.006;

/** Tracks one microphone. */
export class SpeechEnd {
  readonly #options: SpeechEndOptions;
  #floorDb = QUIETEST_DB;
  #peakDb = LEAST_VOICED_DB;
  #voicedMs = 0;
  #lastVoicedMs: Milli | undefined;

  constructor(options: Partial<SpeechEndOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
  }

  /**
   * Takes one block of `durationMs` that ended at `endMs` with level `rms` (0 to 1). Returns when speech ended, once
   * it has been silent for long enough; each end is returned once.
   */
  handleBlock(endMs: Milli, durationMs: Milli, rms: number): Milli | undefined {
    const db = Math.max(QUIETEST_DB, 20 * Math.log10(rms));
    this.#floorDb = Math.min(db, this.#floorDb + FLOOR_RISE_DB_PER_MS * durationMs);
    this.#peakDb = Math.max(db, this.#peakDb - PEAK_FALL_DB_PER_MS * durationMs);
    const threshold = Math.max(LEAST_VOICED_DB, this.#floorDb + ABOVE_FLOOR_DB, this.#peakDb - BELOW_PEAK_DB);
    if (db > threshold) {
      this.#voicedMs += durationMs;
      this.#lastVoicedMs = endMs;
      return undefined;
    }
    if (this.#lastVoicedMs === undefined || endMs - this.#lastVoicedMs < this.#options.silenceMs) return undefined;
    const ended = this.#voicedMs >= this.#options.minVoicedMs ? this.#lastVoicedMs : undefined;
    this.#voicedMs = 0;
    this.#lastVoicedMs = undefined;
    return ended;
  }
}

/**
 * Maps the frame counter of an audio callback to a clock. Callbacks come late by their queueing, never early, so the
 * smallest difference seen lately is the mapping; two rotating windows follow the drift between the two clocks.
 */
export class FrameClock {
  readonly #windowMs: Milli;
  #current = Number.POSITIVE_INFINITY;
  #previous = Number.POSITIVE_INFINITY;
  #rotateAt: Milli | undefined;

  constructor(windowMs: Milli = 5_000) {
    this.#windowMs = windowMs;
  }

  /** The audio up to media time `mediaMs` had arrived by `now`. */
  handleCallback(now: Milli, mediaMs: Milli): void {
    const offset = now - mediaMs;
    // A step (a suspended audio context, a changed device) is no queueing delay.
    if (offset - Math.min(this.#current, this.#previous) > 1_000) this.#current = this.#previous = offset;
    this.#rotateAt ??= now + this.#windowMs;
    if (now >= this.#rotateAt) {
      this.#previous = this.#current;
      this.#current = Number.POSITIVE_INFINITY;
      this.#rotateAt = now + this.#windowMs;
    }
    this.#current = Math.min(this.#current, offset);
  }

  /** When the audio at `mediaMs` arrived; `undefined` before the first callback. */
  toClock(mediaMs: Milli): Milli | undefined {
    const offset = Math.min(this.#current, this.#previous);
    return Number.isFinite(offset) ? mediaMs + offset : undefined;
  }
}
