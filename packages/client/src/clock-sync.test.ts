import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ClockSync } from "./clock-sync.ts";

/** Runs one exchange with the given one-way delays; the server's clock is `offset` ahead. */
function exchange(sync: ClockSync, now: number, up: number, down: number, offset: number): number {
  const sent = sync.nextExchange(now);
  assert.equal(sent, now);
  sync.handleReply(now + up + down, now, now + up + offset);
  return now + up + down;
}

test("knows nothing before the first reply", () => {
  const sync = new ClockSync(0);
  assert.equal(sync.toServer(5), undefined);
  assert.equal(sync.roundTripMs, undefined);
});

test("an even path gives the exact offset", () => {
  const sync = new ClockSync(100);
  exchange(sync, 100, 20, 20, 5_000);
  assert.equal(sync.toServer(200), 5_200);
});

test("the exchange with the shortest round trip wins over a delayed one", () => {
  const sync = new ClockSync(0);
  const later = exchange(sync, 0, 5, 5, 1_000);
  exchange(sync, later, 5, 205, 1_000);
  assert.equal(sync.toServer(0), 1_000);
  assert.equal(sync.roundTripMs, 10);
});

test("five exchanges follow each other, then three every 15 s", () => {
  const sync = new ClockSync(0);
  let now = 0;
  for (let count = 0; count < 5; count++) {
    assert.equal(sync.pollTimeout(), now);
    now = exchange(sync, now, 1, 1, 0);
  }
  assert.equal(sync.pollTimeout(), now + 15_000);
  assert.equal(sync.nextExchange(now + 14_999), undefined);
  now += 15_000;
  for (let count = 0; count < 3; count++) now = exchange(sync, now, 1, 1, 0);
  assert.equal(sync.pollTimeout(), now + 15_000);
});

test("an exchange that gets no reply is tried again after a second", () => {
  const sync = new ClockSync(0);
  assert.equal(sync.nextExchange(0), 0);
  assert.equal(sync.nextExchange(999), undefined);
  assert.equal(sync.nextExchange(1_000), 1_000);
});

test("the error is at most half of the best round trip", () => {
  const delays = fc.array(fc.tuple(fc.nat(300), fc.nat(300)), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(delays, fc.integer({ min: -1e9, max: 1e9 }), (paths, offset) => {
      const sync = new ClockSync(0);
      let now = 0;
      for (const [up, down] of paths) now = exchange(sync, Math.max(now, sync.pollTimeout()), up, down, offset);
      assert.ok(Math.abs(sync.toServer(0)! - offset) <= sync.roundTripMs! / 2);
    }),
  );
});

test("replies from the future and replies without numbers are ignored", () => {
  const sync = new ClockSync(0);
  sync.handleReply(10, 20, 5);
  sync.handleReply(10, Number.NaN, 5);
  sync.handleReply(10, 0, Number.POSITIVE_INFINITY);
  sync.handleReply(10, 0, undefined as never);
  assert.equal(sync.toServer(0), undefined);
});
