/**
 * The engine contracts: what a conversation needs of a model, whoever makes it. Adapters live in `@sluice/engines`;
 * a conversation meets them only in `cli`, `lab` and tests. Engines stream (`AsyncIterable`) and stop within 50 ms of
 * their `AbortSignal`; after an abort they end, with or without an error, and hold no socket, timer or memory.
 */
import type { Milli, Pcm } from "./audio.ts";

/** Voice activity detection for many callers over one model. */
export interface VadEngine {
  /** Opens the detector of one audio stream. */
  open(): Vad;
  /** Frees the model. */
  close(): Promise<void>;
}

/** Voice activity detection on one audio stream. */
export interface Vad {
  /** Samples per second that {@link Vad.detect} takes. */
  readonly sampleRate: number;
  /** Samples per call of {@link Vad.detect}. */
  readonly windowSize: number;
  /** Probability, 0 to 1, that this window (floats from -1 to 1) holds voice. Calls are answered in order. */
  detect(window: Float32Array): Promise<number>;
  /** Forgets the stream so far. */
  reset(): void;
  close(): void;
}

/** Judges whether a caller who paused has finished. */
export interface TurnDetector {
  /** Probability, 0 to 1, that the turn is over. */
  detect(input: TurnDetectorInput, signal: AbortSignal): Promise<number>;
}

/** What a turn detector may look at. */
export interface TurnDetectorInput {
  /** The utterance so far, newest sample last. */
  readonly audio: Pcm;
  /** The best transcript so far, `undefined` without a speech-to-text engine. */
  readonly transcript: string | undefined;
  /** Silence since the last voiced sample. */
  readonly silenceMs: Milli;
}

/** Speech to text. */
export interface SpeechToText {
  /** Transcribes one utterance while it arrives; ends after its `final`. */
  transcribe(audio: AsyncIterable<Pcm>, options: SttOptions, signal: AbortSignal): AsyncIterable<SttEvent>;
  /** Opens the connection before it is needed; settles when it is open, or could not be opened. */
  warm?(signal: AbortSignal): Promise<void>;
}

/** Settings of one transcription. */
export interface SttOptions {
  /** BCP 47 language of the caller; the engine guesses without it. */
  readonly language?: string;
  /** Words to expect. */
  readonly prompt?: string;
}

/** A partial replaces the one before it; `final` is the last. */
export type SttEvent =
  | { readonly kind: "partial"; readonly text: string; readonly stable: boolean }
  | { readonly kind: "final"; readonly text: string; readonly language?: string };

/** A language model. */
export interface LanguageModel {
  /** Whether it understands speech that nobody transcribed. Default false. */
  readonly hears?: boolean;
  /** Generates one reply. */
  generate(request: LlmRequest, signal: AbortSignal): AsyncIterable<LlmEvent>;
  /** Opens the connection before it is needed; settles when it is open, or could not be opened. */
  warm?(signal: AbortSignal): Promise<void>;
}

/** A function that a model may call; `parameters` is JSON Schema. */
export interface Tool {
  readonly name: string;
  readonly description?: string;
  readonly parameters?: unknown;
}

/** Whether a function must, may or must not be called, or which one. */
export type ToolChoice = "auto" | "none" | "required" | { readonly name: string };

/** What the model is asked. */
export interface LlmRequest {
  readonly instructions: string;
  readonly items: readonly ContextItem[];
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly maxOutputTokens: number | "inf";
  /** Whether several functions may be called at once; the model's own way when absent. */
  readonly parallelToolCalls?: boolean | undefined;
  /** How long a model that reasons may; its own way when absent. */
  readonly reasoningEffort?: string | undefined;
}

/** A piece of a generated reply; `reasoning` is never spoken, and after `done` only `usage` may follow. */
export type LlmEvent =
  | { readonly kind: "text"; readonly delta: string }
  | { readonly kind: "reasoning"; readonly delta: string }
  | {
      readonly kind: "toolCall";
      readonly index: number;
      readonly callId: string;
      readonly name: string;
      readonly delta: string;
    }
  | { readonly kind: "usage"; readonly usage: EngineUsage }
  | { readonly kind: "done"; readonly reason: "stop" | "length" | "toolCalls" | "contentFilter" };

/** Tokens that an engine says it used. */
export interface EngineUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens?: number;
}

/** Text to speech. */
export interface TextToSpeech {
  /** Speaks `text`, which may still be growing. */
  speak(text: AsyncIterable<string>, options: TtsOptions, signal: AbortSignal): AsyncIterable<TtsEvent>;
  /** Opens the connection before it is needed; settles when it is open, or could not be opened. */
  warm?(signal: AbortSignal): Promise<void>;
}

/** Settings of one utterance. */
export interface TtsOptions {
  readonly voice?: string;
  /** 1 is the voice's own pace. */
  readonly speed?: number;
  /** BCP 47. */
  readonly language?: string;
}

/** Audio in order; a `word` names the text that begins at `startMs` of the audio of this utterance. */
export type TtsEvent =
  | { readonly kind: "audio"; readonly pcm: Pcm }
  | { readonly kind: "word"; readonly text: string; readonly startMs: Milli };

/** A model that hears speech and answers in speech. */
export interface SpeechToSpeech {
  /** What the agent can do, in one sentence for a person. */
  readonly description: string;
  /** Opens the model's side of one conversation. */
  open(signal: AbortSignal): SpeechSession;
}

