import assert from "node:assert/strict";
import { after, test } from "node:test";
import { testTextToSpeech } from "../contract/index.ts";
import { createEspeak, type Espeak } from "./espeak.ts";

let espeak: Promise<Espeak> | undefined;

async function shared(): Promise<Espeak> {
  const engine = await createEspeak();
  assert.ok(engine);
  return engine;
}

function engine(): Promise<Espeak> {
  return (espeak ??= shared());
}

after(async () => (await espeak)?.close());
testTextToSpeech("espeak", engine);

test("speaks another language by other sounds", async () => {
  const [english, german] = [await speak("Neunundneunzig", {}), await speak("Neunundneunzig", { language: "de-AT" })];
  assert.ok(Math.abs(german.length / english.length - 1) > 0.05, `${german.length} of ${english.length} samples`);
});

test("speaks at the pace that was asked for, within what is intelligible", async () => {
  const usual = (await speak("One two three four five six.", {})).length;
  const twice = (await speak("One two three four five six.", { speed: 2 })).length;
  const absurd = (await speak("One two three four five six.", { speed: 1000 })).length;
  assert.ok(twice < usual * 0.65 && absurd > usual * 0.1);
});

test("refuses to speak once closed", async () => {
  const own = await shared();
  await own.close();
  await assert.rejects(async () => {
    for await (const event of own.speak(once("Hello."), {}, new AbortController().signal)) assert.fail(event.kind);
  });
});

async function speak(text: string, options: { voice?: string; speed?: number; language?: string }): Promise<number[]> {
  const samples: number[] = [];
  for await (const event of (await engine()).speak(once(text), options, new AbortController().signal))
    if (event.kind === "audio") samples.push(...event.pcm);
  return samples;
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
