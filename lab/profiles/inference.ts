/**
 * How long real models take, as published, for the scripted engines: one copy for scenarios, benches and the report. A
 * quantile that the source does not tell is left out, and then stands at the one before it (`createDelays`).
 */
import { PAUSE_MS } from "@sluice/conversation";
import type { Quantiles } from "@sluice/engines";

/** Delays in milliseconds and where they were published. */
export interface Published extends Quantiles {
  readonly source: string;
}

/** How fast a voice makes speech, and in what pieces it hands it over. */
export interface SpeechRate {
  /** Milliseconds of speech made in a millisecond: below 1 the voice cannot keep up. */
  readonly realTimeFactor: number;
  /** Speech in one piece, as the network hands it over: the longer, the burstier. */
  readonly pieceMs: number;
  readonly source: string;
}

/** The three models behind one agent. */
export interface InferenceProfile {
  readonly name: string;
  /** What it stands for, for a person. */
  readonly about: string;
  /** End of speech to the final transcript, told as {@link STT_TOLD_MS} says. */
  readonly sttFinal: Published;
  /** Speech between two partial transcripts; 0: there are none. */
  readonly sttPartialEveryMs: number;
  /** Request to the first token. */
  readonly llmFirst: Published;
  /** One word to the next (1.3 tokens). */
  readonly llmWord: Published;
  /** First words to the first sample. */
  readonly ttsFirst: Published;
  readonly ttsRate: SpeechRate;
}

const STT_BENCHMARK =
  "pipecat-ai/stt-benchmark, time to final segment over 1,000 utterances (github.com/pipecat-ai/stt-benchmark, 2026)";
const TTFT =
  "first token of a production voice agent, p50 and p95 (altersquare.io, Building a Production Voice Agent, June 2026)";
const FAST_TTFT =
  "hosts built for speed: 200-250 ms in the middle (tokenwisehq.com model speed, 2026); p95 as asked by issue 4";
const RATES = "words from tokens a second, 1.3 tokens a word (kickllm.com, 30 models, April 2026)";
const CHUNKS = "pieces as streaming voices send them, 40 to 400 ms; factor as asked by issue 4 (0.5 to 8)";

/**
 * What the published times of {@link STT} have before the service was told that the utterance is over. They are counted
 * from the end of the voice, and the benchmark's detector waits for this much silence (docs of stt-benchmark: "speech_end_time =
 * VADUserStoppedSpeakingFrame - stop_secs"; `vad_stop_secs` 0.2).
 */
export const STT_TOLD_MS = 200;

/**
 * The same for an engine that is told by the pipeline itself: from that moment on. Ears with partials decode as they listen,
 * have their words no sooner than was published, and are told after `PAUSE_MS` at the soonest.
 */
export function afterTold(profile: InferenceProfile): InferenceProfile {
  const { min = 0, p50, p95 = p50, p99 = p95, max = p99, source } = profile.sttFinal;
  const before = profile.sttPartialEveryMs > 0 ? PAUSE_MS : STT_TOLD_MS;
  const after = (ms: number) => Math.max(0, ms - before);
  const sttFinal = { min: after(min), p50: after(p50), p95: after(p95), p99: after(p99), max: after(max), source };
  return { ...profile, sttFinal };
}

/** Speech to text: end of the voice to its final words, told as {@link STT_TOLD_MS} says. */
export const STT = {
  /** Deepgram, the fastest with a narrow spread. */
  fast: { min: 180, p50: 247, p95: 298, p99: 326, source: `${STT_BENCHMARK}: Deepgram` },
  /** Speechmatics, in the middle. */
  middle: { min: 380, p50: 495, p95: 676, p99: 736, source: `${STT_BENCHMARK}: Speechmatics` },
  /** OpenAI, with a long tail. */
  slow: { min: 420, p50: 637, p95: 965, p99: 1655, source: `${STT_BENCHMARK}: OpenAI` },
} as const satisfies Record<string, Published>;

/** First token of a language model. */
export const LLM_FIRST = {
  fast: { min: 100, p50: 200, p95: 350, p99: 600, source: FAST_TTFT },
  usual: { min: 250, p50: 566, p95: 2246, p99: 3400, source: `${TTFT}; p99 carried on along the same slope` },
} as const satisfies Record<string, Published>;

