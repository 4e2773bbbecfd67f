/** What goes out of a conversation, in order: what its shell has to do, and among that what its clients are told. */
import type { RealtimeError, ServerEvent, ServerEventDraft } from "@sluice/realtime";
import type { Milli, Pcm } from "./audio.ts";
import type { Began, SpeechRequest, TurnDetectorInput } from "./engines.ts";
import { formatFloor } from "./extensions.ts";
import type { FloorDecision } from "./floor.ts";
import type { Utterance } from "./link.ts";
import type { TurnReport } from "./playout.ts";
import type { ServerCall } from "./response.ts";
import type { ToolServerSpec } from "./tool-server.ts";

/** Kinds of ids. `call` ids have at most 32 characters. */
export type IdPrefix = "event" | "item" | "resp" | "conv" | "call";

/** What the shell has to do, in order. `origin`: only the connection that the input came from. */
export type ConversationCommand =
  | { readonly kind: "send"; readonly event: ServerEvent; readonly to: "all" | "origin" }
  | { readonly kind: "respond"; readonly responseId: string; readonly request: Omit<SpeechRequest, "began"> }
  | { readonly kind: "prepare"; readonly itemId: string; readonly request: Omit<SpeechRequest, "began"> }
  | { readonly kind: "unprepare"; readonly itemId: string }
  /** Asks the turn detector about the pause that the caller makes. */
  | { readonly kind: "judge"; readonly itemId: string; readonly input: TurnDetectorInput }
  | { readonly kind: "began"; readonly responseId: string; readonly began: Began }
  | { readonly kind: "abort"; readonly responseId: string }
  | { readonly kind: "hear"; readonly itemId: string; readonly pcm: Pcm }
  | { readonly kind: "heard"; readonly itemId: string; readonly complete: boolean }
  | { readonly kind: "play"; readonly utterance: Utterance; readonly pcm: Pcm }
  | { readonly kind: "endUtterance"; readonly utterance: Utterance }
  | { readonly kind: "flush" }
  | { readonly kind: "duck"; readonly gain: number; readonly rampMs: Milli }
  | { readonly kind: "connectTools"; readonly server: ToolServerSpec; readonly itemId: string }
  | { readonly kind: "dropTools"; readonly label: string }
  | ({ readonly kind: "callTool"; readonly responseId: string } & ServerCall)
  | { readonly kind: "measured"; readonly report: TurnReport }
  | { readonly kind: "decided"; readonly decision: FloorDecision }
  | { readonly kind: "close"; readonly reason: string };

/** Where the parts of one conversation put what they want done. */
export class Outbox {
  readonly #createId: (prefix: IdPrefix) => string;
  readonly #commands: ConversationCommand[] = [];

  /** Whether the client asked for the `sluice.*` events of playout, turns and decisions. */
  timeline = false;

  constructor(createId: (prefix: IdPrefix) => string) {
    this.#createId = createId;
  }

  push(command: ConversationCommand): void {
    this.#commands.push(command);
  }

  send(draft: ServerEventDraft, to: "all" | "origin" = "all"): void {
    const event = { event_id: this.#createId("event"), ...draft } as ServerEvent;
    this.#commands.push({ kind: "send", event, to });
  }

  fail(error: RealtimeError, to: "all" | "origin" = "origin"): void {
    this.send({ type: "error", error }, to);
  }

  /** The floor has decided: for metrics, and for clients that asked. */
  decide(decision: FloorDecision): void {
    this.#commands.push({ kind: "decided", decision });
    if (this.timeline) this.send(formatFloor(decision));
  }

  next(): ConversationCommand | undefined {
    return this.#commands.shift();
  }
}