/** One conversation with a speech-to-speech model. */
export interface SpeechSession {
  /** Answers the conversation so far. */
  respond(request: SpeechRequest, signal: AbortSignal): AsyncIterable<SpeechEvent>;
  /**
   * Hears the utterance that is to become item `itemId` while it is spoken, so that {@link SpeechSession.respond} finds
   * most of the work done; need not be called, nor its events be read. An abort before `audio` ended takes it back.
   * Throws where the words cannot be had.
   */
  listen?(
    itemId: string,
    audio: AsyncIterable<Pcm>,
    signal: AbortSignal,
    options?: SttOptions,
  ): AsyncIterable<SttEvent>;
  /**
   * The utterance that is to become the last of `request.items`, and is being listened to, is probably over: what can be
   * made of an answer is made, and held. {@link SpeechSession.respond} takes it over if the words turn out to be the same,
   * so nothing of it may have an effect before. An abort says that the caller went on.
   */
  readonly prepare?: ((request: Omit<SpeechRequest, "began">, signal: AbortSignal) => void) | undefined;
  /** Silence after which {@link SpeechSession.prepare} is worth its price now. Default 96 ms. */
  readonly pauseMs?: (() => Milli) | undefined;
  close(): void;
}

/** What a speech-to-speech model is asked. */
export interface SpeechRequest {
  readonly instructions: string;
  /** The conversation, oldest first; the last item is what is to be answered. */
  readonly items: readonly ContextItem[];
  readonly modality: "audio" | "text";
  readonly voice: string;
  /** 1, the default, is the voice's own pace. */
  readonly speed?: number | undefined;
  /** BCP 47 language of the caller; the engine guesses without it. */
  readonly language?: string | undefined;
  /** Beside the conversation: {@link SpeechRequest.items} are all there is, and nothing of it is remembered. Default false. */
  readonly outOfBand?: boolean | undefined;
  /** Functions that the model may call; default none. */
  readonly tools?: readonly Tool[] | undefined;
  /** Default `auto`. */
  readonly toolChoice?: ToolChoice | undefined;
  /** Default `inf`. */
  readonly maxOutputTokens?: number | "inf" | undefined;
  /** Whether several functions may be called at once; the model's own way when absent. */
  readonly parallelToolCalls?: boolean | undefined;
  /** How long a model that reasons may; its own way when absent. */
  readonly reasoningEffort?: string | undefined;
  /** How long ago the caller's last voiced sample came; absent when no speech is answered. */
  readonly sinceSpeechMs?: Milli | undefined;
  /** Settles when the first sample of this response left (or reached the ear, when the client reports it). */
  readonly began: Promise<Began>;
}

/** When an answer began, as the playout ledger knows it. */
export interface Began {
  /** From the last voiced sample of the caller; `undefined` when no speech went before. */
  readonly afterSpeechMs: Milli | undefined;
  /** `client`: measured at the ear. `egress`: at the pipe's own clock. */
  readonly clock: "client" | "egress";
}

/** A piece of a spoken answer; `transcript` is what the audio says, from where the audio now stands. */
export type SpeechEvent =
  | { readonly kind: "audio"; readonly pcm: Pcm }
  | { readonly kind: "transcript"; readonly delta: string }
  | { readonly kind: "text"; readonly delta: string }
  | { readonly kind: "inputTranscript"; readonly itemId: string; readonly text: string }
  | {
      readonly kind: "toolCall";
      readonly index: number;
      readonly callId: string;
      readonly name: string;
      readonly delta: string;
    }
  | { readonly kind: "usage"; readonly usage: EngineUsage }
  /** The answer ends before its time: its length was used up, or what came next may not be said. */
  | { readonly kind: "cutShort"; readonly reason: "maxOutputTokens" | "contentFilter" }
  /** How far the answer came: what was said is known, the model's first word, the first clause to speak. Each at most once. */
  | { readonly kind: "reached"; readonly mark: EngineMark }
  /** A short sound that fills the wait; no part of what the agent says. */
  | { readonly kind: "acknowledgement"; readonly pcm: Pcm };

/** Why an engine could not answer: for `response.done` and for a person. */
export interface EngineFailure {
  readonly code: string;
  readonly message: string;
}

/** What an engine that is made of several reaches before its first sample, in order. */
export type EngineMark = "words" | "token" | "clause";

/** One entry of the conversation, as an engine sees it. */
export type ContextItem =
  | { readonly id: string; readonly role: "system" | "user" | "assistant"; readonly parts: readonly ContextPart[] }
  | {
      readonly id: string;
      readonly role: "toolCall";
      readonly callId: string;
      readonly name: string;
      readonly arguments: string;
    }
  | { readonly id: string; readonly role: "toolResult"; readonly callId: string; readonly output: string };

/**
 * Text, speech (`pcm` absent once it was dropped; `voicedStartMs`/`voicedEndMs` bound the voice in it; of the agent's own
 * speech `voicedEndMs` is what was generated, or what an interruption left of it), or an image.
 */
export type ContextPart =
  | { readonly kind: "text"; readonly text: string }
  | {
      readonly kind: "audio";
      readonly pcm: Pcm | undefined;
      readonly transcript: string | undefined;
      readonly voicedStartMs: Milli;
      readonly voicedEndMs: Milli;
    }
  | { readonly kind: "image"; readonly url: string };
