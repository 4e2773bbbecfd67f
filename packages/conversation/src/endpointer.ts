/**
 * Pause-based turn detection (`server_vad`): decides from voice probabilities when the caller began and stopped to speak.
 * The model's probability lags the end of a word by 30 to 100 ms, so the end of speech is refined by level: silence
 * counts from the last sample that stood out of the noise, not from the last window that the model still called voice.
 */
import type { Milli } from "./audio.ts";
import type { Prosody } from "./prosody.ts";

/** Settings, as in the protocol's `turn_detection`. */
export interface EndpointerOptions {
  /** Probability from which a window is voice. Higher: fewer false starts, later starts. */
  readonly threshold: number;
  /** Silence after which the turn is over. Higher: fewer cut-ins, slower answers. */
  readonly silenceMs: Milli;
  /** Silence after which the turn is probably over, and an answer may be prepared. Default: it is not told. */
  readonly pauseMs?: Milli | undefined;
}

/** One window of the voice detector's verdict. */
export interface VoiceWindow {
  /** Place of its first sample in the caller's audio. */
  readonly mediaMs: Milli;
  readonly durationMs: Milli;
  readonly probability: number;
  /** Levels in dBFS of equal parts of the window, oldest first. */
  readonly levels: readonly number[];
  /** How it sounds; absent where nobody measured. */
  readonly prosody?: Prosody;
  /** The sound itself, 16 kHz, floats from -1 to 1; absent where nobody compares it with the agent's. */
  readonly samples?: Float32Array;
}

/** The caller began or stopped to speak; places in the caller's audio. */
export type EndpointerEvent =
  | { readonly kind: "started"; readonly voicedStartMs: Milli }
  /** Silent long enough for an answer to be prepared; and not for good after all. */
  | { readonly kind: "paused"; readonly silenceMs: Milli }
  | { readonly kind: "resumed" }
  | { readonly kind: "stopped"; readonly voicedStartMs: Milli; readonly voicedEndMs: Milli };

/** Voice that must stand before it is speech: one window may be a click. */
const ONSET_MS = 64;
/** Below the threshold by this much, a window is no longer voice. */
const HYSTERESIS = 0.15;
/** A sample this far below the utterance's level, or this near the noise floor, is not voice. */
const BELOW_SPEECH_DB = 32;
const ABOVE_NOISE_DB = 9;
/** How fast the noise floor rises when the line is louder than it (it falls at once). */
const NOISE_RISE_DB_PER_S = 6;
/** Without audio for this long beyond the asked silence, the caller's turn is over: the pipe has stalled. */
const STALL_MS = 1000;

/** Levels in dBFS of `parts` equal parts of a window of floats. */
export function windowLevels(window: Float32Array, parts: number): number[] {
  const size = Math.floor(window.length / parts);
  return Array.from({ length: parts }, (_, part) => {
    let sum = 0;
    for (let i = part * size; i < (part + 1) * size; i++) sum += window[i]! * window[i]!;
    return sum === 0 ? -100 : Math.max(-100, 10 * Math.log10(sum / size));
  });
}

/** Decides when the caller began and stopped to speak. Never reads a clock. */
export class Endpointer {
  #options: EndpointerOptions;
  readonly #events: EndpointerEvent[] = [];
  #speaking = false;
  #pausedMs: Milli | undefined; // where the voice ended, in a pause that was told
  #onsetMs: Milli | undefined; // first window of an unbroken run of voice
  #startMs: Milli = 0;
  #voicedEndMs: Milli = 0;
  #loudEndMs: Milli = 0;
  #noiseDb = -60;
  #speechDb = -100;
  #seenMs: Milli = 0;
  #seenAt: Milli = 0;

  constructor(options: EndpointerOptions) {
    this.#options = options;
  }

  /** Settings may change between turns or in one. */
  configure(options: EndpointerOptions): void {
    this.#options = options;
  }

  get speaking(): boolean {
    return this.#speaking;
  }

