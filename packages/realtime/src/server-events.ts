/** Every event that a server may send: those of the GA Realtime API, and Sluice's own for clients that asked. */
import type { RealtimeError } from "./error.ts";
import type { Item } from "./item.ts";
import type { ResponseObject } from "./response.ts";
import type { SessionObject } from "./session.ts";

interface ServerEventOf<T extends string> {
  readonly type: T;
  readonly event_id: string;
}

interface OutputPlace {
  readonly response_id: string;
  readonly item_id: string;
  readonly output_index: number;
}

interface ContentPlace extends OutputPlace {
  readonly content_index: number;
}

/** Something went wrong; the session goes on. */
export interface ErrorEvent extends ServerEventOf<"error"> {
  readonly error: RealtimeError;
}

/** First event of a session; then, the effective settings after each update. */
export interface SessionEvent extends ServerEventOf<"session.created" | "session.updated"> {
  readonly session: SessionObject;
}

/** Not sent in GA traces; kept for clients that read it. */
export interface ConversationCreatedEvent extends ServerEventOf<"conversation.created"> {
  readonly conversation: { readonly id: string; readonly object: "realtime.conversation" };
}

/** The caller began to speak; `audio_start_ms` counts the audio since the session began, padding included. */
export interface SpeechStartedEvent extends ServerEventOf<"input_audio_buffer.speech_started"> {
  readonly audio_start_ms: number;
  /** Id that the caller's item will have. */
  readonly item_id: string;
}

/** The caller stopped; `audio_end_ms` includes the silence that ended the turn. */
export interface SpeechStoppedEvent extends ServerEventOf<"input_audio_buffer.speech_stopped"> {
  readonly audio_end_ms: number;
  readonly item_id: string;
}

/** The audio buffer became an item. */
export interface CommittedEvent extends ServerEventOf<"input_audio_buffer.committed"> {
  readonly item_id: string;
  readonly previous_item_id: string | null;
}

/** The audio buffer was emptied. */
export interface ClearedEvent extends ServerEventOf<"input_audio_buffer.cleared"> {}

/** Nobody spoke for `idle_timeout_ms`. */
export interface TimeoutTriggeredEvent extends ServerEventOf<"input_audio_buffer.timeout_triggered"> {
  readonly audio_start_ms: number;
  readonly audio_end_ms: number;
  readonly item_id: string;
}

/** A key was pressed on a telephone; the only event without an id. */
export interface DtmfEvent {
  readonly type: "input_audio_buffer.dtmf_event_received";
  readonly event: string;
  /** Unix seconds. */
  readonly received_at: number;
}

/** An item entered the conversation, or is complete. `previous_item_id` is the true predecessor, `null` for the first. */
export interface ItemEvent
  extends ServerEventOf<"conversation.item.added" | "conversation.item.done" | "conversation.item.created"> {
  readonly item: Item;
  readonly previous_item_id: string | null;
}

/** An item as the server holds it. */
export interface ItemRetrievedEvent extends ServerEventOf<"conversation.item.retrieved"> {
  readonly item: Item;
}

/** The agent's item was cut where it was heard to. */
export interface ItemTruncatedEvent extends ServerEventOf<"conversation.item.truncated"> {
  readonly item_id: string;
  readonly content_index: number;
  readonly audio_end_ms: number;
}

/** An item left the conversation. */
export interface ItemDeletedEvent extends ServerEventOf<"conversation.item.deleted"> {
  readonly item_id: string;
}

