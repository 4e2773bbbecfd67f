/** A conversation that another transceiver goes on with. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LinkCapabilities } from "./link.ts";
import { clientPlayout, Scene, serverPlayout } from "./testing.ts";

const ask = (scene: Scene, words: string) => {
  const content = [{ type: "input_text", text: words }];
  scene.client({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  scene.client({ type: "response.create" });
};
const buffered = { ...clientPlayout, reset: true };

/** The conversation of `scene` as it is now, at another transceiver; its client is back and says where the ear is. */
function takeOver(scene: Scene, capabilities: LinkCapabilities, heard?: { itemId: string; positionMs: number }) {
  const restored = scene.conversation.snapshot(scene.now);
  const next = new Scene(capabilities, {}, false, [], { session: restored.session, restored });
  next.take();
  next.goOn(heard);
  return { next, restored };
}
const requested = (scene: Scene) => JSON.stringify(scene.commands.findLast(({ kind }) => kind === "respond"));

test("an answer that died mid-word is cut where the ear was, by the client's word, and the agent is asked to go on", () => {
  const scene = new Scene(serverPlayout);
  ask(scene, "My name is Ada.");
  const utterance = scene.speak(2000, "One two three four five six seven eight.");
  scene.send(utterance, 600);
  const { next } = takeOver(scene, serverPlayout, { itemId: utterance.itemId, positionMs: 1000 });
  const events = next.take();
  const types = events.map(({ type }) => type);
  assert.deepEqual(types.slice(0, 3), ["output_audio_buffer.cleared", "conversation.item.truncated", "response.done"]);
  const done = events.find((event) => event.type === "response.done");
  assert.ok(
    done?.type === "response.done" && done.response.status === "failed" && done.response.id === scene.responseId,
  );
  const request = requested(next);
  assert.match(request, /My name is Ada/);
  assert.match(request, /One two three four/);
  assert.doesNotMatch(request, /eight/);
  assert.match(request, /The line broke/);
});

test("an answer that the client holds whole is played to its end, and can still be cut where the ear is", () => {
  const scene = new Scene(buffered);
  ask(scene, "Well?");
  const utterance = scene.speak(2000, "One two three four five six seven eight.");
  scene.finish();
  scene.deliver(utterance, 2000);
  const { next } = takeOver(scene, buffered, { itemId: utterance.itemId, positionMs: 500 });
  assert.deepEqual([next.takeTypes(), next.commands.some(({ kind }) => kind === "respond")], [[], false]);
  next.advance(500);
  next.client({ type: "output_audio_buffer.clear" });
  const cut = next.take().find((event) => event.type === "conversation.item.truncated");
  assert.ok(cut?.type === "conversation.item.truncated" && cut.audio_end_ms === 1000);
});

test("a late report on speech that the takeover cut is no error, as one on speech that never was is", () => {
  const scene = new Scene(serverPlayout);
  ask(scene, "Well?");
  const utterance = scene.speak(2000, "One two three four five six seven eight.");
  scene.send(utterance, 600);
  const { itemId } = utterance;
  const report = (item_id: string) => {
    const times = { started_ms: 9000, position_ms: 640, at_ms: 9640 };
    next.client({ type: "sluice.playout.report", item_id, ...times });
    return next.takeTypes().filter((type) => type === "error");
  };
  let { next } = takeOver(scene, serverPlayout, { itemId, positionMs: 600 });
  next.take();
  assert.deepEqual([report(itemId), report("item_never")], [[], ["error"]]);
  // Speech that was not yet in what was saved: only the client's own word tells of it.
  next = takeOver(new Scene(serverPlayout), serverPlayout, { itemId: "item_young", positionMs: 40 }).next;
  assert.deepEqual([report("item_young"), report("item_never")], [[], ["error"]]);
});

test("a turn that nobody answered is answered, unless the client asks for answers itself", () => {
  const scene = new Scene(serverPlayout);
  ask(scene, "Well?");
  const { next } = takeOver(scene, serverPlayout);
  assert.match(requested(next), /Well\?/);
  assert.doesNotMatch(requested(next), /The line broke/);
  const turn_detection = { type: "server_vad", create_response: false };
  scene.client({ type: "session.update", session: { type: "realtime", audio: { input: { turn_detection } } } });
  assert.equal(
    takeOver(scene, serverPlayout).next.commands.some(({ kind }) => kind === "respond"),
    false,
  );
});

test("what is kept is bounded: the newest items, and the caller's last seconds where no transcript says what was said", () => {
  const scene = new Scene(serverPlayout);
  scene.caller(10_000, true);
  scene.caller(1000, false);
  scene.finish();
  const [spoken] = scene.conversation.snapshot(scene.now).items;
  assert.equal(spoken?.caller?.pcm.length, 8000 * 24);
  for (let at = 0; at < 20; at++) ask(scene, `${at} ${"x".repeat(1000)}`);
  const { items } = scene.conversation.snapshot(scene.now, { size: 5000 });
  assert.ok(items.length < 5 && JSON.stringify(items).includes("19 x"));
});
