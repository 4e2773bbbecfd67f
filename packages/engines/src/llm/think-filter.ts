/** Models that think aloud: what stands between `<think>` and `</think>` is reasoning, and never spoken. */

/** A piece of a reply, told apart. */
export interface ThinkPiece {
  readonly kind: "text" | "reasoning";
  readonly delta: string;
}

const OPENING = /<(think|thinking|reasoning|thought)>\s*/;
const LONGEST_TAG = "</reasoning>".length;

/** Tells text and reasoning apart while they come, tags cut in two included. */
export class ThinkFilter {
  #held = "";
  #closing: string | undefined; // the tag that ends what is being thought
  #strip = false; // a model goes on after its thoughts with empty lines

  /** Takes a piece of the reply, gives what is certain of it. */
  push(delta: string): ThinkPiece[] {
    this.#held += delta;
    const pieces: ThinkPiece[] = [];
    while (this.#step(pieces));
    return pieces;
  }

  /** The reply ended: gives what might still have become a tag. */
  end(): ThinkPiece[] {
    const pieces: ThinkPiece[] = [];
    this.#emit(pieces, this.#held);
    this.#held = "";
    return pieces;
  }

  /** Handles up to one tag; false when nothing more is certain. */
  #step(pieces: ThinkPiece[]): boolean {
    const tag = this.#nextTag();
    if (tag) {
      this.#emit(pieces, this.#held.slice(0, tag.index));
      this.#held = this.#held.slice(tag.index + tag.length);
      this.#strip = this.#closing !== undefined;
      this.#closing = tag.closing;
      return true;
    }
    const open = this.#held.lastIndexOf("<");
    const mayBeTag = open !== -1 && this.#held.length - open < LONGEST_TAG && !this.#held.includes(">", open);
    const certain = mayBeTag ? open : this.#held.length;
    this.#emit(pieces, this.#held.slice(0, certain));
    this.#held = this.#held.slice(certain);
    return false;
  }

  #nextTag(): { index: number; length: number; closing: string | undefined } | undefined {
    if (this.#closing !== undefined) {
      const index = this.#held.indexOf(this.#closing);
      return index === -1 ? undefined : { index, length: this.#closing.length, closing: undefined };
    }
    const opening = OPENING.exec(this.#held);
    return opening ? { index: opening.index, length: opening[0].length, closing: `</${opening[1]}>` } : undefined;
  }

  #emit(pieces: ThinkPiece[], text: string): void {
    if (this.#closing !== undefined) {
      if (text !== "") pieces.push({ kind: "reasoning", delta: text });
      return;
    }
    const delta = this.#strip ? text.trimStart() : text;
    if (delta === "") return;
    this.#strip = false;
    pieces.push({ kind: "text", delta });
  }
}