/** Probability of one token of a transcript. */
export interface LogProb {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

/** A piece of the caller's transcript. */
export interface TranscriptionDeltaEvent extends ServerEventOf<"conversation.item.input_audio_transcription.delta"> {
  readonly item_id: string;
  readonly content_index: number;
  readonly delta: string;
  readonly logprobs?: readonly LogProb[] | null;
}

/** What a transcription cost. Both details are always there: agents-realtime drops the event otherwise. */
export type TranscriptionUsage =
  | { readonly type: "duration"; readonly seconds: number }
  | {
      readonly type: "tokens";
      readonly total_tokens: number;
      readonly input_tokens: number;
      readonly output_tokens: number;
      readonly input_token_details: { readonly text_tokens: number; readonly audio_tokens: number };
    };

/** The caller's transcript. */
export interface TranscriptionCompletedEvent
  extends ServerEventOf<"conversation.item.input_audio_transcription.completed"> {
  readonly item_id: string;
  readonly content_index: number;
  readonly transcript: string;
  readonly usage: TranscriptionUsage;
  readonly logprobs?: readonly LogProb[] | null;
}

/** No transcript; absent members of `error` are omitted, never null. */
export interface TranscriptionFailedEvent extends ServerEventOf<"conversation.item.input_audio_transcription.failed"> {
  readonly item_id: string;
  readonly content_index: number;
  readonly error: {
    readonly type?: string;
    readonly code?: string;
    readonly message?: string;
    readonly param?: string;
  };
}

/** A stretch of one speaker, by models that tell speakers apart; `start` and `end` in seconds. */
export interface TranscriptionSegmentEvent
  extends ServerEventOf<"conversation.item.input_audio_transcription.segment"> {
  readonly item_id: string;
  readonly content_index: number;
  readonly id: string;
  readonly speaker: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** A response began, or ended. */
export interface ResponseEvent extends ServerEventOf<"response.created" | "response.done"> {
  readonly response: ResponseObject;
}

/** An item of a response began, or ended. */
export interface OutputItemEvent extends ServerEventOf<"response.output_item.added" | "response.output_item.done"> {
  readonly response_id: string;
  readonly output_index: number;
  readonly item: Item;
}

/** A part of a message, with the type names that these two events alone use. */
export type ResponsePart =
  | { readonly type: "audio"; readonly transcript: string }
  | { readonly type: "text"; readonly text: string };

/** A part of a message began, or ended. */
export interface ContentPartEvent
  extends ServerEventOf<"response.content_part.added" | "response.content_part.done">,
    ContentPlace {
  readonly part: ResponsePart;
}

/** A piece of speech (base64, session's output format), its transcript, or text. */
export interface ContentDeltaEvent
  extends ServerEventOf<
      "response.output_audio.delta" | "response.output_audio_transcript.delta" | "response.output_text.delta"
    >,
    ContentPlace {
  readonly delta: string;
}

/** All of the speech was sent. */
export interface OutputAudioDoneEvent extends ServerEventOf<"response.output_audio.done">, ContentPlace {}

/** The transcript of the speech is complete. */
export interface OutputTranscriptDoneEvent
  extends ServerEventOf<"response.output_audio_transcript.done">,
    ContentPlace {
  readonly transcript: string;
}

/** The text is complete. */
export interface OutputTextDoneEvent extends ServerEventOf<"response.output_text.done">, ContentPlace {
  readonly text: string;
}

/** A piece of a function call's arguments. */
export interface FunctionArgumentsDeltaEvent
  extends ServerEventOf<"response.function_call_arguments.delta">,
    OutputPlace {
  readonly call_id: string;
  readonly delta: string;
}

/** A function call's arguments are complete. */
export interface FunctionArgumentsDoneEvent
  extends ServerEventOf<"response.function_call_arguments.done">,
    OutputPlace {
  readonly call_id: string;
  readonly name: string;
  readonly arguments: string;
}

/** WebRTC: the response's first sample was played, its last one was, or what was left was dropped. */
export interface OutputAudioBufferEvent
  extends ServerEventOf<"output_audio_buffer.started" | "output_audio_buffer.stopped" | "output_audio_buffer.cleared"> {
  readonly response_id: string;
}

/** What the client may still use. */
export interface RateLimitsEvent extends ServerEventOf<"rate_limits.updated"> {
  readonly rate_limits: readonly {
    readonly name: "requests" | "tokens";
    readonly limit: number;
    readonly remaining: number;
    readonly reset_seconds: number;
  }[];
}

/** The tools of an MCP server are being listed, or were, or could not be. */
export interface McpListToolsEvent
  extends ServerEventOf<"mcp_list_tools.in_progress" | "mcp_list_tools.completed" | "mcp_list_tools.failed"> {
  readonly item_id: string;
}

/** A piece of an MCP call's arguments; the padding is required by agents-realtime. */
export interface McpArgumentsDeltaEvent extends ServerEventOf<"response.mcp_call_arguments.delta">, OutputPlace {
  readonly delta: string;
  readonly obfuscation: string;
}

/** An MCP call's arguments are complete. */
export interface McpArgumentsDoneEvent extends ServerEventOf<"response.mcp_call_arguments.done">, OutputPlace {
  readonly arguments: string;
}

/** An MCP call is under way, or ended. */
export interface McpCallEvent
  extends ServerEventOf<"response.mcp_call.in_progress" | "response.mcp_call.completed" | "response.mcp_call.failed"> {
  readonly item_id: string;
  readonly output_index: number;
}

/** Whose measurement: the client's, at the ear, or the server's, at the pipe. */
export type PlayoutClock = "client" | "egress";

/** Answers the client's `sluice.clock`: `server_ms` is the server's monotonic clock. */
export interface SluiceClockEvent extends ServerEventOf<"sluice.clock"> {
  readonly client_ms: number;
  readonly server_ms: number;
}

/** The agent's speech starts on the downlink. */
export interface SluiceUtteranceStartedEvent extends ServerEventOf<"sluice.utterance.started"> {
  readonly response_id: string;
  readonly item_id: string;
  /** RTP timestamp at which a decoder gives its first sample out, an encoder's look-ahead counted; `null` without RTP. */
  readonly rtp_timestamp: number | null;
  /** Server clock. */
  readonly sent_ms: number;
  /** How long its first sample is best held back, so that the speech behind it does not run dry: by us, where we pace it. */
  readonly lead_ms: number;
}

/** The playout ledger of one item: how far its speech has come. */
export interface SluiceLedgerEvent extends ServerEventOf<"sluice.ledger"> {
  readonly response_id: string;
  readonly item_id: string;
  readonly generated_ms: number;
  readonly sent_ms: number;
  readonly buffered_ms: number;
  readonly heard_ms: number;
  readonly clock: PlayoutClock;
}

/** A stage of a turn, in order; `capture` and `playout` are absent with clock `egress`. */
export type StageName =
  | "capture"
  | "silence"
  | "endpointing"
  | "engine"
  | "recognition"
  | "model"
  | "clause"
  | "voice"
  | "lead"
  | "egress"
  | "playout";

/** Where the time of a turn went: from the last voiced sample to the first heard one. The stages add up to the total. */
export interface SluiceTurnEvent extends ServerEventOf<"sluice.turn"> {
  readonly turn: number;
  readonly input_item_id: string;
  readonly response_id: string;
  readonly item_id: string;
  readonly clock: PlayoutClock;
  readonly total_ms: number;
  /** Configured end-of-turn silence. */
  readonly silence_ms: number;
  readonly stages: readonly { readonly name: StageName; readonly ms: number }[];
  /** Voice in the caller's utterance. */
  readonly voiced_ms: number;
  /** The first sound was an acknowledgement, and the answer's own was made this much later; absent without one. */
  readonly acknowledged_ms?: number;
  /** The caller's packets of this turn. */
  readonly packets: {
    readonly received: number;
    readonly lost: number;
    readonly repaired: number;
    readonly fec: number;
    readonly concealed: number;
  };
}

/** The caller's voice: whether the agent stopped, or its silence was not broken (`dismiss`), why, and when; times from the first voiced sample. */
export interface SluiceFloorEvent extends ServerEventOf<"sluice.floor"> {
  readonly decision: "stop" | "continue" | "dismiss";
  readonly reason: "speech" | "words" | "hum" | "noise" | "short";
  /** `null`: the agent did not become softer first. */
  readonly ducked_after_ms: number | null;
  readonly decided_after_ms: number;
  readonly voiced_ms: number;
}

/** What each stage of an answer will probably take, from what it took of late in all calls of this server. */
export interface SluiceForecastEvent extends ServerEventOf<"sluice.forecast"> {
  readonly stages: readonly SluiceForecastStage[];
}

/** One stage's forecast: quantiles, in the stage's unit (docs/sluice-events.md); `null` while too little is known. */
export interface SluiceForecastStage {
  /** `speech`: the agent as a whole; `stt`, `llm`, `tts`: its engines. */
  readonly engine: string;
  readonly stage: string;
  /** How many of the newest observations stand behind it. */
  readonly weight: number;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
}

/** Asks a client that holds the agent's audio to bring its loudness to `gain` (1: as spoken) over `ramp_ms`. */
export interface SluiceDuckEvent extends ServerEventOf<"sluice.duck"> {
  readonly gain: number;
  readonly ramp_ms: number;
}

/** Tells a client that codes the caller's audio what the path carries. Both are false at first. */
export interface SluiceUplinkEvent extends ServerEventOf<"sluice.uplink"> {
  /** The audio does not fit: send it at a lower rate, in fewer packets. */
  readonly narrow: boolean;
  /** There is room for the datagrams of docs/webtransport.md. */
  readonly datagrams: boolean;
}

/** Any server event; narrow it by `type`. */
export type ServerEvent =
  | ErrorEvent
  | SessionEvent
  | ConversationCreatedEvent
  | SpeechStartedEvent
  | SpeechStoppedEvent
  | CommittedEvent
  | ClearedEvent
  | TimeoutTriggeredEvent
  | DtmfEvent
  | ItemEvent
  | ItemRetrievedEvent
  | ItemTruncatedEvent
  | ItemDeletedEvent
  | TranscriptionDeltaEvent
  | TranscriptionCompletedEvent
  | TranscriptionFailedEvent
  | TranscriptionSegmentEvent
  | ResponseEvent
  | OutputItemEvent
  | ContentPartEvent
  | ContentDeltaEvent
  | OutputAudioDoneEvent
  | OutputTranscriptDoneEvent
  | OutputTextDoneEvent
  | FunctionArgumentsDeltaEvent
  | FunctionArgumentsDoneEvent
  | OutputAudioBufferEvent
  | RateLimitsEvent
  | McpListToolsEvent
  | McpArgumentsDeltaEvent
  | McpArgumentsDoneEvent
  | McpCallEvent
  | SluiceClockEvent
  | SluiceUtteranceStartedEvent
  | SluiceLedgerEvent
  | SluiceTurnEvent
  | SluiceDuckEvent
  | SluiceUplinkEvent
  | SluiceFloorEvent
  | SluiceForecastEvent;

type WithoutId<T> = T extends ServerEvent ? Omit<T, "event_id"> : never;

/** A server event before it has its `event_id`. */
export type ServerEventDraft = WithoutId<ServerEvent>;