/** One word to the next. */
export const LLM_WORD = {
  /** 330 tokens a second. */
  fast: { min: 1, p50: 4, p95: 12, p99: 30, source: `${RATES}: Llama 3.3 70B on Groq` },
  /** 95 tokens a second. */
  usual: { min: 5, p50: 14, p95: 40, p99: 120, source: `${RATES}: GPT-4o` },
} as const satisfies Record<string, Published>;

/** First sample of a voice. */
export const TTS_FIRST = {
  /** The best of nine on an independent bench. */
  fast: {
    min: 110,
    p50: 150,
    p95: 250,
    p99: 320,
    source: "first audio 155 ms p50 (Coval bench, 4 May 2026, told by gradium.ai); p95 as asked by issue 4",
  },
  usual: {
    min: 160,
    p50: 198,
    p95: 323,
    p99: 420,
    source: "first audio p50 198, p95 323, least 160 ms, English (60db.ai TTS latency, June 2026)",
  },
  slow: {
    min: 220,
    p50: 313,
    p95: 480,
    p99: 700,
    source:
      "first audio 313 ms p50, 68 ms between the quartiles (Coval, 4 May 2026: Deepgram Aura-2); tail from the spread",
  },
} as const satisfies Record<string, Published>;

/** How fast speech is made. */
export const TTS_RATE = {
  half: { realTimeFactor: 0.5, pieceMs: 100, source: `${CHUNKS}; a large voice on a processor` },
  barely: { realTimeFactor: 1.1, pieceMs: 200, source: CHUNKS },
  twice: {
    realTimeFactor: 2.4,
    pieceMs: 200,
    source: "Kokoro 82M on a processor, factor 0.42 (measured by its users, 2026)",
  },
  eight: { realTimeFactor: 8, pieceMs: 400, source: CHUNKS },
} as const satisfies Record<string, SpeechRate>;

/** Agents that somebody might run. */
export const INFERENCE = {
  fast: {
    name: "fast",
    about: "the quickest that money buys",
    sttFinal: STT.fast,
    sttPartialEveryMs: 100,
    llmFirst: LLM_FIRST.fast,
    llmWord: LLM_WORD.fast,
    ttsFirst: TTS_FIRST.fast,
    ttsRate: TTS_RATE.eight,
  },
  usual: {
    name: "usual",
    about: "quick ears, a large model, a hosted voice",
    sttFinal: STT.fast,
    sttPartialEveryMs: 100,
    llmFirst: LLM_FIRST.usual,
    llmWord: LLM_WORD.usual,
    ttsFirst: TTS_FIRST.usual,
    ttsRate: TTS_RATE.eight,
  },
  slow: {
    name: "slow",
    about: "everything from one general vendor, with long tails",
    sttFinal: STT.slow,
    sttPartialEveryMs: 0,
    llmFirst: LLM_FIRST.usual,
    llmWord: LLM_WORD.usual,
    ttsFirst: TTS_FIRST.slow,
    ttsRate: TTS_RATE.twice,
  },
  local: {
    name: "local",
    about: "all three on one's own machine, speech barely made in time",
    sttFinal: STT.middle,
    sttPartialEveryMs: 400,
    llmFirst: LLM_FIRST.fast,
    llmWord: LLM_WORD.usual,
    ttsFirst: TTS_FIRST.slow,
    ttsRate: TTS_RATE.barely,
  },
  starved: {
    name: "starved",
    about: "a voice that makes half a second of speech in a second",
    sttFinal: STT.middle,
    sttPartialEveryMs: 400,
    llmFirst: LLM_FIRST.fast,
    llmWord: LLM_WORD.usual,
    ttsFirst: TTS_FIRST.slow,
    ttsRate: TTS_RATE.half,
  },
} as const satisfies Record<string, InferenceProfile>;

/** How people talk. */
export const CALLER = {
  /** Pauses inside a turn: most are 200 to 1,000 ms, long ones only in spontaneous speech. */
  hesitation: {
    min: 200,
    p50: 480,
    p95: 1000,
    p99: 1800,
    max: 3000,
    source:
      "trimodal: under 200, 200 to 1,000, over 1,000 ms (Campione and Veronis, Speech Prosody 2002, 6,000 pauses); " +
      "a typical pause is a quarter to half a second (Lundholm Fors, Gothenburg 2015)",
  },
  /** What people leave between one another's turns. */
  turnGap: { min: 0, p50: 200, p95: 900, source: "turns change about 200 ms apart (Stivers and others, PNAS 2009)" },
} as const satisfies Record<string, Published>;
