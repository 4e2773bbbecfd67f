/** Speaks tone words, to the sample. */
import { type Chord, chordsOf, HIGH_HZ, LOW_HZ, wordsOf } from "./lexicon.ts";

/** Length of a chord; a word is two. */
export const CHORD_MS = 100;
/** Length of a word. */
export const WORD_MS = 2 * CHORD_MS;
/** Silence between two words. */
export const GAP_MS = 60;
/** From one word's beginning to the next one's. */
export const STEP_MS = WORD_MS + GAP_MS;

/** Chords fade into each other and into silence, so that a codec does not click. */
const FADE_MS = 5;
/** Of full scale, each of the two tones. */
const AMPLITUDE = 0.16;

/** A word and where it begins, in milliseconds. */
export interface SpokenWord {
  readonly text: string;
  readonly startMs: number;
}

/** Speech and the places of its words. */
export interface ToneSpeech {
  readonly pcm: Int16Array;
  readonly words: readonly SpokenWord[];
}

/** `text` at `sampleRate` (default 24,000): the first word begins at the first sample, the last ends at the last. */
export function speakTones(text: string, sampleRate = 24_000): ToneSpeech {
  const words = wordsOf(text).map((word, place) => ({ text: word, startMs: place * STEP_MS }));
  const lengthMs = words.length === 0 ? 0 : (words.length - 1) * STEP_MS + WORD_MS;
  const pcm = new Int16Array(Math.round((lengthMs * sampleRate) / 1000));
  for (const { text: word, startMs } of words)
    pcm.set(sound(word, sampleRate), Math.round((startMs * sampleRate) / 1000));
  return { pcm, words };
}

const sounds = new Map<string, Int16Array>();

/** One word, {@link WORD_MS} long. */
export function sound(word: string, sampleRate: number): Int16Array {
  const key = `${word}@${sampleRate}`;
  let pcm = sounds.get(key);
  if (!pcm) {
    pcm = synthesise(chordsOf(word), sampleRate);
    sounds.set(key, pcm);
  }
  return pcm;
}

function synthesise([first, second]: readonly [Chord, Chord], sampleRate: number): Int16Array {
  const perMs = sampleRate / 1000;
  const pcm = new Int16Array(Math.round(WORD_MS * perMs));
  for (let at = 0; at < pcm.length; at++) {
    const ms = at / perMs;
    const edge = Math.min(1, ms / FADE_MS, (WORD_MS - ms) / FADE_MS);
    const into = Math.min(1, Math.max(0, (ms - CHORD_MS) / FADE_MS + 0.5));
    const value = (1 - into) * tones(first, ms) + into * tones(second, ms);
    pcm[at] = Math.round(32_767 * AMPLITUDE * edge * value);
  }
  return pcm;
}

function tones({ low, high }: Chord, ms: number): number {
  return Math.sin((2 * Math.PI * LOW_HZ[low]! * ms) / 1000) + Math.sin((2 * Math.PI * HIGH_HZ[high]! * ms) / 1000);
}
