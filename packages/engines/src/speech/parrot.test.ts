import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ContextItem,
  type ContextPart,
  type Pcm,
  SAMPLES_PER_MS,
  type SpeechEvent,
  type SpeechRequest,
  type TextToSpeech,
} from "@sluice/conversation";
import { testSpeechToSpeech } from "../contract/index.ts";
import { createParrot, OWN_WORDS } from "./parrot.ts";

/** A synthesiser that gives 10 ms of a constant for each word. */
const scripted: TextToSpeech = {
  async *speak(text) {
    for await (const delta of text)
      for (const word of delta.match(/\S+\s*/g) ?? []) {
        yield { kind: "word", text: word, startMs: 0 };
        yield { kind: "audio", pcm: new Int16Array(10 * SAMPLES_PER_MS).fill(1) };
      }
  },
};

const sound = Int16Array.from({ length: 2000 * SAMPLES_PER_MS }, (_, at) => Math.round(9000 * Math.sin(at / 9)));
testSpeechToSpeech(
  "parrot",
  async () => createParrot({ tts: scripted }),
  async () => sound,
);
testSpeechToSpeech(
  "parrot without a synthesiser",
  async () => createParrot({ tts: undefined }),
  async () => sound,
);

test("repeats the caller's voice, then says how long it heard and how soon it began", async () => {
  const { pcm, transcript } = await answer({
    parts: [speech(300, 1700)],
    began: { afterSpeechMs: 619.6, clock: "egress" },
  });
  const echo = (1400 + 90) * SAMPLES_PER_MS;
  assert.deepEqual(
    pcm.slice(1000, 1100),
    louder(sound.slice(270 * SAMPLES_PER_MS + 1000, 270 * SAMPLES_PER_MS + 1100)),
  );
  assert.equal(pcm[echo], 1);
  assert.equal(transcript, `${OWN_WORDS} I heard you for 1.4 seconds, and began 620 milliseconds after you stopped.`);
});

test("says what was said when it is known, and whose ear it was when the client told", async () => {
  const parts = [speech(0, 1000, "good morning")];
  const { transcript } = await answer({ parts, began: { afterSpeechMs: 200, clock: "client" } });
  assert.equal(
    transcript,
    "good morning I heard you for 1.0 second, and you heard me 200 milliseconds after you stopped.",
  );
});

test("gives the echo before the pipe can know when it began", async () => {
  const began = Promise.withResolvers<{ afterSpeechMs: number; clock: "egress" }>();
  const session = createParrot({ tts: scripted }).open(new AbortController().signal);
  let samples = 0;
  for await (const event of session.respond(request([speech(0, 1000)], began.promise), new AbortController().signal)) {
    if (event.kind === "audio") samples += event.pcm.length;
    if (samples > 0) began.resolve({ afterSpeechMs: 5, clock: "egress" });
  }
  assert.ok(samples > 1090 * SAMPLES_PER_MS);
});

test("does without the number when the pipe never tells it", async () => {
  const session = createParrot({ tts: scripted, beganWithinMs: 1 }).open(new AbortController().signal);
  for (const settle of [
    () => {},
    (_: unknown, reject: (error: Error) => void) => reject(new Error("the pipe is gone")),
  ]) {
    const began = new Promise<never>(settle);
    const { transcript } = await collect(
      session.respond(request([speech(0, 1000)], began), new AbortController().signal),
    );
    assert.equal(transcript, `${OWN_WORDS} I heard you for 1.0 second.`);
  }
});

test("reads typed text back and explains itself", async () => {
  const { transcript } = await answer({ parts: [{ kind: "text", text: "hello" }] });
  assert.match(transcript, /^You wrote: hello\. I am the built-in parrot/);
});

test("answers the newest item of the caller", async () => {
  const items: ContextItem[] = [
    { id: "a", role: "user", parts: [{ kind: "text", text: "first" }] },
    { id: "b", role: "assistant", parts: [{ kind: "text", text: "You wrote: first." }] },
    { id: "c", role: "user", parts: [{ kind: "text", text: "second" }] },
  ];
  const session = createParrot({ tts: scripted }).open(new AbortController().signal);
  const { text } = await collect(
    session.respond({ ...request([], undefined), items, modality: "text" }, new AbortController().signal),
  );
  assert.match(text, /^You wrote: second\./);
});

test("asks kindly to repeat when there was hardly a sound, or none is kept", async () => {
  for (const part of [speech(0, 20), { ...speech(0, 1000), pcm: undefined }])
    assert.match((await answer({ parts: [part] })).transcript, /^Sorry, I did not catch that/);
});

test("without a synthesiser it echoes, and its description says so", async () => {
  const parrot = createParrot({ tts: undefined });
  assert.match(parrot.description, /eSpeak NG is not installed/);
  const session = parrot.open(new AbortController().signal);
  const { pcm, transcript } = await collect(
    session.respond(request([speech(0, 500)], undefined), new AbortController().signal),
  );
  assert.equal(pcm.length, 560 * SAMPLES_PER_MS);
  assert.equal(transcript.trim(), OWN_WORDS);
});

type Parts = readonly ContextPart[];

function speech(voicedStartMs: number, voicedEndMs: number, transcript?: string) {
  return { kind: "audio" as const, pcm: sound as Pcm | undefined, transcript, voicedStartMs, voicedEndMs };
}

function request(parts: Parts, began: SpeechRequest["began"] | undefined): SpeechRequest {
  return {
    instructions: "",
    items: [{ id: "item_1", role: "user", parts }],
    modality: "audio",
    voice: "alloy",
    began: began ?? Promise.resolve({ afterSpeechMs: undefined, clock: "egress" }),
  };
}

async function answer({ parts, began }: { parts: Parts; began?: Awaited<SpeechRequest["began"]> }) {
  const session = createParrot({ tts: scripted }).open(new AbortController().signal);
  return collect(session.respond(request(parts, began && Promise.resolve(began)), new AbortController().signal));
}

async function collect(events: AsyncIterable<SpeechEvent>) {
  const samples: number[] = [];
  let [transcript, text] = ["", ""];
  for await (const event of events) {
    if (event.kind === "audio") samples.push(...event.pcm);
    else if (event.kind === "transcript") transcript += event.delta;
    else if (event.kind === "text") text += event.delta;
  }
  return { pcm: samples, transcript, text };
}

function louder(pcm: Int16Array): number[] {
  return [...pcm].map((sample) => Math.round((sample * 0.4 * 32_768) / 9000));
}
