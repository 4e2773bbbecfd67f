/** Cuts growing text into the pieces that a synthesiser speaks at a time: sentences, and long ones at a comma. */
import { untilAborted } from "../channel.ts";

/** Code units of one piece, at most: about 20 s of speech. */
const LONGEST = 300;

/** A sentence's end is known once something follows it: "1.4" and "e.g.," do not end there. */
const SENTENCE_END = /[.!?\u2026:;]["'”’)\]]*\s+|[。！？]\s*|\n\s*/g;

/** The pieces of `text` in order, each as soon as it is whole; together they are the text. */
export async function* sentences(text: AsyncIterable<string>, signal: AbortSignal): AsyncGenerator<string> {
  let held = "";
  for await (const delta of untilAborted(text, signal)) {
    held += delta;
    for (let cut = firstCut(held); cut !== undefined; cut = firstCut(held)) {
      yield held.slice(0, cut);
      held = held.slice(cut);
    }
  }
  if (!signal.aborted && held !== "") yield held;
}

/** Where the first piece ends, `undefined` while it may still grow. */
function firstCut(held: string): number | undefined {
  for (const { 0: end, index } of held.matchAll(SENTENCE_END)) {
    const cut = index + end.length;
    // White space alone is no piece; and after the last white space more of it may come.
    if (held.slice(0, index).trim() === "" && index > 0) continue;
    if (cut > LONGEST) break;
    if (cut < held.length) return cut;
  }
  return held.length > LONGEST ? lastPause(held) : undefined;
}

/** The last comma or space within the longest piece; a word longer than that is cut, between code points. */
function lastPause(held: string): number {
  const piece = held.slice(0, LONGEST);
  const pause = Math.max(piece.lastIndexOf(", ") + 1, piece.lastIndexOf(" "), piece.lastIndexOf("，"));
  if (pause > 0) return pause + 1;
  const splitsPair = /[\uD800-\uDBFF]$/.test(piece);
  return splitsPair ? LONGEST - 1 : LONGEST;
}
