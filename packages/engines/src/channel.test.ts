import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { Channel, orAborted, untilAborted } from "./channel.ts";

test("gives what was pushed, before and while it is read, and then ends", async () => {
  const channel = new Channel<number>();
  channel.push(1);
  const read = collect(channel);
  setImmediate(() => {
    channel.push(2);
    channel.end();
    channel.push(3);
  });
  assert.deepEqual(await read, [1, 2]);
});

test("throws its error only after what was pushed before", async () => {
  const channel = new Channel<number>();
  channel.push(1);
  channel.end(new Error("gone"));
  const iterator = channel[Symbol.asyncIterator]();
  assert.deepEqual(await iterator.next(), { value: 1, done: false });
  await assert.rejects(iterator.next(), /gone/);
});

test("leaves no listener on a signal that lives on", async () => {
  const { signal } = new AbortController();
  assert.equal(await orAborted(Promise.resolve(1), signal), 1);
  await assert.rejects(orAborted(Promise.reject(new Error("no")), signal));
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("ends an iteration at an abort even while its source is silent, and lets the source clean up", async () => {
  const controller = new AbortController();
  let cleaned = false;
  const wake = Promise.withResolvers<void>();
  async function* source() {
    try {
      yield 1;
      await wake.promise;
      yield 2;
    } finally {
      cleaned = true;
    }
  }
  const read = collect(untilAborted(source(), controller.signal));
  setImmediate(() => controller.abort());
  assert.deepEqual(await read, [1]);
  wake.resolve();
  await new Promise(setImmediate);
  assert.ok(cleaned);
});

test("gives whoever asked first what comes first, and holds nothing once its reader left", async () => {
  const channel = new Channel<number>();
  const iterator = channel[Symbol.asyncIterator]();
  const asked = [iterator.next(), iterator.next()];
  channel.push(1);
  channel.push(2);
  assert.deepEqual(await Promise.all(asked), [
    { value: 1, done: false },
    { value: 2, done: false },
  ]);
  const pending = iterator.next();
  await iterator.return?.();
  channel.push(3);
  assert.equal((await pending).done, true);
  assert.equal((await iterator.next()).done, true);
});

test("leaves no listener behind, however an iteration ends", async () => {
  const { signal } = new AbortController();
  const failing = new Channel<number>();
  failing.push(1);
  failing.end(new Error("gone"));
  await assert.rejects(collect(untilAborted(failing, signal)), /gone/);
  const left = new Channel<number>();
  left.push(1);
  for await (const _ of untilAborted(left, signal)) break;
  assert.deepEqual(await collect(untilAborted(new Channel<number>(), AbortSignal.abort("before"))), []);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}
