/** Cuts growing text into requests: as much at a time as is there, so that a voice keeps its flow over sentences. */

import { cutsOf } from "@sluice/conversation";
import { settlesAtOnce } from "../ahead.ts";
import { untilAborted } from "../channel.ts";

/** Characters of one request: the API takes 4096, and a longer text only begins later. */
const LONGEST = 600;

/** The pieces of `text` in order; together they are the text. Waits for a whole sentence, never for more than is there. */
export async function* gather(text: AsyncIterable<string>, signal: AbortSignal): AsyncGenerator<string> {
  const source = untilAborted(text, signal);
  let held = "";
  let pending = source.next();
  for (;;) {
    const next = await pending;
    if (next.done === true) break;
    held += next.value;
    pending = source.next();
    if (await settlesAtOnce(pending)) continue;
    for (let cut = lastCut(held); cut !== undefined; cut = lastCut(held)) {
      yield held.slice(0, cut);
      held = held.slice(cut);
    }
  }
  while (!signal.aborted && held.trim() !== "") {
    const cut = held.length <= LONGEST ? held.length : (lastCut(held) ?? held.length);
    yield held.slice(0, cut);
    held = held.slice(cut);
  }
}

/** The last end of a sentence within one request; in a text that is too long for one, the last pause or word. */
function lastCut(held: string): number | undefined {
  const cuts = cutsOf(held, false).filter(({ end }) => end <= LONGEST);
  const sentence = cuts.findLast(({ kind }) => kind === "sentence");
  if (sentence || held.length <= LONGEST) return sentence?.end;
  return (cuts.findLast(({ kind }) => kind === "clause") ?? cuts.at(-1))?.end ?? wordCut(held);
}

/** A word longer than a request, between two code points. */
function wordCut(held: string): number {
  return /[\uD800-\uDBFF]$/.test(held.slice(0, LONGEST)) ? LONGEST - 1 : LONGEST;
}
