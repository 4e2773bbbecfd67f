import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { QuantileSketch } from "./quantile-sketch.ts";

const forever = { halfLifeMs: 1e12, halfLifeCount: 1e12 };
const exact = (values: readonly number[], q: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))]!;
};
const near = (actual: number | undefined, expected: number, share: number) =>
  assert.ok(
    actual !== undefined && Math.abs(actual - expected) <= share * expected + 0.01,
    `${actual}, not ${expected}`,
  );

test("quantiles are the exact ones to 2 %, whatever is recorded", () => {
  const values = fc.array(fc.double({ min: 0.02, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(values, fc.constantFrom(0, 0.01, 0.5, 0.9, 0.95, 0.99, 1), (recorded, q) => {
      const sketch = new QuantileSketch(forever);
      for (const value of recorded) sketch.record(0, value);
      // At the very rank of a value rounding may take the one beside it.
      const [low, high] = [exact(recorded, q - 1e-6), exact(recorded, q + 1e-6)];
      const actual = sketch.quantile(q)!;
      assert.ok(actual >= low * 0.979 && actual <= high * 1.021, `${actual} of ${low} to ${high}`);
    }),
  );
});

test("a change of the stream is followed within a few half lives of observations", () => {
  const sketch = new QuantileSketch({ halfLifeCount: 50 });
  for (let i = 0; i < 1000; i++) sketch.record(i, 100 + ((i * 37) % 100));
  near(sketch.quantile(0.5), 150, 0.05);
  for (let i = 0; i < 50; i++) sketch.record(1000 + i, 1000);
  near(sketch.quantile(0.75), 1000, 0.03);
  assert.ok(sketch.quantile(0.25)! < 200);
  for (let i = 0; i < 300; i++) sketch.record(1050 + i, 1000);
  near(sketch.quantile(0.05), 1000, 0.03);
});

test("a stream that drifts is met as its recent values are", () => {
  const sketch = new QuantileSketch({ halfLifeCount: 100 });
  const values = Array.from({ length: 5000 }, (_, i) => 200 + i / 10 + ((i * 37) % 100));
  for (const [i, value] of values.entries()) sketch.record(i, value);
  for (const q of [0.5, 0.95]) near(sketch.quantile(q), exact(values.slice(-200), q), 0.05);
});

test("time fades what is known, even when nothing new comes", () => {
  const sketch = new QuantileSketch({ halfLifeMs: 1000, halfLifeCount: 1e9 });
  for (let i = 0; i < 100; i++) sketch.record(0, 50);
  near(sketch.weight(0), 100, 0.01);
  near(sketch.weight(3000), 12.5, 0.01);
  for (let i = 0; i < 20; i++) sketch.record(3000, 500);
  near(sketch.quantile(0.5), 500, 0.03);
});

test("a million observations neither overflow nor forget what they are", () => {
  const sketch = new QuantileSketch({ halfLifeCount: 20 });
  for (let i = 0; i < 1_000_000; i++) sketch.record(i * 100, i % 2 === 0 ? 10 : 30);
  near(sketch.quantile(0.4), 10, 0.03);
  near(sketch.quantile(0.9), 30, 0.03);
  near(sketch.weight(1e8), 29.4, 0.05);
});

test("nothing recorded is nothing known; zeros and nonsense are zeros", () => {
  const sketch = new QuantileSketch();
  assert.equal(sketch.quantile(0.5), undefined);
  assert.equal(sketch.weight(5), 0);
  for (const value of [0, -5, Number.NaN]) sketch.record(0, value);
  assert.equal(sketch.quantile(0.99), 0);
  sketch.record(0, Infinity);
  assert.ok(sketch.quantile(1)! > 9e6);
  near(sketch.shareAbove(1), 0.25, 0.02);
});
