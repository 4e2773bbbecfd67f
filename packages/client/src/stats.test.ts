import assert from "node:assert/strict";
import { test } from "node:test";
import { StatsReader } from "./stats.ts";

const inbound = (timestamp: number, bytesReceived: number, jitterBufferDelay: number, emitted: number) => ({
  type: "inbound-rtp",
  timestamp,
  bytesReceived,
  jitterBufferDelay,
  jitterBufferEmittedCount: emitted,
  packetsReceived: 100,
  packetsLost: 3,
  jitter: 0.004,
});

test("rates and delays are of the time since the digest before", () => {
  const reader = new StatsReader();
  const first = reader.digest([inbound(1_000, 10_000, 10, 1_000)], 12);
  assert.equal(first.received.kbitPerSecond, undefined);
  const second = reader.digest([inbound(2_000, 14_000, 11.92, 49_000)], 12);
  assert.equal(second.received.kbitPerSecond, 32);
  assert.ok(Math.abs(second.jitterBufferMs! - 0.04) < 1e-9);
  assert.equal(second.outputLatencyMs, 12);
});

test("what is concealed between utterances is no loss, what is concealed within one is", () => {
  const reader = new StatsReader();
  const concealed = (samples: number) => [{ type: "inbound-rtp", concealedSamples: samples }];
  reader.handlePlayout(concealed(9_600), true);
  assert.equal(reader.digest(concealed(10_560), 0).received.concealedMs, 20);
  reader.handlePlayout(concealed(11_520), false);
  assert.equal(reader.digest(concealed(480_000), 0).received.concealedMs, 40);
  reader.handlePlayout(concealed(480_000), true);
  reader.handlePlayout(concealed(480_960), false);
  reader.handlePlayout(concealed(490_000), false);
  assert.equal(reader.digest(concealed(500_000), 0).received.concealedMs, 60);
});

test("the nominated pair tells the round trip", () => {
  const digest = new StatsReader().digest(
    [
      { type: "candidate-pair", nominated: true, currentRoundTripTime: 0.025 },
      { type: "candidate-pair", nominated: false, currentRoundTripTime: 0.5 },
    ],
    undefined,
  );
  assert.equal(digest.roundTripMs, 25);
});

test("a browser that tells nothing gives an empty digest", () => {
  const digest = new StatsReader().digest([], undefined);
  assert.equal(digest.roundTripMs, undefined);
  assert.deepEqual(digest.sent, { packets: 0, lost: 0, repaired: undefined, concealedMs: 0, kbitPerSecond: undefined });
});
