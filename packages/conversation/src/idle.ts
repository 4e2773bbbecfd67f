/** The agent speaks up when nobody has said anything for a while (`idle_timeout_ms` of server_vad). Never reads a clock. */
import type { Milli } from "./audio.ts";

/** Counts the silence after an answer was heard. */
export class IdleTimer {
  #timeoutMs: Milli | undefined;
  #from: Milli | undefined; // when the ear had all of the last answer; undefined: it is not silence that is waited for

  /** `timeoutMs`: `null` or `undefined`: never. */
  configure(timeoutMs: Milli | null | undefined): void {
    this.#timeoutMs = timeoutMs ?? undefined;
  }

  /** An answer is complete, and sounds for `playsMs` from now. */
  handleAnswered(now: Milli, playsMs: Milli): void {
    this.#from = Math.max(this.#from ?? 0, now + playsMs);
  }

  /** What was still to be played of the last answer is out. */
  handleSpoken(now: Milli): void {
    if (this.#from !== undefined) this.#from = now;
  }

  /** Somebody speaks, or is about to. */
  handleActivity(): void {
    this.#from = undefined;
  }

  /** When the silence began; `undefined` while none is waited for. */
  get from(): Milli | undefined {
    return this.#from;
  }

  pollTimeout(): Milli | undefined {
    if (this.#from === undefined || this.#timeoutMs === undefined) return undefined;
    return this.#from + this.#timeoutMs;
  }
}
