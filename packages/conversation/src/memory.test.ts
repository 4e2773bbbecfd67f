import assert from "node:assert/strict";
import { test } from "node:test";
import { createItem } from "@sluice/realtime";
import { Memory } from "./memory.ts";
import { SpokenText } from "./spoken-text.ts";
import { tone } from "./testing.ts";

const user = (id: string) => createItem({ type: "message", role: "user", id, content: [] }, id);
const pcmOf = (memory: Memory, id: string) => {
  const item = memory.context().find((one) => one.id === id);
  return item?.role === "user" && item.parts[0]?.kind === "audio" ? item.parts[0].pcm : undefined;
};
const spoken = (id: string) =>
  createItem({ type: "message", role: "user", id, content: [{ type: "input_audio", transcript: null }] }, id);
const caller = (ms: number) => ({ caller: { pcm: tone(ms), voicedStartMs: 0, voicedEndMs: ms } });

test("items keep the order they were given, before and after others", () => {
  const memory = new Memory({ maxItems: 10, maxAudioMs: 1000 });
  memory.add(user("b"));
  memory.add(user("c"));
  memory.add(user("a"), "root");
  memory.add(user("b2"), "b");
  assert.deepEqual(
    memory.context().map((item) => item.id),
    ["a", "b", "b2", "c"],
  );
  assert.equal(memory.previousId("a"), null);
  assert.equal(memory.previousId("b2"), "b");
});

test("past its bound the oldest items go, and are named", () => {
  const memory = new Memory({ maxItems: 2, maxAudioMs: 1000 });
  memory.add(user("a"));
  memory.add(user("b"));
  assert.deepEqual(memory.add(user("c")), ["a"]);
});

test("old audio is let go, the newest stays whatever its length", () => {
  const memory = new Memory({ maxItems: 10, maxAudioMs: 1000 });
  memory.add(spoken("a"), undefined, caller(600));
  memory.add(spoken("b"), undefined, caller(600));
  assert.equal(pcmOf(memory, "a"), undefined);
  assert.ok(pcmOf(memory, "b"));
  memory.add(spoken("c"), undefined, caller(5000));
  assert.ok(pcmOf(memory, "c"));
});

test("text is cut at the word that the ear had begun", () => {
  const text = new SpokenText();
  text.append("one two three four ", 0);
  text.append("five", 2000);
  assert.equal(text.whole, "one two three four five");
  assert.equal(text.until(0, 2500), "");
  assert.equal(text.until(100, 2500), "one");
  assert.equal(text.until(1000, 2500), "one two three");
  assert.equal(text.until(2500, 2500), "one two three four five");
});
