import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pcm, SpeechToText, SttEvent } from "@sluice/conversation";
import { createScriptedStt } from "../scripted/engines.ts";
import { raceRecognition } from "./race.ts";

const never = new AbortController().signal;

async function* speech(pieces = 3): AsyncGenerator<Pcm> {
  for (let piece = 0; piece < pieces; piece++) yield new Int16Array(2400);
}

async function collect(stt: SpeechToText, signal = never): Promise<SttEvent[]> {
  const events: SttEvent[] = [];
  for await (const event of stt.transcribe(speech(), {}, signal)) events.push(event);
  return events;
}

const says = (text: string, ms: number, partialEveryMs = 0) =>
  createScriptedStt({ first: ms, hear: (pcm) => `${text} of ${pcm.length}`, partialEveryMs });

const fails = (message: string): SpeechToText => ({
  // biome-ignore lint/correctness/useYield: it fails before
  async *transcribe(audio) {
    for await (const _ of audio);
    throw new Error(message);
  },
});

test("the first to have its words counts, both having heard all of it, and the other is let go", async () => {
  let letGo = false;
  const slow: SpeechToText = {
    async *transcribe(_audio, _options, signal) {
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      letGo = true;
      yield { kind: "final", text: "too late" };
    },
  };
  assert.deepEqual(await collect(raceRecognition(slow, says("second", 5))), [
    { kind: "final", text: "second of 7200" },
  ]);
  assert.equal(letGo, true);
  assert.deepEqual(await collect(raceRecognition(says("first", 5), slow)), [{ kind: "final", text: "first of 7200" }]);
});

test("partial transcripts are those of one of them", async () => {
  const events = await collect(raceRecognition(says("first", 20, 100), says("second", 1, 100)));
  assert.deepEqual(
    events.map(({ kind, text }) => `${kind} ${text.split(" ")[0]}`),
    ["partial first", "partial first", "partial first", "final second"],
  );
});

test("one that fails is replaced, and where both do, the first one's reason is told", async () => {
  assert.deepEqual(await collect(raceRecognition(fails("broken"), says("second", 5))), [
    { kind: "final", text: "second of 7200" },
  ]);
  assert.deepEqual(await collect(raceRecognition(says("first", 5), fails("broken"))), [
    { kind: "final", text: "first of 7200" },
  ]);
  await assert.rejects(collect(raceRecognition(fails("one"), fails("two"))), /one/);
});

test("no words are an answer only when both have none, or the other fails", async () => {
  const deaf = createScriptedStt({ first: 1, hear: () => "" });
  assert.deepEqual(await collect(raceRecognition(deaf, says("second", 20))), [
    { kind: "final", text: "second of 7200" },
  ]);
  assert.deepEqual(await collect(raceRecognition(deaf, deaf)), [{ kind: "final", text: "" }]);
  assert.deepEqual(await collect(raceRecognition(deaf, fails("broken"))), [{ kind: "final", text: "" }]);
});

test("an abort ends both at once", async () => {
  const abort = new AbortController();
  const stalls = createScriptedStt({ first: 60_000, hear: () => "never" });
  const heard = collect(raceRecognition(stalls, stalls), abort.signal);
  setTimeout(() => abort.abort(), 20);
  const from = performance.now();
  assert.deepEqual(await heard, []);
  assert.ok(performance.now() - from < 1000);
});
