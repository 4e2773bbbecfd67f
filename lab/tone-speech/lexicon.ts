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
  "a about after again all also always and any are at back be because been before begin best better but by call " +
  "came can could day did do down early else every fast find first five for four friend from get give go good " +
  "great had has have he hear hello help her here him his home house how i if in into is it just keep know last " +
  "late let like little long look made make man many may me more morning most much must my name never new news " +
  "next night no not now of off old on once one only open or other our out over people place please quick read red " +
  "right road room run said say see she short so some soon sorry stop story street take talk tell ten than thank " +
  "that the their them then there they thing think this three time to today together tomorrow too town two up very " +
  "wait want was water way we well went were what when where who will with word work world would yes you your"
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
