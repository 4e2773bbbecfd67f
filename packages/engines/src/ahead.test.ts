import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inOrder, settlesAtOnce } from "./ahead.ts";

const never = new AbortController().signal;

test("what comes of the inputs comes in order, whoever is ready first", async () => {
  async function* run(input: number) {
    await sleep(10 - 4 * input);
    yield `${input}a`;
    yield `${input}b`;
  }
  assert.deepEqual(await collect(inOrder(list([0, 1, 2]), run, 3, never)), ["0a", "0b", "1a", "1b", "2a", "2b"]);
});

test("no more run at a time than may, and no input is asked for before there is room", async () => {
  let [asked, running, most] = [0, 0, 0];
  async function* inputs() {
    for (; asked < 6; asked++) {
      assert.ok(running < 2);
      yield asked;
    }
  }
  async function* run(input: number) {
    most = Math.max(most, ++running);
    await sleep(1);
    yield input;
    running--;
  }
  assert.deepEqual(await collect(inOrder(inputs(), run, 2, never)), [0, 1, 2, 3, 4, 5]);
  assert.equal(most, 2);
});

test("a failure comes after all that came before it", async () => {
  async function* run(input: number) {
    yield input;
    if (input === 1) throw new Error("second");
  }
  const seen: number[] = [];
  const read = async () => {
    for await (const value of inOrder(list([0, 1, 2]), run, 3, never)) seen.push(value);
  };
  await assert.rejects(read(), /second/);
  assert.deepEqual(seen, [0, 1]);
  async function* failing() {
    yield 7;
    throw new Error("no more inputs");
  }
  seen.length = 0;
  const readFailing = async () => {
    for await (const value of inOrder(failing(), list1, 1, never)) seen.push(value);
  };
  await assert.rejects(readFailing(), /no more inputs/);
  assert.deepEqual(seen, [7]);
});

test("all of it stops when the reader leaves, and at an abort", async () => {
  for (const leave of [true, false]) {
    const controller = new AbortController();
    const stopped: AbortSignal[] = [];
    async function* run(input: number, signal: AbortSignal) {
      stopped.push(signal);
      yield input;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    }
    for await (const _ of inOrder(list([0, 1, 2, 3]), run, 2, controller.signal)) {
      if (leave) break;
      controller.abort();
    }
    assert.ok(stopped.length > 0 && stopped.every(({ aborted }) => aborted));
  }
});

test("tells what is ready from what is not", async () => {
  assert.equal(await settlesAtOnce(Promise.resolve()), true);
  assert.equal(await settlesAtOnce(Promise.reject(new Error("x"))), true);
  assert.equal(await settlesAtOnce(sleep(5)), false);
});

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of source) values.push(value);
  return values;
}

async function* list(values: readonly number[]): AsyncGenerator<number> {
  yield* values;
}

async function* list1(value: number): AsyncGenerator<number> {
  yield value;
}
