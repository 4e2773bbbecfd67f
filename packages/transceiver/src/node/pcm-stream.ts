/** The caller's speech as an engine reads it: pushed as it comes, iterated once. */
import type { Pcm } from "@sluice/conversation";

/** A queue of audio; its bound is the longest utterance's. */
export class PcmStream implements AsyncIterable<Pcm> {
  readonly #pieces: Pcm[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  push(pcm: Pcm): void {
    this.#pieces.push(pcm);
    this.#wake?.();
  }

  /** No more will come; what was pushed before is still read. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Pcm> {
    for (;;) {
      for (let piece = this.#pieces.shift(); piece; piece = this.#pieces.shift()) yield piece;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
