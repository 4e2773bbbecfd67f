/** Engines that play a part: every delay from a seeded distribution, every failure on cue. For tests and the lab. */
import {
  concatenate,
  durationMs,
  type LanguageModel,
  type LlmEvent,
  type LlmRequest,
  type Milli,
  type Pcm,
  SAMPLE_RATE,
  SAMPLES_PER_MS,
  type SpeechEvent,
  type SpeechRequest,
  type SpeechToSpeech,
  type SpeechToText,
  type TextToSpeech,
  type TtsEvent,
  type TurnDetector,
  type TurnDetectorInput,
  type Vad,
  type VadEngine,
} from "@sluice/conversation";
import { untilAborted } from "../channel.ts";
import { sentences } from "../tts/sentences.ts";
import { Script, type ScriptOptions } from "./pace.ts";
import { createDelays, createRandom, type Quantiles } from "./random.ts";

/** Settings of {@link createScriptedLlm}: a piece is a word. */
export interface ScriptedLlmOptions extends ScriptOptions {
  /** What the model says; default: a sentence. */
  readonly reply?: (request: LlmRequest) => string;
  /** Functions that it calls after what it says. */
  readonly calls?: (request: LlmRequest) => readonly { readonly name: string; readonly arguments: string }[];
}

/** A language model that says what it is told to. */
export function createScriptedLlm(options: ScriptedLlmOptions): LanguageModel {
  const script = new Script("llm", options);
  const { reply = () => "This is the answer, as it was written down before.", calls = () => [] } = options;
  return {
    async *generate(request, signal): AsyncGenerator<LlmEvent> {
      const pace = script.begin();
      const words = reply(request).match(/\s*\S+/g) ?? [];
      for (const delta of words) {
        if (!(await pace.next(signal))) return;
        yield { kind: "text", delta };
      }
      const called = calls(request);
      for (const [index, call] of called.entries()) {
        if (!(await pace.next(signal))) return;
        yield { kind: "toolCall", index, callId: `call_${index}`, name: call.name, delta: call.arguments };
      }
      yield { kind: "usage", usage: { inputTokens: request.items.length, outputTokens: words.length } };
      yield { kind: "done", reason: called.length > 0 ? "toolCalls" : "stop" };
    },
  };
}

/** Settings of {@link createScriptedStt}: `first` runs from the utterance's end to its words. */
export interface ScriptedSttOptions extends ScriptOptions {
  /** The words of an utterance; default: how long it was. */
  readonly hear?: (pcm: Pcm) => string;
  /** Audio between two partials, of what was said so far; default 0: none. */
  readonly partialEveryMs?: Milli;
}

/** Speech recognition that hears what it is told to. */
export function createScriptedStt(options: ScriptedSttOptions): SpeechToText {
  const script = new Script("stt", options);
  const { hear = (pcm) => `That was ${Math.round(durationMs(pcm))} milliseconds.`, partialEveryMs = 0 } = options;
  return {
    async *transcribe(audio, _options, signal) {
      const pace = script.begin();
      const pieces: Pcm[] = [];
      let heardMs = 0;
      let due = partialEveryMs;
      for await (const pcm of untilAborted(audio, signal)) {
        pieces.push(pcm);
        heardMs += durationMs(pcm);
        if (partialEveryMs === 0 || heardMs < due) continue;
        due += partialEveryMs;
        yield { kind: "partial", text: hear(concatenate(pieces)), stable: false };
      }
      if (signal.aborted || !(await pace.next(signal))) return;
      yield { kind: "final", text: hear(concatenate(pieces)) };
    },
  };
}

/** Settings of {@link createScriptedTts}: a piece is 100 ms of audio. */
export interface ScriptedTtsOptions extends ScriptOptions {
  /** Speech made of one character. Default 65 ms. */
  readonly msPerCharacter?: Milli;
}

const PIECE_MS = 100;

