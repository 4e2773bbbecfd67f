import assert from "node:assert/strict";
import { test } from "node:test";
import { InputBuffer } from "./input-buffer.ts";
import { Listener, voicedBounds } from "./listener.ts";
import { tone } from "./testing.ts";

const options = { threshold: 0.5, prefixMs: 300, silenceMs: 500 };

/** Voice for `ms`, told to the listener window by window; the audio itself is not. */
function voice(listener: Listener, fromMs: number, ms: number, probability = 0.9) {
  const levels = Array(4).fill(probability > 0.5 ? -15 : -100);
  for (let mediaMs = fromMs; mediaMs + 32 <= fromMs + ms; mediaMs += 32) {
    listener.handleVoice(1000 + mediaMs + 32, { mediaMs, durationMs: 32, probability, levels });
  }
}

test("a turn waits for the voice that is still being repaired, and is committed whole when it comes", () => {
  const listener = new Listener(options, () => "item");
  voice(listener, 0, 640);
  voice(listener, 640, 640, 0.05);
  const kinds = [listener.nextEvent()?.kind, listener.nextEvent()?.kind, listener.nextEvent()?.kind];
  assert.deepEqual(kinds, ["started", "stopped", undefined]);
  for (let mediaMs = 0; mediaMs < 640; mediaMs += 20) {
    listener.handleAudio(2300, { pcm: tone(20), mediaMs, origin: mediaMs === 100 ? "repaired" : "received" });
  }
  const committed = listener.nextEvent();
  assert(committed?.kind === "committed");
  assert.deepEqual(committed.utterance.frames, { received: 31, repaired: 1, fec: 0, concealed: 0 });
});

test("a turn whose audio never comes is committed without it after a bounded wait", () => {
  const listener = new Listener(options, () => "item");
  voice(listener, 0, 640);
  voice(listener, 640, 640, 0.05);
  while (listener.nextEvent());
  const due = listener.pollTimeout();
  assert.ok(due !== undefined);
  listener.handleTimeout(due);
  assert.equal(listener.nextEvent()?.kind, "committed");
});

test("one utterance never holds audio of the one before", () => {
  const listener = new Listener(options, () => "item");
  const speak = (fromMs: number) => {
    for (let mediaMs = fromMs; mediaMs < fromMs + 1300; mediaMs += 20) {
      listener.handleAudio(1000 + mediaMs, { pcm: tone(20), mediaMs, origin: "received" });
    }
    voice(listener, fromMs, 640);
    voice(listener, fromMs + 640, 640, 0.05);
    for (let event = listener.nextEvent(); event; event = listener.nextEvent()) {
      if (event.kind === "committed") return event.utterance;
    }
    return assert.fail("no utterance");
  };
  const first = speak(0);
  const second = speak(1300);
  assert.ok(Math.abs(first.pcm.length / 24 - 1140) <= 32);
  assert.ok(second.pcm.length / 24 <= 1300, `${second.pcm.length / 24}`);
});

test("the buffer is bounded, and tells what the bound cost", () => {
  const buffer = new InputBuffer(1000);
  for (let ms = 0; ms < 3000; ms += 20) buffer.append(tone(20), ms, "received");
  assert.equal(buffer.heldMs, 1000);
  assert.equal(buffer.droppedMs, 2000);
  assert.equal(buffer.slice(0, 3000).startMs, 2000);
});

test("a slice is cut to the sample", () => {
  const buffer = new InputBuffer(1000);
  buffer.append(
    Int16Array.from({ length: 480 }, (_, i) => i),
    0,
    "received",
  );
  const { pcm, startMs } = buffer.slice(5, 10);
  assert.equal(startMs, 5);
  assert.deepEqual([pcm.length, pcm[0], pcm.at(-1)], [120, 120, 239]);
});

test("the voice in a push-to-talk utterance is found by its level", () => {
  const pcm = new Int16Array(24_000);
  pcm.set(tone(400), 300 * 24);
  assert.deepEqual(voicedBounds(pcm), { startMs: 300, endMs: 700 });
});

test("an utterance under way is told piece by piece from its start, prefix included", () => {
  const listener = new Listener(options, () => "item", true);
  for (let mediaMs = 0; mediaMs < 1000; mediaMs += 20)
    listener.handleAudio(2000, { pcm: tone(20), mediaMs, origin: "received" });
  voice(listener, 640, 320);
  for (let mediaMs = 1000; mediaMs < 1100; mediaMs += 20)
    listener.handleAudio(2100, { pcm: tone(20), mediaMs, origin: "received" });
  let toldMs = 0;
  for (let event = listener.nextEvent(); event; event = listener.nextEvent()) {
    if (event.kind === "speech") toldMs += event.pcm.length / 24;
  }
  assert.equal(toldMs, 1100 - (640 - 300));
});

test("the words of an utterance under way are known, and of none after it", () => {
  const listener = new Listener(options, () => "item", true);
  voice(listener, 0, 640);
  listener.handleWords("another", "no");
  assert.equal(listener.words, undefined);
  listener.handleWords("item", "what is");
  assert.equal(listener.words, "what is");
  voice(listener, 640, 640, 0.05);
  assert.equal(listener.words, undefined);
});
