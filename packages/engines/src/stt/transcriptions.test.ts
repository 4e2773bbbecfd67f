import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Pcm, SAMPLES_PER_MS, type SttEvent } from "@sluice/conversation";
import { testFaults } from "../contract/faults.ts";
import { type HttpReply, startHttpUpstream } from "../contract/upstream.ts";
import { createTranscriptions, type TranscriptionsOptions } from "./transcriptions.ts";

const never = new AbortController().signal;
const second = new Int16Array(1000 * SAMPLES_PER_MS).fill(100);

const json = (value: unknown): HttpReply => ({
  contentType: "application/json",
  parts: [JSON.stringify(value).slice(0, 5), JSON.stringify(value).slice(5)],
  nothing: ["{}"],
});
const events = (...list: readonly object[]): HttpReply => ({
  contentType: "text/event-stream",
  parts: list.map((event) => `data: ${JSON.stringify(event)}\n\n`),
  nothing: [],
});
const streamed = events(
  { type: "transcript.text.delta", delta: "Good" },
  { type: "transcript.text.delta", delta: " morning." },
  { type: "transcript.text.done", text: "Good morning.", usage: {} },
);

let reply = json({ text: "Good morning." });
const forms: string[] = [];
const upstream = startHttpUpstream((_request, body) => {
  forms.push(body.toString("latin1"));
  return reply;
});
after(async () => (await upstream).close());

for (const stream of [true, false]) {
  testFaults(stream ? "transcriptions, streamed" : "transcriptions", {
    start: () => startHttpUpstream(() => (stream ? streamed : json({ text: " Good morning. " }))),
    call: ({ url, ...options }, signal) =>
      createTranscriptions({ baseUrl: url, model: "m", stream, ...options }).transcribe(once(second), {}, signal),
    check: (heard) => assert.deepEqual(heard.at(-1), { kind: "final", text: "Good morning." }),
    // A reply as a whole: what is no JSON is a text, and only its length is bounded.
    immune: stream ? [] : ["malformed", "endless"],
  });
}

test("transcriptions: partials come while the server finds words", async () => {
  reply = streamed;
  assert.deepEqual(await transcribe(), [
    { kind: "partial", text: "Good", stable: false },
    { kind: "partial", text: "Good morning.", stable: false },
    { kind: "final", text: "Good morning." },
  ]);
});

test("transcriptions: other ways to stream, and plain text, are understood", async () => {
  for (const other of [
    events({ choices: [{ delta: { content: "Good " } }] }, { choices: [{ delta: { content: "morning." } }] }),
    events({ text: "Good", start: 0 }, { text: "morning.", start: 1 }),
    { contentType: "text/plain", parts: ["Good morning.\n"], nothing: [] },
  ]) {
    reply = other;
    assert.deepEqual((await transcribe()).at(-1), { kind: "final", text: "Good morning." });
  }
});

test("transcriptions: the form holds the speech as WAV, and what is known of it", async () => {
  reply = json({ text: "Hi.", language: "en" });
  const heard = await transcribe({ fields: { temperature: "0" } }, { language: "en-GB", prompt: "Sluice" });
  assert.deepEqual(heard, [{ kind: "final", text: "Hi.", language: "en" }]);
  const form = forms.at(-1)!;
  for (const [name, value] of Object.entries({ model: "m", language: "en", prompt: "Sluice", temperature: "0" }))
    assert.ok(form.includes(`name="${name}"\r\n\r\n${value}\r\n`), name);
  assert.match(form, /name="file"; filename="speech.wav"\r\nContent-Type: audio\/wav\r\n\r\nRIFF/);
});

test("transcriptions: a click is no utterance, and costs no request", async () => {
  const before = forms.length;
  assert.deepEqual(await transcribe({}, {}, once(second.subarray(0, 100))), [{ kind: "final", text: "" }]);
  assert.equal(forms.length, before);
});

test("transcriptions: partials of a growing utterance, one at a time; two alike are stable", async () => {
  reply = json({ text: "Good morning." });
  const before = forms.length;
  async function* growing() {
    for (let piece = 0; piece < 20; piece++) {
      yield second.subarray(0, 100 * SAMPLES_PER_MS);
      await sleep(10);
    }
  }
  const heard = await transcribe({ partialEveryMs: 500 }, {}, growing());
  assert.deepEqual(heard.at(0), { kind: "partial", text: "Good morning.", stable: false });
  assert.ok(heard.slice(1, -1).every((event) => event.kind === "partial" && event.stable));
  assert.deepEqual(heard.at(-1), { kind: "final", text: "Good morning." });
  assert.ok(forms.length - before <= 5, `${forms.length - before} requests`);
});

test("transcriptions: an utterance that is there as a whole needs no partial", async () => {
  const before = forms.length;
  await transcribe({ partialEveryMs: 100 });
  assert.equal(forms.length - before, 1);
});

async function transcribe(
  options: Partial<TranscriptionsOptions> = {},
  stt = {},
  audio: AsyncIterable<Pcm> = once(second),
): Promise<SttEvent[]> {
  const engine = createTranscriptions({ baseUrl: (await upstream).url, model: "m", ...options });
  const heard: SttEvent[] = [];
  for await (const event of engine.transcribe(audio, stt, never)) heard.push(event);
  return heard;
}

async function* once(pcm: Pcm): AsyncGenerator<Pcm> {
  yield pcm;
}
