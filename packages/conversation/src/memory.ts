/** What has been said: the conversation's items in order, the caller's audio behind them, and what the ear had of the agent's. */
import type { ContentPart, Item } from "@sluice/realtime";
import { durationMs, type Milli, type Pcm, SAMPLES_PER_MS } from "./audio.ts";
import type { ContextItem, ContextPart } from "./engines.ts";
import type { SavedItem, SnapshotBounds } from "./snapshot.ts";
import { SpokenText } from "./spoken-text.ts";

/** The caller's speech behind an item. */
export interface CallerAudio {
  readonly pcm: Pcm;
  /** Bounds of the voice in `pcm`. */
  readonly voicedStartMs: Milli;
  readonly voicedEndMs: Milli;
}

/** The agent's speech behind an item. */
export interface AgentAudio {
  readonly text: SpokenText;
  /** What was generated, or was left of it by a truncation. */
  audioMs: Milli;
  /** What was generated, once there was a truncation. */
  generatedMs?: Milli;
}

interface Entry {
  item: Item;
  caller?: CallerAudio;
  agent?: AgentAudio;
  callId?: string; // by which the engine knows a call that servers answer
}

/** What belongs to an item and is not shown in it. */
export type Hidden = Omit<Entry, "item">;

/** Bounds of a conversation's memory. */
export interface MemoryOptions {
  /** Items kept; the oldest goes first. */
  readonly maxItems: number;
  /** Audio of the caller kept, over all items: 48 KB a second. */
  readonly maxAudioMs: Milli;
}

/** The conversation so far, bounded. */
export class Memory {
  readonly #options: MemoryOptions;
  #entries: Entry[] = [];

  constructor(options: MemoryOptions) {
    this.#options = options;
  }

  has(itemId: string): boolean {
    return this.#entries.some((entry) => entry.item.id === itemId);
  }

  find(itemId: string): Item | undefined {
    return this.#entry(itemId)?.item;
  }

  /** The newest item's id, `null` in an empty conversation. */
  get lastId(): string | null {
    return this.#entries.at(-1)?.item.id ?? null;
  }

  /** Id of the item before this one, `null` for the first. */
  previousId(itemId: string): string | null {
    const index = this.#entries.findIndex((entry) => entry.item.id === itemId);
    return this.#entries[index - 1]?.item.id ?? null;
  }

  /** Adds an item after `previousId` (`root`: first; `undefined`: last), and answers the ids that the bound pushed out. */
  add(item: Item, previousId?: string, hidden?: Hidden): readonly string[] {
    const index = previousId === undefined ? this.#entries.length : this.#indexAfter(previousId);
    this.#entries.splice(index, 0, { item, ...hidden });
    const excess = this.#entries.length - this.#options.maxItems;
    const dropped = excess > 0 ? this.#entries.splice(0, excess).map((entry) => entry.item.id) : [];
    this.#forgetOldAudio();
    return dropped;
  }

  replace(item: Item): void {
    const entry = this.#entry(item.id);
    if (entry) entry.item = item;
  }

  delete(itemId: string): boolean {
    const index = this.#entries.findIndex((entry) => entry.item.id === itemId);
    if (index >= 0) this.#entries.splice(index, 1);
    return index >= 0;
  }

  callerAudio(itemId: string): CallerAudio | undefined {
    return this.#entry(itemId)?.caller;
  }

  agentAudio(itemId: string): AgentAudio | undefined {
    return this.#entry(itemId)?.agent;
  }

  /** The caller's words, in the item that was spoken. */
  transcribe(itemId: string, transcript: string): void {
    const item = this.find(itemId);
    if (item?.type !== "message" || item.role !== "user") return;
    const content = item.content.map((part) => (part.type === "input_audio" ? { ...part, transcript } : part));
    this.replace({ ...item, content });
  }

  /** Cuts the agent's memory of its own speech to what was heard. */
  truncate(itemId: string, heardMs: Milli): void {
    const entry = this.#entry(itemId);
    if (!entry?.agent || entry.item.type !== "message" || entry.item.role !== "assistant") return;
    entry.agent.generatedMs ??= entry.agent.audioMs;
    const transcript = entry.agent.text.until(heardMs, entry.agent.generatedMs);
    entry.agent.audioMs = Math.min(entry.agent.generatedMs, heardMs);
    const content = entry.item.content.map((part) => (part.type === "output_audio" ? { ...part, transcript } : part));
    entry.item = { ...entry.item, content };
  }

  /** The conversation as an engine sees it. */
  context(): readonly ContextItem[] {
    return this.#entries.flatMap((entry) => this.#toContext(entry));
  }

  /** One item of it as an engine sees it; `undefined` when there is none of that name. */
  contextOf(itemId: string): readonly ContextItem[] | undefined {
    const entry = this.#entry(itemId);
    return entry && this.#toContext(entry);
  }

  /** All of it that another transceiver can go on with, newest first where the bounds tell. */
  save({ size = 262_144, audioMs = 8000 }: SnapshotBounds = {}): readonly SavedItem[] {
    const saved: SavedItem[] = [];
    let left = size;
    let audioLeftMs = audioMs;
    for (const entry of this.#entries.toReversed()) {
      const item = settled(entry);
      if (!item) continue;
      const { agent, callId } = entry;
      const speech = agent && {
        pieces: [...agent.text.pieces],
        endMs: agent.text.endMs,
        audioMs: agent.audioMs,
        generatedMs: agent.generatedMs,
      };
      left -= JSON.stringify([item, speech]).length;
      if (left < 0) break;
      const caller = entry.caller && isUntold(item) ? lastOf(entry.caller, audioLeftMs) : undefined;
      audioLeftMs -= caller ? durationMs(caller.pcm) : 0;
      saved.push({ item, caller, agent: speech, callId });
    }
    return saved.reverse();
  }