  /**
   * Takes one window; windows come in order of `mediaMs`, holes allowed. `arrivedMs`: where the audio ends that has come,
   * which the window may lag; default its own end.
   */
  handleWindow(now: Milli, window: VoiceWindow, arrivedMs?: Milli): void {
    const { threshold } = this.#options;
    const endMs = window.mediaMs + window.durationMs;
    const voiced = window.probability >= (this.#speaking ? threshold - HYSTERESIS : threshold);
    this.#measure(window, voiced);
    if (voiced) {
      this.#onsetMs ??= window.mediaMs;
      if (!this.#speaking && endMs - this.#onsetMs >= ONSET_MS) this.#start(this.#onsetMs);
      this.#voicedEndMs = endMs;
    } else {
      this.#onsetMs = undefined;
    }
    this.#seenMs = endMs;
    // What has come beyond the window is silence that has passed, unless the next window is about to tell.
    const beyondMs = Math.max(0, (arrivedMs ?? endMs) - endMs);
    this.#seenAt = beyondMs < window.durationMs ? now - beyondMs : now;
    this.#tellPause();
    this.handleTimeout(now);
  }

  /** Silence passes between windows too: the decision does not wait for the next one. */
  handleTimeout(now: Milli): void {
    const due = this.pollTimeout();
    if (due === undefined || now < due) return;
    this.#speaking = false;
    this.#pausedMs = undefined;
    this.#onsetMs = undefined;
    this.#events.push({ kind: "stopped", voicedStartMs: this.#startMs, voicedEndMs: this.#lastVoicedMs() });
  }

  pollTimeout(): Milli | undefined {
    if (!this.#speaking) return undefined;
    const leftMs = this.#lastVoicedMs() + this.#options.silenceMs - this.#seenMs;
    // Audio that has not come yet may hold voice: only the last, unseen part of a window is taken on trust.
    return this.#seenAt + (leftMs <= 32 ? Math.max(0, leftMs) : leftMs + STALL_MS);
  }

  nextEvent(): EndpointerEvent | undefined {
    return this.#events.shift();
  }

  /** Forgets a turn under way, as when the client clears its buffer. */
  reset(): void {
    this.#speaking = false;
    this.#pausedMs = undefined;
    this.#onsetMs = undefined;
    this.#events.length = 0;
  }

  #start(onsetMs: Milli): void {
    this.#speaking = true;
    this.#startMs = onsetMs;
    this.#events.push({ kind: "started", voicedStartMs: onsetMs });
  }

  #tellPause(): void {
    const { pauseMs } = this.#options;
    if (!this.#speaking || pauseMs === undefined) return;
    const voicedEndMs = this.#lastVoicedMs();
    if (this.#pausedMs !== undefined && voicedEndMs > this.#pausedMs) {
      this.#pausedMs = undefined;
      this.#events.push({ kind: "resumed" });
    }
    if (this.#pausedMs !== undefined || this.#seenMs - voicedEndMs < pauseMs) return;
    this.#pausedMs = voicedEndMs;
    this.#events.push({ kind: "paused", silenceMs: this.#seenMs - voicedEndMs });
  }

  #lastVoicedMs(): Milli {
    const loudEnd = Math.max(this.#loudEndMs, this.#startMs);
    return Math.min(this.#voicedEndMs, loudEnd === this.#startMs ? this.#voicedEndMs : loudEnd);
  }

  #measure(window: VoiceWindow, voiced: boolean): void {
    const partMs = window.durationMs / Math.max(1, window.levels.length);
    window.levels.forEach((level, part) => {
      const rise = voiced ? 0 : (NOISE_RISE_DB_PER_S * partMs) / 1000;
      this.#noiseDb = Math.max(-90, Math.min(level, this.#noiseDb + rise));
      if (voiced) this.#speechDb = Math.max(level, this.#speechDb - 0.1);
      const floor = Math.max(this.#noiseDb + ABOVE_NOISE_DB, this.#speechDb - BELOW_SPEECH_DB);
      if (level > floor) this.#loudEndMs = window.mediaMs + (part + 1) * partMs;
    });
  }
}
