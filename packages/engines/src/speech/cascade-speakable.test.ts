import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Speakable } from "./cascade-speakable.ts";

const say = (text: string, language?: string) => new Speakable(language).take(text);

test("Markdown is not read out", () => {
  for (const [written, spoken] of [
    ["**Bold**, *italic*, __both__ and `code`.", "Bold, italic, both and code."],
    ["## A title\nAnd text.", "A title. And text."],
    ["- milk\n- bread\n- eggs", "milk. bread. eggs"],
    ["1. First\n2. Second", "1. First. 2. Second"],
    ["- [x] done", "done"],
    ["> quoted", "quoted"],
    ["See [the docs](https://example.com/a?b=c).", "See the docs."],
    ["![a cat](cat.png)", "a cat"],
    ["---", ""],
    ["| a | b |\n|---|---|\n| 1 | 2 |", "a, b. 1, 2"],
    ["A fact.[1]", "A fact."],
    ["Line<br>break", "Line break"],
    ["5 * 3 and snake_case stay", "5 * 3 and snake_case stay"],
    ["~~gone~~", "gone"],
  ] as const)
    assert.equal(say(written), spoken, written);
});

test("blocks of code are silent, over as many clauses as they have", () => {
  const speakable = new Speakable();
  assert.deepEqual(
    ["Look:\n```js\n", "let a = 1;\n", "a++;\n``` That is it."].map((clause) => speakable.take(clause)),
    ["Look:", "", "That is it."],
  );
});

test("addresses are said as one would say them", () => {
  assert.equal(say("Go to https://www.example.com/a/b?c=d."), "Go to example dot com.");
  assert.equal(say("Write to jo.doe@example.co.uk!"), "Write to jo dot doe at example dot co dot uk!");
  assert.equal(say("Siehe https://example.de/x.", "de"), "Siehe example.de.");
});

test("numbers, money and units become words that a voice says right", () => {
  for (const [written, spoken] of [
    ["1,234,567 people", "1234567 people"],
    ["$5", "5 dollars"],
    ["$1", "1 dollar"],
    ["$5.99", "5 dollars and 99 cents"],
    ["£3.50", "3 pounds and 50 pence"],
    ["€2.5 million", "2.5 million euros"],
    ["$3bn", "3 billion dollars"],
    ["50%", "50 percent"],
    ["21 °C", "21 degrees Celsius"],
    ["5-10 minutes", "5 to 10 minutes"],
    ["1990–1995", "1990 to 1995"],
    ["call 555-1234", "call 555-1234"],
    ["2024-01-05", "2024-01-05"],
    ["24/7", "24 7"],
    ["3/4", "3 over 4"],
    ["12/25/2024", "12/25/2024"],
    ["80 km/h", "80 kilometers per hour"],
    ["#1", "number 1"],
  ] as const)
    assert.equal(say(written), spoken, written);
});

test("abbreviations become words, in English only", () => {
  assert.equal(
    say("Dr. Smith & Mrs. Doe, e.g. at St. Paul"),
    "Doctor Smith and Missus Doe, for example, at Saint Paul",
  );
  assert.equal(say("Dr. Schmidt, z.B. 50%", "de-DE"), "Dr. Schmidt, z.B. 50%");
});

test("pictures have no sound, signs with a name keep it", () => {
  assert.equal(say("Great! 🎉👩‍👩‍👧 👍🏽 🇦🇹 ©"), "Great! ©");
  assert.equal(say("🙂"), "");
});

test("plain words are said as they are, and as the long way says them", () => {
  assert.equal(say("It is fine , thank you."), "It is fine, thank you.");
  const word = fc.constantFrom(
    "Well",
    "yes,",
    "St",
    "vs",
    "etc",
    "you'll",
    "naïve",
    "no;",
    "so: ",
    "www",
    "Ms",
    "go!",
    "k",
    "x",
    "M",
  );
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 8 }), fc.constantFrom("", ".", "?", "!"), (words, end) => {
      const text = words.join(" ").trim() + end;
      assert.equal(say(text), say(`**${text}**`));
    }),
  );
});

test("never fails, and never takes long", () => {
  const pieces = fc.constantFrom(
    "*",
    "_",
    "`",
    "[",
    "](",
    "|",
    "-",
    "#",
    "$",
    "1",
    ",",
    ".",
    "@",
    "http://",
    " ",
    "\n",
    "<",
    "é",
    "🙂",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 300 }), (parts) => {
      say(parts.join(""));
    }),
  );
  for (const evil of ["*", "[", "_a", "1-", "| ", "<a", "-", "a.", "$1", "`", "www.", " "]) say(evil.repeat(5000));
});
