/**
 * The words of tone speech. A word is two chords of two tones each, the last of which is a checksum: a chord that a codec, a
 * gap or a concealment bends makes no word instead of another one.
 */

/** Tones of a chord, in Hz: one of each group, 120 Hz apart at least, none a harmonic of another. */
export const LOW_HZ = [490, 610, 740, 880, 1035, 1185] as const;
/** See {@link LOW_HZ}. */
export const HIGH_HZ = [1400, 1640, 1890, 2150, 2405, 2690] as const;

const BASE = LOW_HZ.length;

/** Place of a tone in each group. */
export interface Chord {
  readonly low: number;
  readonly high: number;
}

/** The two chords of a word. */
export type Chords = readonly [Chord, Chord];

/** Words that can be said; the place of a word is its number, 0 to 179. */
export const WORDS: readonly string[] = (
  "a about after again all an and are at back be because before begin best better black blue book both box boy " +
  "bring but by came can car cat city close cold come could day did do dog door down drink each early eat eight " +
  "every far fast few find fire first five fly food for four from game garden get girl give go good great green " +
  "had hand happy hard has have he head hear help her here him his home hot hour house how i if in into is it jump " +
  "just keep kind know large last late left let light like little live long look made make man many may me milk " +
  "mind more morning most music must my name never new next nine no north not now of off old on once one only open " +
  "or other our out over own part people phone place play please quick rain read red right river road room run " +
  "said say school sea see seven she short six sleep slow so some song soon start stay stop story sun"
).split(" ");

const numbers = new Map(WORDS.map((word, number) => [word, number]));

/** The words of `text`, without case and punctuation; throws for a word that tone speech does not have. */
export function wordsOf(text: string): string[] {
  const words = text.toLowerCase().match(/[a-z']+/g) ?? [];
  for (const word of words) if (!numbers.has(word)) throw new RangeError(`tone speech has no word "${word}"`);
  return words;
}

/** The chords of `word`. */
export function chordsOf(word: string): Chords {
  const number = numbers.get(word);
  if (number === undefined) throw new RangeError(`tone speech has no word "${word}"`);
  const [low, high, step] = [Math.floor(number / 30), Math.floor(number / 5) % BASE, number % 5] as const;
  const next = (low + 1 + step) % BASE; // never the same tone twice: the change of chord is what its place is found by
  return [
    { low, high },
    { low: next, high: checksum(low, high, next) },
  ];
}

/** The word of two chords; `undefined` when they are none. */
export function wordOf([first, second]: Chords): string | undefined {
  const step = (second.low - first.low - 1 + BASE) % BASE;
  if (step > 4 || second.high !== checksum(first.low, first.high, second.low)) return undefined;
  return WORDS[first.low * 30 + first.high * 5 + step];
}

/** Every factor is a unit modulo six: one wrong tone of the four is always noticed. */
function checksum(low: number, high: number, next: number): number {
  return (low + 5 * high + next) % BASE;
}
