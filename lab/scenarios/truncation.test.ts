/** What the agent remembers of speech that was interrupted, over a hundred interruptions of each pipe. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom } from "@sluice/netem";
import { runTruncation } from "./truncation.ts";

for (const pipe of ["paced", "held"] as const) {
  test(`speech that ${pipe === "paced" ? "we pace" : "the client holds"} is remembered to the word that was heard, and nothing else is cut`, (t) => {
    const random = createRandom(7);
    const errors: number[] = [];
    for (let trial = 0; trial < 100; trial++) {
      const words = trial % 2 === 0 ? ("timed" as const) : ("clauses" as const);
      const options = { pipe, words, delayMs: Math.round(random() * 300), loss: random() * 0.05, seed: trial + 1 };
      const { heardWords, rememberedWords, contextWords, earlier, cut } = runTruncation(options);
      const told = JSON.stringify(options);
      assert.ok(cut, told);
      assert.equal(contextWords, rememberedWords, told);
      assert.equal(earlier, "This was said before, and heard.");
      errors.push(rememberedWords - heardWords);
      assert.ok(Math.abs(rememberedWords - heardWords) <= 1, `${rememberedWords} of ${heardWords} words: ${told}`);
    }
    t.diagnostic(`${errors.filter((error) => error !== 0).length} of 100 one word off`);
  });
}
