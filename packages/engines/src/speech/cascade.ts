/**
 * Speech to speech out of three engines: what the caller said is transcribed, a language model answers, and its answer is
 * spoken while it is still being written, clause by clause, the next one on its way while this one sounds.
 */
import {
  type ContextItem,
  durationMs,
  type LanguageModel,
  type LlmEvent,
  type Milli,
  type Pcm,
  type SpeechEvent,
  type SpeechRequest,
  type SpeechSession,
  type SpeechToSpeech,
  type SpeechToText,
  type SttEvent,
  type SttOptions,
  type TextToSpeech,
} from "@sluice/conversation";
import { inOrder } from "../ahead.ts";
import { Channel, untilAborted } from "../channel.ts";
import { createEspeak } from "../tts/espeak.ts";
import { cutClauses, Lead } from "./cascade-clauses.ts";
import type { ClauseOptions } from "./cascade-cutter.ts";
import { Ears } from "./cascade-ears.ts";
import { Speakable } from "./cascade-speakable.ts";
import { Voice } from "./cascade-voice.ts";

/** Settings of {@link createCascade}. */
export interface CascadeOptions {
  /** Without it the model hears speech itself, if it can; otherwise the agent asks the caller to type. */
  readonly stt?: SpeechToText | undefined;
  readonly llm: LanguageModel;
  /** Without it eSpeak NG speaks. */
  readonly tts?: TextToSpeech | undefined;
  /** Speaks when `tts` is missing or fails before its first sound. Default: eSpeak NG, where it is installed. */
  readonly fallbackTts?: (() => Promise<TextToSpeech | undefined>) | undefined;
  /** BCP 47 language of the calls that name none; the engines guess without it. */
  readonly language?: string | undefined;
  /** How clauses grow. */
  readonly clauses?: Partial<ClauseOptions> | undefined;
  /** Once the model has begun, how long the first clause waits for punctuation, in milliseconds. Default 300. */
  readonly firstClauseMs?: Milli | undefined;
  /** Said when an answer fails before it began to sound; default none. */
  readonly apology?: string | undefined;
  /** What the agent can do, in a sentence for a person. */
  readonly description?: string | undefined;
}

/** Clauses that are synthesised at a time: the one that sounds and the next. */
const AT_A_TIME = 2;
const DEAF = "I cannot hear you, because no speech recognition is configured. Please type to me.";

/** An agent of any speech recognition, any language model and any voice. */
export function createCascade(options: CascadeOptions): SpeechToSpeech {
  return {
    description: options.description ?? describe(options),
    open: (opened) => new CascadeSession(options, opened),
  };
}

function describe({ stt, llm, tts }: CascadeOptions): string {
  const ears = stt || llm.hears ? "hears you" : "reads what you type";
  return `A language model ${ears} and answers ${tts ? "in its own voice" : "by the built-in voice"}.`;
}

let espeak: Promise<TextToSpeech | undefined> | undefined;

/** One thread for all sessions of the process. */
function sharedEspeak(): Promise<TextToSpeech | undefined> {
  return (espeak ??= createEspeak());
}

class CascadeSession implements SpeechSession {
  readonly #options: CascadeOptions;
  readonly #closed = new AbortController();
  readonly #opened: AbortSignal;
  readonly #ears: Ears;

