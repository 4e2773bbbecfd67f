/**
 * Streams between a producer and a consumer of one engine: a queue to iterate, and iteration that an abort ends. Both are on
 * the way of every word and sound some ten times over, so they are plain iterators: one promise a step.
 */

/**
 * Why work ends that has done its part. Without a reason of its own every `abort` makes an error with a stack trace, some twenty
 * times a turn, and 0.05 to 0.1 ms each.
 */
export const LEFT: DOMException = new DOMException("Nobody reads on.", "AbortError");

/** The end of an iteration. */
const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** A queue that is read with `for await`, once. Its bound is the producer's: it holds what one utterance has. */
export class Channel<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  readonly #waiting: PromiseWithResolvers<IteratorResult<T, undefined>>[] = [];
  #ended = false;
  #error: unknown;

  /** Adds one item; ignored after the end. */
  push(item: T): void {
    if (this.#ended) return;
    const waiting = this.#waiting.shift();
    if (waiting) waiting.resolve({ done: false, value: item });
    else this.#items.push(item);
  }

  /** Ends the stream; what was pushed before is still read. With `error` the reader throws it then. */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    for (const waiting of this.#waiting.splice(0)) this.#settle(waiting);
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return {
      next: () => {
        const next = Promise.withResolvers<IteratorResult<T, undefined>>();
        this.#settle(next);
        return next.promise;
      },
      return: async () => {
        this.#items.length = 0;
        this.end();
        this.#error = undefined;
        return DONE;
      },
    };
  }

  #settle(next: PromiseWithResolvers<IteratorResult<T, undefined>>): void {
    if (this.#items.length > 0) return next.resolve({ done: false, value: this.#items.shift()! });
    if (!this.#ended) return void this.#waiting.push(next);
    const error = this.#error;
    this.#error = undefined; // thrown once
    if (error === undefined) next.resolve(DONE);
    else next.reject(error);
  }
}

/** Settles as `promise` does, or with `undefined` when `signal` aborts first. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(undefined);
    // A failure that comes later has nobody left to hear of it.
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    const leave = () => signal.removeEventListener("abort", onAbort);
    promise.then(
      (value) => {
        leave();
        resolve(value);
      },
      (error: unknown) => {
        leave();
        reject(error);
      },
    );
  });
}

/** Iterates `source` until it ends or `signal` aborts, even while the source is silent. */
export function untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncIterableIterator<T, undefined> {
  return new Abortable(source, signal);
}

class Abortable<T> implements AsyncIterableIterator<T, undefined> {
  readonly #source: AsyncIterable<T>;
  readonly #signal: AbortSignal;
  #iterator: AsyncIterator<T> | undefined; // once it was asked for something
  #waiting: PromiseWithResolvers<IteratorResult<T, undefined>> | undefined;
  #ended = false;

  constructor(source: AsyncIterable<T>, signal: AbortSignal) {
    this.#source = source;
    this.#signal = signal;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (!this.#iterator && !this.#ended) this.#begin();
    if (this.#ended) return Promise.resolve(DONE);
    const waiting = Promise.withResolvers<IteratorResult<T, undefined>>();
    this.#waiting = waiting;
    this.#iterator!.next().then(
      (next) => {
        if (this.#waiting !== waiting) return;
        if (next.done === true) return this.#end();
        this.#waiting = undefined;
        waiting.resolve(next);
      },
      (error: unknown) => {
        if (this.#waiting !== waiting) return; // nobody is left to hear of its failure
        this.#waiting = undefined;
        this.#end();
        waiting.reject(error);
      },
    );
    return waiting.promise;
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#end();
    return DONE;
  }

  #begin(): void {
    this.#iterator = this.#source[Symbol.asyncIterator]();
    if (this.#signal.aborted) this.#end();
    else this.#signal.addEventListener("abort", this.#end);
  }

  readonly #end = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal.removeEventListener("abort", this.#end);
    this.#waiting?.resolve(DONE);
    this.#waiting = undefined;
    // Not awaited: a source that hangs in `next` would hang here too.
    this.#iterator?.return?.().then(undefined, ignore);
  };
}

function ignore(): void {}
