import assert from "node:assert/strict";
import { test } from "node:test";
import { createDelays, createRandom } from "@sluice/engines";
import { quantile } from "../quantile.ts";
import { afterTold, CALLER, INFERENCE, LLM_FIRST, STT, TTS_FIRST } from "./inference.ts";

test("delays drawn from a profile have the quantiles that were published", () => {
  for (const published of [...Object.values(STT), ...Object.values(LLM_FIRST), ...Object.values(TTS_FIRST)]) {
    const draw = createDelays(published, createRandom(7));
    const drawn = Array.from({ length: 40_000 }, draw);
    for (const [q, told] of [
      [0.5, published.p50],
      [0.95, published.p95],
      [0.99, published.p99],
    ] as const)
      assert.ok(
        Math.abs(quantile(drawn, q) - told) < told * 0.05,
        `${quantile(drawn, q)} is not ${told}: ${published.source}`,
      );
  }
});

test("of a published time counts what comes after recognition was told that the utterance is over", () => {
  const { source: _, ...slow } = afterTold(INFERENCE.slow).sttFinal;
  assert.deepEqual(slow, { min: 220, p50: 437, p95: 765, p99: 1455, max: 1455 });
  // Ears that decode as they listen are told sooner, and have their words no sooner.
  const { source: __, ...quick } = afterTold(INFERENCE.fast).sttFinal;
  assert.deepEqual(quick, { min: 84, p50: 151, p95: 202, p99: 230, max: 230 });
});

test("every figure says where it is from", () => {
  for (const { name, sttFinal, llmFirst, llmWord, ttsFirst, ttsRate } of Object.values(INFERENCE))
    for (const { source } of [sttFinal, llmFirst, llmWord, ttsFirst, ttsRate]) assert.ok(source.length > 20, name);
  for (const { source } of Object.values(CALLER)) assert.ok(source.length > 20);
});
