/** Cuts a reply that is still being written into what a voice speaks at a time: a little first, more and more later. */
import { type Cut, cutsOf } from "./clause-cuts.ts";

/** How clauses grow. Sizes are in characters of Latin script; a character of Chinese counts as three. */
export interface ClauseOptions {
  /** The first clause is the shortest of at least this. Default 8; less is sooner, and sounds chopped. */
  readonly first: number;
  /** The second clause is about this long, each later one twice the one before. Default 60. */
  readonly second: number;
  /** No clause is longer. Default 240, some 15 s. */
  readonly longest: number;
}

/** The sizes unless options say otherwise. */
export const DEFAULT_CLAUSES: ClauseOptions = { first: 8, second: 60, longest: 240 };

/** How the voice stands when it asks for a clause. */
export interface ClauseHaste {
  /** The ear will soon have heard all there is: a pause within a sentence will do. */
  readonly urgent: boolean;
  /** Waiting for punctuation took too long: the end of a word will do. */
  readonly overdue: boolean;
}

/** Text longer than this is no speech; a model that runs away is cut off. */
const MAX_HELD = 64 * 1024;

/** The text of one reply between the model and the voice. */
export class ClauseCutter {
  readonly #options: ClauseOptions;
  #held = "";
  #taken = 0;
  #ended = false;

  constructor(options: ClauseOptions = DEFAULT_CLAUSES) {
    this.#options = options;
  }

  /** Whether the voice has had a clause yet. */
  get begun(): boolean {
    return this.#taken > 0;
  }

  /** Whether nothing is left, nor will come. */
  get empty(): boolean {
    return this.#ended && this.#held === "";
  }

  append(text: string): void {
    if (!this.#ended && this.#held.length + text.length <= MAX_HELD) this.#held += text;
  }

  /** No more text will come. */
  end(): void {
    this.#ended = true;
  }

  /** The next clause with the white space behind it; `undefined` while it is better to wait. All of them are the text. */
  take(haste: ClauseHaste): string | undefined {
    const cut = this.#held === "" ? undefined : this.#choose(haste);
    if (cut === undefined) return undefined;
    const clause = this.#held.slice(0, cut);
    this.#held = this.#held.slice(cut);
    if (isSpoken(clause)) this.#taken++;
    return clause;
  }

  #choose({ urgent, overdue }: ClauseHaste): number | undefined {
    const { longest } = this.#options;
    const cuts = cutsOf(this.#held, false);
    const weightOf = (cut: Cut) => speechWeight(this.#held.slice(0, cut.end));
    const spoken = cuts.filter((cut) => isSpoken(this.#held.slice(0, cut.end)));
    const fitting = spoken.filter((cut) => weightOf(cut) <= longest);
    const chosen = this.begun ? this.#later(fitting, weightOf, urgent) : this.#first(fitting, weightOf, overdue);
    if (chosen) return chosen.end;
    const whole = speechWeight(this.#held);
    if (this.#ended && whole <= longest) return this.#held.length;
    if (whole > longest) return forced(fitting, this.#held, longest);
    return undefined;
  }

  #first(cuts: readonly Cut[], weightOf: (cut: Cut) => number, overdue: boolean): Cut | undefined {
    const { first } = this.#options;
    const pause = cuts.find((cut) => cut.kind !== "word" && weightOf(cut) >= first);
    return pause ?? (overdue ? cuts.findLast((cut) => weightOf(cut) >= 2 * first) : undefined);
  }

  /** As many sentences as the clause may hold; in haste the first pause that is worth it. */
  #later(cuts: readonly Cut[], weightOf: (cut: Cut) => number, urgent: boolean): Cut | undefined {
    const { first, second, longest } = this.#options;
    const size = Math.min(longest, second * 2 ** (this.#taken - 1));
    const sentences = cuts.filter((cut) => cut.kind === "sentence" && weightOf(cut) >= first);
    const sentence = sentences.findLast((cut) => weightOf(cut) <= size) ?? sentences[0];
    if (!urgent) return sentence;
    const pause = cuts.find((cut) => cut.kind === "clause" && weightOf(cut) >= 2 * first);
    return sentence && !(pause && weightOf(pause) < size && weightOf(sentence) > size) ? sentence : pause;
  }
}

/** How much of a voice's time `text` takes, in characters of Latin script. */
export function speechWeight(text: string): number {
  const dense = text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/gu)?.length ?? 0;
  return text.length + 2 * dense;
}

/** Whether anything of it has a sound. */
export function isSpoken(text: string): boolean {
  return /[\p{L}\p{N}]/u.test(text);
}

/** A sentence without end: cut at its last pause, else between two words, else between two characters. */
function forced(cuts: readonly Cut[], held: string, longest: number): number {
  const cut = cuts.findLast(({ kind }) => kind !== "word") ?? cuts.at(-1);
  if (cut) return cut.end;
  let end = longest;
  while (end > 1 && speechWeight(held.slice(0, end)) > longest) end = Math.floor(end / 2);
  return /[\uD800-\uDBFF]$/.test(held.slice(0, end)) ? end - 1 || 2 : end;
}
