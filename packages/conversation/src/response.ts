/**
 * One response on the wire: turns what an engine says into the Realtime protocol's events, in the protocol's order, every
 * opened thing closed exactly once however the response ends.
 */
import {
  type AssistantMessageItem,
  type FunctionCallItem,
  type Item,
  type McpApprovalRequestItem,
  type McpCallItem,
  type ResponseObject,
  type ServerEventDraft,
  type Session,
  zeroUsage,
} from "@sluice/realtime";
import { durationMs, type Milli } from "./audio.ts";
import type { EngineUsage, SpeechEvent } from "./engines.ts";
import type { Utterance } from "./link.ts";
import type { McpTarget } from "./mcp.ts";
import type { AgentAudio, Memory } from "./memory.ts";
import { SpokenText } from "./spoken-text.ts";
import type { ServerToolOutcome } from "./tool-server.ts";

/** What a response is to be. */
export interface ResponseSpec {
  readonly id: string;
  readonly conversationId: string | null;
  readonly modality: "audio" | "text";
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly maxOutputTokens: number | "inf";
  readonly output: ResponseObject["audio"]["output"];
  /** Tools of servers by the names that the engine was offered. */
  readonly targets?: ReadonlyMap<string, McpTarget> | undefined;
}

/** A call of a server's tool that is to be made now. */
export interface ServerCall {
  readonly itemId: string;
  readonly label: string;
  readonly name: string;
  /** JSON, as the model wrote it. */
  readonly arguments: string;
}

/** How a response ended, if not by being complete. */
export type ResponseEnd =
  | { readonly status: "completed" }
  | { readonly status: "cancelled"; readonly reason: "turn_detected" | "client_cancelled" }
  | { readonly status: "failed"; readonly code: string; readonly message: string };

interface Message {
  readonly item: AssistantMessageItem;
  readonly outputIndex: number;
  readonly audio: AgentAudio;
  text: string;
  open: boolean;
}

interface Call {
  readonly item: FunctionCallItem | McpCallItem;
  readonly outputIndex: number;
  arguments: string;
  open: boolean;
}

/** A call that waits for the client's word, and is told as a whole. */
interface Question {
  readonly target: McpTarget;
  readonly callId: string;
  arguments: string;
}

/** A response under way. */
export class ResponseRun {
  readonly spec: ResponseSpec;
  readonly #emit: (event: ServerEventDraft) => void;
  readonly #memory: Memory;
  readonly #createId: (prefix: "item" | "call") => string;
  readonly #calls = new Map<number, Call>();
  readonly #questions = new Map<number, Question>();
  /** The pipe knows that no more sound will come. */
  soundEnded = false;
  readonly #output: Item[] = [];
  #message: Message | undefined;
  #usage: EngineUsage | undefined;
  #cutShort: "max_output_tokens" | "content_filter" | undefined;
  #outputs = 0;

