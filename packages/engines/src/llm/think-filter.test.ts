import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ThinkFilter } from "./think-filter.ts";

/** What a filter says of a text in these pieces. */
function filter(pieces: readonly string[]): { text: string; reasoning: string } {
  const think = new ThinkFilter();
  const said = { text: "", reasoning: "" };
  for (const { kind, delta } of [...pieces.flatMap((piece) => think.push(piece)), ...think.end()]) said[kind] += delta;
  return said;
}

test("tells reasoning from text wherever the tags are cut", () => {
  const whole = "Well, <think>a < b, so\n</think>\n\nyes: 1 < 2 <b>. <thinking>hm</thinking> Done.";
  for (let cut = 0; cut <= whole.length; cut++) {
    assert.deepEqual(filter([whole.slice(0, cut), whole.slice(cut)]), {
      text: "Well, yes: 1 < 2 <b>. Done.",
      reasoning: "a < b, so\nhm",
    });
  }
  assert.deepEqual(filter([...whole]), filter([whole]));
});

test("thoughts that never end are never said, and a tag that never ends is text", () => {
  assert.deepEqual(filter(["<think>for ever"]), { text: "", reasoning: "for ever" });
  assert.deepEqual(filter(["a <thin"]), { text: "a <thin", reasoning: "" });
});

test("text without tags passes unchanged, at once but for what may become one", () => {
  const pieces = fc.array(fc.constantFrom("<", "a", ">", "/", "think", " ", "\n", "b<c"));
  fc.assert(
    fc.property(pieces, (deltas) => {
      const whole = deltas.join("");
      fc.pre(!/<think>/.test(whole));
      assert.deepEqual(filter(deltas), { text: whole, reasoning: "" });
    }),
  );
  assert.deepEqual(new ThinkFilter().push("Hello"), [{ kind: "text", delta: "Hello" }]);
});
