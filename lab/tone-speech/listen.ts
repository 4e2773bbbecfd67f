/**
 * Hears tone words: the power of each tone by the Goertzel algorithm, block by block, summed over short windows; two
 * chords without a pause between them are a word. Its place, to the sample, is where it correlates best with the word as spoken.
 */
import { findIn } from "../listen.ts";
import { type Chord, HIGH_HZ, LOW_HZ, wordOf } from "./lexicon.ts";
import { CHORD_MS, type SpokenWord, sound, WORD_MS } from "./voice.ts";

/** A word that was heard. */
export interface HeardWord extends SpokenWord {
  /** How much of its sound was its own tones, 0 to 1. */
  readonly clarity: number;
}

const BLOCK_MS = 4;
/** What is listened to at a time: a chord that lost one packet of 20 ms still holds two such windows. */
const WINDOW_MS = 32;
const WINDOW_BLOCKS = WINDOW_MS / BLOCK_MS;
/** A window's loudest pair of tones must hold this share of its energy. */
const PURITY = 0.4;
/** The loudest tone of a group must exceed the next by this factor of power (5 dB). */
const DOMINANCE = 3;
/** Quieter sound is silence: -55 dB of full scale, or 15 dB below the loudest within 250 ms, which is a codec's ringing. */
const QUIET = 32_768 ** 2 * 10 ** -5.5;
const RINGING = 10 ** -1.5;
const NEIGHBOURHOOD_BLOCKS = Math.round(250 / BLOCK_MS);
/** What lies between two pieces of one chord, or two chords of one word, may be bent by a concealment for this long. */
const LONGEST_BEND_MS = 64;
/** Silence this long ends a word. */
const PAUSE_MS = 36;
/** A word may appear this much longer than it was spoken: a jitter buffer that ran dry in it draws it out. */
const SLACK_MS = 64;
/** Its place is looked for around where it showed. */
const SEARCH_MS = 36;

const TONES = [...LOW_HZ, ...HIGH_HZ];

/** A stretch of one chord; `to` is exclusive. In blocks. */
interface Run extends Chord {
  readonly from: number;
  to: number;
  purity: number;
}

/** How closely {@link hearTones} listens. */
export interface HearOptions {
  /** Samples per second. Default 24,000. */
  readonly sampleRate?: number;
  /** Whether places are found to the sample, which costs 20 times as much, or to some 10 ms. Default true. */
  readonly exact?: boolean;
}

/** The words of `pcm`, in order. */
export function hearTones(pcm: Int16Array, { sampleRate = 24_000, exact = true }: HearOptions = {}): HeardWord[] {
  const { runs, pausesBefore } = runsAlong(pcm, sampleRate);
  const words: HeardWord[] = [];
  for (let at = 0; at + 1 < runs.length; at++) {
    const [first, second] = [runs[at]!, runs[at + 1]!];
    const text = wordOf([first, second]);
    const gapMs = (second.from - first.to) * BLOCK_MS;
    const lengthMs = (second.to - first.from) * BLOCK_MS;
    if (text === undefined || pausesBefore.has(at + 1) || gapMs > LONGEST_BEND_MS || lengthMs > WORD_MS + SLACK_MS)
      continue;
    const startMs = roughPlace(first, second);
    const clarity = Math.min(first.purity, second.purity);
    words.push({ text, startMs: exact ? exactPlace(pcm, sampleRate, text, startMs) : startMs, clarity });
    at += 1; // its second chord belongs to no other word
  }
  return words;
}

/** How much of the energy of `pcm` (32 ms) is in the tones that words are made of, 0 to 1. */
export function tonePurity(pcm: Int16Array, sampleRate: number): number {
  const size = Math.round((BLOCK_MS * sampleRate) / 1000);
  const total = blockEnergies(pcm, pcm.length, 1)[0]!;
  const power = TONES.reduce(
    (sum, hz) => sum + windowPowers(pcm, size, WINDOW_BLOCKS, (2 * Math.PI * hz) / sampleRate)[0]!,
    0,
  );
  return total === 0 ? 0 : Math.min(1, (power * 2) / (size * WINDOW_BLOCKS) / total);
}

/** Only what was said, for recognition. */
export function transcribeTones(pcm: Int16Array, sampleRate = 24_000): string {
  return hearTones(pcm, { sampleRate, exact: false })
    .map(({ text }) => text)
    .join(" ");
}

/** The change of chord lies between the two, or where they overlap. */
function roughPlace(first: Run, second: Run): number {
  return Math.max(0, ((first.to + second.from) / 2) * BLOCK_MS - CHORD_MS);
}

function exactPlace(pcm: Int16Array, sampleRate: number, text: string, roughMs: number): number {
  const perMs = sampleRate / 1000;
  const from = Math.max(0, Math.round((roughMs - SEARCH_MS) * perMs));
  const to = Math.min(pcm.length, Math.round((roughMs + SEARCH_MS + WORD_MS) * perMs));
  const { lag, score } = findIn(pcm.subarray(from, to), sound(text, sampleRate));
  return score > 0 ? (from + lag) / perMs : roughMs;
}

