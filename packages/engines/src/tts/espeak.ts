/**
 * Text to speech by eSpeak NG (GPL-3.0, an optional dependency): no key, no model, no network. Formant synthesis:
 * plain, but clear, in over a hundred languages, and about fifty times faster than speech.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { SAMPLES_PER_MS, type TextToSpeech, type TtsEvent, type TtsOptions } from "@sluice/conversation";
import { Channel } from "../channel.ts";
import type { EspeakVoice, SpeakJob, WorkerMessage } from "./espeak-worker.ts";
import { sentences } from "./sentences.ts";
import { chooseVoice } from "./voices.ts";

const WORDS_PER_MINUTE = 175; // eSpeak NG's own pace
const SLOWEST = 80;
const FASTEST = 450;

/** eSpeak NG as an engine; `close` ends its thread, which otherwise never keeps a process alive. */
export interface Espeak extends TextToSpeech {
  close(): Promise<void>;
}

/** Starts eSpeak NG in a thread of its own; `undefined` when the optional package is not installed. */
export async function createEspeak(): Promise<Espeak | undefined> {
  try {
    import.meta.resolve("@echogarden/espeak-ng-emscripten");
  } catch {
    return undefined; // left out with `npm ci --omit=optional`
  }
  const thread = new EspeakThread();
  const voices = await thread.start();
  return {
    speak: (text, options, signal) => speak(thread, voices, text, options, signal),
    close: () => thread.close(),
  };
}

/** Sentence by sentence, the next one only once the one before is out: that bounds what an abort throws away. */
async function* speak(
  thread: EspeakThread,
  voices: readonly EspeakVoice[],
  text: AsyncIterable<string>,
  options: TtsOptions,
  signal: AbortSignal,
): AsyncGenerator<TtsEvent> {
  const voice = chooseVoice(voices, options);
  const wordsPerMinute = Math.max(SLOWEST, Math.min(FASTEST, Math.round(WORDS_PER_MINUTE * (options.speed ?? 1))));
  let samples = 0;
  for await (const sentence of sentences(text, signal)) {
    const startMs = samples / SAMPLES_PER_MS;
    const words = new WordFinder(sentence);
    for await (const message of thread.speak({ text: sentence, voice, wordsPerMinute }, signal)) {
      if (message.kind === "audio") {
        samples += message.pcm.length;
        yield message;
      } else {
        const word = words.take(message.at);
        if (word !== "") yield { kind: "word", text: word, startMs: startMs + message.startMs };
      }
    }
    if (signal.aborted) return;
    const rest = words.rest();
    if (rest !== "") yield { kind: "word", text: rest, startMs: samples / SAMPLES_PER_MS };
  }
}

/** Gives each word of a text once, when its first sound begins; a number or a sign has several sounds. */
class WordFinder {
  readonly #words: readonly { readonly text: string; readonly start: number }[];
  #next = 0;

  constructor(sentence: string) {
    let start = 0;
    this.#words = (sentence.match(/\s*\S+\s*|\s+/g) ?? []).map((text) => {
      const word = { text, start };
      start += [...text].length;
      return word;
    });
  }

  /** The words not yet given up to the one at code point `at`, as they are written, white space included. */
  take(at: number): string {
    let text = "";
    while (this.#next < this.#words.length && this.#words[this.#next]!.start <= at)
      text += this.#words[this.#next++]!.text;
    return text;
  }

  /** What was not spoken: signs at the end. */
  rest(): string {
    return this.take(Number.POSITIVE_INFINITY);
  }
}

/** What the thread says of one sentence. */
type SpeechMessage = Extract<WorkerMessage, { kind: "audio" | "word" }>;

/** The thread and the sentences that it has been given; started again after a crash. */
class EspeakThread {
  #worker: Promise<Worker> | undefined;
  #voices: readonly EspeakVoice[] = [];
  readonly #jobs = new Map<number, Channel<SpeechMessage>>();
  #nextId = 0;
  #closed = false;

  /** Waits until the thread can speak; gives its voices. */
  async start(): Promise<readonly EspeakVoice[]> {
    await (this.#worker ??= this.#launch());
    return this.#voices;
  }

  /** Speaks one sentence; ends early, without an error, when `signal` aborts. */
  async *speak(sentence: Omit<SpeakJob, "id" | "cancelled">, signal: AbortSignal): AsyncGenerator<SpeechMessage> {
    if (this.#closed) throw new Error("the speech synthesiser is closed");
    await this.start();
    const worker = await this.#worker;
    if (signal.aborted || worker === undefined) return;
    const id = this.#nextId++;
    const channel = new Channel<SpeechMessage>();
    const cancelled = new Int32Array(new SharedArrayBuffer(4));
    const cancel = () => {
      Atomics.store(cancelled, 0, 1);
      channel.end();
    };
    this.#jobs.set(id, channel);
    worker.ref(); // somebody waits for it
    signal.addEventListener("abort", cancel, { once: true });
    try {
      worker.postMessage({ ...sentence, id, cancelled } satisfies SpeakJob);
      for await (const message of channel) {
        if (signal.aborted) return;
        yield message;
      }
    } finally {
      cancel(); // also when the consumer stops reading
      signal.removeEventListener("abort", cancel);
      this.#jobs.delete(id);
      if (this.#jobs.size === 0) worker.unref();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const worker = await this.#worker;
    await worker?.terminate();
  }

  #launch(): Promise<Worker> {
    const worker = new Worker(new URL(`./espeak-worker${extname(import.meta.url)}`, import.meta.url));
    return new Promise((resolve, reject) => {
      worker.on("message", (message: WorkerMessage) => {
        if (message.kind === "ready") {
          this.#voices = message.voices;
          worker.unref();
          resolve(worker);
        } else if (message.kind === "done") this.#jobs.get(message.id)?.end();
        else this.#jobs.get(message.id)?.push(message);
      });
      const onGone = (error: unknown) => {
        reject(error); // has no effect once it was ready
        this.#onGone(error);
      };
      worker.on("error", onGone);
      worker.on("exit", () => onGone(new Error("the speech synthesiser's thread ended")));
    });
  }

  /** Fails what was being spoken; the next sentence starts a new thread. */
  #onGone(error: unknown): void {
    this.#worker = undefined;
    for (const channel of this.#jobs.values()) channel.end(error);
  }
}
