/**
 * Speech to speech out of three engines: what the caller said is transcribed, a language model answers, and its answer is
 * spoken while it is still being written, clause by clause, the next one on its way while this one sounds.
 */
import {
  Acknowledgements,
  type ClauseOptions,
  type ContextItem,
  type LanguageModel,
  type LlmRequest,
  type Milli,
  type Pcm,
  Pipeline,
  pauseMs,
  type SpeechEvent,
  type SpeechRequest,
  type SpeechSession,
  type SpeechToSpeech,
  type SpeechToText,
  type SttEvent,
  type SttOptions,
  type TextToSpeech,
  type TtsOptions,
} from "@sluice/conversation";
import { LEFT, untilAborted } from "../channel.ts";
import { Scope } from "../scope.ts";
import { createEspeak } from "../tts/espeak.ts";
import { AcknowledgementSounds, acknowledged } from "./cascade-acknowledgement.ts";
import { Ears } from "./cascade-ears.ts";
import { Reply } from "./cascade-reply.ts";
import { Speakable } from "./cascade-speakable.ts";
import { Voice } from "./cascade-voice.ts";

/** Settings of {@link createCascade}. */
export interface CascadeOptions {
  /** Without it the model hears speech itself, if it can; otherwise the agent asks the caller to type. */
  readonly stt?: SpeechToText | undefined;
  readonly llm: LanguageModel;
  /** Asked as well when `llm` is later than it nearly always is, or fails before its first word. Default: nobody is. */
  readonly fallbackLlm?: LanguageModel | undefined;
  /** Without it eSpeak NG speaks. */
  readonly tts?: TextToSpeech | undefined;
  /** Speaks when `tts` is missing or fails before its first sound, and is told why. Default: eSpeak NG, where it is installed. */
  readonly fallbackTts?: ((failure: unknown) => Promise<TextToSpeech | undefined>) | undefined;
  /** BCP 47 language of the calls that name none; the engines guess without it. */
  readonly language?: string | undefined;
  /** How clauses grow. */
  readonly clauses?: Partial<ClauseOptions> | undefined;
  /** Once the model has begun, how long the first clause waits for punctuation, in milliseconds. Default 300. */
  readonly firstClauseMs?: Milli | undefined;
  /** Said when the silence since the caller's last word is, or will probably be, longer than `afterMs`. Default: nothing is. */
  readonly acknowledgement?: { readonly afterMs: Milli; readonly text: string } | undefined;
  /** What the engines take and what guesses cost, shared with others and shown. Default: this agent's own. */
  readonly pipeline?: Pipeline | undefined;
  /** By which names the engines' forecasts are kept. */
  readonly names?:
    | { readonly stt?: string; readonly llm?: string; readonly fallbackLlm?: string; readonly tts?: string }
    | undefined;
  /** Said when an answer fails before it began to sound; default none. */
  readonly apology?: string | undefined;
  /** What the agent can do, in a sentence for a person. */
  readonly description?: string | undefined;
}

const DEAF = "I cannot hear you, because no speech recognition is configured. Please type to me.";

