/** Time limits of a stage: a stream whose first result, or next result, does not come in time fails. */
import type { Milli } from "@sluice/conversation";

/** How long a stage may take, in milliseconds. Raising a value makes a caller wait longer for the word that it failed. */
export interface StageTimeouts {
  /** Name lookup, TCP, TLS, and a place in the pool. Default 3000. */
  readonly connectMs: Milli;
  /** Request to the first token, word or event, retries included. Default 8000; 3000 for synthesis. */
  readonly firstMs: Milli;
  /** Between one and the next. Default 5000. */
  readonly betweenMs: Milli;
}

/** The limits unless an engine's options say otherwise. */
export const DEFAULT_TIMEOUTS: StageTimeouts = { connectMs: 3000, firstMs: 8000, betweenMs: 5000 };

/** What {@link timed} watches. */
export interface TimedOptions<T> {
  readonly timeouts: StageTimeouts;
  /** Whether this is a result; comments, roles and greetings are none. Default: all are. */
  readonly isProgress?: (value: T) => boolean;
  /** The error to throw; `first`: nothing had come yet. */
  readonly onTimeout: (first: boolean, waitedMs: Milli) => Error;
  /** From when on time counts; until it settles silence is no fault. Default: at once. */
  readonly from?: Promise<unknown>;
  /** Stops the source; called once, whatever the end. `ended`: the source came to its end by itself. */
  readonly stop: (ended: boolean) => void;
}

/** Iterates `source`; only the time that the reader really waits is counted, so a slow reader never fails an engine. */
export async function* timed<T>(source: AsyncIterable<T>, options: TimedOptions<T>): AsyncGenerator<T> {
  const { timeouts, isProgress = () => true, onTimeout, from: begin, stop } = options;
  const iterator = source[Symbol.asyncIterator]();
  let begun = begin === undefined;
  const begins = begin?.then(() => {
    begun = true;
  });
  begins?.catch(() => {}); // told to whom waits for it below
  let first = true;
  let waited = 0;
  let ended = false;
  try {
    for (;;) {
      const limit = first ? timeouts.firstMs : timeouts.betweenMs;
      const pending = iterator.next();
      if (!begun) await Promise.race([begins, pending]);
      const from = performance.now();
      const next = await (begun ? within(pending, limit - waited, () => onTimeout(first, limit)) : pending);
      if (next.done === true) {
        ended = true;
        return;
      }
      waited += performance.now() - from;
      if (isProgress(next.value)) {
        first = false;
        waited = 0;
      }
      yield next.value;
    }
  } finally {
    stop(ended);
    // Not awaited: a source that hangs in `next` would hang here too.
    if (!ended) iterator.return?.().then(undefined, () => {});
  }
}

/** Settles as `promise` does, or rejects with `error` after `ms`. */
export function within<T>(promise: Promise<T>, ms: Milli, error: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(error()), Math.max(0, ms));
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (failure: unknown) => {
        clearTimeout(timer);
        reject(failure); // when it is too late, nobody is left to hear of it
      },
    );
  });
}
