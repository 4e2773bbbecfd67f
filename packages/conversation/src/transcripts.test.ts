import assert from "node:assert/strict";
import { test } from "node:test";
import { Transcripts } from "./transcripts.ts";

const drain = (transcripts: Transcripts) => {
  const told: string[] = [];
  for (let event = transcripts.nextEvent(); event; event = transcripts.nextEvent()) {
    told.push(event.kind === "delta" ? event.delta : event.kind === "completed" ? `= ${event.text}` : "!");
  }
  return told;
};

test("words that were final in a pause are not, when the caller goes on", () => {
  const transcripts = new Transcripts();
  transcripts.handleHeard("a", { kind: "final", text: "I would like" });
  transcripts.handleResumed("a");
  transcripts.handleAdded("a", 1000);
  assert.deepEqual(drain(transcripts), ["I would like"], "so far");
  transcripts.handleHeard("a", { kind: "final", text: "I would like some tea." });
  assert.deepEqual(drain(transcripts), [" some tea.", "= I would like some tea."]);
  transcripts.handleHeard("a", { kind: "final", text: "Another." });
  assert.deepEqual(drain(transcripts), [], "what was told is told once");
});

test("what is followed is bounded", () => {
  const transcripts = new Transcripts();
  for (let i = 0; i < 100; i++) transcripts.handleHeard(`item_${i}`, { kind: "final", text: "x" });
  for (let i = 0; i < 100; i++) transcripts.handleAdded(`item_${i}`, 1);
  assert(drain(transcripts).length <= 128);
});
