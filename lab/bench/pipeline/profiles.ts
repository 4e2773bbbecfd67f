/** The engines that the policies meet: what was published of recognition, model and voice, in every combination that matters. */
import type { Quantiles } from "@sluice/engines";
import { INFERENCE, LLM_FIRST, LLM_WORD, STT, TTS_FIRST } from "../../profiles/inference.ts";

/** The engines of one row. */
export interface PipelineProfile {
  readonly name: string;
  /** From the end of the voice, recognition being told of it after `STT_TOLD_MS`. */
  readonly sttFinal: Quantiles;
  /** From the end of the voice to a partial transcript that has it all; absent: it has none while the caller speaks. */
  readonly partial?: Quantiles;
  readonly firstToken: Quantiles;
  readonly word: Quantiles;
  readonly firstAudio: Quantiles;
  /** Speech in a piece. */
  readonly pieceMs: number;
  /** Time that a millisecond of speech takes to be made, piece by piece. */
  readonly slowness: Quantiles;
  /** Two clauses at a time are made half as fast each. */
  readonly sharesMachine?: boolean;
  /** The first token of a second model, where there is one. */
  readonly fallback?: Quantiles;
  /** A second recognition that hears every utterance too, where there is one; as {@link PipelineProfile.sttFinal}. */
  readonly fallbackEars?: Quantiles;
  /** Share of the second requests that take as long as the first, because it is the prompt or the speech that takes it. Default 0. */
  readonly common?: number;
  /** Whether the voice makes speech faster than it is heard, on the whole. */
  readonly keepsUp: boolean;
}

/**
 * When streaming recognition shows a word: partials come every 100 to 200 ms (simbavoice.ai, Streaming STT), words stand
 * after some 300 ms (assemblyai.com, Universal-Streaming). OpenAI's transcriptions have none while the caller speaks.
 */
const PARTIAL = {
  fast: { min: 80, p50: 170, p95: 300, p99: 360 },
  middle: { min: 150, p50: 300, p95: 500, p99: 600 },
};
/** Speech at 0.5 to 8 times real time, in bursts: 3 times in the middle, slower than real time one piece in twenty. */
const BURSTY = { pieceMs: 200, slowness: { min: 1 / 8, p50: 1 / 3, p95: 1, p99: 5 / 3, max: 2 }, keepsUp: true };
/** The same spread around a voice that barely keeps up, or does not. */
const around = (realTimeFactor: number): Quantiles => {
  const times = (factor: number) => factor / realTimeFactor;
  return { min: times(0.4), p50: times(0.9), p95: times(1.9), p99: times(3), max: times(4) };
};

const quickEars = { sttFinal: STT.fast, partial: PARTIAL.fast };
const slowEars = { sttFinal: STT.slow };
const quickModel = { firstToken: LLM_FIRST.fast, word: LLM_WORD.fast };
const usualModel = { firstToken: LLM_FIRST.usual, word: LLM_WORD.usual };
const voice = { firstAudio: TTS_FIRST.fast, ...BURSTY };
const second = { fallback: LLM_FIRST.fast };
/** The same service once more; what makes a prompt slow for both is not in its draws. */
const again = { fallback: LLM_FIRST.usual };
const earsAgain = { fallbackEars: STT.slow };
const own = { sttFinal: STT.middle, partial: PARTIAL.middle, firstToken: LLM_FIRST.fast, word: LLM_WORD.usual };
const ownVoice = { firstAudio: TTS_FIRST.slow, pieceMs: 100, sharesMachine: true, keepsUp: false };

/** The rows. */
export const PROFILES: readonly PipelineProfile[] = [
  { name: "quick ears, quick model", ...quickEars, ...quickModel, ...voice },
  { name: "quick ears, usual model", ...quickEars, ...usualModel, ...voice },
  { name: "quick ears, usual model and a second", ...quickEars, ...usualModel, ...second, ...voice },
  { name: "quick ears, usual model asked twice", ...quickEars, ...usualModel, ...again, ...voice },
  { name: "slow ears, quick model", ...slowEars, ...quickModel, ...voice },
  { name: "slow ears, usual model", ...slowEars, ...usualModel, ...voice },
  { name: "slow ears, usual model and a second", ...slowEars, ...usualModel, ...second, ...voice },
  { name: "slow ears, usual model asked twice", ...slowEars, ...usualModel, ...again, ...voice },
  { name: "slow ears asked twice, quick model", ...slowEars, ...earsAgain, ...quickModel, ...voice },
  { name: "slow ears and usual model asked twice", ...slowEars, ...earsAgain, ...usualModel, ...again, ...voice },
  {
    name: "own machine, barely in time",
    ...own,
    ...ownVoice,
    slowness: around(INFERENCE.local.ttsRate.realTimeFactor),
  },
  {
    name: "own machine, half of real time",
    ...own,
    ...ownVoice,
    slowness: around(INFERENCE.starved.ttsRate.realTimeFactor),
  },
];
