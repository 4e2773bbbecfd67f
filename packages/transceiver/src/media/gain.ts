/** The loudness of the agent's voice: a factor that moves in a straight line, sample by sample, so that no step clicks. */
import { type Milli, type Pcm, SAMPLES_PER_MS } from "@sluice/conversation";

/** One voice's gain; 1, as spoken, to begin with. */
export class Gain {
  #value = 1;
  #target = 1;
  #step = 0;

  /** Moves to `target` over `rampMs` of the audio that comes next. */
  ramp(target: number, rampMs: Milli): void {
    this.#target = target;
    this.#step = (target - this.#value) / Math.max(1, rampMs * SAMPLES_PER_MS);
    if (rampMs <= 0) this.#value = target;
  }

  /** Whether {@link Gain.apply} changes nothing. */
  get neutral(): boolean {
    return this.#value === 1 && this.#target === 1;
  }

  /** Changes `pcm` in place. */
  apply(pcm: Pcm): void {
    if (this.neutral) return;
    for (let i = 0; i < pcm.length; i++) {
      if (this.#value !== this.#target) {
        const next = this.#value + this.#step;
        this.#value = this.#step > 0 === next < this.#target ? next : this.#target;
      }
      pcm[i] = Math.max(-32768, Math.min(32767, Math.round(pcm[i]! * this.#value)));
    }
  }
}