  constructor(
    spec: ResponseSpec,
    memory: Memory,
    emit: (event: ServerEventDraft) => void,
    createId: (prefix: "item" | "call") => string,
  ) {
    this.spec = spec;
    this.#memory = memory;
    this.#emit = emit;
    this.#createId = createId;
    emit({ type: "response.created", response: this.#describe("in_progress", null, null) });
  }

  /** The spoken part, once there is one. */
  get utterance(): Utterance | undefined {
    if (!this.#message) return undefined;
    const { item, outputIndex } = this.#message;
    return { responseId: this.spec.id, itemId: item.id, outputIndex, contentIndex: 0 };
  }

  /** Calls of servers' tools that have no outcome yet. */
  get callsServers(): boolean {
    return [...this.#calls.values()].some(({ item, open }) => open && item.type === "mcp_call");
  }

  /** Whether the engine goes on by itself once servers have answered: the client has nothing to do first. */
  get continues(): boolean {
    const types = this.#output.map((item) => item.type);
    const waits = types.some((type) => type === "function_call" || type === "mcp_approval_request");
    return !waits && types.includes("mcp_call");
  }

  /** What the client was asked. */
  get questions(): readonly McpApprovalRequestItem[] {
    return this.#output.filter((item) => item.type === "mcp_approval_request");
  }

  /** Audio generated so far. */
  get audioMs(): Milli {
    return this.#message?.audio.audioMs ?? 0;
  }

  /** Takes what the engine said; audio itself goes to the pipe, by {@link ResponseRun.utterance}. */
  handle(event: SpeechEvent): void {
    switch (event.kind) {
      case "audio":
      case "acknowledgement":
        this.#open().audio.audioMs += durationMs(event.pcm);
        return;
      case "transcript":
        return this.#say(event.delta);
      case "text":
        return this.#write(event.delta);
      case "toolCall":
        return this.#call(event.index, event.callId, event.name, event.delta);
      case "usage":
        this.#usage = event.usage;
        return;
      case "cutShort":
        this.#cutShort = event.reason === "contentFilter" ? "content_filter" : "max_output_tokens";
        return;
      case "reached":
      case "inputTranscript": // the conversation's affair: it belongs to another item
        return;
    }
  }

  /** The engine has said all: closes what it said, and gives the calls that servers are to answer before the end. */
  endEngine(): readonly ServerCall[] {
    const status = this.#cutShort === undefined ? "completed" : "incomplete";
    if (this.#message?.open) this.#closeMessage(this.#message, status);
    if (status === "completed") for (const question of this.#questions.values()) this.#ask(question);
    const serverCalls: ServerCall[] = [];
    for (const call of this.#calls.values()) {
      const { item } = call;
      if (item.type === "function_call" || status === "incomplete") this.#closeCall(call, status);
      else serverCalls.push(this.#startServerCall(call, item));
    }
    return serverCalls;
  }

  /** A call that the client has approved, made without an engine. */
  callApproved({ id, server_label, name, arguments: args }: McpApprovalRequestItem): ServerCall {
    const item: McpCallItem = { ...this.#newServerCall(server_label, name), approval_request_id: id };
    const call: Call = { item, outputIndex: this.#outputs++, arguments: args, open: true };
    this.#calls.set(this.#calls.size, call);
    this.#openItem(item, call.outputIndex);
    return this.#startServerCall(call, item);
  }

  /** A server answered. */
  handleOutcome(itemId: string, outcome: ServerToolOutcome): void {
    for (const call of this.#calls.values()) {
      const { item, outputIndex: output_index } = call;
      if (item.id !== itemId || item.type !== "mcp_call" || !call.open) continue;
      call.open = false;
      const failed = "error" in outcome;
      const type = failed ? "response.mcp_call.failed" : "response.mcp_call.completed";
      this.#emit({ type, item_id: item.id, output_index });
      const result = failed ? { output: null, error: outcome.error } : { output: outcome.output, error: null };
      this.#closeItem({ ...item, ...result, arguments: call.arguments, status: "completed" }, output_index);
    }
  }

  /** Closes all that is open and the response. */
  end(outcome: ResponseEnd): void {
    const cut = outcome.status === "completed" ? this.#cutShort : undefined;
    const end = cut === undefined ? outcome : { status: "incomplete" as const, reason: cut };
    const status = end.status === "completed" ? "completed" : "incomplete";
    if (this.#message?.open) this.#closeMessage(this.#message, status);
    for (const call of this.#calls.values()) this.#closeCall(call, status);
    this.#emit({ type: "response.done", response: this.#describe(end.status, details(end), this.#usage) });
  }

  #open(): Message {
    if (this.#message) return this.#message;
    const item: AssistantMessageItem = {
      id: this.#createId("item"),
      object: "realtime.item",
      type: "message",
      role: "assistant",
      status: "in_progress",
      content: [],
    };
    const audio: AgentAudio = { text: new SpokenText(), audioMs: 0 };
    const message: Message = { item, outputIndex: this.#outputs++, audio, text: "", open: true };
    this.#message = message;
    this.#openItem(item, message.outputIndex, audio);
    const part =
      this.spec.modality === "audio" ? { type: "audio" as const, transcript: "" } : { type: "text" as const, text: "" };
    this.#emit({ type: "response.content_part.added", ...this.#contentPlace(message), part });
    return message;
  }

  #openItem(item: Item, outputIndex: number, agent?: AgentAudio, callId?: string): void {
    const { id: response_id, conversationId } = this.spec;
    this.#emit({ type: "response.output_item.added", response_id, output_index: outputIndex, item });
    if (conversationId === null) return;
    const previous_item_id = this.#memory.lastId;
    const dropped = this.#memory.add(item, undefined, { ...(agent && { agent }), ...(callId && { callId }) });
    for (const item_id of dropped) this.#emit({ type: "conversation.item.deleted", item_id });
    this.#emit({ type: "conversation.item.added", item, previous_item_id });
  }

  #say(delta: string): void {
    const message = this.#open();
    message.audio.text.append(delta, message.audio.audioMs);
    this.#emit({ type: "response.output_audio_transcript.delta", ...this.#contentPlace(message), delta });
  }

  #write(delta: string): void {
    const message = this.#open();
    message.text += delta;
    this.#emit({ type: "response.output_text.delta", ...this.#contentPlace(message), delta });
  }

  #call(index: number, callId: string, name: string, delta: string): void {
    const target = this.spec.targets?.get(name);
    const question = this.#questions.get(index);
    if (question || target?.needsApproval) {
      const asked = question ?? { target: target!, callId, arguments: "" };
      this.#questions.set(index, asked);
      asked.arguments += delta;
      return;
    }
    const call = this.#calls.get(index) ?? this.#openCall(index, callId, name, target);
    call.arguments += delta;
    const { item } = call;
    if (item.type === "function_call") {
      this.#emit({ type: "response.function_call_arguments.delta", ...this.#callPlace(call, item), delta });
    } else {
      this.#emit({ type: "response.mcp_call_arguments.delta", ...this.#place(call), delta, obfuscation: "" });
    }
  }

  #openCall(index: number, callId: string, name: string, target: McpTarget | undefined): Call {
    const item: FunctionCallItem | McpCallItem = target
      ? this.#newServerCall(target.label, target.name)
      : {
          id: this.#createId("item"),
          object: "realtime.item",
          type: "function_call",
          status: "in_progress",
          call_id: (callId || this.#createId("call")).slice(0, 32),
          name,
          arguments: "",
        };
    const call: Call = { item, outputIndex: this.#outputs++, arguments: "", open: true };
    this.#calls.set(index, call);
    this.#openItem(item, call.outputIndex, undefined, target && callId);
    return call;
  }

  #newServerCall(server_label: string, name: string): McpCallItem {
    return {
      id: this.#createId("item"),
      object: "realtime.item",
      type: "mcp_call",
      status: "in_progress",
      server_label,
      name,
      arguments: "",
      approval_request_id: null,
      output: null,
      error: null,
    };
  }

  #startServerCall(call: Call, item: McpCallItem): ServerCall {
    const { arguments: args, outputIndex: output_index } = call;
    this.#emit({ type: "response.mcp_call_arguments.done", ...this.#place(call), arguments: args });
    this.#emit({ type: "response.mcp_call.in_progress", item_id: item.id, output_index });
    return { itemId: item.id, label: item.server_label, name: item.name, arguments: args };
  }

  /** Nobody has called anything yet: the client is asked. */
  #ask({ target, callId, arguments: args }: Question): void {
    const item: McpApprovalRequestItem = {
      id: this.#createId("item"),
      object: "realtime.item",
      type: "mcp_approval_request",
      status: "completed",
      server_label: target.label,
      name: target.name,
      arguments: args === "" ? "{}" : args,
    };
    const outputIndex = this.#outputs++;
    this.#openItem(item, outputIndex, undefined, callId);
    this.#closeItem(item, outputIndex);
  }

  #closeMessage(message: Message, status: "completed" | "incomplete"): void {
    message.open = false;
    if (status === "completed") message.audio.text.close(message.audio.audioMs);
    const place = this.#contentPlace(message);
    const transcript = message.audio.text.whole;
    if (this.spec.modality === "audio") {
      this.#emit({ type: "response.output_audio.done", ...place });
      this.#emit({ type: "response.output_audio_transcript.done", ...place, transcript });
      this.#emit({ type: "response.content_part.done", ...place, part: { type: "audio", transcript } });
    } else {
      this.#emit({ type: "response.output_text.done", ...place, text: message.text });
      this.#emit({ type: "response.content_part.done", ...place, part: { type: "text", text: message.text } });
    }
    const content =
      this.spec.modality === "audio"
        ? [{ type: "output_audio" as const, transcript }]
        : [{ type: "output_text" as const, text: message.text }];
    this.#closeItem({ ...message.item, status, content }, message.outputIndex);
  }

  #closeCall(call: Call, status: "completed" | "incomplete"): void {
    if (!call.open) return;
    call.open = false;
    const { item, outputIndex, arguments: args } = call;
    if (item.type === "mcp_call") {
      const error = { type: "tool_execution_error" as const, message: "The call was given up." };
      this.#emit({ type: "response.mcp_call.failed", item_id: item.id, output_index: outputIndex });
      return this.#closeItem({ ...item, status: "incomplete", arguments: args, error }, outputIndex);
    }
    if (status === "completed") {
      const { call_id, name } = item;
      const done = { type: "response.function_call_arguments.done" as const, ...this.#callPlace(call, item) };
      this.#emit({ ...done, call_id, name, arguments: args });
    }
    this.#closeItem({ ...item, status, arguments: args }, outputIndex);
  }

  #closeItem(item: Item, output_index: number): void {
    this.#output.push(item);
    this.#emit({ type: "response.output_item.done", response_id: this.spec.id, output_index, item });
    if (this.spec.conversationId === null || !this.#memory.has(item.id)) return;
    this.#memory.replace(item);
    this.#emit({ type: "conversation.item.done", item, previous_item_id: this.#memory.previousId(item.id) });
  }

  #place({ item, outputIndex }: { readonly item: Item; readonly outputIndex: number }) {
    return { response_id: this.spec.id, item_id: item.id, output_index: outputIndex };
  }

  #contentPlace(message: Message) {
    return { ...this.#place(message), content_index: 0 };
  }

  #callPlace(call: Call, { call_id }: FunctionCallItem) {
    return { ...this.#place(call), call_id };
  }

  #describe(
    status: ResponseObject["status"],
    status_details: ResponseObject["status_details"],
    usage: EngineUsage | undefined | null,
  ): ResponseObject {
    const { id, conversationId, modality, metadata, maxOutputTokens, output } = this.spec;
    return {
      id,
      object: "realtime.response",
      status,
      status_details,
      output: this.#output,
      conversation_id: conversationId,
      output_modalities: modality === "audio" ? ["audio"] : ["text"],
      max_output_tokens: maxOutputTokens,
      audio: { output },
      usage: usage === null ? null : toUsage(usage),
      metadata,
    };
  }
}

/** A response that died with its transceiver, as its client is told. */
export function lostResponse(id: string, conversation_id: string, session: Session): ResponseObject {
  const { output_modalities, max_output_tokens, audio } = session;
  const message = "The server that gave this response is gone; another one goes on with the conversation.";
  return {
    id,
    object: "realtime.response",
    status: "failed",
    status_details: { type: "failed", error: { type: "server_error", code: "server_lost", message } },
    output: [],
    conversation_id,
    output_modalities,
    max_output_tokens,
    audio: { output: { format: audio.output.format, voice: audio.output.voice } },
    usage: null,
    metadata: null,
  };
}

type Outcome = ResponseEnd | { readonly status: "incomplete"; readonly reason: "max_output_tokens" | "content_filter" };

function details(end: Outcome): ResponseObject["status_details"] {
  switch (end.status) {
    case "incomplete":
      return { type: "incomplete", reason: end.reason };
    case "completed":
      return null;
    case "cancelled":
      return { type: "cancelled", reason: end.reason };
    case "failed":
      return { type: "failed", error: { type: "server_error", code: end.code, message: end.message } };
  }
}

function toUsage(usage: EngineUsage | undefined): ResponseObject["usage"] {
  const zero = zeroUsage();
  if (!usage) return zero;
  const { inputTokens, outputTokens, cachedTokens = 0 } = usage;
  return {
    ...zero,
    total_tokens: inputTokens + outputTokens,
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    input_token_details: { ...zero.input_token_details, text_tokens: inputTokens, cached_tokens: cachedTokens },
    output_token_details: { ...zero.output_token_details, text_tokens: outputTokens },
  };
}