/** The chords of `pcm` one after another, and before which of them there is a pause. */
function runsAlong(pcm: Int16Array, sampleRate: number): { runs: Run[]; pausesBefore: Set<number> } {
  const { chords, quiet } = chordsAlong(pcm, sampleRate);
  const runs: Run[] = [];
  const pausesBefore = new Set<number>();
  let silentBlocks = 0;
  let paused = true;
  for (const [block, chord] of chords.entries()) {
    silentBlocks = quiet[block] ? silentBlocks + 1 : 0;
    if (silentBlocks * BLOCK_MS >= PAUSE_MS) paused = true;
    if (!chord) continue;
    const last = runs.at(-1);
    const same = last && last.low === chord.low && last.high === chord.high;
    if (same && !paused && (block - last.to) * BLOCK_MS <= LONGEST_BEND_MS) {
      last.to = block + WINDOW_BLOCKS;
      last.purity = Math.max(last.purity, chord.purity);
      continue;
    }
    if (paused) pausesBefore.add(runs.length);
    paused = false;
    runs.push({ low: chord.low, high: chord.high, from: block, to: block + WINDOW_BLOCKS, purity: chord.purity });
  }
  return { runs, pausesBefore };
}

/** The chord that the window from each block on holds, if any, and which blocks are silent. */
function chordsAlong(pcm: Int16Array, sampleRate: number) {
  const size = Math.round((BLOCK_MS * sampleRate) / 1000);
  const blocks = Math.floor(pcm.length / size);
  const power = TONES.map((hz) => windowPowers(pcm, size, blocks, (2 * Math.PI * hz) / sampleRate));
  const energy = blockEnergies(pcm, size, blocks);
  const floor = floors(energy, size);
  const samples = size * WINDOW_BLOCKS;
  const windows = Math.max(0, blocks - WINDOW_BLOCKS + 1);
  const chords = Array.from({ length: windows }, (_, block): (Chord & { readonly purity: number }) | undefined => {
    let total = 0;
    for (let at = block; at < block + WINDOW_BLOCKS; at++) total += energy[at]!;
    if (total < samples * floor[block]!) return undefined;
    const low = loudest(power, 0, LOW_HZ.length, block);
    const high = loudest(power, LOW_HZ.length, TONES.length, block);
    // A sine of amplitude a has the energy a^2 n / 2 and, at its frequency, the power (a n / 2)^2.
    const purity = ((low.power + high.power) * 2) / samples / total;
    if (purity < PURITY || !low.clear || !high.clear) return undefined;
    return { low: low.index, high: high.index - LOW_HZ.length, purity: Math.min(1, purity) };
  });
  return { chords, quiet: Array.from(energy, (value, block) => value < size * floor[block]!) };
}

function loudest(power: readonly Float64Array[], from: number, to: number, block: number) {
  let [index, best, next] = [from, -1, -1];
  for (let tone = from; tone < to; tone++) {
    const value = power[tone]![block]!;
    if (value > best) [index, best, next] = [tone, value, best];
    else if (value > next) next = value;
  }
  return { index, power: best, clear: best > next * DOMINANCE };
}

/** The power at `omega` of the window that begins at each block. */
function windowPowers(pcm: Int16Array, size: number, blocks: number, omega: number): Float64Array {
  const re = new Float64Array(blocks);
  const im = new Float64Array(blocks);
  const coefficient = 2 * Math.cos(omega);
  for (let block = 0; block < blocks; block++) {
    let [before, last] = [0, 0];
    for (let at = block * size, end = at + size; at < end; at++) {
      const now = pcm[at]! + coefficient * last - before;
      before = last;
      last = now;
    }
    // y = last - before e^{-jw} is the block's sum of x e^{jw(end - n)}: turned back to the phase of the whole.
    const [yRe, yIm] = [last - before * Math.cos(omega), before * Math.sin(omega)];
    const phase = -omega * ((block + 1) * size - 1);
    re[block] = yRe * Math.cos(phase) - yIm * Math.sin(phase);
    im[block] = yRe * Math.sin(phase) + yIm * Math.cos(phase);
  }
  const powers = new Float64Array(Math.max(0, blocks - WINDOW_BLOCKS + 1));
  let [sumRe, sumIm] = [0, 0];
  for (let block = 0; block < blocks; block++) {
    sumRe += re[block]! - (block >= WINDOW_BLOCKS ? re[block - WINDOW_BLOCKS]! : 0);
    sumIm += im[block]! - (block >= WINDOW_BLOCKS ? im[block - WINDOW_BLOCKS]! : 0);
    if (block >= WINDOW_BLOCKS - 1) powers[block - WINDOW_BLOCKS + 1] = sumRe ** 2 + sumIm ** 2;
  }
  return powers;
}

/** Per block, the power of a sample below which there is silence: the maximum nearby, kept in a queue that only falls. */
function floors(energy: Float64Array, size: number): Float64Array {
  const floor = new Float64Array(energy.length);
  const queue: number[] = [];
  let head = 0;
  for (let block = 0, next = 0; block < energy.length; block++) {
    for (; next < energy.length && next <= block + NEIGHBOURHOOD_BLOCKS; next++) {
      while (queue.length > head && energy[queue.at(-1)!]! <= energy[next]!) queue.pop();
      queue.push(next);
    }
    while (queue[head]! < block - NEIGHBOURHOOD_BLOCKS) head += 1;
    floor[block] = Math.max(QUIET, (energy[queue[head]!]! / size) * RINGING);
  }
  return floor;
}

function blockEnergies(pcm: Int16Array, size: number, blocks: number): Float64Array {
  return Float64Array.from({ length: blocks }, (_, block) => {
    let sum = 0;
    for (let at = block * size, end = at + size; at < end; at++) sum += pcm[at]! * pcm[at]!;
    return sum;
  });
}
