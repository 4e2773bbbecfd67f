import assert from "node:assert/strict";
import { test } from "node:test";
import type { LinkCapabilities } from "./link.ts";
import { clientPlayout, Scene, serverPlayout } from "./testing.ts";

const vad = (idle_timeout_ms: number | null) => ({
  audio: { input: { turn_detection: { type: "server_vad" as const, idle_timeout_ms } } },
});

/** A caller who was answered with two seconds of speech. */
function answered(capabilities: LinkCapabilities, idle_timeout_ms: number | null = 5000) {
  const scene = new Scene(capabilities, vad(idle_timeout_ms));
  scene.caller(1000, true);
  scene.caller(600, false);
  const utterance = scene.speak(2000, "What else?");
  scene.finish();
  if (capabilities.playout === "client") scene.deliver(utterance, 2000);
  return { scene, utterance };
}

const TURN = [
  "input_audio_buffer.timeout_triggered",
  "input_audio_buffer.committed",
  "conversation.item.added",
  "conversation.item.done",
  "response.created",
];

test("after an answer was heard and nobody speaks for the time asked for, the agent does", () => {
  const { scene } = answered(clientPlayout);
  scene.take();
  scene.advance(6900); // two seconds of playing, five of silence
  assert.deepEqual(scene.takeTypes(), []);
  scene.advance(200);
  const events = scene.take();
  assert.deepEqual(
    events.map((event) => event.type),
    TURN,
  );
  const [timeout, committed] = events;
  assert(
    timeout?.type === "input_audio_buffer.timeout_triggered" && committed?.type === "input_audio_buffer.committed",
  );
  assert.equal(timeout.item_id, committed.item_id);
  assert.equal(timeout.audio_end_ms, 1600);
  const respond = scene.commands.findLast((command) => command.kind === "respond");
  assert(respond?.kind === "respond");
  const last = respond.request.items.at(-1);
  assert(last?.role === "system", "a model is told why it is asked");
});

test("where we play, silence begins when the sound is out", () => {
  const { scene, utterance } = answered(serverPlayout);
  scene.send(utterance, 2000);
  scene.ended(utterance);
  scene.take();
  scene.advance(4900);
  assert.deepEqual(scene.takeTypes(), []);
  scene.advance(200);
  assert.deepEqual(scene.takeTypes(), TURN);
});

test("a caller who speaks is not hurried, and neither is one who was not to be", () => {
  const { scene } = answered(clientPlayout);
  scene.caller(6000, true);
  scene.take();
  scene.advance(10_000);
  assert(!scene.takeTypes().includes("input_audio_buffer.timeout_triggered"));
  const never = answered(clientPlayout, null).scene;
  never.take();
  never.advance(60_000);
  assert.deepEqual(never.takeTypes(), []);
});

test("an agent that broke the silence waits again, and for as long", () => {
  const { scene } = answered(clientPlayout);
  scene.advance(7100);
  const utterance = scene.speak(1000, "Are you there?");
  scene.finish();
  scene.deliver(utterance, 1000);
  scene.take();
  scene.advance(5900);
  assert.deepEqual(scene.takeTypes(), []);
  scene.advance(200);
  assert.deepEqual(scene.takeTypes(), TURN);
});