  constructor(options: CascadeOptions, opened: AbortSignal) {
    this.#options = options;
    this.#opened = AbortSignal.any([opened, this.#closed.signal]);
    this.#ears = new Ears(options.stt, this.#opened);
    for (const engine of [options.stt, options.llm, options.tts]) void engine?.warm?.(this.#opened).catch(() => {});
    if (!options.tts) void this.#fallback(); // a thread takes a moment to start
  }

  listen(
    itemId: string,
    audio: AsyncIterable<Pcm>,
    signal: AbortSignal,
    options: SttOptions = {},
  ): AsyncIterable<SttEvent> {
    const { language } = this.#options;
    return this.#ears.listen(itemId, audio, { ...(language !== undefined && { language }), ...options }, signal);
  }

  async *respond(request: SpeechRequest, signal: AbortSignal): AsyncGenerator<SpeechEvent> {
    const scope = AbortSignal.any([this.#opened, signal]);
    const left = new AbortController();
    const language = request.language ?? this.#options.language;
    let sounded = false;
    try {
      for await (const event of this.#answer({ ...request, language }, AbortSignal.any([scope, left.signal]))) {
        if (scope.aborted) return;
        sounded ||= event.kind === "audio";
        yield event;
      }
    } catch (error) {
      if (scope.aborted) return;
      left.abort(); // of three engines one failed: the others need not go on
      if (!sounded) yield* this.#apologise(request, scope);
      throw error;
    } finally {
      left.abort();
    }
  }

  close(): void {
    this.#closed.abort();
  }

  async *#answer(request: SpeechRequest, scope: AbortSignal): AsyncGenerator<SpeechEvent> {
    if (scope.aborted || (request.items.length === 0 && request.instructions === "")) return;
    if (this.#isDeafTo(request.items.at(-1))) {
      yield* this.#say(DEAF, request, scope);
      return;
    }
    const heard = yield* this.#ears.hear(request.items, request.language, scope);
    if (scope.aborted || !asksForAnswer(heard.at(-1))) return; // a cough asks for no answer
    const reply = this.#options.llm.generate(
      {
        instructions: request.instructions,
        items: heard,
        tools: request.tools ?? [],
        toolChoice: request.toolChoice ?? "auto",
        maxOutputTokens: request.maxOutputTokens ?? "inf",
        parallelToolCalls: request.parallelToolCalls,
        reasoningEffort: request.reasoningEffort,
      },
      scope,
    );
    if (request.modality === "text") yield* asText(untilAborted(reply, scope));
    else yield* this.#speakReply(reply, request, scope);
  }

  #isDeafTo(item: ContextItem | undefined): boolean {
    if (this.#options.stt || this.#options.llm.hears || item?.role !== "user") return false;
    const speech = item.parts.filter((part) => part.kind === "audio");
    return speech.length > 0 && speech.length === item.parts.length && speech.every((part) => !part.transcript);
  }

  /** Reads the model and speaks what it says at the same time; calls of functions are passed on as they come. */
  async *#speakReply(
    reply: AsyncIterable<LlmEvent>,
    request: SpeechRequest,
    scope: AbortSignal,
  ): AsyncGenerator<SpeechEvent> {
    const events = new Channel<SpeechEvent>();
    const text = new Channel<string>();
    const read = async () => {
      for await (const event of untilAborted(reply, scope)) {
        if (event.kind === "text") text.push(event.delta);
        else if (event.kind === "done") {
          text.end(); // only the usage may follow: the voice need not wait for it
          const end = cutShort(event);
          if (end) events.push(end);
        } else if (event.kind !== "reasoning") events.push(event);
      }
      text.end();
    };
    const speak = async () => {
      for await (const event of this.#speak(text, request, scope)) events.push(event);
    };
    const reading = read().then(
      () => undefined,
      (error: unknown) => {
        text.end(error);
        return error;
      },
    );
    // What was written before the model failed is said; when the voice fails, nothing is worth waiting for.
    speak().then(
      async () => events.end(await reading),
      (error: unknown) => events.end(error),
    );
    yield* untilAborted(events, scope);
  }

  async *#say(text: string, request: SpeechRequest, scope: AbortSignal): AsyncGenerator<SpeechEvent> {
    if (request.modality === "text") yield { kind: "text", delta: text };
    else yield* this.#speak(once(text), request, scope);
  }

  async *#speak(text: AsyncIterable<string>, request: SpeechRequest, scope: AbortSignal): AsyncGenerator<SpeechEvent> {
    const { language, speed, voice: name } = request;
    const voice = new Voice(this.#options.tts, () => this.#fallback(), {
      voice: name,
      ...(speed !== undefined && { speed }),
      ...(language !== undefined && { language }),
    });
    const lead = new Lead();
    const clauses = cutClauses(untilAborted(text, scope), new Speakable(language), lead, this.#options);
    const spoken = inOrder(clauses, (clause, within) => voice.speak(clause, within), AT_A_TIME, scope);
    for await (const event of spoken) {
      if (event.kind === "audio") lead.add(durationMs(event.pcm));
      yield event;
    }
  }

  async *#apologise(request: SpeechRequest, scope: AbortSignal): AsyncGenerator<SpeechEvent> {
    const { apology } = this.#options;
    if (apology === undefined || request.modality !== "audio") return;
    try {
      yield* this.#speak(once(apology), request, scope);
    } catch {
      // What went wrong before is what the caller of `respond` is to hear of.
    }
  }

  #fallback(): Promise<TextToSpeech | undefined> {
    return (this.#options.fallbackTts ?? sharedEspeak)().catch(() => undefined);
  }
}

/** The model's words as they come, nothing spoken. */
async function* asText(reply: AsyncIterable<LlmEvent>): AsyncGenerator<SpeechEvent> {
  for await (const event of reply) {
    const end = event.kind === "done" ? cutShort(event) : undefined;
    if (end) yield end;
    if (event.kind !== "reasoning" && event.kind !== "done") yield event;
  }
}

/** That the reply is not whole, if so. */
function cutShort({ reason }: Extract<LlmEvent, { kind: "done" }>): SpeechEvent | undefined {
  if (reason === "length") return { kind: "cutShort", reason: "maxOutputTokens" };
  return reason === "contentFilter" ? { kind: "cutShort", reason } : undefined;
}

/** False for speech in which nobody said a word. */
function asksForAnswer(item: ContextItem | undefined): boolean {
  if (item?.role !== "user" || item.parts.length === 0) return true;
  return item.parts.some((part) => part.kind !== "audio" || part.transcript === undefined || part.transcript !== "");
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
