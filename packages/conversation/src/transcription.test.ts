/** The caller's words: told as they become known, in conversations and in sessions that only transcribe. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServerEvent } from "@sluice/realtime";
import { clientPlayout, Scene, serverPlayout } from "./testing.ts";

const WORDS = "conversation.item.input_audio_transcription.";
const told = (events: readonly ServerEvent[]) =>
  events.flatMap((event) => {
    if (event.type === `${WORDS}delta`) return [event.delta];
    if (event.type === `${WORDS}completed`) return [`= ${event.transcript}`];
    return event.type === `${WORDS}failed` ? [`! ${event.error.code}`] : [];
  });
const transcribing = { audio: { input: { transcription: { model: "any" } } } };
const itemOf = (scene: Scene) => {
  const hear = scene.commands.findLast((command) => command.kind === "hear");
  assert(hear?.kind === "hear");
  return hear.itemId;
};

test("a transcription session tells turns and words, and asks for no answer", () => {
  const scene = new Scene(clientPlayout, { type: "transcription" }, true);
  const [created] = scene.take();
  assert(created?.type === "session.created" && created.session.type === "transcription");
  assert(!("tools" in created.session) && !("output" in created.session.audio));
  scene.caller(1000, true);
  const id = itemOf(scene);
  scene.heard(id, { kind: "partial", text: "hello", stable: false });
  assert.deepEqual(told(scene.events), [], "not before the item is in the conversation");
  scene.caller(600, false);
  scene.heard(id, { kind: "partial", text: "hello wor", stable: false });
  scene.heard(id, { kind: "final", text: "hello world" });
  const events = scene.take();
  assert.deepEqual(told(events), ["hello", " wor", "ld", "= hello world"]);
  assert(events.some((event) => event.type === "input_audio_buffer.committed"));
  assert(!events.some((event) => event.type.startsWith("response.")));
  const completed = events.find((event) => event.type === `${WORDS}completed`);
  assert(completed?.type === `${WORDS}completed` && completed.usage.type === "duration");
  assert(completed.usage.seconds > 1 && completed.usage.seconds < 2);
  scene.client({ type: "response.create", event_id: "e" });
  const [error] = scene.take();
  assert(error?.type === "error" && error.error.event_id === "e");
  assert(!scene.commands.some((command) => command.kind === "respond"));
});

test("without turn detection, what is committed is heard as a whole", () => {
  const scene = new Scene(clientPlayout, { type: "transcription", audio: { input: { turn_detection: null } } }, true);
  scene.caller(500, true);
  assert(!scene.commands.some((command) => command.kind === "hear"));
  scene.client({ type: "input_audio_buffer.commit" });
  const kinds = scene.commands.flatMap((command) => (/^hear/.test(command.kind) ? [command.kind] : []));
  assert.deepEqual(kinds, ["hear", "heard"]);
  scene.heard(itemOf(scene), { kind: "final", text: "yes" });
  assert.deepEqual(told(scene.take()), ["yes", "= yes"]);
});

test("a session cannot become one of the other type", () => {
  for (const type of ["realtime", "transcription"] as const) {
    const scene = new Scene(clientPlayout, { type }, true);
    scene.take();
    scene.client({ type: "session.update", session: { type: type === "realtime" ? "transcription" : "realtime" } });
    const [error] = scene.take();
    assert(error?.type === "error" && error.error.param === "session.type");
  }
});

test("a partial that takes words back is not told; what goes on from the last one is", () => {
  const scene = new Scene(clientPlayout, transcribing, true);
  scene.caller(1000, true);
  const id = itemOf(scene);
  scene.caller(600, false);
  for (const text of ["I scream", "ice", "I scream for"]) scene.heard(id, { kind: "partial", text, stable: false });
  scene.heard(id, { kind: "final", text: "Ice cream for all." });
  assert.deepEqual(told(scene.take()), ["I scream", " for", "= Ice cream for all."]);
  scene.client({ type: "conversation.item.retrieve", item_id: id });
  assert.match(JSON.stringify(scene.take()), /Ice cream for all/);
});

test("words that the answer brings are told once, whoever had them first", () => {
  const scene = new Scene(clientPlayout, transcribing, true);
  scene.caller(1000, true);
  const id = itemOf(scene);
  scene.caller(600, false);
  scene.heard(id, { kind: "final", text: "Hello." });
  scene.engine({ kind: "inputTranscript", itemId: id, text: "Hello." });
  scene.speak(100, "Hi.");
  scene.finish();
  assert.deepEqual(told(scene.take()), ["Hello.", "= Hello."]);
});

test("words that are known before the turn is over are told when the item is there, not before", () => {
  const scene = new Scene(clientPlayout, transcribing, true);
  scene.caller(1000, true);
  const id = itemOf(scene);
  scene.heard(id, { kind: "final", text: "Hello." });
  assert.deepEqual(told(scene.take()), []);
  scene.caller(600, false);
  const types = scene.events.map((event) => event.type);
  assert.deepEqual(told(scene.take()), ["Hello.", "= Hello."]);
  assert(types.indexOf("conversation.item.added") < types.indexOf(`${WORDS}completed`));
});

test("hearing that failed is told when no answer brought the words, and not before", () => {
  const failure = { code: "transcription_failed", message: "refused" };
  const failing = () => {
    const scene = new Scene(clientPlayout, transcribing, true);
    scene.caller(1000, true);
    const id = itemOf(scene);
    scene.caller(600, false);
    scene.heard(id, failure);
    assert.deepEqual(told(scene.take()), []);
    return { scene, id };
  };
  const lost = failing();
  lost.scene.finish({ code: "engine_failed", message: "refused" });
  assert.deepEqual(told(lost.scene.take()), ["! transcription_failed"]);
  const found = failing();
  found.scene.engine({ kind: "inputTranscript", itemId: found.id, text: "Hello." });
  found.scene.finish();
  assert.deepEqual(told(found.scene.take()), ["Hello.", "= Hello."]);
});

test("a transcription session without an engine that hears says so for every turn", () => {
  const scene = new Scene(clientPlayout, { type: "transcription" });
  scene.caller(1000, true);
  scene.caller(600, false);
  assert.deepEqual(told(scene.take()), ["! no_speech_recognition"]);
});

test("nobody who did not ask is told of words, but the conversation has them", () => {
  const scene = new Scene(serverPlayout, {}, true);
  scene.caller(1000, true);
  const id = itemOf(scene);
  scene.caller(600, false);
  scene.heard(id, { kind: "final", text: "Hello." });
  assert.deepEqual(told(scene.take()), []);
  scene.client({ type: "conversation.item.retrieve", item_id: id });
  assert.match(JSON.stringify(scene.take()), /"transcript":"Hello\."/);
});
