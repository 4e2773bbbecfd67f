/** One answer of a Realtime server, from `response.create` to `response.done`, in either dialect. */
import { durationMs, type SpeechEvent } from "@sluice/conversation";
import { Channel } from "../channel.ts";
import { asObject } from "../http/endpoint.ts";
import { type EngineError, messageIn } from "../http/engine-error.ts";
import type { SocketEvent } from "../http/socket.ts";
import { createPcmDecoder, type SpeechDecoder } from "../tts/openai-formats.ts";
import type { UpstreamMemory } from "./realtime-memory.ts";

interface Call {
  readonly index: number;
  readonly callId: string;
  readonly name: string;
  begun: boolean;
}

/** An answer under way. */
export class UpstreamAnswer {
  /** The answer's pieces; ends with it. */
  readonly events = new Channel<SpeechEvent>();
  readonly #modality: "audio" | "text";
  readonly #memory: UpstreamMemory | undefined;
  readonly #done = Promise.withResolvers<void>();
  readonly #calls = new Map<string, Call>(); // by the server's item
  readonly #decoders = new Map<string, SpeechDecoder>();
  #over = false;
  #said = false;
  /** Its name at the server, once it has one. */
  responseId: string | undefined;
  cancelled = false;

  /** `memory`: of the conversation that the answer becomes a part of; none for one beside it. */
  constructor(modality: "audio" | "text", memory: UpstreamMemory | undefined) {
    this.#modality = modality;
    this.#memory = memory;
  }

  /** Settles when the server is free for the next one. */
  get ended(): Promise<void> {
    return this.#done.promise;
  }

  /** Adds a piece that is not of the answer itself; false when nobody reads any more. */
  push(event: SpeechEvent): boolean {
    if (this.#over || this.cancelled) return false;
    this.events.push(event);
    return true;
  }

  /** From now on nobody wants it; false when it was over anyway. */
  cancel(): boolean {
    if (this.#over || this.cancelled) return false;
    this.cancelled = true;
    this.events.end();
    return true;
  }

  fail(error: EngineError): void {
    if (this.#over) return;
    this.#end(error);
  }

  /** Takes one event of the server, of whatever response. */
  handle(event: SocketEvent, failure: (message: string) => EngineError): void {
    const response = asObject(event.response);
    if (event.type === "response.created") {
      if (typeof response?.id === "string") this.responseId ??= response.id;
      return;
    }
    const id = event.response_id ?? response?.id;
    if (this.#over || (id !== undefined && this.responseId !== undefined && id !== this.responseId)) return;
    switch (event.type) {
      case "response.output_audio.delta":
      case "response.audio.delta":
        return this.#handleAudio(event);
      case "response.output_audio_transcript.delta":
      case "response.audio_transcript.delta":
        return this.#give({ kind: "transcript", delta: textOf(event.delta) });
      case "response.output_text.delta":
      case "response.text.delta":
        if (this.#modality === "text") this.#give({ kind: "text", delta: textOf(event.delta) });
        return;
      case "response.output_item.added":
        return this.#handleItem(event);
      case "response.function_call_arguments.delta":
        return this.#handleArguments(event, textOf(event.delta));
      case "response.function_call_arguments.done":
        return this.#handleWholeArguments(event);
      case "response.done":
        return this.#handleDone(response ?? {}, failure);
    }
  }

  #handleAudio(event: SocketEvent): void {
    const itemId = textOf(event.item_id);
    const decoder = this.#decoders.get(itemId) ?? createPcmDecoder(24_000);
    this.#decoders.set(itemId, decoder);
    const pcm = decoder.push(Buffer.from(textOf(event.delta), "base64"));
    if (pcm.length === 0) return;
    this.#memory?.handleAudio(itemId, Number(event.content_index) || 0, durationMs(pcm));
    if (this.#modality === "audio") this.#give({ kind: "audio", pcm });
  }

  #handleItem(event: SocketEvent): void {
    const { id, type, call_id, name } = asObject(event.item) ?? {};
    if (typeof id !== "string") return;
    const isCall = type === "function_call";
    this.#memory?.handleOutput(id, isCall ? textOf(call_id) : undefined);
    if (!isCall) return;
    this.#calls.set(id, { index: this.#calls.size, callId: textOf(call_id), name: textOf(name), begun: false });
  }

  #handleArguments(event: SocketEvent, delta: string): void {
    const call = this.#calls.get(textOf(event.item_id));
    if (!call) return;
    call.begun = true;
    this.#give({ kind: "toolCall", index: call.index, callId: call.callId, name: call.name, delta });
  }

  /** Servers that send no deltas give the arguments here; a call without any is made all the same. */
  #handleWholeArguments(event: SocketEvent): void {
    if (this.#calls.get(textOf(event.item_id))?.begun === false) this.#handleArguments(event, textOf(event.arguments));
  }

  #handleDone(response: Readonly<Record<string, unknown>>, failure: (message: string) => EngineError): void {
    const usage = usageOf(response.usage);
    if (usage) this.events.push({ kind: "usage", usage });
    if (response.status === "failed") {
      const reason = messageIn(asObject(response.status_details)?.error) ?? "no reason";
      return this.#end(failure(`reported: ${reason}`));
    }
    if (response.status === "cancelled" && !this.cancelled) return this.#end(failure("broke off its answer"));
    if (response.status === "incomplete") {
      const filtered = asObject(response.status_details)?.reason === "content_filter";
      this.events.push({ kind: "cutShort", reason: filtered ? "contentFilter" : "maxOutputTokens" });
      return this.#end(undefined);
    }
    if (!this.#said && !this.cancelled) return this.#end(failure("said that it was done, but sent nothing"));
    this.#end(undefined);
  }

  #give(event: SpeechEvent): void {
    if (this.cancelled || ("delta" in event && event.delta === "" && event.kind !== "toolCall")) return;
    this.#said ||= event.kind === "toolCall" || event.kind === this.#modality;
    this.events.push(event);
  }

  #end(error: EngineError | undefined): void {
    this.#over = true;
    this.events.end(error);
    this.#done.resolve();
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function usageOf(value: unknown) {
  const usage = asObject(value);
  if (!usage || typeof usage.input_tokens !== "number") return undefined;
  const cached = asObject(usage.input_token_details)?.cached_tokens;
  return {
    inputTokens: usage.input_tokens,
    outputTokens: typeof usage.output_tokens === "number" ? usage.output_tokens : 0,
    ...(typeof cached === "number" && { cachedTokens: cached }),
  };
}
