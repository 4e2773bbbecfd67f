/**
 * One response on the wire: turns what an engine says into the Realtime protocol's events, in the protocol's order, every
 * opened thing closed exactly once however the response ends.
 */
import {
  type AssistantMessageItem,
  type FunctionCallItem,
  type Item,
  type ResponseObject,
  type ServerEventDraft,
  zeroUsage,
} from "@sluice/realtime";
import { durationMs, type Milli } from "./audio.ts";
import type { EngineUsage, SpeechEvent } from "./engines.ts";
import type { Utterance } from "./link.ts";
import type { AgentAudio, Memory } from "./memory.ts";
import { SpokenText } from "./spoken-text.ts";

/** What a response is to be. */
export interface ResponseSpec {
  readonly id: string;
  readonly conversationId: string | null;
  readonly modality: "audio" | "text";
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly maxOutputTokens: number | "inf";
  readonly output: ResponseObject["audio"]["output"];
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
}

interface Call {
  readonly item: FunctionCallItem;
  readonly outputIndex: number;
  arguments: string;
}

/** A response under way. */
export class ResponseRun {
  readonly spec: ResponseSpec;
  readonly #emit: (event: ServerEventDraft) => void;
  readonly #memory: Memory;
  readonly #createId: (prefix: "item" | "call") => string;
  readonly #calls = new Map<number, Call>();
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

  /** Closes all that is open and the response. */
  end(outcome: ResponseEnd): void {
    const cut = outcome.status === "completed" ? this.#cutShort : undefined;
    const end = cut === undefined ? outcome : { status: "incomplete" as const, reason: cut };
    const status = end.status === "completed" ? "completed" : "incomplete";
    if (this.#message) this.#closeMessage(this.#message, status);
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
    const message: Message = { item, outputIndex: this.#outputs++, audio, text: "" };
    this.#message = message;
    this.#openItem(item, message.outputIndex, audio);
    const part =
      this.spec.modality === "audio" ? { type: "audio" as const, transcript: "" } : { type: "text" as const, text: "" };
    this.#emit({ type: "response.content_part.added", ...this.#place(message), part });
    return message;
  }

  #openItem(item: Item, outputIndex: number, agent?: AgentAudio): void {
    const { id: response_id, conversationId } = this.spec;
    this.#emit({ type: "response.output_item.added", response_id, output_index: outputIndex, item });
    if (conversationId === null) return;
    const previous_item_id = this.#memory.lastId;
    const dropped = this.#memory.add(item, undefined, agent && { agent });
    for (const item_id of dropped) this.#emit({ type: "conversation.item.deleted", item_id });
    this.#emit({ type: "conversation.item.added", item, previous_item_id });
  }

  #say(delta: string): void {
    const message = this.#open();
    message.audio.text.append(delta, message.audio.audioMs);
    this.#emit({ type: "response.output_audio_transcript.delta", ...this.#place(message), delta });
  }

  #write(delta: string): void {
    const message = this.#open();
    message.text += delta;
    this.#emit({ type: "response.output_text.delta", ...this.#place(message), delta });
  }

  #call(index: number, callId: string, name: string, delta: string): void {
    const call = this.#calls.get(index) ?? this.#openCall(index, callId, name);
    call.arguments += delta;
    this.#emit({ type: "response.function_call_arguments.delta", ...this.#callPlace(call), delta });
  }

  #openCall(index: number, callId: string, name: string): Call {
    const item: FunctionCallItem = {
      id: this.#createId("item"),
      object: "realtime.item",
      type: "function_call",
      status: "in_progress",
      call_id: (callId || this.#createId("call")).slice(0, 32),
      name,
      arguments: "",
    };
    const call: Call = { item, outputIndex: this.#outputs++, arguments: "" };
    this.#calls.set(index, call);
    this.#openItem(item, call.outputIndex);
    return call;
  }

  #closeMessage(message: Message, status: "completed" | "incomplete"): void {
    const place = this.#place(message);
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
    const { call_id, name } = call.item;
    const item = { ...call.item, status, arguments: call.arguments };
    if (status === "completed") {
      const done = { type: "response.function_call_arguments.done" as const, ...this.#callPlace(call) };
      this.#emit({ ...done, call_id, name, arguments: call.arguments });
    }
    this.#closeItem(item, call.outputIndex);
  }

  #closeItem(item: Item, output_index: number): void {
    this.#output.push(item);
    this.#emit({ type: "response.output_item.done", response_id: this.spec.id, output_index, item });
    if (this.spec.conversationId === null || !this.#memory.has(item.id)) return;
    this.#memory.replace(item);
    this.#emit({ type: "conversation.item.done", item, previous_item_id: this.#memory.previousId(item.id) });
  }

  #place(message: Message) {
    const { item, outputIndex } = message;
    return { response_id: this.spec.id, item_id: item.id, output_index: outputIndex, content_index: 0 };
  }

  #callPlace({ item, outputIndex }: Call) {
    return { response_id: this.spec.id, item_id: item.id, output_index: outputIndex, call_id: item.call_id };
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
