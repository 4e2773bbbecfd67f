import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type TimedOptions, timed } from "./timed.ts";

const TIMEOUTS = { connectMs: 0, firstMs: 40, betweenMs: 40 };

function options(more: Partial<TimedOptions<number>> = {}): TimedOptions<number> & { stopped: number } {
  const made = {
    timeouts: TIMEOUTS,
    onTimeout: (first: boolean) => new Error(first ? "no first" : "no next"),
    stop: () => {
      made.stopped++;
    },
    stopped: 0,
    ...more,
  };
  return made;
}

async function* at(...delays: readonly number[]): AsyncGenerator<number> {
  for (const [index, ms] of delays.entries()) {
    await sleep(ms);
    yield index;
  }
}

async function collect(source: AsyncIterable<number>, pause = 0): Promise<number[]> {
  const values: number[] = [];
  for await (const value of source) {
    values.push(value);
    if (pause > 0) await sleep(pause);
  }
  return values;
}

test("passes on what comes in time, and stops the source once", async () => {
  const watch = options();
  assert.deepEqual(await collect(timed(at(1, 1, 1), watch)), [0, 1, 2]);
  assert.equal(watch.stopped, 1);
});

test("fails when the first is late, or the next, and stops the source", async () => {
  for (const [delays, message] of [
    [[500], /no first/],
    [[1, 500], /no next/],
  ] as const) {
    const watch = options();
    await assert.rejects(collect(timed(at(...delays), watch)), message);
    assert.equal(watch.stopped, 1);
  }
});

test("what is no progress does not feed the watchdog", async () => {
  await assert.rejects(collect(timed(at(25, 25, 25), options({ isProgress: () => false }))), /no first/);
});

test("a slow reader never fails a source", async () => {
  assert.deepEqual(await collect(timed(at(1, 1, 1), options()), 60), [0, 1, 2]);
});

test("time counts only from when it is to, and what comes before is passed on", async () => {
  assert.deepEqual(await collect(timed(at(80, 80), options({ from: sleep(300) }))), [0, 1]);
  await assert.rejects(collect(timed(at(1, 500), options({ from: sleep(20) }))), /no next/);
});

test("fails as what it waits for fails", async () => {
  const from = Promise.reject(new Error("never began"));
  await assert.rejects(collect(timed(at(500), options({ from }))), /never began/);
});
