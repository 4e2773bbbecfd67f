/** A language model behind an OpenAI-compatible `POST /chat/completions`, streamed (OpenAI API reference, "Chat"). */
import type { EngineUsage, LanguageModel, LlmEvent, LlmRequest } from "@sluice/conversation";
import { asObject, Endpoint, jsonPayload, parseJson, type Reply, readText, sseEvents } from "../http/endpoint.ts";
import { messageIn } from "../http/engine-error.ts";
import { toChatMessages, toChatToolChoice, toChatTools } from "./messages.ts";
import type { LlmOptions } from "./options.ts";
import { ThinkFilter } from "./think-filter.ts";
import { ToolCalls } from "./tool-calls.ts";

/** Settings of {@link createChatCompletions}. */
export interface ChatCompletionsOptions extends LlmOptions {
  /** The model takes `input_audio`: speech that nobody transcribed is sent as WAV. Default false. */
  readonly hears?: boolean | undefined;
  /** Asks for token counts by `stream_options`; a few servers refuse the word. Default true. */
  readonly usage?: boolean | undefined;
  /** The name of the limit of tokens. Default: the newer one at OpenAI, the one all others know elsewhere. */
  readonly maxTokensField?: "max_tokens" | "max_completion_tokens" | undefined;
}

/** After its last word a server has this long to tell the usage and to end the stream. */
const USAGE_WITHIN_MS = 1000;

/** A language model by chat completions: OpenAI, vLLM, Ollama, llama.cpp, LocalAI, LiteLLM and most others. */
export function createChatCompletions(options: ChatCompletionsOptions): LanguageModel {
  const endpoint = new Endpoint("llm", options);
  return {
    hears: options.hears ?? false,
    generate: (request, signal) => generate(endpoint, options, request, signal),
    warm: (signal) => endpoint.warm(signal),
  };
}

function generate(
  endpoint: Endpoint,
  options: ChatCompletionsOptions,
  request: LlmRequest,
  signal: AbortSignal,
): AsyncIterable<LlmEvent> {
  const payload = jsonPayload(toBody(endpoint, options, request));
  return endpoint.stream("chat/completions", payload, (reply) => readReply(endpoint, reply), signal);
}

function toBody(endpoint: Endpoint, options: ChatCompletionsOptions, request: LlmRequest) {
  const { tools, toolChoice, maxOutputTokens, parallelToolCalls, reasoningEffort } = request;
  const limit = options.maxTokensField ?? (endpoint.isOpenAi ? "max_completion_tokens" : "max_tokens");
  return {
    model: options.model,
    messages: toChatMessages(request, options.hears ?? false),
    stream: true,
    ...(options.usage !== false && { stream_options: { include_usage: true } }),
    ...(tools.length > 0 && { tools: toChatTools(tools), tool_choice: toChatToolChoice(toolChoice) }),
    ...(tools.length > 0 && parallelToolCalls !== undefined && { parallel_tool_calls: parallelToolCalls }),
    ...(reasoningEffort !== undefined && { reasoning_effort: reasoningEffort }),
    ...(maxOutputTokens !== "inf" && { [limit]: maxOutputTokens }),
    ...options.body,
  };
}

async function* readReply(endpoint: Endpoint, reply: Reply): AsyncGenerator<LlmEvent> {
  const chat = new ChatReply(endpoint);
  if (reply.contentType.includes("json")) {
    yield* chat.push(await readText(reply)); // a server that does not stream
  } else {
    for await (const { data } of untilQuiet(sseEvents(reply), () => chat.done)) yield* chat.push(data);
  }
  yield* chat.end();
}

/** Once `isDone`, a stream that says nothing more is as good as ended. */
async function* untilQuiet<T>(source: AsyncIterable<T>, isDone: () => boolean): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  for (;;) {
    const next = isDone() ? await orUndefined(iterator.next(), USAGE_WITHIN_MS) : await iterator.next();
    if (next === undefined || next.done === true) return;
    yield next.value;
  }
}

/** Settles as `promise` does, a failure too, or with `undefined` after `ms`. */
async function orUndefined<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise.catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One reply, chunk by chunk. */
class ChatReply {
  readonly #endpoint: Endpoint;
  readonly #think = new ThinkFilter();
  readonly #calls = new ToolCalls();
  #said = false;
  done = false;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  /** Takes the JSON of a chunk, or of a whole completion. */
  *push(data: string): Generator<LlmEvent> {
    const chunk = asObject(parseJson(data));
    if (!chunk) throw this.#endpoint.error("malformed", "sent what is no JSON object");
    this.#refuseError(chunk);
    const choice = asObject(Array.isArray(chunk.choices) ? chunk.choices[0] : undefined);
    if (choice && !this.done) yield* this.#pushChoice(choice);
    const usage = usageOf(chunk.usage);
    if (usage) yield { kind: "usage", usage };
  }

  /** The stream ended, with or without saying so. */
  *end(): Generator<LlmEvent> {
    if (this.done) return;
    if (!this.#said) throw this.#endpoint.error("empty", "ended its answer before it began");
    yield* this.#finish("stop");
  }

  *#pushChoice(choice: Readonly<Record<string, unknown>>): Generator<LlmEvent> {
    const delta = asObject(choice.delta) ?? asObject(choice.message) ?? {};
    const reasoning = textOf(delta.reasoning_content) || textOf(delta.reasoning);
    if (reasoning !== "") yield { kind: "reasoning", delta: reasoning };
    const text = textOf(delta.content) || textOf(delta.refusal) || textOf(choice.text);
    if (text !== "") {
      this.#said = true;
      yield* this.#think.push(text);
    }
    const calls = delta.tool_calls ?? (delta.function_call ? [delta.function_call] : []);
    for (const piece of Array.isArray(calls) ? calls : []) {
      const event = this.#calls.push(piece);
      if (event) yield event;
    }
    const reason = choice.finish_reason;
    if (typeof reason === "string" && reason !== "") yield* this.#finish(reason);
  }

  *#finish(reason: string): Generator<LlmEvent> {
    this.done = true;
    yield* this.#think.end();
    yield { kind: "done", reason: this.#calls.any ? "toolCalls" : reasonOf(reason) };
  }

  #refuseError(chunk: Readonly<Record<string, unknown>>): void {
    const isError = Boolean(chunk.error) || chunk.object === "error" || (!chunk.choices && !chunk.usage);
    const said = isError ? messageIn(chunk) : undefined;
    if (said !== undefined) throw this.#endpoint.error("failed", `reported: ${said}`);
  }
}

/** `content` is text, or a list of typed parts of which only those with text are said. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content
    .map((part) => asObject(part))
    .map((part) => (part?.type === "text" && typeof part.text === "string" ? part.text : ""))
    .join("");
}

function reasonOf(reason: string): Extract<LlmEvent, { kind: "done" }>["reason"] {
  if (reason === "length" || reason === "max_tokens") return "length";
  return reason === "content_filter" ? "contentFilter" : "stop";
}

function usageOf(value: unknown): EngineUsage | undefined {
  const usage = asObject(value);
  if (!usage || typeof usage.prompt_tokens !== "number") return undefined;
  const cached = asObject(usage.prompt_tokens_details)?.cached_tokens;
  return {
    inputTokens: usage.prompt_tokens,
    outputTokens: typeof usage.completion_tokens === "number" ? usage.completion_tokens : 0,
    ...(typeof cached === "number" && { cachedTokens: cached }),
  };
}