/** A voice that hums: 220 Hz for as long as somebody would speak. */
export function createScriptedTts(options: ScriptedTtsOptions): TextToSpeech {
  const script = new Script("tts", options);
  return {
    async *speak(text, { speed = 1 }, signal): AsyncGenerator<TtsEvent> {
      for await (const sentence of sentences(text, signal)) {
        if (sentence.trim() === "") continue;
        const pace = script.begin();
        const totalMs = (sentence.length * (options.msPerCharacter ?? 65)) / speed;
        for (let ms = 0; ms < totalMs; ms += PIECE_MS) {
          if (!(await pace.next(signal))) return;
          yield { kind: "audio", pcm: hum(ms, Math.min(PIECE_MS, totalMs - ms)) };
        }
      }
    },
  };
}

/** Settings of {@link createScriptedSpeech}: a piece is 100 ms of audio, or a word. */
export interface ScriptedSpeechOptions extends ScriptOptions {
  /** What the agent says; default: a sentence. */
  readonly reply?: (request: SpeechRequest) => string;
  readonly msPerCharacter?: Milli;
}

/** A speech-to-speech model that says what it is told to, in a hum. */
export function createScriptedSpeech(options: ScriptedSpeechOptions): SpeechToSpeech {
  const script = new Script("speech", options);
  const { reply = () => "This is the answer, as it was written down before.", msPerCharacter = 65 } = options;
  return {
    description: "A scripted agent hums as long as somebody would speak.",
    open: (opened) => {
      const closed = new AbortController();
      return {
        async *respond(request, signal): AsyncGenerator<SpeechEvent> {
          const scope = AbortSignal.any([opened, closed.signal, signal]);
          const pace = script.begin();
          let ms = 0;
          for (const delta of reply(request).match(/\s*\S+/g) ?? []) {
            if (request.modality === "text" || ms === 0) if (!(await pace.next(scope))) return;
            yield request.modality === "text" ? { kind: "text", delta } : { kind: "transcript", delta };
            const endMs = request.modality === "text" ? ms : ms + delta.length * msPerCharacter;
            for (; ms < endMs; ms += PIECE_MS) {
              if (ms > 0 && !(await pace.next(scope))) return;
              yield { kind: "audio", pcm: hum(ms, PIECE_MS) };
            }
          }
        },
        close: () => closed.abort(),
      };
    },
  };
}

/** Settings of {@link createScriptedVad}. */
export interface ScriptedVadOptions {
  /** Default 1. */
  readonly seed?: number;
  /** How long an answer takes; default 0. */
  readonly delay?: Quantiles | Milli;
  /** Voice is what is louder than this, of full scale. Default 0.01. */
  readonly level?: number;
}

/** Voice activity by loudness alone, which is right about recordings without noise. */
export function createScriptedVad({ seed = 1, delay = 0, level = 0.01 }: ScriptedVadOptions = {}): VadEngine {
  const delays = createDelays(delay, createRandom(seed));
  const open = (): Vad => {
    let turn: Promise<unknown> = Promise.resolve();
    return {
      sampleRate: 16_000,
      windowSize: 512,
      detect: (window) => {
        const power = window.reduce((sum, sample) => sum + sample * sample, 0) / window.length;
        const answer = turn.then(() => later(delays(), Math.sqrt(power) > level ? 0.99 : 0.01));
        turn = answer;
        return answer;
      },
      reset: () => {},
      close: () => {},
    };
  };
  return { open, close: async () => {} };
}

/** Judges pauses as it is told to. */
export function createScriptedTurnDetector(
  options: ScriptOptions & { readonly judge: (input: TurnDetectorInput) => number },
): TurnDetector {
  const script = new Script("speech", options);
  return {
    async detect(input, signal) {
      await script.begin().next(signal);
      return options.judge(input);
    },
  };
}

async function later<T>(ms: Milli, value: T): Promise<T> {
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
  return value;
}

/** Two seconds of 220 Hz, which fit on themselves after each second. */
const HUM: Pcm = Int16Array.from({ length: 2 * SAMPLE_RATE }, (_, at) =>
  Math.round(8000 * Math.sin((2 * Math.PI * 220 * at) / SAMPLE_RATE)),
);

/** At most a second of the hum, as it is from `fromMs` on. */
function hum(fromMs: Milli, ms: Milli): Pcm {
  const from = Math.round(fromMs * SAMPLES_PER_MS) % SAMPLE_RATE;
  return HUM.slice(from, from + Math.round(ms * SAMPLES_PER_MS));
}
