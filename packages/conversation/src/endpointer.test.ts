import assert from "node:assert/strict";
import { test } from "node:test";
import { Endpointer, type EndpointerEvent, windowLevels } from "./endpointer.ts";

const WINDOW = 32;

/** Runs windows of [probability, level in dBFS] through an endpointer, real time passing with the audio. */
function run(endpointer: Endpointer, windows: readonly (readonly [number, number])[], from = 0) {
  const events: (EndpointerEvent & { at: number })[] = [];
  const drain = (at: number) => {
    for (let event = endpointer.nextEvent(); event; event = endpointer.nextEvent()) events.push({ ...event, at });
  };
  windows.forEach(([probability, level], index) => {
    const mediaMs = from + index * WINDOW;
    const now = 1000 + mediaMs + WINDOW;
    const due = endpointer.pollTimeout();
    if (due !== undefined && due <= now) {
      endpointer.handleTimeout(due);
      drain(due);
    }
    endpointer.handleWindow(now, { mediaMs, durationMs: WINDOW, probability, levels: Array(4).fill(level) });
    drain(now);
  });
  return events;
}

const voice = (count: number) => Array.from({ length: count }, () => [0.9, -20] as const);
const quiet = (count: number) => Array.from({ length: count }, () => [0.05, -80] as const);
const hangover = (count: number) => Array.from({ length: count }, () => [0.6, -80] as const);

test("one voiced window is a click, two are speech", () => {
  const endpointer = new Endpointer({ threshold: 0.5, silenceMs: 500 });
  assert.deepEqual(run(endpointer, [...voice(1), ...quiet(5)]), []);
  assert.deepEqual(
    run(endpointer, voice(2), 6 * WINDOW).map((event) => event.kind),
    ["started"],
  );
});

test("speech starts where its first voiced window starts", () => {
  const [started] = run(new Endpointer({ threshold: 0.5, silenceMs: 500 }), [...quiet(10), ...voice(3)]);
  assert(started?.kind === "started");
  assert.equal(started.voicedStartMs, 320);
});

test("silence counts from the last loud sample, not from the model's hangover", () => {
  const events = run(new Endpointer({ threshold: 0.5, silenceMs: 200 }), [...voice(10), ...hangover(4), ...quiet(20)]);
  const stopped = events.find((event) => event.kind === "stopped");
  assert(stopped?.kind === "stopped");
  assert.equal(stopped.voicedEndMs, 320);
  assert.equal(stopped.at, 1000 + 320 + 200);
});

test("loud noise that is not voice does not keep a turn open", () => {
  const noise = Array.from({ length: 20 }, () => [0.05, -25] as const);
  const events = run(new Endpointer({ threshold: 0.5, silenceMs: 200 }), [...voice(10), ...noise]);
  assert.deepEqual(
    events.map((event) => event.kind),
    ["started", "stopped"],
  );
});

test("a pause shorter than the silence does not end the turn", () => {
  const windows = [...voice(10), ...quiet(10), ...voice(10), ...quiet(20)];
  const events = run(new Endpointer({ threshold: 0.5, silenceMs: 500 }), windows);
  assert.deepEqual(
    events.map((event) => event.kind),
    ["started", "stopped"],
  );
});

test("a pipe that stalls in the middle of speech ends the turn later, but does end it", () => {
  const endpointer = new Endpointer({ threshold: 0.5, silenceMs: 500 });
  run(endpointer, voice(10));
  const due = endpointer.pollTimeout();
  assert.equal(due, 1000 + 320 + 500 + 1000);
  endpointer.handleTimeout(due ?? 0);
  assert.equal(endpointer.nextEvent()?.kind, "stopped");
});

test("levels are in dBFS, silence is bounded", () => {
  assert.deepEqual(windowLevels(new Float32Array(512), 4), [-100, -100, -100, -100]);
  const [level] = windowLevels(new Float32Array(512).fill(1), 1);
  assert.equal(level, 0);
});

test("audio that came beyond the last window is silence that has passed; a whole window more is waited for", () => {
  const due = (beyondMs: number) => {
    const endpointer = new Endpointer({ threshold: 0.5, silenceMs: 200 });
    for (let at = 0; at < 320; at += 32)
      endpointer.handleWindow(1000, { mediaMs: at, durationMs: 32, probability: 0.9, levels: [-15, -15, -15, -15] });
    for (let at = 320; at < 512; at += 32)
      endpointer.handleWindow(
        1000,
        { mediaMs: at, durationMs: 32, probability: 0, levels: [-90, -90, -90, -90] },
        at + 32 + beyondMs,
      );
    return endpointer.pollTimeout();
  };
  assert.equal(due(0), 1008);
  assert.equal(due(5), 1003);
  assert.equal(due(32), 1008);
});
