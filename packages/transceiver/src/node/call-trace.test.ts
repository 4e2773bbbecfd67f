import assert from "node:assert/strict";
import { test } from "node:test";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import type { TurnReport } from "@sluice/conversation";
import { CallTrace } from "./call-trace.ts";

const report: TurnReport = {
  turn: 1,
  inputItemId: "item_in",
  utterance: { responseId: "resp_1", itemId: "item_out", outputIndex: 0, contentIndex: 0 },
  timeline: {
    clock: "client",
    startedAt: 1000,
    totalMs: 290,
    stages: [
      { name: "capture", ms: -10 },
      { name: "silence", ms: 200 },
      { name: "engine", ms: 100 },
    ],
  },
  silenceMs: 200,
  voicedMs: 900,
  frames: { received: 40, repaired: 3, fec: 1, concealed: 2 },
};

function record() {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const call = { id: "rtc_1", pipe: "webrtc", model: "parrot" };
  const trace = new CallTrace(provider.getTracer("test"), 1_000_000, 500, call);
  return { trace, spans: () => exporter.getFinishedSpans() };
}

const ms = ([seconds, nanos]: readonly [number, number]) => Math.round(seconds * 1000 + nanos / 1e6);

test("a turn's stages follow each other within the turn, the turns within the call", () => {
  const { trace, spans } = record();
  trace.handleTurn(report);
  trace.handleEnded(5000, "the caller hung up");
  const [capture, silence, engine, turn, call] = spans();
  assert.deepEqual(
    spans().map((span) => [span.name, ms(span.startTime), ms(span.endTime)]),
    [
      ["capture", 1_001_000, 1_001_000],
      ["silence", 1_001_000, 1_001_200],
      ["engine", 1_001_200, 1_001_300],
      ["turn", 1_001_000, 1_001_300],
      ["call", 1_000_500, 1_005_000],
    ],
  );
  for (const stage of [capture, silence, engine]) {
    assert.equal(stage!.parentSpanContext?.spanId, turn!.spanContext().spanId);
  }
  assert.equal(turn!.parentSpanContext?.spanId, call!.spanContext().spanId);
  assert.equal(turn!.attributes["sluice.frames.repaired"], 4);
});

test("a call that ended by an error of ours says so, and an engine's failure is an event of it", () => {
  const { trace, spans } = record();
  trace.handleFailure(700, "engine_failed");
  trace.handleEnded(800, "internal error");
  const [call] = spans();
  assert.equal(call!.status.code, 2);
  assert.deepEqual(call!.events[0]?.attributes, { "error.type": "engine_failed" });
});
