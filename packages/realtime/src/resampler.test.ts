import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createResampler } from "./resampler.ts";

const sine = (rate: number, hertz: number, seconds = 0.5, amplitude = 10_000) =>
  Int16Array.from({ length: rate * seconds }, (_, i) => amplitude * Math.sin((2 * Math.PI * hertz * i) / rate));

/** Level of what comes out of a sine, in dB against what went in; the ends are left out. */
function gain(from: number, to: number, hertz: number): number {
  const output = createResampler(from, to).resampleToFloat(sine(from, hertz));
  const middle = output.subarray(output.length / 4, (output.length * 3) / 4);
  const power = middle.reduce((sum, sample) => sum + sample ** 2, 0) / middle.length;
  return 10 * Math.log10((2 * power) / (10_000 / 32768) ** 2);
}

test("leaves speech as it is and lets nothing fold back", () => {
  for (const [from, to] of [
    [24_000, 16_000],
    [24_000, 8000],
    [8000, 24_000],
    [48_000, 24_000],
    [22_050, 24_000],
  ] as const) {
    const nyquist = Math.min(from, to) / 2;
    for (const part of [0.05, 0.3, 0.5, 0.75]) {
      const db = gain(from, to, Math.round(nyquist * part));
      assert.ok(Math.abs(db) < 0.1, `${from} to ${to}: ${db} dB at ${part} of Nyquist`);
    }
    for (let hertz = nyquist * 1.02; hertz < from / 2; hertz += 500) {
      const db = gain(from, to, hertz);
      assert.ok(db < -60, `${from} to ${to}: ${db} dB left of an alias at ${hertz} Hz`);
    }
  }
});

test("makes no images above the old Nyquist frequency when it goes up", () => {
  const output = createResampler(8000, 24_000).resampleToFloat(sine(8000, 1000));
  // Of 1 kHz at 8 kHz, the images are at 7, 9 and 11 kHz: correlate with each.
  const middle = output.subarray(3000, 9000);
  const level = (hertz: number) => {
    let re = 0;
    let im = 0;
    for (const [i, sample] of middle.entries()) {
      re += sample * Math.cos((2 * Math.PI * hertz * i) / 24_000);
      im += sample * Math.sin((2 * Math.PI * hertz * i) / 24_000);
    }
    return 20 * Math.log10(Math.hypot(re, im));
  };
  for (const image of [7000, 9000]) assert.ok(level(image) < level(1000) - 60, `${image} Hz`);
});

test("gives the same stream however it is cut", () => {
  const input = sine(24_000, 700, 0.1);
  fc.assert(
    fc.property(fc.array(fc.nat(500), { maxLength: 20 }), fc.constantFrom(8000, 16_000, 48_000, 22_050), (cuts, to) => {
      const whole = createResampler(24_000, to).resample(input);
      const resampler = createResampler(24_000, to);
      const pieces: number[] = [];
      let at = 0;
      for (const cut of [...cuts, input.length]) {
        pieces.push(...resampler.resample(input.subarray(at, at + cut)));
        at = Math.min(input.length, at + cut);
      }
      assert.deepEqual(Int16Array.from(pieces), whole);
    }),
    { numRuns: 40 },
  );
});

test("turns 20 ms into 20 ms, every time", () => {
  const resampler = createResampler(24_000, 16_000);
  for (let i = 0; i < 50; i++) assert.equal(resampler.resample(new Int16Array(480)).length, 320);
});

test("keeps time: the output lags by the stated delay and flush gives the rest", () => {
  const input = new Int16Array(2400);
  input.fill(8000, 1200, 1300);
  const resampler = createResampler(24_000, 8000);
  const output = [...resampler.resample(input), ...resampler.flush()];
  const centre =
    output.reduce((sum, sample, i) => sum + sample * i, 0) / output.reduce((sum, sample) => sum + sample, 0);
  assert.ok(Math.abs(centre - (1249.5 + resampler.delay - 1) / 3) < 0.7, `centre at ${centre}`);
  assert.equal(output.length, (2400 + resampler.delay) / 3);
});

test("starts anew after flush and reset", () => {
  const input = sine(24_000, 440, 0.05);
  const resampler = createResampler(24_000, 16_000);
  const first = resampler.resample(input);
  resampler.flush();
  assert.deepEqual(resampler.resample(input), first);
  resampler.reset();
  assert.deepEqual(resampler.resample(input), first);
});

test("passes a stream of the same rate through, as a copy", () => {
  const input = sine(24_000, 440, 0.01);
  const resampler = createResampler(24_000, 24_000);
  assert.deepEqual(resampler.resample(input), input);
  assert.notEqual(resampler.resample(input), input);
  assert.equal(resampler.delay, 0);
  assert.equal(resampler.resampleToFloat(Int16Array.of(-32768))[0], -1);
});

test("clips instead of wrapping around", () => {
  const square = Int16Array.from({ length: 960 }, (_, i) => (i % 24 < 12 ? 32767 : -32768));
  const output = createResampler(24_000, 16_000).resample(square);
  for (let i = 1; i < output.length; i++) {
    // A wrapped peak would jump by the whole range within one sample.
    assert.ok(Math.abs(output[i]! - output[i - 1]!) < 60_000);
  }
  assert.ok(output.includes(32767));
});
