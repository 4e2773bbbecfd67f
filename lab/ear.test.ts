import assert from "node:assert/strict";
import { test } from "node:test";
import { findChromium } from "../test/chromium.ts";
import { quantile } from "./quantile.ts";
import { measureToneCall } from "./tone-call.ts"; // which needs launchChromium

test("in a real browser the agent hears every tone word, is heard, and the timeline agrees with the recorded sound", {
  skip: findChromium() === undefined && "no Chromium on this machine",
}, async () => {
  const turns = await measureToneCall(4);
  assert.ok(turns.length >= 3, `${turns.length} of 4 turns were answered`);
  // A busy machine makes the jitter buffer run dry in a single turn.
  const lost = turns.map(({ heard, said }) => said - heard);
  assert.ok(quantile(lost, 0.5) <= 1, `of the words of each answer, ${lost} were not heard`);
  for (const { stages, timelineMs } of turns) {
    const sum = Object.values(stages).reduce((total, ms) => total + ms, 0);
    assert.ok(Math.abs(sum - timelineMs) < 1, `stages add up to ${sum}, not ${timelineMs}`);
  }
  // Under 3 ms on a quiet machine (npm run bench -- ear); on a busy one some turns are a jitter buffer's 10 ms off.
  const apart = turns
    .filter(({ clock }) => clock === "client")
    .map((turn) => Math.abs(turn.mouthToEarMs - turn.timelineMs));
  assert.ok(apart.length >= 3, `the client's clock told ${apart.length} turns`);
  assert.ok(quantile(apart, 0.5) < 15, `timeline and sound are ${apart} ms apart`);
});
