/** When silence would pass the limit of patience and a short acknowledgement is kinder. Never reads a clock. */
import type { Milli } from "./audio.ts";
import type { Forecast } from "./forecast.ts";

/** What is known of a wait when the turn is over. */
export interface Wait {
  /** Since the caller's last voiced sample. */
  readonly sinceSpeechMs: Milli;
  /** Since the model was asked, if that was before the turn was over. */
  readonly sinceAskedMs: Milli;
}

/** Decides for the answers of one conversation. */
export class Acknowledgements {
  readonly #afterMs: Milli;
  #last = false;

  /** `afterMs`: the silence that needs no word, from the caller's last sample to the answer's first. */
  constructor(afterMs: Milli) {
    this.#afterMs = afterMs;
  }

  /**
   * In how long to acknowledge unless the answer begins before: at once when the wait will probably be too long, else when
   * it has been. `undefined`: not this time, as the last answer had one.
   */
  dueIn(now: Milli, wait: Wait, model: Forecast, voice: Forecast): Milli | undefined {
    if (this.#last) {
      this.#last = false;
      return undefined;
    }
    const modelMs = model.quantile(now, "firstToken", 0.5) ?? 0;
    const voiceMs = voice.quantile(now, "firstAudio", 0.5) ?? 0;
    const predictedMs = wait.sinceSpeechMs + Math.max(0, modelMs - wait.sinceAskedMs) + voiceMs;
    return predictedMs > this.#afterMs ? 0 : Math.max(0, this.#afterMs - wait.sinceSpeechMs);
  }

  /** One was spoken. */
  handleSpoken(): void {
    this.#last = true;
  }
}
