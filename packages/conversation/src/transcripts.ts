/** The caller's words as they become known, and what of them the client was told: deltas, then the whole, or why not. */
import type { Milli } from "./audio.ts";
import type { SttEvent } from "./engines.ts";

/** Why there are no words. */
export interface TranscriptFailure {
  readonly code: string;
  readonly message: string;
}

/** What a client is to be told, in this order for each item. */
export type TranscriptEvent =
  | { readonly kind: "delta"; readonly itemId: string; readonly delta: string }
  | { readonly kind: "completed"; readonly itemId: string; readonly text: string; readonly audioMs: Milli }
  | { readonly kind: "failed"; readonly itemId: string; readonly failure: TranscriptFailure };

interface Entry {
  audioMs: Milli | undefined; // known once the item is in the conversation
  told: string; // what the deltas add up to
  text: string; // the newest partial, or all of it
  final: boolean;
  failure: TranscriptFailure | undefined;
  over: boolean;
}

/** Items that are followed at once; the oldest is given up. */
const MAX_ENTRIES = 64;

/** Follows the transcripts of one conversation. */
export class Transcripts {
  readonly #entries = new Map<string, Entry>();
  readonly #events: TranscriptEvent[] = [];

  /** The item is in the conversation: it can be told of from now on. */
  handleAdded(itemId: string, audioMs: Milli): void {
    const entry = this.#entry(itemId);
    entry.audioMs = audioMs;
    this.#tell(itemId, entry);
  }

  /** A recogniser's word on an utterance. A partial that takes back what was told waits for a better one. */
  handleHeard(itemId: string, event: SttEvent): void {
    const entry = this.#entry(itemId);
    if (entry.over) return;
    entry.text = event.text;
    entry.final = event.kind === "final";
    this.#tell(itemId, entry);
  }

  /** The caller goes on after all: what was final was not, and there will be another. */
  handleResumed(itemId: string): void {
    const entry = this.#entry(itemId);
    if (!entry.over) entry.final = false;
  }

  /** There will be no words of it, unless the answer brings them. */
  handleFailed(itemId: string, failure: TranscriptFailure): void {
    this.#entry(itemId).failure = failure;
  }

  /** Nothing more is being done about words: those that failed are told so. */
  settle(): void {
    for (const [itemId, entry] of this.#entries) {
      if (entry.final || entry.over || entry.failure === undefined || entry.audioMs === undefined) continue;
      entry.over = true;
      this.#events.push({ kind: "failed", itemId, failure: entry.failure });
    }
  }

  /** The item left the conversation, or never came to be. */
  forget(itemId: string): void {
    this.#entries.delete(itemId);
  }

  nextEvent(): TranscriptEvent | undefined {
    return this.#events.shift();
  }

  #entry(itemId: string): Entry {
    const known = this.#entries.get(itemId);
    if (known) return known;
    const entry: Entry = { audioMs: undefined, told: "", text: "", final: false, failure: undefined, over: false };
    this.#entries.set(itemId, entry);
    const oldest = this.#entries.keys().next();
    if (this.#entries.size > MAX_ENTRIES && oldest.done !== true) this.#entries.delete(oldest.value);
    return entry;
  }

  /** Clients append deltas to each other, so only what goes on from the last can be one. */
  #tell(itemId: string, entry: Entry): void {
    if (entry.audioMs === undefined) return;
    const delta = entry.text.startsWith(entry.told) ? entry.text.slice(entry.told.length) : "";
    if (delta !== "") {
      entry.told = entry.text;
      this.#events.push({ kind: "delta", itemId, delta });
    }
    if (!entry.final) return;
    entry.over = true;
    this.#events.push({ kind: "completed", itemId, text: entry.text, audioMs: entry.audioMs });
  }
}
