/** Typed listeners and async iteration over what happens in a conversation. */

/** Hands values to the listeners of their type. A listener that throws is reported and stops nobody else. */
export class Router<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls `listener` for every `type` until the returned function is called. */
  on<Type extends keyof Events>(type: Type, listener: (value: Events[Type]) => void): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** Calls the listeners of `type` in the order they were added. */
  emit<Type extends keyof Events>(type: Type, value: Events[Type]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        (listener as (value: Events[Type]) => void)(value);
      } catch (cause) {
        // Node has no reportError.
        if (typeof reportError === "function") reportError(cause);
        else console.error(cause);
      }
    }
  }
}

/** A bounded queue that ends; when its reader falls behind, the oldest value is dropped. */
export class Feed<Value> implements AsyncIterableIterator<Value> {
  readonly #limit: number;
  readonly #onReturn: () => void;
  #queue: Value[] = [];
  #waiting: ((result: IteratorResult<Value>) => void)[] = [];
  #ended = false;
  /** How many values were lost to the bound. */
  dropped = 0;

  constructor(limit: number, onReturn: () => void) {
    this.#limit = limit;
    this.#onReturn = onReturn;
  }

  /** Appends a value. */
  push(value: Value): void {
    if (this.#ended) return;
    const reader = this.#waiting.shift();
    if (reader) {
      reader({ value, done: false });
      return;
    }
    this.#queue.push(value);
    if (this.#queue.length > this.#limit) {
      this.#queue.shift();
      this.dropped += 1;
    }
  }

  /** No more values will come; what is queued can still be read. */
  end(): void {
    this.#ended = true;
    for (const reader of this.#waiting.splice(0)) reader({ value: undefined, done: true });
  }

  next(): Promise<IteratorResult<Value>> {
    if (this.#queue.length > 0) return Promise.resolve({ value: this.#queue.shift()!, done: false });
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  return(): Promise<IteratorResult<Value>> {
    this.end();
    this.#queue = [];
    this.#onReturn();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
