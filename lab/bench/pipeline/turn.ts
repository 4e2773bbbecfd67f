/** One turn as chance has it, the same for every policy: what the caller does, and what each engine will take. */
import { createDelays, createRandom, type Quantiles, type Random } from "@sluice/engines";
import { CALLER, STT_TOLD_MS } from "../../profiles/inference.ts";
import type { PipelineProfile } from "./profiles.ts";
import { REPLIES } from "./replies.ts";

/** A piece of the caller's turn. */
export interface Spoken {
  /** Short silences within, as they are before consonants: where they begin, and how long they are. */
  readonly breaks: readonly { readonly atMs: number; readonly ms: number }[];
  readonly voicedMs: number;
  /** Silence after it that is no end, and less than what ends a turn or more; 0 after the last piece. */
  readonly pauseMs: number;
  /** All words up to the end of this piece. */
  readonly words: string;
}

/** What a turn is made of. */
export interface Turn {
  readonly spoken: readonly Spoken[];
  /** From the end of the answer to the caller's first word. */
  readonly gapMs: number;
  readonly reply: string;
  /** How much longer the voice detector calls it voice after it ended. */
  readonly hangoverMs: () => number;
  /**
   * From the moment at which recognition is told that the utterance is over, `sinceVoiceMs` after the voice, to its words.
   * What decodes as it listens has them no sooner than was published, however early it is told.
   */
  readonly sttMs: (sinceVoiceMs: number) => number;
  /** From the end of the voice to a partial transcript that has it all; `undefined`: there are none. */
  readonly partialMs: () => number | undefined;
  readonly firstTokenMs: () => number;
  readonly wordMs: () => number;
  readonly firstAudioMs: () => number;
  /** Time to make the next piece of speech. */
  readonly pieceMs: () => number;
  readonly secondFirstTokenMs: () => number;
  /** As {@link Turn.sttMs}, of the second recognition that hears the same; `undefined`: there is none. */
  readonly secondSttMs: ((sinceVoiceMs: number) => number) | undefined;
}

/**
 * Hesitations in a turn. No source tells how many callers of agents make; a third of the turns with at least one is more
 * than commands have and less than stories do. It is the same for both policies.
 */
const HESITATES = 0.35;
/** The detector's probability lags the end of a word by 30 to 100 ms. */
const HANGOVER: Quantiles = { min: 30, p50: 60, p95: 95, max: 110 };
/** Brief silences, under 200 ms (Campione and Veronis 2002), one in about 1.2 s of voice. */
const BREAK: Quantiles = { min: 40, p50: 80, p95: 160, max: 195 };
const BREAK_EVERY_MS = 1200;
const VOICED: Quantiles = { min: 300, p50: 1100, p95: 3500, max: 6000 };

/** The turn number `index` under `seed`. */
export function drawTurn(profile: PipelineProfile, seed: number, index: number): Turn {
  const stream = (stage: number) => createRandom(Math.imul(seed * 1_000_003 + index, 2_654_435_761) ^ (stage * 40_503));
  const caller = stream(1);
  const voiced = createDelays(VOICED, caller);
  const hesitation = createDelays(CALLER.hesitation, caller);
  const spoken: Spoken[] = [];
  let words = 0;
  for (let goesOn = true; goesOn; ) {
    goesOn = caller() < HESITATES && spoken.length < 4;
    const voicedMs = Math.round(voiced());
    words += Math.max(1, Math.round(voicedMs / 380));
    spoken.push({
      voicedMs,
      breaks: drawBreaks(voicedMs, createDelays(BREAK, caller), caller),
      pauseMs: goesOn ? Math.round(hesitation()) : 0,
      words: Array.from({ length: words }, (_, at) => `word${at}`).join(" "),
    });
  }
  const { common = 0, fallbackEars } = profile;
  const [stt, secondStt] = pair(profile.sttFinal, fallbackEars ?? profile.sttFinal, common, [2, 9, 10].map(stream));
  const [firstTokenMs, secondFirstTokenMs] = pair(
    profile.firstToken,
    profile.fallback ?? profile.firstToken,
    common,
    [3, 7, 11].map(stream),
  );
  const afterTold = (publishedMs: number, sinceVoiceMs: number) => {
    const afterToldMs = Math.max(0, publishedMs - STT_TOLD_MS);
    return profile.partial ? Math.max(afterToldMs, publishedMs - sinceVoiceMs) : afterToldMs;
  };
  const slowness = createDelays(profile.slowness, stream(6));
  return {
    spoken,
    gapMs: 200 + createDelays(CALLER.turnGap, caller)(),
    reply: REPLIES[Math.floor(caller() * REPLIES.length)]!,
    hangoverMs: createDelays(HANGOVER, caller),
    sttMs: (sinceVoiceMs) => afterTold(stt(), sinceVoiceMs),
    secondSttMs: fallbackEars && ((sinceVoiceMs) => afterTold(secondStt(), sinceVoiceMs)),
    partialMs: profile.partial ? createDelays(profile.partial, stream(8)) : () => undefined,
    firstTokenMs,
    wordMs: createDelays(profile.word, stream(4)),
    firstAudioMs: createDelays(profile.firstAudio, stream(5)),
    pieceMs: () => slowness() * profile.pieceMs,
    secondFirstTokenMs,
  };
}

/** What a request takes, and the second one for the same, which in `common` of all cases takes as long. */
function pair(first: Quantiles, second: Quantiles, common: number, [one, other, which]: Random[]) {
  const [firstMs, secondMs] = [createDelays(first, one!), createDelays(second, other!)];
  let newest = 0;
  return [
    () => (newest = firstMs()),
    () => {
      const fresh = secondMs();
      return which!() < common ? newest : fresh;
    },
  ] as const;
}

function drawBreaks(voicedMs: number, length: () => number, random: Random) {
  const breaks: { atMs: number; ms: number }[] = [];
  for (let atMs = random() * 2 * BREAK_EVERY_MS; atMs < voicedMs - 300; atMs += 300 + random() * 2 * BREAK_EVERY_MS) {
    breaks.push({ atMs: Math.round(atMs), ms: Math.round(length()) });
  }
  return breaks.filter(({ atMs }) => atMs > 100);
}
