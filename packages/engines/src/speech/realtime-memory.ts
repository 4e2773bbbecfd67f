/** The conversation at a Realtime server, kept equal to ours: what is new is told, what was not heard is cut, what is gone deleted. */
import { type ContextItem, type ContextPart, durationMs, type Milli, type Pcm } from "@sluice/conversation";
import type { OutgoingEvent } from "./realtime-upstream.ts";

/** Something that the server said, and that our conversation may have under a name of its own. */
interface Output {
  readonly id: string;
  readonly callId: string | undefined; // of a function call
  audioMs: Milli;
  contentIndex: number;
}

type Message = Extract<ContextItem, { readonly parts: readonly ContextPart[] }>;

/** Servers commit no less; nobody says a word in it. */
export const SHORTEST_MS = 100;
/** A difference that nobody hears. */
const TOLERANCE_MS = 10;
/** Outputs that our conversation never took; and commits that the server never confirmed. */
const MAX_PENDING = 256;
/** Our pipe shortens the names of calls to this. */
const CALL_ID_LENGTH = 32;

/** What the server knows. */
export class UpstreamMemory {
  readonly #send: (event: OutgoingEvent) => void;
  /** The server's id by ours. */
  readonly #known = new Map<string, string>();
  readonly #ownIds = new Map<string, string>();
  #unclaimed: Output[] = [];
  readonly #outputs = new Map<string, Output>(); // by our id
  readonly #commits: { readonly itemId: string; readonly eventId: string }[] = []; // in the order of the commits

  constructor(send: (event: OutgoingEvent) => void) {
    this.#send = send;
  }

  /** Our id of the server's item. */
  ownIdOf(upstreamId: unknown): string | undefined {
    return typeof upstreamId === "string" ? this.#ownIds.get(upstreamId) : undefined;
  }

  /** The server has our item under the name `upstreamId`; empty: it will tell the name. */
  know(itemId: string, upstreamId: string): void {
    this.#known.set(itemId, upstreamId);
    if (upstreamId !== "") this.#ownIds.set(upstreamId, itemId);
  }

  /** The utterance that event `eventId` commits is our item `itemId`. */
  expectCommit(itemId: string, eventId: string): void {
    this.#commits.push({ itemId, eventId });
    this.know(itemId, ""); // its name there comes later
    if (this.#commits.length > MAX_PENDING) this.#commits.shift();
  }

  /** The server named a committed utterance. */
  handleCommitted(upstreamId: string): void {
    const commit = this.#commits.shift();
    if (commit) this.know(commit.itemId, upstreamId);
  }

  /** The server refused event `eventId`. */
  handleRefused(eventId: string): void {
    const at = this.#commits.findIndex((commit) => commit.eventId === eventId);
    for (const { itemId } of at === -1 ? [] : this.#commits.splice(at, 1)) this.#known.delete(itemId);
  }

  /** The server said something new. */
  handleOutput(id: string, callId: string | undefined): void {
    this.#unclaimed.push({ id, callId: callId?.slice(0, CALL_ID_LENGTH), audioMs: 0, contentIndex: 0 });
    if (this.#unclaimed.length > MAX_PENDING) this.#unclaimed.shift();
  }

  /** The server's item has this much more speech. */
  handleAudio(id: string, contentIndex: number, ms: Milli): void {
    const output =
      this.#unclaimed.find((candidate) => candidate.id === id) ?? this.#outputs.get(this.ownIdOf(id) ?? "");
    if (!output) return;
    output.audioMs += ms;
    output.contentIndex = contentIndex;
  }

  /** Tells the server what our conversation has and it has not; `speak` commits speech as an item of ours. */
  sync(items: readonly ContextItem[], speak: (itemId: string, pcm: Pcm) => void): void {
    const ids = new Set(items.map(({ id }) => id));
    for (const item of items) this.#syncItem(item, speak);
    for (const [itemId, upstreamId] of this.#known) if (!ids.has(itemId)) this.#forget(itemId, upstreamId);
    // An answer of which nothing was taken was heard by nobody.
    for (const { id } of this.#unclaimed) this.#send({ type: "conversation.item.delete", item_id: id });
    this.#unclaimed = [];
  }

  /** The items as `response.create` takes them for an answer beside the conversation. */
  describe(items: readonly ContextItem[]): unknown[] {
    return items.flatMap((item) => {
      const known = this.#known.get(item.id);
      if (known) return [{ type: "item_reference", id: known }];
      const described = describeItem(item);
      return described ? [described] : [];
    });
  }

  #syncItem(item: ContextItem, speak: (itemId: string, pcm: Pcm) => void): void {
    if (!this.#known.has(item.id)) this.#introduce(item, speak);
    const output = this.#outputs.get(item.id);
    if (output && "parts" in item) this.#truncate(item, output);
  }

  #introduce(item: ContextItem, speak: (itemId: string, pcm: Pcm) => void): void {
    const claimed = this.#claim(item);
    if (claimed) {
      this.#outputs.set(item.id, claimed);
      this.know(item.id, claimed.id);
      return;
    }
    const speech = item.role === "user" ? item.parts.find((part) => part.kind === "audio") : undefined;
    if (speech?.pcm && durationMs(speech.pcm) >= SHORTEST_MS) return speak(item.id, speech.pcm);
    const described = describeItem(item);
    if (!described) return;
    this.know(item.id, item.id);
    this.#send({ type: "conversation.item.create", item: { id: item.id, ...described } });
  }

  /** The output that our item is: a call by its name, a message by its turn. */
  #claim(item: ContextItem): Output | undefined {
    const at = this.#unclaimed.findIndex(({ callId }) =>
      item.role === "toolCall" ? callId === item.callId : item.role === "assistant" && callId === undefined,
    );
    return at === -1 ? undefined : this.#unclaimed.splice(at, 1)[0];
  }

  #truncate(item: Message, output: Output): void {
    const heardMs = item.parts.reduce((ms, part) => (part.kind === "audio" ? ms + part.voicedEndMs : ms), 0);
    if (!item.parts.some((part) => part.kind === "audio") || heardMs >= output.audioMs - TOLERANCE_MS) return;
    output.audioMs = heardMs;
    this.#send({
      type: "conversation.item.truncate",
      item_id: output.id,
      content_index: output.contentIndex,
      audio_end_ms: Math.floor(heardMs),
    });
  }

  #forget(itemId: string, upstreamId: string): void {
    if (upstreamId === "") return; // not named yet: deleted with the next answer
    this.#known.delete(itemId);
    this.#ownIds.delete(upstreamId);
    this.#outputs.delete(itemId);
    this.#send({ type: "conversation.item.delete", item_id: upstreamId });
  }
}

/** An item of ours in the protocol's words; `undefined` for one without content. */
function describeItem(item: ContextItem): Readonly<Record<string, unknown>> | undefined {
  if (item.role === "toolCall") {
    return { type: "function_call", call_id: item.callId, name: item.name, arguments: item.arguments };
  }
  if (item.role === "toolResult") return { type: "function_call_output", call_id: item.callId, output: item.output };
  const content = item.parts.flatMap((part): object[] => {
    if (part.kind === "image") return [{ type: "input_image", image_url: part.url }];
    const text = part.kind === "text" ? part.text : (part.transcript ?? "");
    return text === "" ? [] : [{ type: item.role === "assistant" ? "output_text" : "input_text", text }];
  });
  return content.length === 0 ? undefined : { type: "message", role: item.role, content };
}
