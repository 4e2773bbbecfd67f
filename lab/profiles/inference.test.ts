import assert from "node:assert/strict";
import { test } from "node:test";
import { createDelays, createRandom } from "@sluice/engines";
import { quantile } from "../quantile.ts";
import { CALLER, INFERENCE, LLM_FIRST, STT, TTS_FIRST } from "./inference.ts";

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

test("every figure says where it is from", () => {
  for (const { name, sttFinal, llmFirst, llmWord, ttsFirst, ttsRate } of Object.values(INFERENCE))
    for (const { source } of [sttFinal, llmFirst, llmWord, ttsFirst, ttsRate]) assert.ok(source.length > 20, name);
  for (const { source } of Object.values(CALLER)) assert.ok(source.length > 20);
});
