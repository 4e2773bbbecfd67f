import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { echoOf } from "./echo.ts";

const MS = 24;

test("keeps a little before and after the voice", () => {
  const echo = echoOf(new Int16Array(1000 * MS).fill(20_000), 200, 700);
  assert.equal(echo?.length, (30 + 500 + 60) * MS);
});

test("begins and ends in silence, without a click", () => {
  const echo = echoOf(new Int16Array(1000 * MS).fill(20_000), 200, 700)!;
  assert.equal(echo[0], 0);
  assert.equal(echo.at(-1), 0);
  for (let at = 1; at < echo.length; at++) assert.ok(Math.abs(echo[at]! - echo[at - 1]!) < 200);
});

test("raises a quiet voice by 12 dB at most, and a loud one not at all", () => {
  const loudness = (level: number) => echoOf(new Int16Array(1000 * MS).fill(level), 0, 900)![500 * MS];
  assert.equal(loudness(100), 400);
  assert.equal(loudness(10_000), 13_107);
  assert.equal(loudness(-32_768), -32_768);
});

test("has no echo of a click, of nothing, and of bounds that make no sense", () => {
  const pcm = new Int16Array(1000 * MS);
  for (const [start, end] of [
    [0, 50],
    [500, 400],
    [2000, 3000],
    [Number.NaN, 10],
    [0, Number.NaN],
  ] as const)
    assert.equal(echoOf(pcm, start, end), undefined);
  assert.equal(echoOf(new Int16Array(0), 0, 1000), undefined);
});

test("never leaves the recording, and never clips", () => {
  const times = fc.double({ min: -1e6, max: 1e6 });
  fc.assert(
    fc.property(fc.int16Array({ maxLength: 8000 }), times, times, (pcm, start, end) => {
      const echo = echoOf(pcm, start, end);
      assert.ok(echo === undefined || echo.length <= pcm.length);
    }),
  );
});
