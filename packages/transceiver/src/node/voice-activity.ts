/** Runs a voice detector over a caller's audio as it comes off the wire: 24 kHz in, whole windows to the detector. */
import {
  type EarlyAudio,
  type Milli,
  ProsodyMeter,
  SAMPLES_PER_MS,
  type Vad,
  type VoiceWindow,
  windowLevels,
} from "@sluice/conversation";
import { createResampler } from "@sluice/realtime";

/** Settings of a voice activity detection. */
export interface VoiceActivityOptions {
  readonly vad: Vad;
  readonly onWindow: (window: VoiceWindow) => void;
  readonly onError: (error: unknown) => void;
}

/**
 * Windows that may wait for a detector that lags; beyond it the newest are dropped, and counted. 16 s: what was said before
 * a connection was up comes at once.
 */
const MAX_WAITING = 500;
/** Windows of this rate can be compared with what the agent said. */
const COMPARED_RATE = 16_000;
/** A hole in the audio longer than this starts a new window; a shorter one is bridged. */
const MAX_BRIDGED_MS = 5;

/** One caller's voice activity. */
export class VoiceActivity {
  readonly #options: VoiceActivityOptions;
  readonly #resampler;
  readonly #windowMs: Milli;
  readonly #prosody: ProsodyMeter;
  #window: Float32Array;
  #filled = 0;
  #endMs: Milli = 0; // where the audio taken so far ends, in the caller's audio
  #waiting = 0;
  /** Windows that were never looked at because the detector lagged. */
  dropped = 0;

  constructor(options: VoiceActivityOptions) {
    this.#options = options;
    const { sampleRate, windowSize } = options.vad;
    this.#resampler = createResampler(SAMPLES_PER_MS * 1000, sampleRate, { halfLength: 8 });
    this.#windowMs = (windowSize / sampleRate) * 1000;
    this.#window = new Float32Array(windowSize);
    this.#prosody = new ProsodyMeter(sampleRate);
  }

  /** Takes the next audio; what lies before audio taken already is ignored. */
  handleAudio({ pcm, mediaMs }: EarlyAudio): void {
    if (mediaMs < this.#endMs - MAX_BRIDGED_MS) return;
    if (mediaMs > this.#endMs + MAX_BRIDGED_MS) this.#filled = 0;
    this.#endMs = mediaMs + pcm.length / SAMPLES_PER_MS;
    let samples = this.#resampler.resampleToFloat(pcm);
    while (samples.length > 0) {
      const taken = samples.subarray(0, this.#window.length - this.#filled);
      this.#window.set(taken, this.#filled);
      this.#filled += taken.length;
      samples = samples.subarray(taken.length);
      if (this.#filled === this.#window.length) this.#detect(this.#endMs - this.#toMs(samples.length));
    }
  }

  close(): void {
    this.#options.vad.close();
  }

  #toMs(samples: number): Milli {
    return (samples / this.#options.vad.sampleRate) * 1000;
  }

  #detect(endMs: Milli): void {
    const window = this.#window;
    this.#window = new Float32Array(window.length);
    this.#filled = 0;
    if (this.#waiting >= MAX_WAITING) {
      this.dropped += 1;
      return;
    }
    this.#waiting += 1;
    const { vad, onWindow, onError } = this.#options;
    const levels = windowLevels(window, 4);
    const prosody = this.#prosody.measure(window);
    const mediaMs = endMs - this.#windowMs;
    const heard = vad.sampleRate === COMPARED_RATE ? { samples: window } : {};
    vad.detect(window).then(
      (probability) => {
        this.#waiting -= 1;
        onWindow({ mediaMs, durationMs: this.#windowMs, probability, levels, prosody, ...heard });
      },
      (error) => {
        this.#waiting -= 1;
        onError(error);
      },
    );
  }
}