  /** Takes what {@link Memory.save} gave. */
  restore(items: readonly SavedItem[]): void {
    this.#entries = items.map(({ item, caller, agent, callId }) => {
      const entry: Entry = { item };
      if (caller) entry.caller = caller;
      if (callId !== undefined) entry.callId = callId;
      if (!agent) return entry;
      const text = new SpokenText();
      for (const piece of agent.pieces) text.append(piece.text, piece.startMs);
      if (agent.endMs !== undefined) text.close(agent.endMs);
      entry.agent = { text, audioMs: agent.audioMs };
      if (agent.generatedMs !== undefined) entry.agent.generatedMs = agent.generatedMs;
      return entry;
    });
  }

  #toContext(entry: Entry): readonly ContextItem[] {
    const { item } = entry;
    if (item.type !== "mcp_approval_request") return toContext(item, entry);
    // Once approved, the call itself follows as an item of its own.
    const answer = this.#entries.find(
      (other) => other.item.type === "mcp_approval_response" && other.item.approval_request_id === item.id,
    )?.item;
    if (answer?.type === "mcp_approval_response" && answer.approve) return [];
    const reason = answer?.type === "mcp_approval_response" ? answer.reason : undefined;
    const output = answer
      ? `The user did not allow this call${reason ? `: ${reason}` : "."}`
      : "(waiting for the user to allow this call)";
    return callContext(item, entry.callId, output);
  }

  #entry(itemId: string): Entry | undefined {
    return this.#entries.find((entry) => entry.item.id === itemId);
  }

  #indexAfter(previousId: string): number {
    return previousId === "root" ? 0 : this.#entries.findIndex((entry) => entry.item.id === previousId) + 1;
  }

  #forgetOldAudio(): void {
    let heldMs = 0;
    for (const entry of this.#entries.toReversed()) {
      if (!entry.caller) continue;
      heldMs += durationMs(entry.caller.pcm);
      // The newest is what is to be answered: it stays, whatever its length.
      if (heldMs > this.#options.maxAudioMs && entry !== this.#entries.at(-1)) delete entry.caller;
    }
  }
}

/** An item of the wire as an engine sees it: nothing of items that engines have no use for. */
export function toContext(item: Item, { caller, agent, callId }: Hidden = {}): readonly ContextItem[] {
  switch (item.type) {
    case "message":
      return [{ id: item.id, role: item.role, parts: item.content.map((part) => toPart(part, caller, agent)) }];
    case "function_call": {
      if (item.status !== "completed") return []; // an interruption came before its arguments were whole
      return [{ id: item.id, role: "toolCall", callId: item.call_id, name: item.name, arguments: item.arguments }];
    }
    case "function_call_output":
      return [{ id: item.id, role: "toolResult", callId: item.call_id, output: item.output }];
    case "mcp_call":
      return callContext(item, callId, item.output ?? failureOf(item.error));
    default:
      return [];
  }
}

/** A call and its result, which are one item on the wire. */
function callContext(
  { id, name, arguments: args }: { readonly id: string; readonly name: string; readonly arguments: string },
  engineCallId: string | undefined,
  output: string,
): readonly ContextItem[] {
  const callId = engineCallId || id;
  return [
    { id, role: "toolCall", callId, name, arguments: args },
    { id: `${id}_out`, role: "toolResult", callId, output },
  ];
}

function failureOf(error: unknown): string {
  const message = typeof error === "object" && error !== null && "message" in error ? String(error.message) : undefined;
  return message === undefined ? "(no result yet)" : `The call failed: ${message}`;
}

function toPart(part: ContentPart, caller: CallerAudio | undefined, agent: AgentAudio | undefined): ContextPart {
  switch (part.type) {
    case "input_text":
    case "output_text":
      return { kind: "text", text: part.text };
    case "input_image":
      return { kind: "image", url: part.image_url };
    case "output_audio": {
      const voicedEndMs = agent?.audioMs ?? 0;
      return { kind: "audio", pcm: undefined, transcript: part.transcript, voicedStartMs: 0, voicedEndMs };
    }
    case "input_audio": {
      const { pcm, voicedStartMs = 0, voicedEndMs = 0 } = caller ?? {};
      return { kind: "audio", pcm, transcript: part.transcript ?? undefined, voicedStartMs, voicedEndMs };
    }
  }
}

/** The item as it is when nothing more comes of it; `undefined` for one that then means nothing, or is made anew. */
function settled({ item, agent }: Entry): Item | undefined {
  if (item.type === "mcp_list_tools") return undefined; // whoever takes over asks the servers again
  if (item.status !== "in_progress") return item;
  const transcript = agent?.text.whole ?? "";
  if (item.type !== "message" || item.role !== "assistant" || transcript === "") return undefined;
  return { ...item, status: "incomplete", content: [{ type: "output_audio", transcript }] };
}

/** Nothing but its audio says what was said. */
function isUntold(item: Item): boolean {
  return (
    item.type === "message" && item.content.some((part) => part.type === "input_audio" && part.transcript === null)
  );
}

function lastOf({ pcm, voicedStartMs, voicedEndMs }: CallerAudio, ms: Milli): CallerAudio | undefined {
  const cutMs = durationMs(pcm) - ms;
  if (ms < 100) return undefined;
  if (cutMs <= 0) return { pcm, voicedStartMs, voicedEndMs };
  const kept = pcm.slice(-Math.floor(ms * SAMPLES_PER_MS));
  return {
    pcm: kept,
    voicedStartMs: Math.max(0, voicedStartMs - cutMs),
    voicedEndMs: Math.max(0, voicedEndMs - cutMs),
  };
}
