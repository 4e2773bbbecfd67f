import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { test } from "node:test";
import { concatenate, findIn, microphoneWav, onsetMs, resample, silence, speak, voicedSpans } from "./speech.ts";
import { parseWav } from "./wav.ts";

test("speaks a sentence loud enough to be a voice", async () => {
  const pcm = await speak("The quick brown fox jumps over the lazy dog.");
  const spans = voicedSpans(pcm, { sampleRate: 24_000 });
  assert.ok(spans.reduce((ms, { startMs, endMs }) => ms + endMs - startMs, 0) > 1500);
});

test("speaks faster when asked to", async () => {
  const [usual, fast] = [
    await speak("One two three four five."),
    await speak("One two three four five.", { speed: 2 }),
  ];
  assert.ok(fast.length < usual.length * 0.7);
});

test("writes a microphone file at Chromium's rate with every part in its place", async () => {
  const sentence = await speak("Hello there.");
  const path = await microphoneWav([silence(500), sentence, silence(250)]);
  const wav = parseWav(await readFile(path));
  await rm(dirname(path), { recursive: true });
  assert.ok(wav);
  assert.deepEqual([wav.sampleRate, wav.channels], [48_000, 1]);
  assert.equal(wav.pcm.length, (500 + 250) * 48 + sentence.length * 2);
  const found = findIn(resample(wav.pcm, 48_000, 24_000), sentence);
  assert.ok(Math.abs(found.lag - 500 * 24) <= 1, `found at ${found.lag / 24} ms`);
  assert.ok(found.score > 0.99);
});

test("finds words within other words, and not those that were not said", async () => {
  const [needle, other] = [
    await speak("bananas and apples"),
    await speak("Tomorrow it may rain again.", { voice: "echo" }),
  ];
  const recording = concatenate([other, silence(300), needle.map((sample) => sample / 3), other]);
  const found = findIn(recording, needle);
  assert.equal(found.lag, other.length + 300 * 24);
  assert.ok(found.score > 0.99);
  assert.ok(findIn(other, needle.subarray(0, other.length >> 1)).score < 0.4);
});

test("tells when a voice begins after a quiet stretch", async () => {
  const sentence = await speak("Yes.");
  const own = onsetMs(sentence, { sampleRate: 24_000 }) ?? Number.NaN;
  const onset = onsetMs(concatenate([silence(1000), sentence]), { sampleRate: 24_000 }, 200);
  assert.equal(onset, own + 1000);
  assert.equal(onsetMs(silence(500), { sampleRate: 24_000 }), undefined);
});