/** An agent of any speech recognition, any language model and any voice. */
export function createCascade(options: CascadeOptions): SpeechToSpeech {
  const shared: Shared = { pipeline: options.pipeline ?? new Pipeline(), sounds: new AcknowledgementSounds() };
  return {
    description: options.description ?? describe(options),
    open: (opened) => new CascadeSession(options, shared, opened),
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

/** What the sessions of an agent share. */
interface Shared {
  readonly pipeline: Pipeline;
  readonly sounds: AcknowledgementSounds;
}

/** An answer that was begun before its turn was over. */
interface Prepared {
  readonly itemId: string;
  readonly key: string;
  readonly reply: Reply;
  readonly startedAt: Milli;
}

class CascadeSession implements SpeechSession {
  readonly prepare: SpeechSession["prepare"];
  readonly pauseMs: SpeechSession["pauseMs"];
  readonly #options: CascadeOptions;
  readonly #shared: Shared;
  readonly #closed = new AbortController();
  readonly #opened: AbortSignal;
  readonly #ears: Ears;
  readonly #acknowledgements: Acknowledgements | undefined;
  #prepared: Prepared | undefined;

  constructor(options: CascadeOptions, shared: Shared, opened: AbortSignal) {
    this.#options = options;
    this.#shared = shared;
    this.#opened = AbortSignal.any([opened, this.#closed.signal]);
    const { hearing } = shared.pipeline;
    this.#ears = new Ears(options.stt, this.#opened, this.#forecast("stt"), hearing);
    this.pauseMs = () => pauseMs(performance.now(), this.#forecast("stt"), hearing);
    this.#ears.onPartial = (itemId, words) => {
      if (this.#prepared?.itemId === itemId) this.#prepared.reply.handlePartial(words);
    };
    const { acknowledgement } = options;
    this.#acknowledgements = acknowledgement && new Acknowledgements(acknowledgement.afterMs);
    const engines = [options.stt, options.llm, options.fallbackLlm, options.tts];
    for (const engine of engines) void engine?.warm?.(this.#opened).catch(() => {});
    if (!options.tts) void this.#fallback(undefined); // a thread takes a moment to start
    const guesses = options.stt !== undefined && shared.pipeline.eager.enabled;
    this.prepare = guesses ? (request, signal) => void this.#prepare(request, signal) : undefined;
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
    const scope = new Scope(this.#opened, signal);
    const work = new Scope(scope.signal);
    const language = request.language ?? this.#options.language;
    let sounded = false;
    try {
      for await (const event of this.#answer({ ...request, language }, work.signal)) {
        if (scope.signal.aborted) return;
        sounded ||= event.kind === "audio";
        yield event;
      }
    } catch (error) {
      if (scope.signal.aborted) return;
      work.abort(LEFT); // of three engines one failed: the others need not go on
      if (!sounded) yield* this.#apologise(request, scope.signal);
      throw error;
    } finally {
      work.abort(LEFT);
      scope.leave();
    }
  }

  close(): void {
    this.#closed.abort();
  }

  async #prepare(asked: Omit<SpeechRequest, "began">, signal: AbortSignal): Promise<void> {
    const request = { ...asked, language: asked.language ?? this.#options.language };
    const item = request.items.at(-1);
    const settled = item && !signal.aborted ? this.#ears.settle(item.id) : undefined;
    if (!item || !settled) return;
    this.#dropPrepared();
    let before: readonly ContextItem[] = request.items.slice(0, -1);
    const ask = (words: string | undefined) => toLlmRequest(request, [...before, withTranscript(item, words)]);
    const prepared: Prepared = {
      itemId: item.id,
      key: keyOf(request),
      reply: this.#createReply(request, ask),
      startedAt: performance.now(),
    };
    this.#prepared = prepared;
    const resume = () => {
      this.#ears.resume(item.id);
      if (this.#prepared === prepared) this.#dropPrepared();
    };
    signal.addEventListener("abort", resume, { once: true });
    try {
      before = await this.#knowing(before, request.language, AbortSignal.any([this.#opened, signal]));
      if (signal.aborted) return;
      if (settled.partial !== "") prepared.reply.handlePartial(settled.partial);
      const words = await settled.words;
      if (words !== undefined && !signal.aborted) prepared.reply.handleWords(words);
    } catch {
      // The answer itself will hear it once more, and say what is wrong.
    }
  }

  /** Utterances before the last are known, but for those that an interruption left; they are told with the answer. */
  async #knowing(items: readonly ContextItem[], language: string | undefined, signal: AbortSignal) {
    const hearing = this.#ears.hear(items, language, signal);
    for (;;) {
      const next = await hearing.next();
      if (next.done === true) return next.value;
    }
  }

  /** The answer that was prepared for just this; one for anything else is void. */
  #takePrepared(request: SpeechRequest): Prepared | undefined {
    const prepared = this.#prepared;
    if (!prepared || request.outOfBand) return undefined;
    this.#prepared = undefined;
    if (prepared.key === keyOf(request)) return prepared;
    prepared.reply.close();
    return undefined;
  }

  #dropPrepared(): void {
    this.#prepared?.reply.close();
    this.#prepared = undefined;
  }

  async *#answer(request: SpeechRequest, scope: AbortSignal): AsyncGenerator<SpeechEvent> {
    if (scope.aborted || (request.items.length === 0 && request.instructions === "")) return;
    if (this.#isDeafTo(request.items.at(-1))) {
      yield* this.#say(DEAF, request, scope);
      return;
    }
    const prepared = this.#takePrepared(request);
    let reply = prepared?.reply;
    try {
      const heard = yield* this.#ears.hear(request.items, request.language, scope);
      if (scope.aborted || !asksForAnswer(heard.at(-1))) return; // a cough asks for no answer
      yield { kind: "reached", mark: "words" };
      reply ??= this.#createReply(request, () => toLlmRequest(request, heard));
      reply.handleWords(prepared && transcriptOf(heard.at(-1)));
      reply.commit();
      yield* this.#acknowledge(untilAborted(reply.events, scope), request, prepared);
    } finally {
      reply?.close();
    }
  }

  #createReply(request: Omit<SpeechRequest, "began">, ask: (words: string | undefined) => LlmRequest): Reply {
    const { llm, fallbackLlm, clauses, firstClauseMs } = this.#options;
    const { eager, hedge, hedgeAt } = this.#shared.pipeline;
    return new Reply({
      llm,
      secondLlm: fallbackLlm,
      ask,
      createVoice: () => ({ voice: this.#createVoice(request), speakable: new Speakable(request.language) }),
      signal: this.#opened,
      clauses,
      firstClauseMs,
      spoken: request.modality === "audio",
      model: this.#forecast("llm"),
      voice: this.#forecast("tts"),
      ears: this.#forecast("stt"),
      sinceSpeechMs: request.sinceSpeechMs,
      eager,
      second: fallbackLlm && this.#forecast("fallbackLlm"),
      hedge: fallbackLlm && hedge,
      hedgeAt,
    });
  }

  #forecast(engine: "stt" | "llm" | "fallbackLlm" | "tts") {
    const name = this.#options.names?.[engine];
    const kind = engine === "fallbackLlm" ? "second llm" : engine;
    return this.#shared.pipeline.forecasts.of(name === undefined ? kind : `${kind} ${name}`);
  }

  #acknowledge(
    events: AsyncIterable<SpeechEvent>,
    request: SpeechRequest,
    prepared: Prepared | undefined,
  ): AsyncIterable<SpeechEvent> {
    const { acknowledgement, tts } = this.#options;
    const { sinceSpeechMs } = request;
    if (!acknowledgement || !this.#acknowledgements || sinceSpeechMs === undefined || request.modality === "text") {
      return events;
    }
    const take = () => this.#shared.sounds.take(tts, acknowledgement.text, voiceOptions(request));
    take(); // made now, if it is not there yet
    const now = performance.now();
    const wait = { sinceSpeechMs, sinceAskedMs: prepared ? now - prepared.startedAt : 0 };
    const dueMs = this.#acknowledgements.dueIn(now, wait, this.#forecast("llm"), this.#forecast("tts"));
    if (dueMs === undefined) return events;
    return acknowledged(events, dueMs, () => {
      const sound = take();
      if (sound) this.#acknowledgements?.handleSpoken();
      return sound;
    });
  }

  #isDeafTo(item: ContextItem | undefined): boolean {
    if (this.#options.stt || this.#options.llm.hears || item?.role !== "user") return false;
    const speech = item.parts.filter((part) => part.kind === "audio");
    return speech.length > 0 && speech.length === item.parts.length && speech.every((part) => !part.transcript);
  }

  async *#say(text: string, request: SpeechRequest, scope: AbortSignal): AsyncGenerator<SpeechEvent> {
    if (request.modality === "text") yield { kind: "text", delta: text };
    else yield* this.#speak(text, request, scope);
  }

  async *#speak(text: string, request: SpeechRequest, scope: AbortSignal): AsyncGenerator<SpeechEvent> {
    const spoken = new Speakable(request.language).take(text);
    yield* untilAborted(this.#createVoice(request).speak({ written: text, spoken }, scope), scope);
  }

  #createVoice(request: Omit<SpeechRequest, "began">): Voice {
    return new Voice(this.#options.tts, (failure) => this.#fallback(failure), voiceOptions(request));
  }

  async *#apologise(request: SpeechRequest, scope: AbortSignal): AsyncGenerator<SpeechEvent> {
    const { apology } = this.#options;
    if (apology === undefined || request.modality !== "audio") return;
    try {
      yield* this.#speak(apology, request, scope);
    } catch {
      // What went wrong before is what the caller of `respond` is to hear of.
    }
  }

  #fallback(failure: unknown): Promise<TextToSpeech | undefined> {
    return (this.#options.fallbackTts ?? sharedEspeak)(failure).catch(() => undefined);
  }
}

