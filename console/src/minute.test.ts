import assert from "node:assert/strict";
import { test } from "node:test";
import type { StatsDigest } from "@sluice/client";
import { Minute } from "./minute.ts";

function digest(sent: number, received: number, more: Partial<StatsDigest["received"]> = {}): StatsDigest {
  const rest = { lost: 0, repaired: 0, concealedMs: 0, kbitPerSecond: undefined };
  const none = { roundTripMs: undefined, jitterBufferMs: undefined, jitterMs: undefined, outputLatencyMs: undefined };
  return { ...none, sent: { ...rest, packets: sent }, received: { ...rest, packets: received, ...more } };
}

test("a second holds what the counters grew by, and speech concealed in packets", () => {
  const minute = new Minute();
  minute.handleStats("webrtc", digest(1000, 400));
  minute.handleStats("webrtc", digest(1050, 448, { lost: 3, repaired: 2, concealedMs: 20 }));
  assert.deepEqual(minute.seconds[1]?.down, { carried: 48, lost: 3, repaired: 2, concealed: 1 });
  assert.equal(minute.total.up.carried, 50); // what was sent before anybody looked does not count
});

test("the caller's losses are the server's account, in the second in which it came", () => {
  const minute = new Minute();
  minute.handleTurn({ received: 90, lost: 5, repaired: 2, fec: 1, concealed: 2 });
  minute.handleStats("webrtc", digest(50, 0));
  minute.handleStats("webrtc", digest(100, 0));
  assert.deepEqual(
    minute.seconds.map(({ up }) => up.lost),
    [5, 0],
  );
  assert.deepEqual(minute.total.up, { carried: 50, lost: 5, repaired: 3, concealed: 2 });
});

test("another pipe counts from its own beginning, and what it does not say stays unknown", () => {
  const minute = new Minute();
  minute.handleStats("webrtc", digest(5000, 5000));
  minute.handleStats("websocket", digest(40, 10, { repaired: undefined }));
  minute.handleStats("websocket", digest(90, 20, { repaired: undefined }));
  assert.deepEqual(minute.total.up.carried, 50);
  assert.deepEqual(minute.seconds[2]?.down, { carried: 10, lost: 0, repaired: undefined, concealed: 0 });
  assert.equal(minute.total.down.repaired, 0); // of the seconds that told
});

test("what is older than a minute is forgotten", () => {
  const minute = new Minute();
  for (let second = 0; second <= 100; second++) minute.handleStats("webrtc", digest(50 * second, 0));
  assert.deepEqual([minute.seconds.length, minute.total.up.carried], [60, 3000]);
});
