/** The caller's audio in order, waiting to be committed as an utterance; bounded. */
import { concatenate, type Milli, type Pcm, SAMPLES_PER_MS } from "./audio.ts";
import type { AudioOrigin } from "./link.ts";

/** Frames of one utterance by what became of them. */
export interface FrameCounts {
  readonly received: number;
  readonly repaired: number;
  readonly fec: number;
  readonly concealed: number;
}

/** A piece of the caller's audio. */
export interface InputSlice {
  readonly pcm: Pcm;
  /** Place of its first sample in the caller's audio. */
  readonly startMs: Milli;
  readonly frames: FrameCounts;
}

interface Chunk {
  readonly pcm: Pcm;
  readonly startMs: Milli;
  readonly origin: AudioOrigin;
}

/** Holds audio from the oldest moment that may still be part of an utterance. */
export class InputBuffer {
  readonly #limitMs: Milli;
  readonly #chunks: Chunk[] = [];
  #endMs: Milli = 0;
  #heldMs: Milli = 0;
  #droppedMs: Milli = 0;

  /** `limitMs` bounds memory: 48 KB a second. */
  constructor(limitMs: Milli) {
    this.#limitMs = limitMs;
  }

  append(pcm: Pcm, startMs: Milli, origin: AudioOrigin): void {
    const ms = pcm.length / SAMPLES_PER_MS;
    this.#chunks.push({ pcm, startMs, origin });
    this.#heldMs += ms;
    this.#endMs = Math.max(this.#endMs, startMs + ms);
    while (this.#heldMs > this.#limitMs && this.#chunks.length > 1) this.#droppedMs += this.#shift();
  }

  /** Where the audio ends, in the caller's audio since the session began. */
  get endMs(): Milli {
    return this.#endMs;
  }

  /** Audio held now. */
  get heldMs(): Milli {
    return this.#heldMs;
  }

  /** Audio that the bound has cost so far. */
  get droppedMs(): Milli {
    return this.#droppedMs;
  }

  /** Lets go of all that ends before `ms`. */
  forgetBefore(ms: Milli): void {
    for (
      let head = this.#chunks[0];
      head && head.startMs + head.pcm.length / SAMPLES_PER_MS <= ms;
      head = this.#chunks[0]
    ) {
      this.#shift();
    }
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#heldMs = 0;
  }

  /** Copies the audio from `fromMs` to `toMs`, to the sample, as far as it is held. */
  slice(fromMs: Milli, toMs: Milli): InputSlice {
    const counts = { received: 0, repaired: 0, fec: 0, concealed: 0 };
    const parts: Pcm[] = [];
    let startMs = toMs;
    for (const chunk of this.#chunks) {
      const begin = Math.max(0, Math.round((fromMs - chunk.startMs) * SAMPLES_PER_MS));
      const end = Math.min(chunk.pcm.length, Math.round((toMs - chunk.startMs) * SAMPLES_PER_MS));
      if (end <= begin) continue;
      if (parts.length === 0) startMs = chunk.startMs + begin / SAMPLES_PER_MS;
      parts.push(chunk.pcm.subarray(begin, end));
      counts[chunk.origin] += 1;
    }
    return { pcm: concatenate(parts), startMs, frames: counts };
  }

  #shift(): Milli {
    const chunk = this.#chunks.shift();
    const ms = chunk ? chunk.pcm.length / SAMPLES_PER_MS : 0;
    this.#heldMs -= ms;
    return ms;
  }
}
