/** What an utterance says and where in its audio: so that an interruption cuts the agent's memory where the ear was. */
import type { Milli } from "./audio.ts";

/** A part of an utterance's text. */
export interface SpokenPiece {
  readonly text: string;
  /** Where its audio begins. */
  readonly startMs: Milli;
}

/** How long a character takes as long as nothing of this voice is known: 15 characters a second. */
const MS_PER_UNIT = 65;

/**
 * The text of one utterance, aligned with its audio piece by piece: a word where the voice tells its words, else a clause,
 * over which the words are spread by how long they take to say.
 */
export class SpokenText {
  readonly #pieces: SpokenPiece[] = [];
  #endMs: Milli | undefined;

  /** `text` is spoken from `startMs` of the utterance's audio on. */
  append(text: string, startMs: Milli): void {
    this.#pieces.push({ text, startMs });
  }

  /** All the audio is there; it ends at `endMs`. */
  close(endMs: Milli): void {
    this.#endMs ??= endMs;
  }

  /** What was appended. */
  get pieces(): readonly SpokenPiece[] {
    return this.#pieces;
  }

  /** Where the audio ends, once all of it is there. */
  get endMs(): Milli | undefined {
    return this.#endMs;
  }

  get whole(): string {
    return this.#pieces.map((piece) => piece.text).join("");
  }

  /** The words that were begun by `heardMs`; `totalMs` of the audio are there by now. */
  until(heardMs: Milli, totalMs: Milli): string {
    let heard = "";
    this.#pieces.forEach((piece, index) => {
      if (piece.startMs >= heardMs) return;
      const endMs = this.#pieces[index + 1]?.startMs ?? this.#endMs ?? this.#expectedEnd(piece, totalMs);
      heard +=
        endMs <= heardMs ? piece.text : cutWords(piece.text, (heardMs - piece.startMs) / (endMs - piece.startMs));
    });
    return heard;
  }

  /** Of a clause whose audio still comes only a part is there: the rest of it takes as long as this voice takes. */
  #expectedEnd(piece: SpokenPiece, totalMs: Milli): Milli {
    const first = this.#pieces[0];
    const spokenMs = first ? piece.startMs - first.startMs : 0;
    const units = this.#pieces.slice(0, this.#pieces.indexOf(piece)).reduce((sum, { text }) => sum + unitsOf(text), 0);
    const rate = units >= 20 && spokenMs > 0 ? spokenMs / units : MS_PER_UNIT;
    return Math.max(totalMs, piece.startMs + rate * unitsOf(piece.text));
  }
}

/** The leading words of `text` that fill `share` of its time; a word begun counts as heard. */
function cutWords(text: string, share: number): string {
  const words = text.match(/\s*\S+/gu) ?? [];
  const limit = share * unitsOf(text);
  let cut = "";
  let units = 0;
  for (const word of words) {
    if (units >= limit) break;
    cut += word;
    units += unitsOf(word);
  }
  return cut;
}

/** How long a text takes to say, in characters: a digit is a word, a mark a breath. */
function unitsOf(text: string): number {
  const digits = text.match(/\d/gu)?.length ?? 0;
  const marks = text.match(/[,;:.!?…。！？、，]/gu)?.length ?? 0;
  return text.length + 3 * digits + 2 * marks;
}
