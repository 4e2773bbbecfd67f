/**
 * `semantic_vad` without weights: how likely a caller who pauses has finished, by the words so far, by the melody and
 * loudness of the last syllables, and by how long this caller has paused before without having finished; and from it how
 * long to wait. Never reads a clock.
 */
import type { Milli } from "./audio.ts";
import type { VoiceWindow } from "./endpointer.ts";
import { endOfWords } from "./trailing.ts";

/** The protocol's `eagerness`, with `auto` as it is meant: `medium`. */
export type Eagerness = "low" | "medium" | "high" | "auto";

/** Shortest and longest silence that ends a turn; the longest are the protocol's (2, 4 and 8 s). */
export const EAGERNESS: Readonly<Record<Eagerness, { readonly leastMs: Milli; readonly mostMs: Milli }>> = {
  high: { leastMs: 200, mostMs: 2000 },
  medium: { leastMs: 320, mostMs: 4000 },
  auto: { leastMs: 320, mostMs: 4000 },
  low: { leastMs: 500, mostMs: 8000 },
};

/** Weights of the evidence in log-odds; the bench `turns` shows what they are worth. */
const PRIOR = 0.3;
const WORDS = 2.6;
const MELODY = 1.1;
const LOUDNESS = 0.5;
/** How fast the wait grows as the end gets unlikely: the cube of the doubt. */
const DOUBT_POWER = 3;
/** Windows of the last syllable or two, and of the utterance that they are compared with. */
const LAST_WINDOWS = 5;
const MOST_WINDOWS = 200;
const PERIODIC = 0.5;
/** Pauses of this caller that are remembered; one this short is a stop consonant. */
const PAUSES = 16;
const SHORTEST_PAUSE_MS = 120;
/** A pause beyond which nobody's habit counts. */
const LONGEST_HABIT_MS = 1500;

interface Heard {
  readonly pitchHz: number | undefined;
  readonly db: number;
}

/** Judges the pauses of one caller. */
export class TurnEnd {
  #heard: Heard[] = [];
  #lastVoicedMs: Milli | undefined;
  #pauses: Milli[] = []; // after which this caller went on
  #model: number | undefined; // a detector's word on the pause under way

  /** Takes one window of an utterance under way. */
  handleWindow(window: VoiceWindow, voiced: boolean): void {
    if (!voiced) return;
    const endMs = window.mediaMs + window.durationMs;
    const pauseMs = this.#lastVoicedMs === undefined ? 0 : window.mediaMs - this.#lastVoicedMs;
    if (pauseMs >= SHORTEST_PAUSE_MS) {
      this.#pauses.push(Math.min(pauseMs, LONGEST_HABIT_MS));
      if (this.#pauses.length > PAUSES) this.#pauses.shift();
    }
    this.#lastVoicedMs = endMs;
    this.#model = undefined;
    const { prosody, levels } = window;
    const pitchHz = prosody && prosody.periodicity >= PERIODIC ? prosody.pitchHz : undefined;
    this.#heard.push({ pitchHz, db: Math.max(...levels) });
    if (this.#heard.length > MOST_WINDOWS) this.#heard.shift();
  }

  /** A detector (`TurnDetector`) gave its probability for the pause under way; it replaces melody and loudness. */
  handleModel(probability: number): void {
    this.#model = Math.min(0.999, Math.max(0.001, probability));
  }

  /** The utterance is over: the next one begins afresh, the caller's habits stay. */
  reset(): void {
    this.#heard = [];
    this.#lastVoicedMs = undefined;
    this.#model = undefined;
  }

  /** Probability, 0 to 1, that the caller has finished. */
  probability(words: string | undefined, language?: string): number {
    const said = words === undefined ? 0 : WORDS * endOfWords(words, language);
    const sound =
      this.#model === undefined
        ? PRIOR + MELODY * this.#melody() + LOUDNESS * this.#loudness()
        : Math.log(this.#model / (1 - this.#model));
    return 1 / (1 + Math.exp(-(sound + said)));
  }

  /** How long to wait in all, after the last voiced sample. */
  silenceMs(eagerness: Eagerness, words: string | undefined, language?: string): Milli {
    const { leastMs, mostMs } = EAGERNESS[eagerness];
    const probability = this.probability(words, language);
    const waitMs = leastMs + (mostMs - leastMs) * (1 - probability) ** DOUBT_POWER;
    // Who pauses for long within sentences is given as much, the less sure the end is.
    const habitMs = leastMs + Math.max(0, this.#habitMs() - leastMs) * Math.min(1, 2 * (1 - probability));
    return Math.round(Math.min(mostMs, Math.max(waitMs, habitMs)));
  }

  /** 1: the pitch fell, or rose as a question does; -1: it hangs where it was, or was never there. */
  #melody(): number {
    const pitches = this.#heard.flatMap(({ pitchHz }) => pitchHz ?? []);
    if (pitches.length < 2 * LAST_WINDOWS) return 0;
    const last = this.#heard.slice(-LAST_WINDOWS).flatMap(({ pitchHz }) => pitchHz ?? []);
    if (last.length === 0) return 0.3; // creaky or breathy: as ends are
    const semitones = 12 * Math.log2(median(last) / median(pitches));
    if (semitones > 3) return 0.8;
    return Math.max(-1, Math.min(1, (-semitones - 1) / 2));
  }

  /** 1: it faded by 8 dB or more against what was said before; -1: it got louder. */
  #loudness(): number {
    if (this.#heard.length < 2 * LAST_WINDOWS) return 0;
    const fall = mean(this.#heard.slice(0, -LAST_WINDOWS)) - mean(this.#heard.slice(-LAST_WINDOWS));
    return Math.max(-1, Math.min(1, (fall - 3) / 5));
  }

  /** Three of four of this caller's pauses were shorter. */
  #habitMs(): Milli {
    if (this.#pauses.length < 4) return 0;
    const sorted = this.#pauses.toSorted((a, b) => a - b);
    return 1.1 * sorted[Math.floor(0.75 * (sorted.length - 1))]!;
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function mean(heard: readonly Heard[]): number {
  return heard.reduce((sum, { db }) => sum + db, 0) / heard.length;
}
