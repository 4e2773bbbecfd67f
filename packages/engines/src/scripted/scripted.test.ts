import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type LlmEvent, type LlmRequest, SAMPLES_PER_MS } from "@sluice/conversation";
import { testSpeechToSpeech, testTextToSpeech } from "../contract/index.ts";
import {
  createScriptedLlm,
  createScriptedSpeech,
  createScriptedStt,
  createScriptedTts,
  createScriptedTurnDetector,
  createScriptedVad,
} from "./engines.ts";
import { createDelays, createRandom } from "./random.ts";

const never = new AbortController().signal;
const sound = Int16Array.from({ length: 1000 * SAMPLES_PER_MS }, (_, at) => Math.round(9000 * Math.sin(at / 9)));
const request: LlmRequest = { instructions: "", items: [], tools: [], toolChoice: "auto", maxOutputTokens: "inf" };

testTextToSpeech("scripted", async () => createScriptedTts({ first: 1, between: 1 }));
testSpeechToSpeech(
  "scripted",
  async () => createScriptedSpeech({ first: 1, between: 1 }),
  async () => sound,
);

test("scripted delays have the quantiles that were asked for", () => {
  const delays = createDelays({ p50: 100, p95: 300, p99: 900, max: 1000 }, createRandom(7));
  const drawn = Array.from({ length: 20_000 }, delays).sort((a, b) => a - b);
  for (const [share, value] of [
    [0.5, 100],
    [0.95, 300],
    [0.99, 900],
  ] as const)
    assert.ok(Math.abs(drawn[Math.floor(share * drawn.length)]! / value - 1) < 0.1, `${share}`);
  assert.ok(drawn[0]! >= 50 && drawn.at(-1)! <= 1000);
  assert.throws(() => createDelays({ p50: 100, p95: 50 }, Math.random), RangeError);
});

test("the same seed plays the same, another seed another", async () => {
  const play = async (seed: number) => {
    const waits: number[] = [];
    const wait = async (ms: number) => void waits.push(ms);
    const llm = createScriptedLlm({ seed, first: { p50: 100, p95: 300 }, between: { p50: 20, p95: 50 }, sleep: wait });
    for (let call = 0; call < 2; call++) for await (const _ of llm.generate(request, never));
    return waits;
  };
  assert.deepEqual(await play(1), await play(1));
  assert.notDeepEqual(await play(1), await play(2));
});

test("faults come in the calls and at the places that were asked for", async () => {
  const faults = [
    { kind: "error", calls: [1], after: 2 },
    { kind: "cut", calls: [2] },
  ] as const;
  const llm = createScriptedLlm({ first: 0, faults });
  const words = async () => {
    const events: LlmEvent[] = [];
    try {
      for await (const event of llm.generate(request, never)) events.push(event);
      return events.filter(({ kind }) => kind === "text").length;
    } catch (error) {
      return [events.length, (error as { kind: string }).kind];
    }
  };
  assert.deepEqual([await words(), await words(), await words(), await words()], [10, [2, "failed"], [0, "cut"], 10]);
});

test("a share of faults is that share of the calls", async () => {
  const llm = createScriptedLlm({ first: 0, faults: [{ kind: "error", calls: { share: 0.3 } }] });
  let failed = 0;
  for (let call = 0; call < 500; call++) {
    try {
      for await (const _ of llm.generate(request, never)) break;
    } catch {
      failed++;
    }
  }
  assert.ok(failed > 110 && failed < 190, `${failed}`);
});

test("a stall lasts until the abort", async () => {
  const llm = createScriptedLlm({ first: 0, faults: [{ kind: "stall", calls: [0] }] });
  const controller = new AbortController();
  let ended = false;
  const read = (async () => {
    for await (const event of llm.generate(request, controller.signal)) assert.fail(event.kind);
    ended = true;
  })();
  await sleep(20);
  assert.equal(ended, false);
  controller.abort();
  await read;
});

test("scripted recognition tells partials, and hears what it is told to", async () => {
  const stt = createScriptedStt({ first: 0, partialEveryMs: 400 });
  async function* spoken() {
    for (let at = 0; at < 10; at++) yield sound.subarray(0, 100 * SAMPLES_PER_MS);
  }
  const heard = [];
  for await (const event of stt.transcribe(spoken(), {}, never)) heard.push(`${event.kind} ${event.text}`);
  assert.deepEqual(heard, [
    "partial That was 400 milliseconds.",
    "partial That was 800 milliseconds.",
    "final That was 1000 milliseconds.",
  ]);
});

test("a scripted detector judges loudness, and pauses as it is told to", async () => {
  const vad = createScriptedVad().open();
  assert.ok((await vad.detect(new Float32Array(512).fill(0.3))) > 0.5);
  assert.ok((await vad.detect(new Float32Array(512))) < 0.5);
  const detector = createScriptedTurnDetector({ first: 1, judge: ({ silenceMs }) => silenceMs / 1000 });
  assert.equal(await detector.detect({ audio: sound, transcript: undefined, silenceMs: 700 }, never), 0.7);
});
