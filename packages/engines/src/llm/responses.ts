/** A language model behind an OpenAI-compatible `POST /responses`, streamed (OpenAI API reference, "Responses"). */
import type { EngineUsage, LanguageModel, LlmEvent, LlmRequest } from "@sluice/conversation";
import { asObject, Endpoint, jsonPayload, parseJson, type Reply, readText, sseEvents } from "../http/endpoint.ts";
import { messageIn } from "../http/engine-error.ts";
import { toResponseInput, toResponseToolChoice, toResponseTools } from "./messages.ts";
import type { LlmOptions } from "./options.ts";
import { ThinkFilter } from "./think-filter.ts";

/** The API refuses less. */
const LEAST_TOKENS = 16;

/** A language model by the responses API; nothing is stored at the server. */
export function createResponses(options: LlmOptions): LanguageModel {
  const endpoint = new Endpoint("llm", options);
  return {
    generate: (request, signal) =>
      endpoint.stream(
        "responses",
        jsonPayload(toBody(options, request)),
        (reply) => readReply(endpoint, reply),
        signal,
      ),
    warm: (signal) => endpoint.warm(signal),
  };
}

function toBody({ model, body }: LlmOptions, request: LlmRequest) {
  const { instructions, tools, toolChoice, maxOutputTokens, parallelToolCalls, reasoningEffort } = request;
  return {
    model,
    input: toResponseInput(request),
    ...(instructions !== "" && { instructions }),
    ...(tools.length > 0 && { tools: toResponseTools(tools), tool_choice: toResponseToolChoice(toolChoice) }),
    ...(tools.length > 0 && parallelToolCalls !== undefined && { parallel_tool_calls: parallelToolCalls }),
    ...(reasoningEffort !== undefined && { reasoning: { effort: reasoningEffort } }),
    ...(maxOutputTokens !== "inf" && { max_output_tokens: Math.max(LEAST_TOKENS, maxOutputTokens) }),
    stream: true,
    store: false,
    ...body,
  };
}

async function* readReply(endpoint: Endpoint, reply: Reply): AsyncGenerator<LlmEvent> {
  const response = new ResponseReply(endpoint);
  if (reply.contentType.includes("json")) {
    yield* response.pushWhole(await readText(reply)); // a server that does not stream
    return;
  }
  let begun = false;
  for await (const { event, data } of sseEvents(reply)) {
    begun = true;
    yield* response.push(event, data);
    if (response.done) return reply.complete();
  }
  if (!begun) throw endpoint.error("empty", "ended its answer before it began");
  throw endpoint.error("cut", "ended its answer before it was complete");
}

type Members = Readonly<Record<string, unknown>>;

/** One reply, event by event. */
class ResponseReply {
  readonly #endpoint: Endpoint;
  readonly #think = new ThinkFilter();
  /** Function calls by the place of their item in the output. */
  readonly #calls = new Map<number, { index: number; callId: string; name: string; begun: boolean }>();
  done = false;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  *push(name: string, data: string): Generator<LlmEvent> {
    const event = asObject(parseJson(data));
    if (!event) throw this.#endpoint.error("malformed", "sent what is no JSON object");
    const type = typeof event.type === "string" ? event.type : name;
    const delta = typeof event.delta === "string" ? event.delta : "";
    switch (type) {
      case "response.output_text.delta":
      case "response.refusal.delta":
        yield* this.#think.push(delta);
        return;
      case "response.reasoning_text.delta":
      case "response.reasoning_summary_text.delta":
        if (delta !== "") yield { kind: "reasoning", delta };
        return;
      case "response.output_item.added":
        return this.#openCall(event);
      case "response.function_call_arguments.delta":
        yield* this.#callDelta(event, delta, true);
        return;
      case "response.function_call_arguments.done":
      case "response.output_item.done":
        yield* this.#callDone(event);
        return;
      case "response.completed":
      case "response.incomplete":
        yield* this.#finish(asObject(event.response) ?? {});
        return;
      case "response.failed":
      case "error":
        throw this.#failure(asObject(event.response) ?? event);
    }
    if (event.type === undefined && event.error) throw this.#failure(event);
  }

  /** Takes the JSON of a whole response. */
  *pushWhole(data: string): Generator<LlmEvent> {
    const response = asObject(parseJson(data));
    if (!response) throw this.#endpoint.error("malformed", "sent what is no JSON object");
    if (response.error || response.status === "failed") throw this.#failure(response);
    const output = Array.isArray(response.output) ? response.output : [];
    for (const [output_index, item] of output.entries()) {
      for (const part of partsOf(asObject(item)?.content)) yield* this.#think.push(part);
      this.#openCall({ output_index, item });
      yield* this.#callDone({ output_index, item });
    }
    yield* this.#finish(response);
  }

  #openCall({ output_index, item: value }: Members): void {
    const item = asObject(value);
    if (item?.type !== "function_call" || typeof output_index !== "number" || this.#calls.has(output_index)) return;
    const { call_id, name } = item;
    if (typeof name !== "string") return;
    const callId = typeof call_id === "string" ? call_id : "";
    this.#calls.set(output_index, { index: this.#calls.size, callId, name, begun: false });
  }

  *#callDelta({ output_index }: Members, delta: string, more: boolean): Generator<LlmEvent> {
    const call = this.#calls.get(Number(output_index));
    if (!call || (delta === "" && (more || call.begun))) return;
    call.begun = true;
    yield { kind: "toolCall", index: call.index, callId: call.callId, name: call.name, delta };
  }

  /** Servers that send no deltas give the arguments here, whole. */
  *#callDone(event: Members): Generator<LlmEvent> {
    const whole = event.arguments ?? asObject(event.item)?.arguments;
    this.#openCall(event);
    if (this.#calls.get(Number(event.output_index))?.begun !== false) return;
    yield* this.#callDelta(event, typeof whole === "string" ? whole : "", false);
  }

  *#finish(response: Members): Generator<LlmEvent> {
    this.done = true;
    yield* this.#think.end();
    const usage = usageOf(response.usage);
    if (usage) yield { kind: "usage", usage };
    const reason = asObject(response.incomplete_details)?.reason;
    if (reason === "max_output_tokens") yield { kind: "done", reason: "length" };
    else if (reason === "content_filter") yield { kind: "done", reason: "contentFilter" };
    else yield { kind: "done", reason: this.#calls.size > 0 ? "toolCalls" : "stop" };
  }

  #failure(value: Members) {
    return this.#endpoint.error("failed", `reported: ${messageIn(value) ?? "no reason"}`);
  }
}

function partsOf(content: unknown): string[] {
  return (Array.isArray(content) ? content : []).flatMap((part) => {
    const text = asObject(part)?.text ?? asObject(part)?.refusal;
    return typeof text === "string" ? [text] : [];
  });
}

function usageOf(value: unknown): EngineUsage | undefined {
  const usage = asObject(value);
  if (!usage || typeof usage.input_tokens !== "number") return undefined;
  const cached = asObject(usage.input_tokens_details)?.cached_tokens;
  return {
    inputTokens: usage.input_tokens,
    outputTokens: typeof usage.output_tokens === "number" ? usage.output_tokens : 0,
    ...(typeof cached === "number" && { cachedTokens: cached }),
  };
}
