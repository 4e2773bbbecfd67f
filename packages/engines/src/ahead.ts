/** Work on a sequence, some of it ahead of its reader: what is made of each input comes in order, whoever is ready first. */
import { Channel, LEFT, untilAborted } from "./channel.ts";
import { Scope } from "./scope.ts";

/**
 * Runs `run` on the inputs, on `limit` of them at a time, and gives what they make, in order. An input is asked for only
 * when there is room for it. When the reader leaves, or `signal` aborts, all of it stops.
 */
export async function* inOrder<In, Out>(
  inputs: AsyncIterable<In>,
  run: (input: In, signal: AbortSignal) => AsyncIterable<Out>,
  limit: number,
  signal: AbortSignal,
): AsyncGenerator<Out> {
  const work = new Scope(signal);
  const scope = work.signal;
  const outputs = new Channel<Channel<Out>>();
  const room = new Room(limit);
  const feed = async () => {
    await room.enter();
    for await (const input of untilAborted(inputs, scope)) {
      const output = new Channel<Out>();
      outputs.push(output);
      void drain(run(input, scope), output).then(() => room.leave());
      await room.enter();
    }
  };
  feed().then(
    () => outputs.end(),
    (error: unknown) => outputs.end(error),
  );
  try {
    for await (const output of untilAborted(outputs, scope)) yield* untilAborted(output, scope);
  } finally {
    work.abort(LEFT);
    room.open();
  }
}

/** Whether `promise` settles without waiting for anything outside of the process. */
export async function settlesAtOnce(promise: Promise<unknown>): Promise<boolean> {
  const later = new Promise<false>((resolve) => setImmediate(() => resolve(false)));
  const settled = () => true;
  return Promise.race([promise.then(settled, settled), later]);
}

/** Never rejects: the reader of `output` gets the error. */
async function drain<T>(source: AsyncIterable<T>, output: Channel<T>): Promise<void> {
  try {
    for await (const value of source) output.push(value);
    output.end();
  } catch (error) {
    output.end(error);
  }
}

/** Lets `size` in at a time. */
class Room {
  #free: number;
  #wake: (() => void) | undefined;

  constructor(size: number) {
    this.#free = size;
  }

  async enter(): Promise<void> {
    while (this.#free <= 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#free--;
  }

  leave(): void {
    this.#free++;
    this.#wake?.();
  }

  /** Lets everyone in: nobody works here any more. */
  open(): void {
    this.#free = Number.POSITIVE_INFINITY;
    this.#wake?.();
  }
}
