/** Spoken test material, made by eSpeak NG when it is needed: no recording of a person is kept here. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SAMPLE_RATE } from "@sluice/conversation";
import { createEspeak, type Espeak, Resampler } from "@sluice/engines";
import { encodeWav } from "./wav.ts";

export { envelope, type Found, findIn, onsetMs, type Span, type SpanOptions, voicedSpans } from "./listen.ts";

/** Chromium's fake microphone runs at this rate; other rates are resampled badly by it. */
const MICROPHONE_RATE = 48_000;

/** How a sentence is to be spoken. */
export interface SpeakOptions {
  /** A voice of eSpeak NG or of OpenAI; default: American English. */
  readonly voice?: string;
  /** 1 is the usual pace. */
  readonly speed?: number;
  /** Samples per second of the result; default 24,000. */
  readonly sampleRate?: number;
}

let espeak: Promise<Espeak | undefined> | undefined;

/** `text` as mono PCM. */
export async function speak(
  text: string,
  { voice, speed, sampleRate = SAMPLE_RATE }: SpeakOptions = {},
): Promise<Int16Array> {
  const engine = await (espeak ??= createEspeak());
  if (!engine) throw new Error("test speech needs @echogarden/espeak-ng-emscripten: run npm ci with optional packages");
  const options = { ...(voice === undefined ? {} : { voice }), ...(speed === undefined ? {} : { speed }) };
  const pieces: Int16Array[] = [];
  for await (const event of engine.speak(once(text), options, new AbortController().signal))
    if (event.kind === "audio") pieces.push(event.pcm);
  return resample(concatenate(pieces), SAMPLE_RATE, sampleRate);
}

/** What eSpeak NG makes of phonemes (its own mnemonics, as in `m-hm`), which its texts cannot say. In this thread. */
export async function speakPhonemes(
  phonemes: string,
  { voice = "en-us", speed = 1 }: SpeakOptions = {},
): Promise<Int16Array> {
  const module = "@echogarden/espeak-ng-emscripten"; // optional: no types to resolve
  phonemeVoice ??= import(module).then(async ({ default: load }) => new (await load()).eSpeakNGWorker());
  const espeak = await phonemeVoice;
  espeak.set_voice(voice);
  espeak.set_rate(Math.round(175 * speed));
  const pieces: Int16Array[] = [];
  espeak.synthesize(`[[${phonemes}]]`, (chunk) => {
    pieces.push(chunk.slice());
    return false;
  });
  return resample(concatenate(pieces), espeak.get_samplerate(), SAMPLE_RATE);
}

interface PhonemeVoice {
  set_voice(name: string): number;
  set_rate(wordsPerMinute: number): void;
  get_samplerate(): number;
  synthesize(text: string, onChunk: (pcm: Int16Array) => boolean): void;
}

let phonemeVoice: Promise<PhonemeVoice> | undefined;

/** Nothing, for `ms` milliseconds. */
export function silence(ms: number, sampleRate: number = SAMPLE_RATE): Int16Array {
  return new Int16Array(Math.round((ms * sampleRate) / 1000));
}

/** The pieces one after another. */
export function concatenate(pieces: readonly Int16Array[]): Int16Array {
  const whole = new Int16Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** The whole of `pcm` at another rate. */
export function resample(pcm: Int16Array, fromRate: number, toRate: number): Int16Array {
  if (fromRate === toRate) return pcm;
  const resampler = new Resampler(fromRate, toRate);
  return concatenate([resampler.process(pcm), resampler.end()]);
}

/** Writes `parts` (24 kHz) one after another as a file for Chromium's fake microphone, into `folder` or a new one; its path. */
export async function microphoneWav(parts: readonly Int16Array[], folder?: string): Promise<string> {
  const path = join(folder ?? (await mkdtemp(join(tmpdir(), "sluice-"))), `microphone-${crypto.randomUUID()}.wav`);
  const pcm = resample(concatenate(parts), SAMPLE_RATE, MICROPHONE_RATE);
  await writeFile(path, encodeWav({ sampleRate: MICROPHONE_RATE, channels: 1, pcm }));
  return path;
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
