/** What an utterance says and where in its audio: so that an interruption cuts the agent's memory where the ear was. */
import type { Milli } from "./audio.ts";

interface Piece {
  readonly text: string;
  readonly startMs: Milli;
}

/** The text of one utterance, aligned with its audio piece by piece; within a piece words are spread evenly. */
export class SpokenText {
  readonly #pieces: Piece[] = [];

  /** `text` is spoken from `startMs` of the utterance's audio on. */
  append(text: string, startMs: Milli): void {
    this.#pieces.push({ text, startMs });
  }

  get whole(): string {
    return this.#pieces.map((piece) => piece.text).join("");
  }

  /** The words that were begun by `heardMs` of `totalMs`. */
  until(heardMs: Milli, totalMs: Milli): string {
    let heard = "";
    this.#pieces.forEach((piece, index) => {
      const endMs = this.#pieces[index + 1]?.startMs ?? totalMs;
      if (piece.startMs >= heardMs) return;
      heard +=
        endMs <= heardMs ? piece.text : cutWords(piece.text, (heardMs - piece.startMs) / (endMs - piece.startMs));
    });
    return heard;
  }
}

/** The leading words of `text` that fill `share` of its characters; a word begun counts as heard. */
function cutWords(text: string, share: number): string {
  const words = text.match(/\s*\S+/gu) ?? [];
  const limit = share * text.length;
  let cut = "";
  for (const word of words) {
    if (cut.length >= limit) break;
    cut += word;
  }
  return cut;
}
