/** Streams between a producer and a consumer of one engine: a queue to iterate, and iteration that an abort ends. */

/**
 * Why work ends that has done its part. Without a reason of its own every `abort` makes an error with a stack trace, some twenty
 * times a turn, and 0.05 to 0.1 ms each.
 */
export const LEFT: DOMException = new DOMException("Nobody reads on.", "AbortError");

/** A queue that is read with `for await`, once. Its bound is the producer's: it holds what one utterance has. */
export class Channel<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  /** Adds one item; ignored after the end. */
  push(item: T): void {
    if (this.#ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** Ends the stream; what was pushed before is still read. With `error` the reader throws it then. */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      while (this.#items.length > 0) yield this.#items.shift()!;
      if (this.#ended) {
        if (this.#error !== undefined) throw this.#error;
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** Settles as `promise` does, or with `undefined` when `signal` aborts first. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) {
    promise.catch(ignore); // nobody is left to hear of its failure
    return undefined;
  }
  let onAbort = ignore;
  const aborted = new Promise<undefined>((resolve) => {
    onAbort = () => resolve(undefined);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Iterates `source` until it ends or `signal` aborts, even while the source is silent. */
export async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await orAborted(iterator.next(), signal);
      if (next === undefined || next.done === true) return;
      yield next.value;
    }
  } finally {
    // Not awaited: a source that hangs in `next` would hang here too.
    iterator.return?.().then(undefined, ignore);
  }
}

function ignore(): void {}
