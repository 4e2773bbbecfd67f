import assert from "node:assert/strict";
import { test } from "node:test";
import { Feed, Router } from "./router.ts";

interface Events {
  readonly count: number;
  readonly word: string;
}

test("a listener hears its own type only, until it stops", () => {
  const router = new Router<Events>();
  const heard: number[] = [];
  const stop = router.on("count", (value) => heard.push(value));
  router.emit("count", 1);
  router.emit("word", "no");
  stop();
  router.emit("count", 2);
  assert.deepEqual(heard, [1]);
});

test("a listener may stop itself while it is being called", () => {
  const router = new Router<Events>();
  let calls = 0;
  const stop = router.on("count", () => {
    calls += 1;
    stop();
  });
  router.on("count", () => (calls += 10));
  router.emit("count", 1);
  router.emit("count", 1);
  assert.equal(calls, 21);
});

test("a listener that throws is reported and does not keep the others from hearing", (context) => {
  const router = new Router<Events>();
  const error = new Error("listener");
  const reportError = context.mock.fn();
  Object.assign(globalThis, { reportError }); // of browsers, not of Node
  router.on("count", () => {
    throw error;
  });
  let heard = false;
  router.on("count", () => (heard = true));
  router.emit("count", 1);
  assert.equal(heard, true);
  assert.deepEqual(reportError.mock.calls[0]?.arguments, [error]);
});

test("a feed gives what was queued and what comes, then ends", async () => {
  const feed = new Feed<number>(10, () => undefined);
  feed.push(1);
  const read = (async () => {
    const values: number[] = [];
    for await (const value of feed) values.push(value);
    return values;
  })();
  await Promise.resolve();
  feed.push(2);
  feed.push(3);
  feed.end();
  feed.push(4);
  assert.deepEqual(await read, [1, 2, 3]);
});

test("a reader that falls behind loses the oldest values", async () => {
  const feed = new Feed<number>(2, () => undefined);
  for (const value of [1, 2, 3, 4]) feed.push(value);
  feed.end();
  assert.equal(feed.dropped, 2);
  assert.deepEqual(await Array.fromAsync(feed), [3, 4]);
});

test("a reader that leaves its loop is let go", async () => {
  let returned = 0;
  const feed = new Feed<number>(10, () => (returned += 1));
  feed.push(1);
  for await (const value of feed) {
    assert.equal(value, 1);
    break;
  }
  assert.equal(returned, 1);
  assert.deepEqual(await feed.next(), { value: undefined, done: true });
});
