/**
 * The thread that runs eSpeak NG. Its synthesis is one synchronous call of 60 to 330 ms a sentence; here it delays
 * nobody's packets. Speech leaves in pieces of about 100 ms while the call runs; a set flag ends the call.
 */
import { parentPort } from "node:worker_threads";
import { SAMPLE_RATE } from "@sluice/conversation";
import { Resampler } from "./resampler.ts";

/** One sentence to speak. `cancelled[0]` becomes 1 when nobody wants it any more. */
export interface SpeakJob {
  readonly id: number;
  readonly text: string;
  readonly voice: string;
  readonly wordsPerMinute: number;
  readonly cancelled: Int32Array<SharedArrayBuffer>;
}

/** What the thread says; `at` counts code points of the text from 0, `startMs` is a time in this sentence. */
export type WorkerMessage =
  | { readonly kind: "ready"; readonly voices: readonly EspeakVoice[] }
  | { readonly kind: "word"; readonly id: number; readonly at: number; readonly startMs: number }
  | { readonly kind: "audio"; readonly id: number; readonly pcm: Int16Array<ArrayBuffer> }
  | { readonly kind: "done"; readonly id: number };

/** A voice of eSpeak NG and the languages it speaks, BCP 47 in lower case, best first. */
export interface EspeakVoice {
  readonly identifier: string;
  readonly name: string;
  readonly languages: readonly { readonly name: string; readonly priority: number }[];
}

/** The part of the Emscripten module that is used here. */
interface EspeakModule {
  eSpeakNGWorker: new () => Espeak;
}
interface Espeak {
  set_voice(name: string): number;
  set_rate(wordsPerMinute: number): void;
  get_samplerate(): number;
  list_voices(): EspeakVoice[];
  synthesize(text: string, onChunk: (pcm: Int16Array, events: readonly EspeakEvent[]) => boolean): void;
}
interface EspeakEvent {
  readonly type: string;
  readonly text_position: number; // in code points from 1
  readonly audio_position: number; // ms
}

const MODULE = "@echogarden/espeak-ng-emscripten"; // a variable: an optional package has no types to resolve
const DEFAULT_VOICE = "en-us";

const { default: load } = (await import(MODULE)) as { default: () => Promise<EspeakModule> };
const module = await load();
const espeak = new module.eSpeakNGWorker();
let voice = "";

/** Speaks one sentence; ends early within one piece of audio, 1 to 2 ms, once it is cancelled. */
function speak({ id, text, voice: wanted, wordsPerMinute, cancelled }: SpeakJob): void {
  if (Atomics.load(cancelled, 0) === 0) {
    useVoice(wanted);
    espeak.set_rate(wordsPerMinute);
    const resampler = new Resampler(espeak.get_samplerate(), SAMPLE_RATE);
    espeak.synthesize(withoutMarkup(text), (chunk, events) => {
      if (Atomics.load(cancelled, 0) !== 0) return true;
      for (const { type, text_position, audio_position } of events)
        if (type === "word") post({ kind: "word", id, at: text_position - 1, startMs: audio_position });
      postAudio(id, resampler.process(chunk));
      return false;
    });
    postAudio(id, resampler.end());
  }
  post({ kind: "done", id });
}

function useVoice(wanted: string): void {
  if (wanted === voice) return; // loading a voice takes milliseconds
  if (espeak.set_voice(wanted) !== 0) espeak.set_voice(DEFAULT_VOICE);
  voice = wanted;
}

/** eSpeak NG reads tags as SSML and `[[` as phonemes; a space for each keeps every position. */
function withoutMarkup(text: string): string {
  return text.replace(/[<>[\]]|&(?=#?\w+;)/g, " ").replace(/\0/g, " ");
}

function postAudio(id: number, pcm: Int16Array): void {
  if (pcm.length === 0) return;
  const own = pcm.slice();
  parentPort?.postMessage({ kind: "audio", id, pcm: own } satisfies WorkerMessage, [own.buffer]);
}

function post(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

// The first sentence after loading takes five times as long as any later one.
useVoice(DEFAULT_VOICE);
espeak.synthesize("Ready, 1.", () => false);
parentPort?.on("message", speak);
post({ kind: "ready", voices: espeak.list_voices() });
