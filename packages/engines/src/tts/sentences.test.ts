import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { sentences } from "./sentences.ts";

const never = new AbortController().signal;

test("cuts at the end of a sentence, not within a number", async () => {
  const text = "It is 1.5 degrees. Really?! “Yes.” And then: nothing";
  assert.deepEqual(await cut([text]), ["It is 1.5 degrees. ", "Really?! ", "“Yes.” ", "And then: ", "nothing"]);
});

test("gives a sentence as soon as the next one begins", async () => {
  const given: string[] = [];
  async function* text() {
    yield "One. ";
    yield "Tw";
    assert.deepEqual(given, ["One. "]);
    yield "o.";
  }
  for await (const sentence of sentences(text(), never)) given.push(sentence);
  assert.deepEqual(given, ["One. ", "Two."]);
});

test("loses and invents nothing, and no piece is long", async () => {
  const words = fc.array(fc.constantFrom("word", "two", ".", ", ", ". ", "\n", " ", "🙂", "。", "x".repeat(400)));
  await fc.assert(
    fc.asyncProperty(words, async (deltas) => {
      const pieces = await cut(deltas);
      assert.equal(pieces.join(""), deltas.join(""));
      assert.ok(pieces.every((piece) => piece.length <= 310 && piece.isWellFormed()));
    }),
  );
});

test("stops when aborted", async () => {
  assert.deepEqual(await cut(["One. Two."], AbortSignal.abort()), []);
});

async function cut(deltas: readonly string[], signal = never): Promise<string[]> {
  async function* text() {
    yield* deltas;
  }
  const pieces: string[] = [];
  for await (const piece of sentences(text(), signal)) pieces.push(piece);
  return pieces;
}
