import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { envelope, findIn, onsetMs, voicedSpans } from "./listen.ts";

test("gives the same correlation as the definition, at the best lag", () => {
  const values = (minLength: number, maxLength: number) =>
    fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength, maxLength });
  fc.assert(
    fc.property(values(20, 60), values(3, 20), (haystack, needle) => {
      const scores = Array.from({ length: haystack.length - needle.length + 1 }, (_, lag) =>
        pearson(haystack.slice(lag, lag + needle.length), needle),
      );
      const found = findIn(haystack, needle);
      assert.ok(Math.abs(found.score - Math.max(0, ...scores)) < 1e-6);
      assert.ok(Math.abs((scores[found.lag] ?? 0) - found.score) < 1e-6 || found.score === 0);
    }),
  );
});

test("finds nothing in silence, in nothing, and nothing longer than the recording", () => {
  assert.deepEqual(findIn(new Int16Array(1000), [1, 2, 3]), { lag: 0, score: 0 });
  assert.deepEqual(findIn([1, 2], [1, 2, 3]), { lag: 0, score: 0 });
  assert.deepEqual(findIn([1, 2, 3], []), { lag: 0, score: 0 });
  assert.deepEqual(findIn([1, 2, 3, 4], [5, 5]), { lag: 0, score: 0 });
});

test("measures loudness of full scale", () => {
  const square = Int16Array.from({ length: 480 }, (_, at) => (at % 2 ? 16_384 : -16_384));
  assert.deepEqual(envelope(square, 24_000), Float64Array.of(0.5, 0.5));
});

test("joins syllables, splits at pauses and leaves clicks out", () => {
  const pcm = new Int16Array(24 * 1000);
  const sound = (fromMs: number, toMs: number) => pcm.fill(8000, fromMs * 24, toMs * 24);
  sound(100, 200);
  sound(300, 400); // 100 ms later: the same word
  sound(700, 800);
  sound(980, 984);
  assert.deepEqual(voicedSpans(pcm, { sampleRate: 24_000, joinMs: 150 }), [
    { startMs: 100, endMs: 400 },
    { startMs: 700, endMs: 800 },
  ]);
  assert.equal(onsetMs(pcm, { sampleRate: 24_000, joinMs: 150 }, 500), 700);
});

function pearson(a: readonly number[], b: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  const dot = (x: readonly number[], meanX: number, y: readonly number[], meanY: number) =>
    x.reduce((sum, value, at) => sum + (value - meanX) * (y[at]! - meanY), 0);
  const energy = dot(a, meanA, a, meanA) * dot(b, meanB, b, meanB);
  return energy === 0 ? 0 : dot(a, meanA, b, meanB) / Math.sqrt(energy);
}
