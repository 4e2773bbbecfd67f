/**
 * One million seeded inputs for every parser that reads what a stranger sent: none may throw, none may hang. A failure
 * names the seed and the input; `SLUICE_FUZZ_SEED` replays it, `SLUICE_FUZZ_INPUTS` sets another number of inputs.
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { createMutator, createRandom } from "./fuzz/mutate.ts";
import { fuzzTargets } from "./fuzz/targets.ts";

const seed = Number(process.env.SLUICE_FUZZ_SEED ?? randomInt(1, 2 ** 31));
const inputs = Number(process.env.SLUICE_FUZZ_INPUTS ?? 1_000_000);

// A parser may answer hostile text with a documented error: its stack is of no use here and costs most of the time.
Error.stackTraceLimit = 0;

for (const { name, seeds, maxSize = 256, share = 1, parse } of fuzzTargets)
  test(`${name}: survives ${inputs * share} inputs`, (context) => {
    context.diagnostic(`SLUICE_FUZZ_SEED=${seed}`);
    for (const valid of seeds) parse(valid);
    const next = createMutator(seeds, createRandom(seed), maxSize);
    for (let i = 0; i < inputs * share; i++) {
      const input = next();
      const started = performance.now();
      try {
        parse(input);
      } catch (error) {
        assert.fail(`seed ${seed}, input ${i} (${Buffer.from(input).toString("hex")}): ${error}`);
      }
      // Far above any honest cost, pauses of the garbage collector included.
      if (performance.now() - started > 2000) assert.fail(`seed ${seed}, input ${i} took seconds`);
    }
  });

test("the mutator is replayed by its seed, and keeps to its bound", () => {
  const seeds = [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)];
  const run = (from: number) => {
    const next = createMutator(seeds, createRandom(from), 40);
    return Array.from({ length: 2000 }, () => Buffer.from(next()).toString("hex"));
  };
  assert.deepEqual(run(7), run(7));
  assert.notDeepEqual(run(7), run(8));
  assert.ok(run(7).every((input) => input.length <= 80));
  assert.ok(new Set(run(7)).size > 1000, "and makes different inputs");
});

test("a parser that throws on one input in a thousand is caught", () => {
  const next = createMutator([Uint8Array.of(5, 5, 5, 5)], createRandom(1), 16);
  const fragile = (input: Uint8Array) => assert.ok(input[1] !== 0xff);
  assert.throws(() => {
    for (let i = 0; i < 100_000; i++) fragile(next());
  });
});
