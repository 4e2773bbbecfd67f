/** Engines that hear and speak tone words, as slowly as real ones: an agent whose every word can be scored at both ends. */
import {
  type Milli,
  SAMPLES_PER_MS,
  type SpeechToSpeech,
  type TextToSpeech,
  type TtsEvent,
  type VadEngine,
} from "@sluice/conversation";
import { createCascade, createDelays, createRandom, createScriptedLlm, createScriptedStt } from "@sluice/engines";
import type { InferenceProfile } from "../profiles/inference.ts";
import { tonePurity, transcribeTones } from "./listen.ts";
import { GAP_MS, speakTones } from "./voice.ts";

/** Quieter is silence, of full scale. */
const LOUD = 0.01;
/** Noise has a thirtieth of its energy in the tones; words have most, also where one chord becomes the other. */
const PURE = 0.4;
/** Silero's median is 0.12 for the coughs of `noises.ts` and 0.63 for its hums. */
const DOUBT = 0.4;

/** Settings of {@link createToneAgent}; its `sttFinal` runs from the moment at which it is told that the utterance is over. */
export interface ToneAgentOptions {
  readonly profile: Pick<
    InferenceProfile,
    "sttFinal" | "sttPartialEveryMs" | "llmFirst" | "llmWord" | "ttsFirst" | "ttsRate"
  >;
  readonly seed: number;
  /** What the agent answers, in words of the lexicon. */
  readonly reply: (heard: string) => string;
  /** Waits; default: by the machine's clock. */
  readonly sleep?: (ms: Milli, signal: AbortSignal) => Promise<void>;
}

/** The three engines, without what brings them together. */
export function createToneEngines({ profile, seed, reply, sleep }: ToneAgentOptions) {
  const waits = sleep === undefined ? {} : { sleep };
  const stt = createScriptedStt({
    seed,
    first: profile.sttFinal,
    partialEveryMs: profile.sttPartialEveryMs,
    hear: (pcm) => transcribeTones(pcm),
    ...waits,
  });
  const llm = createScriptedLlm({
    seed: seed + 1,
    first: profile.llmFirst,
    between: profile.llmWord,
    reply: ({ items }) => reply(lastSaid(items)),
    ...waits,
  });
  return { stt, llm, tts: createToneTts({ profile, seed: seed + 2, ...waits }) };
}

/** An agent of all three. */
export function createToneAgent(options: ToneAgentOptions): SpeechToSpeech {
  return createCascade({ ...createToneEngines(options), fallbackTts: async () => undefined });
}

/** Voice activity as tone words have it: certain of them, and in doubt about any other sound, as real detectors are about coughs. */
export function createToneVad(): VadEngine {
  const detect = async (window: Float32Array) => {
    const pcm = Int16Array.from(window, (sample) => Math.round(sample * 32_767));
    const loudness = Math.sqrt(window.reduce((sum, sample) => sum + sample * sample, 0) / window.length);
    if (loudness < LOUD) return 0.01;
    return tonePurity(pcm, 16_000) > PURE ? 0.99 : DOUBT;
  };
  return {
    open: () => ({ sampleRate: 16_000, windowSize: 512, detect, reset: () => {}, close: () => {} }),
    close: async () => {},
  };
}

/** A voice of tone words. Each piece is ready when a voice of this rate has made it. */
export function createToneTts({
  profile: { ttsFirst, ttsRate },
  seed,
  sleep = wait,
}: Pick<ToneAgentOptions, "seed" | "sleep"> & {
  readonly profile: Pick<InferenceProfile, "ttsFirst" | "ttsRate">;
}): TextToSpeech {
  const random = createRandom(seed);
  return {
    async *speak(text, _options, signal): AsyncGenerator<TtsEvent> {
      const first = createDelays(ttsFirst, createRandom(Math.floor(random() * 2 ** 32)));
      let whole = "";
      for await (const delta of text) {
        if (signal.aborted) return;
        whole += delta;
      }
      const { pcm, words } = speakTones(whole);
      if (words.length === 0) return;
      await sleep(first(), signal);
      if (signal.aborted) return;
      for (const { text: word, startMs } of words) yield { kind: "word", text: word, startMs };
      const size = ttsRate.pieceMs * SAMPLES_PER_MS;
      for (let at = 0; at < pcm.length; at += size) {
        // The first piece is what the first delay was spent on.
        if (at > 0) await sleep(ttsRate.pieceMs / ttsRate.realTimeFactor, signal);
        if (signal.aborted) return;
        yield { kind: "audio", pcm: pcm.slice(at, at + size) };
      }
      yield { kind: "audio", pcm: new Int16Array(GAP_MS * SAMPLES_PER_MS) }; // so that clauses do not run together
    },
  };
}

function lastSaid(items: readonly { readonly role: string }[]): string {
  const last = items.findLast(({ role }) => role === "user") as
    | { readonly parts: readonly { readonly text?: string; readonly transcript?: string | undefined }[] }
    | undefined;
  return last?.parts.map(({ text, transcript }) => text ?? transcript ?? "").join(" ") ?? "";
}

async function wait(ms: Milli, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    const onAbort = () => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
