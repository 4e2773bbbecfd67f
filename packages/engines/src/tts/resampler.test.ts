import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Resampler } from "./resampler.ts";

const rates = fc.constantFrom([22_050, 24_000], [24_000, 48_000], [48_000, 24_000], [24_000, 16_000], [44_100, 16_000]);

test("gives the same whole however the stream is cut", () => {
  fc.assert(
    fc.property(rates, fc.int16Array({ maxLength: 3000 }), fc.array(fc.nat(3000)), ([from, to], pcm, cuts) => {
      const edges = [0, ...cuts.map((cut) => Math.min(cut, pcm.length)).sort((a, b) => a - b), pcm.length];
      const pieces = edges.slice(1).map((end, at) => pcm.subarray(edges[at], end));
      assert.deepEqual(resample(pieces, from!, to!), resample([pcm], from!, to!));
    }),
    { numRuns: 50 },
  );
});

test("keeps the duration to the sample", () => {
  fc.assert(
    fc.property(rates, fc.nat(5000), ([from, to], length) => {
      const resampled = resample([new Int16Array(length)], from!, to!);
      assert.equal(resampled.length, Math.round((length * to!) / from!));
    }),
    { numRuns: 50 },
  );
});

test("keeps a tone in place, pitch and loudness, with noise 60 dB below", () => {
  for (const [from, to] of [
    [22_050, 24_000],
    [24_000, 48_000],
    [48_000, 24_000],
  ] as const) {
    for (const hertz of [100, 1000, 5000, 8000]) {
      const resampled = resample([tone(hertz, from, from / 4)], from, to);
      const ideal = tone(hertz, to, to / 4);
      let error = 0;
      for (let at = 500; at < ideal.length - 500; at++) error = Math.max(error, Math.abs(resampled[at]! - ideal[at]!));
      assert.ok(error < 20, `${from} to ${to}, ${hertz} Hz: off by ${error} of 16000`);
    }
  }
});

test("removes what the lower rate cannot carry instead of folding it back", () => {
  const resampled = resample([tone(20_000, 48_000, 12_000)], 48_000, 24_000).slice(500, -500);
  assert.ok(resampled.every((sample) => Math.abs(sample) < 16));
});

test("clips instead of wrapping around", () => {
  const high = (seconds: number) => (seconds * 441) % 1 < 0.5;
  const square = Int16Array.from({ length: 2000 }, (_, at) => (high((at + 0.5) / 22_050) ? 32_767 : -32_768));
  const resampled = resample([square], 22_050, 24_000);
  for (let at = 100; at < 2000; at++) {
    const [before, after] = [high((at - 1) / 24_000), high((at + 2) / 24_000)];
    if (before === after) assert.equal(resampled[at]! > 0, before, `at ${at}: ${resampled[at]}`);
  }
});

function resample(pieces: readonly Int16Array[], from: number, to: number): number[] {
  const resampler = new Resampler(from, to);
  return [...pieces.flatMap((piece) => [...resampler.process(piece)]), ...resampler.end()];
}

function tone(hertz: number, rate: number, length: number): Int16Array {
  return Int16Array.from({ length }, (_, at) => Math.round(16_000 * Math.sin((2 * Math.PI * hertz * at) / rate)));
}