function voiceOptions({ voice, speed, language }: Omit<SpeechRequest, "began">): TtsOptions {
  return { voice, ...(speed !== undefined && { speed }), ...(language !== undefined && { language }) };
}

function toLlmRequest(request: Omit<SpeechRequest, "began">, items: readonly ContextItem[]): LlmRequest {
  return {
    instructions: request.instructions,
    items,
    tools: request.tools ?? [],
    toolChoice: request.toolChoice ?? "auto",
    maxOutputTokens: request.maxOutputTokens ?? "inf",
    parallelToolCalls: request.parallelToolCalls,
    reasoningEffort: request.reasoningEffort,
  };
}

/** What an answer depends on, but for what was said last. */
function keyOf(request: Omit<SpeechRequest, "began">): string {
  const { parts: _, ...last } = { parts: undefined, ...request.items.at(-1) };
  const asked = toLlmRequest(request, [...request.items.slice(0, -1), last as ContextItem]);
  const sound = [request.modality, request.voice, request.speed, request.language];
  return JSON.stringify([asked, sound], (key, value) => (key === "pcm" ? null : value));
}

function withTranscript(item: ContextItem, transcript: string | undefined): ContextItem {
  if (item.role !== "user") return item;
  return { ...item, parts: item.parts.map((part) => (part.kind === "audio" ? { ...part, transcript } : part)) };
}

function transcriptOf(item: ContextItem | undefined): string | undefined {
  if (item?.role !== "user") return undefined;
  return item.parts.find((part) => part.kind === "audio")?.transcript;
}

/** False for speech in which nobody said a word. */
function asksForAnswer(item: ContextItem | undefined): boolean {
  if (item?.role !== "user" || item.parts.length === 0) return true;
  return item.parts.some((part) => part.kind !== "audio" || part.transcript === undefined || part.transcript !== "");
}
