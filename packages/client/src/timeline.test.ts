import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServerEvent, ServerEventDraft } from "@sluice/realtime";
import type { PlayedAudio } from "./playout-tracker.ts";
import { Timeline, type TimelineEvent } from "./timeline.ts";

const AHEAD_MS = 7_000;

/** A timeline whose clock is synchronised with a server 7 s ahead. */
function synchronised() {
  const loudspeaker: { played: PlayedAudio | undefined } = { played: undefined };
  const timeline = new Timeline(0, () => loudspeaker.played);
  const take = (now: number, event: ServerEventDraft) => {
    timeline.handleEvent(now, { event_id: "event", ...event } as ServerEvent);
  };
  const drain = () => {
    const events: TimelineEvent[] = [];
    for (let event = timeline.nextEvent(); event; event = timeline.nextEvent()) events.push(event);
    return events;
  };
  timeline.handleTimeout(0);
  assert.deepEqual(drain(), [{ type: "sluice.clock", client_ms: 0 }]);
  for (let now = 0; now < 10; now += 2) {
    take(now + 2, { type: "sluice.clock", client_ms: now, server_ms: now + 1 + AHEAD_MS });
    drain();
  }
  return { timeline, loudspeaker, take, drain };
}

test("reports the first sample that was heard, on the server's clock", () => {
  const { timeline, loudspeaker, take, drain } = synchronised();
  take(100, { type: "sluice.utterance.started", response_id: "r", item_id: "a", rtp_timestamp: 4_800, sent_ms: 7_090 });
  assert.deepEqual(drain(), []);
  loudspeaker.played = { atMs: 140, rtpTimestamp: 4_800, latencyMs: 10 };
  timeline.handleTimeout(timeline.pollTimeout() + 40);
  assert.deepEqual(drain(), [
    { type: "sluice.playout.report", item_id: "a", started_ms: 7_150, position_ms: 0, at_ms: 7_150 },
  ]);
});

test("a cleared buffer is reported with the position at the cut", () => {
  const { loudspeaker, take, drain } = synchronised();
  loudspeaker.played = { atMs: 140, rtpTimestamp: 4_800, latencyMs: 0 };
  take(140, { type: "sluice.utterance.started", response_id: "r", item_id: "a", rtp_timestamp: 4_800, sent_ms: 7_090 });
  drain();
  loudspeaker.played = { atMs: 500, rtpTimestamp: 4_800 + 360 * 48, latencyMs: 0 };
  take(510, { type: "output_audio_buffer.cleared", response_id: "r" });
  assert.deepEqual(drain(), [
    { type: "sluice.playout.report", item_id: "a", started_ms: 7_140, position_ms: 370, at_ms: 7_510 },
  ]);
});

test("reports the end of speech on the server's clock", () => {
  const { timeline, drain } = synchronised();
  const level = (endMs: number, rms: number) => timeline.handleLevel({ endMs, durationMs: 10, rms });
  for (let at = 1_000; at <= 1_500; at += 10) level(at, 0.2);
  for (let at = 1_510; at <= 1_700; at += 10) level(at, 0);
  assert.deepEqual(drain(), [{ type: "sluice.speech.report", ended_ms: 8_500 }]);
});

test("nothing is reported on a clock that is not known yet", () => {
  const timeline = new Timeline(0, () => ({ atMs: 5, rtpTimestamp: 0, latencyMs: 0 }));
  timeline.handleEvent(5, {
    type: "sluice.utterance.started",
    event_id: "e",
    response_id: "r",
    item_id: "a",
    rtp_timestamp: 0,
    sent_ms: 0,
  });
  assert.equal(timeline.nextEvent()?.type, "sluice.clock");
  assert.equal(timeline.nextEvent(), undefined);
});
