/** The contract of `TextToSpeech`, as tests for any engine: `testTextToSpeech("espeak", createEspeak)`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SAMPLE_RATE, type TextToSpeech, type TtsEvent } from "@sluice/conversation";
import { endAfterAbort, leavesNothing } from "./resources.ts";

const SENTENCES = ["Good morning. ", "It is 1.5 degrees outside, ", "so take a coat with you. ", "Goodbye!"];

/** Declares the tests of the engine that `create` makes; `create` is called once. */
export function testTextToSpeech(name: string, create: () => Promise<TextToSpeech>): void {
  let created: Promise<TextToSpeech> | undefined;
  const withTts = (sentence: string, run: (tts: TextToSpeech) => Promise<void>) =>
    test(`${name}: ${sentence}`, async () => run(await (created ??= create())));
  const never = new AbortController().signal;

  withTts("speaks: sound of a plausible length and loudness", async (tts) => {
    const { pcm } = await collect(tts.speak(growing(SENTENCES), {}, never));
    assert.ok(pcm.length > 2 * SAMPLE_RATE && pcm.length < 15 * SAMPLE_RATE, `${pcm.length / SAMPLE_RATE} s`);
    const loudest = pcm.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
    assert.ok(loudest > 3000);
  });

  withTts("names words in order, if it names any, and together they are the text", async (tts) => {
    const { words, pcm } = await collect(tts.speak(growing(SENTENCES), {}, never));
    if (words.length === 0) return;
    assert.equal(words.map(({ text }) => text).join(""), SENTENCES.join(""));
    const starts = words.map(({ startMs }) => startMs);
    assert.deepEqual(
      starts,
      starts.toSorted((a, b) => a - b),
    );
    assert.ok(starts.every((start) => start >= 0 && start <= (pcm.length / SAMPLE_RATE) * 1000));
  });

  withTts("speaks the first sentence while the text is still growing", async (tts) => {
    const more = Promise.withResolvers<void>();
    async function* text() {
      yield "The first sentence is whole. And the";
      await more.promise; // only once sound was heard
      yield " second one comes later.";
    }
    let samples = 0;
    for await (const event of tts.speak(text(), {}, never)) {
      if (event.kind !== "audio") continue;
      samples += event.pcm.length;
      more.resolve();
    }
    assert.ok(samples > SAMPLE_RATE);
  });

  withTts("says nothing for no text", async (tts) => {
    assert.equal((await collect(tts.speak(growing([]), {}, never))).pcm.length, 0);
  });

  withTts("speaks for several at once, to each what was theirs", async (tts) => {
    const texts = ["One.", "One, two, three, four, five, six, seven.", "Two."];
    const alone = await Promise.all(texts.map((text) => collect(tts.speak(growing([text]), {}, never))));
    assert.ok(alone[1]!.pcm.length > alone[0]!.pcm.length && alone[1]!.pcm.length > alone[2]!.pcm.length);
  });

  withTts("survives markup, emoji and an unknown voice", async (tts) => {
    const text = 'Say <break time="3s"/> [[h@l]] & "nothing" 🙂 — really?';
    const { pcm, words } = await collect(tts.speak(growing([text]), { voice: "no such voice" }, never));
    assert.ok(pcm.length > 0);
    if (words.length > 0) assert.equal(words.map((word) => word.text).join(""), text);
  });

  withTts("ends within 50 ms of an abort, and leaves nothing", async (tts) => {
    await leavesNothing(async () => {
      const delays = await Promise.all([0, 1, 2].map(() => abortAfterFirstSound(tts)));
      assert.ok(Math.min(...delays) < 50, `${delays} ms`); // the fastest: other tests run beside this one
    });
  });

  withTts("ends at an abort while it waits for text", async (tts) => {
    const controller = new AbortController();
    async function* text() {
      yield "Well, ";
      await new Promise(() => {}); // a model that says no more
    }
    const iteration = collect(tts.speak(text(), {}, controller.signal));
    await new Promise(setImmediate);
    assert.ok((await endAfterAbort(controller, iteration)) < 1000);
  });

  withTts("says nothing when it was aborted before", async (tts) => {
    const { pcm } = await collect(tts.speak(growing(SENTENCES), {}, AbortSignal.abort()));
    assert.equal(pcm.length, 0);
  });

  withTts("leaves nothing when nobody reads on", async (tts) => {
    await leavesNothing(async () => {
      for await (const event of tts.speak(growing(SENTENCES), {}, never)) if (event.kind === "audio") break;
    });
  });
}

async function abortAfterFirstSound(tts: TextToSpeech): Promise<number> {
  const controller = new AbortController();
  const heard = Promise.withResolvers<void>();
  const read = async () => {
    for await (const event of tts.speak(growing([SENTENCES.join("").repeat(5)]), {}, controller.signal))
      if (event.kind === "audio") heard.resolve();
  };
  const iteration = read();
  await heard.promise;
  return endAfterAbort(controller, iteration);
}

async function collect(events: AsyncIterable<TtsEvent>) {
  const pieces: Int16Array[] = [];
  const words: { text: string; startMs: number }[] = [];
  for await (const event of events) {
    if (event.kind === "audio") pieces.push(event.pcm);
    else words.push(event);
  }
  return { pcm: Int16Array.from(pieces.flatMap((piece) => [...piece])), words };
}

async function* growing(texts: readonly string[]): AsyncGenerator<string> {
  yield* texts;
}
