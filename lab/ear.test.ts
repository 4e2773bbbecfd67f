import assert from "node:assert/strict";
import { test } from "node:test";
import { findChromium } from "../test/chromium.ts";
import { measureToneCall } from "./tone-call.ts"; // which needs launchChromium

test("in a real browser the agent hears every tone word, is heard, and the timeline agrees with the recorded sound", {
  skip: findChromium() === undefined && "no Chromium on this machine",
}, async () => {
  const turns = await measureToneCall(4);
  assert.ok(turns.length >= 3, `${turns.length} of 4 turns were answered`);
  for (const { heard, said, stages, timelineMs } of turns) {
    assert.ok(heard >= said - 1, `${heard} of ${said} words were heard`);
    const sum = Object.values(stages).reduce((total, ms) => total + ms, 0);
    assert.ok(Math.abs(sum - timelineMs) < 1, `stages add up to ${sum}, not ${timelineMs}`);
  }
  // Where a first word was stretched by the jitter buffer its place is not known; where it was whole, the two agree.
  const apart = turns
    .filter(({ whole, clock }) => whole && clock === "client")
    .map((turn) => Math.abs(turn.mouthToEarMs - turn.timelineMs));
  assert.ok(apart.length >= 1, "no turn began with a whole word");
  assert.ok(apart.toSorted((a, b) => a - b)[apart.length >> 1]! < 60, `timeline and sound are ${apart} ms apart`);
});
