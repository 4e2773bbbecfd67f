import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type PlayedAudio, PlayoutTracker, rtpDistanceMs } from "./playout-tracker.ts";

const played = (atMs: number, rtpTimestamp: number, latencyMs = 0): PlayedAudio => ({
  atMs,
  rtpTimestamp: rtpTimestamp >>> 0,
  latencyMs,
});

test("distances cross the 32-bit wrap in both directions", () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.integer({ min: -40_000_000, max: 40_000_000 }), (from, by) => {
      assert.equal(rtpDistanceMs(from, (from + by) >>> 0), by / 48);
    }),
  );
});

test("the first packet of an utterance says when it was first heard", () => {
  const tracker = new PlayoutTracker();
  tracker.handleUtterance(0, "item", 10_000);
  assert.equal(tracker.pollTimeout(), 0);
  assert.equal(tracker.handlePlayed(0, played(0, 10_000 - 960)), undefined);
  assert.equal(tracker.pollTimeout(), 5);
  assert.deepEqual(tracker.handlePlayed(30, played(28, 10_000, 12)), {
    itemId: "item",
    startedMs: 40,
    positionMs: 0,
    atMs: 40,
  });
});

test("a start that was seen late is dated back, over the wrap of the timestamp", () => {
  const tracker = new PlayoutTracker();
  tracker.handleUtterance(100, "item", 0xffffffff - 479);
  const report = tracker.handlePlayed(100, played(90, 480));
  assert.deepEqual(report, { itemId: "item", startedMs: 70, positionMs: 20, atMs: 90 });
});

test("a packet in which an utterance begins says when its first sample is heard", () => {
  const tracker = new PlayoutTracker();
  tracker.handleUtterance(0, "item", 10_120);
  const report = tracker.handlePlayed(30, played(28, 10_000, 12));
  assert.deepEqual(report, { itemId: "item", startedMs: 42.5, positionMs: 0, atMs: 42.5 });
  assert.deepEqual(tracker.handleEnd(33, played(28, 10_000, 12)), { ...report, positionMs: 2.5, atMs: 45 });
});

test("positions are reported every 200 ms while there is new audio", () => {
  const tracker = new PlayoutTracker();
  tracker.handleUtterance(0, "item", 0);
  let reports = 0;
  for (let now = 0; now < 2_000; now += 5) {
    if (now < tracker.pollTimeout()!) continue;
    if (tracker.handlePlayed(now, played(now, Math.floor(now / 20) * 960))) reports += 1;
  }
  assert.equal(reports, 10);
});

test("a loudspeaker that stands still is not reported again", () => {
  const tracker = new PlayoutTracker();
  tracker.handleUtterance(0, "item", 0);
  assert.ok(tracker.handlePlayed(0, played(0, 0)));
  assert.equal(tracker.handlePlayed(1_000, played(0, 0)), undefined);
});

test("a cut reports what was heard of the packet under way, and nothing follows", () => {
  const tracker = new PlayoutTracker();
  tracker.handleUtterance(0, "item", 0);
  tracker.handlePlayed(0, played(0, 0, 10));
  assert.deepEqual(tracker.handleEnd(112, played(100, 4_800, 10)), {
    itemId: "item",
    startedMs: 10,
    positionMs: 112,
    atMs: 122,
  });
  assert.equal(tracker.pollTimeout(), undefined);
  assert.equal(tracker.handlePlayed(120, played(120, 5_760)), undefined);
});

test("an utterance that was cut before its first sample is not reported", () => {
  const tracker = new PlayoutTracker();
  tracker.handleUtterance(0, "item", 9_600);
  assert.equal(tracker.handleEnd(50, played(45, 960)), undefined);
  assert.equal(tracker.handleEnd(50, undefined), undefined);
});

test("the next utterance takes over where it begins", () => {
  const tracker = new PlayoutTracker();
  tracker.handleUtterance(0, "first", 0);
  tracker.handlePlayed(0, played(0, 0));
  tracker.handleUtterance(900, "second", 48_000);
  assert.equal(tracker.handlePlayed(960, played(960, 46_080))?.itemId, "first");
  assert.deepEqual(tracker.handlePlayed(1_000, played(1_000, 48_000)), {
    itemId: "second",
    startedMs: 1_000,
    positionMs: 0,
    atMs: 1_000,
  });
});

test("after all was sent, the jitter buffer drains and polling ends", () => {
  const tracker = new PlayoutTracker();
  tracker.handleUtterance(0, "item", 0);
  tracker.handlePlayed(0, played(0, 0));
  tracker.handleSent(1_000);
  assert.equal(tracker.handlePlayed(1_040, played(1_040, 49_920))?.positionMs, 1_040);
  assert.ok(tracker.pollTimeout() !== undefined);
  assert.equal(tracker.handlePlayed(1_500, played(1_060, 50_880))?.positionMs, 1_060);
  assert.equal(tracker.pollTimeout(), undefined);
});

test("an utterance that never plays is looked for less and less, and a flood of them is bounded", () => {
  const tracker = new PlayoutTracker();
  for (let count = 0; count < 1_000; count++) tracker.handleUtterance(0, `item${count}`, count * 960);
  tracker.handlePlayed(10_000, undefined);
  assert.equal(tracker.pollTimeout(), 10_050);
});
