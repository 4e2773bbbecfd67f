import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cutsOf } from "./clause-cuts.ts";
import { ClauseCutter } from "./clause-cutter.ts";

/** All clauses of a text that is there as a whole. */
function clauses(text: string, urgent = true): string[] {
  const cutter = new ClauseCutter();
  cutter.append(text);
  cutter.end();
  return drain(cutter, urgent);
}

function drain(cutter: ClauseCutter, urgent: boolean): string[] {
  const taken: string[] = [];
  for (;;) {
    const clause = cutter.take({ urgent, overdue: false });
    if (clause === undefined) return taken;
    taken.push(clause);
  }
}

test("the first clause is the shortest that can be spoken", () => {
  assert.equal(clauses("Well, of course, my friend. And so on.")[0], "Well, of course, ");
  assert.equal(clauses("No. Never. Ask me something else, please.")[0], "No. Never. ");
});

test("later clauses are sentences, and grow while there is time", () => {
  const sentence = "This sentence has about fifty characters in it all. ";
  const sizes = clauses(sentence.repeat(20), false).map((clause) => clause.length / sentence.length);
  assert.deepEqual(sizes.slice(0, 5), [1, 1, 2, 4, 4]);
});

test("in haste a pause within a sentence will do", () => {
  const text = "Certainly. There is a house by the river, where the water is deep, and nobody lives there. ";
  assert.equal(clauses(text, true)[1], "There is a house by the river, ");
  assert.equal(
    clauses(text, false)[1],
    "There is a house by the river, where the water is deep, and nobody lives there. ",
  );
});

test("does not cut within numbers, abbreviations, addresses and links", () => {
  for (const whole of [
    "It costs 1,234.50 dollars",
    "Ask Dr. Smith or J. Doe",
    "Bring fruit, e.g. apples",
    "Am 3. Mai um 14:30 Uhr",
    "See https://example.com/a,b.c?d=e;f now",
    "Read [this, or. that](https://example.com/x y) now",
    "It is 3 p.m. now",
  ]) {
    const cuts = cutsOf(`${whole}. Next`, false).filter(({ kind }) => kind === "sentence");
    assert.deepEqual(
      cuts.map(({ end }) => end),
      [whole.length + 2],
      whole,
    );
  }
});

test("knows the ends of sentences with quotes, brackets and marks of emphasis", () => {
  for (const whole of ['"Stop!" ', "(He left.) ", "**Really?** ", "Wait… ", "What?! ", "One line\n"]) {
    assert.equal(cutsOf(`${whole}Next`, false).find(({ kind }) => kind === "sentence")?.end, whole.length, whole);
  }
});

test("cuts languages without spaces, at their own marks and else between words", () => {
  assert.deepEqual(clauses("你好！今天天气很好，我们去公园散步吧。然后我们去吃饭。"), [
    "你好！今天天气很好，",
    "我们去公园散步吧。",
    "然后我们去吃饭。",
  ]);
  const thai = "สวัสดีครับวันนี้อากาศดีมากเราไปเดินเล่นที่สวนสาธารณะกันเถอะ".repeat(10);
  const words = new Intl.Segmenter("th", { granularity: "word" });
  const ends = new Set([...words.segment(thai)].map(({ index, segment }) => index + segment.length));
  let end = 0;
  for (const clause of clauses(thai)) {
    end += clause.length;
    assert.ok(ends.has(end) && clause.length <= 240, clause);
  }
});

test("waits for what may still change the meaning", () => {
  const cutter = new ClauseCutter();
  cutter.append("The number is 3.");
  assert.deepEqual(drain(cutter, true), []);
  cutter.append("14, ");
  assert.deepEqual(drain(cutter, true), []);
  cutter.append("roughly");
  assert.deepEqual(drain(cutter, true), ["The number is 3.14, "]);
});

test("when it is overdue the end of a word will do, but only for the first clause", () => {
  const cutter = new ClauseCutter();
  cutter.append("and then there was nobody le");
  assert.equal(cutter.take({ urgent: true, overdue: true }), "and then there was nobody ");
  cutter.append("ft but me and you and ");
  assert.equal(cutter.take({ urgent: true, overdue: true }), undefined);
});

test("loses and invents nothing, however the text comes, and no clause is too long", () => {
  const words = fc.constantFrom(
    "word",
    " ",
    ". ",
    ", ",
    "\n\n",
    "。",
    "中文字符",
    "🙂",
    "x".repeat(300),
    "[a](b",
    "e.g. ",
    "3.",
    "**",
  );
  fc.assert(
    fc.property(fc.array(words, { maxLength: 60 }), fc.boolean(), fc.boolean(), (deltas, urgent, overdue) => {
      const cutter = new ClauseCutter();
      let spoken = "";
      const take = () => {
        for (
          let clause = cutter.take({ urgent, overdue });
          clause !== undefined;
          clause = cutter.take({ urgent, overdue })
        ) {
          assert.ok(clause !== "" && clause.isWellFormed());
          assert.ok(clause.trim().length <= 260, `${clause.length}`);
          spoken += clause;
        }
      };
      for (const delta of deltas) {
        cutter.append(delta);
        take();
      }
      cutter.end();
      take();
      assert.equal(spoken, deltas.join(""));
      assert.ok(cutter.empty);
    }),
    { numRuns: 300 },
  );
});
