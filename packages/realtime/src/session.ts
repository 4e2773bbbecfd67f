/** The session object of the GA Realtime API, its defaults, and what `session.update` does to it. */
import { type CauseId, cannotUpdateVoice, invalidRequest, type RealtimeError } from "./error.ts";
import type { SessionPatch } from "./session-patch.ts";

/** How audio is written in events: 16-bit little-endian PCM at 24 kHz, or G.711 at 8 kHz. All mono. */
export type AudioFormat =
  | { readonly type: "audio/pcm"; readonly rate: 24000 }
  | { readonly type: "audio/pcmu" }
  | { readonly type: "audio/pcma" };

/** Voice activity decides when a turn begins and ends. */
export interface ServerVad {
  readonly type: "server_vad";
  /** Voice probability, 0 to 1. */
  readonly threshold: number;
  /** Audio kept from before the detection, ms. */
  readonly prefix_padding_ms: number;
  /** Silence that ends a turn, ms. */
  readonly silence_duration_ms: number;
  /** Whether the end of a turn asks for a response. */
  readonly create_response: boolean;
  /** Whether speech cancels the response under way. */
  readonly interrupt_response: boolean;
  /** Silence after which the agent speaks up by itself, ms. */
  readonly idle_timeout_ms: number | null;
}

/** A model of turns decides when a turn ends. */
export interface SemanticVad {
  readonly type: "semantic_vad";
  readonly eagerness: "low" | "medium" | "high" | "auto";
  readonly create_response: boolean;
  readonly interrupt_response: boolean;
}

/** Who decides about turns; `null` in a session: the client does. */
export type TurnDetection = ServerVad | SemanticVad;

/** Settings of the caller's transcription; only the keys that were set exist. */
export interface Transcription {
  readonly model?: string;
  readonly language?: string;
  readonly languages?: readonly string[];
  readonly prompt?: string;
  readonly keywords?: readonly string[];
  readonly delay?: "minimal" | "low" | "medium" | "high" | "xhigh";
}

/** A function that the agent may call. */
export interface FunctionTool {
  readonly type: "function";
  readonly name: string;
  readonly description?: string;
  /** JSON Schema. */
  readonly parameters?: unknown;
}

/** Tools by their names, or by whether they only read. */
export interface McpToolFilter {
  readonly tool_names?: readonly string[];
  readonly read_only?: boolean;
}

/** Which calls have to be approved by the client first. */
export type McpApproval = "always" | "never" | { readonly always?: McpToolFilter; readonly never?: McpToolFilter };

/** An MCP server whose tools the agent may call. */
export interface McpTool {
  readonly type: "mcp";
  readonly server_label: string;
  /** Absent for a server of this server's configuration. */
  readonly server_url?: string;
  readonly server_description?: string;
  /** Bearer token; never shown. */
  readonly authorization?: string;
  /** Sent with every request; never shown. */
  readonly headers?: Readonly<Record<string, string>> | null;
  /** All of them when absent or `null`. */
  readonly allowed_tools?: readonly string[] | McpToolFilter | null;
  /** `always` when absent or `null`, as at OpenAI. */
  readonly require_approval?: McpApproval | null;
  readonly [member: string]: unknown;
}

/** A tool of a session or a response. */
export type ToolDefinition = FunctionTool | McpTool;

/** Which tool the agent may, or has to, call. */
export type ToolChoice =
  | "auto"
  | "none"
  | "required"
  | { readonly type: "function"; readonly name: string }
  | { readonly type: "mcp"; readonly server_label: string; readonly name?: string };

/** What to do when the conversation outgrows the model. */
export type Truncation =
  | "auto"
  | "disabled"
  | {
      readonly type: "retention_ratio";
      readonly retention_ratio: number;
      readonly token_limits?: { readonly post_instructions?: number };
    };

/** Tracing of a session at the provider; stored and echoed. */
export type Tracing =
  | "auto"
  | { readonly workflow_name?: string; readonly group_id?: string; readonly metadata?: unknown };

/** A stored prompt. */
export interface Prompt {
  readonly id: string;
  readonly version?: string;
  readonly variables?: unknown;
}

/** How the caller's audio comes in and what is done with it. */
export interface AudioInput {
  readonly format: AudioFormat;
  readonly transcription: Transcription | null;
  readonly noise_reduction: { readonly type: "near_field" | "far_field"; readonly strength?: number } | null;
  readonly turn_detection: TurnDetection | null;
}

/** How the agent's audio goes out. */
export interface AudioOutput {
  readonly format: AudioFormat;
  readonly voice: string;
  /** 0.25 to 1.5; 1 is the voice's own pace. */
  readonly speed: number;
}

/** Reasoning effort of models that reason. */
export interface Reasoning {
  readonly effort?: "minimal" | "low" | "medium" | "high" | "xhigh";
}

/** What a session is for: a conversation, or the caller's words and nothing else. */
export type SessionType = "realtime" | "transcription";

/** The effective settings of a session; {@link describeSession} is what a client is shown of them. */
export interface Session {
  readonly type: SessionType;
  readonly object: "realtime.session";
  readonly id: string;
  /** Opaque: a server maps names that it does not know to its own model. */
  readonly model: string;
  /** Unix seconds. */
  readonly expires_at: number;
  readonly output_modalities: readonly ["audio"] | readonly ["text"];
  readonly instructions: string;
  readonly audio: { readonly input: AudioInput; readonly output: AudioOutput };
  readonly tools: readonly ToolDefinition[];
  readonly tool_choice: ToolChoice;
  readonly parallel_tool_calls?: boolean;
  readonly reasoning?: Reasoning;
  readonly max_output_tokens: number | "inf";
  readonly truncation: Truncation;
  readonly tracing: Tracing | null;
  readonly prompt: Prompt | null;
  readonly include: readonly string[] | null;
  /** Sluice's extensions; absent until a client asks for them. */
  readonly sluice?: SluiceExtensions;
}

/** What the client asked for beyond the protocol. */
export interface SluiceExtensions {
  /** `sluice.*` events: clock, ledger, turn. */
  readonly timeline: boolean;
  /** The conversation outlives its connection for a while (docs/resumption.md). */
  readonly resume?: boolean;
  /** `sluice.forecast` events, now and then. */
  readonly forecast?: boolean;
  /** How an interruption is judged. */
  readonly turn: TurnNumbers;
}

/** A session that only transcribes, as its client is shown it. */
export interface TranscriptionSession extends Pick<Session, "id" | "expires_at" | "include"> {
  readonly type: "transcription";
  readonly object: "realtime.transcription_session";
  readonly audio: { readonly input: AudioInput };
}

/** A session as `session.created` and `session.updated` show it. */
export type SessionObject = (Session & { readonly type: "realtime" }) | TranscriptionSession;

/** What a client is shown of its session: all that is in effect, but not the keys of its MCP servers. */
export function describeSession(session: Session): SessionObject {
  const { type, id, expires_at, include, audio } = session;
  if (type === "transcription") {
    return { type, object: "realtime.transcription_session", id, expires_at, audio: { input: audio.input }, include };
  }
  const tools = session.tools.map((tool) => (tool.type === "mcp" ? withoutKeys(tool) : tool));
  return { ...session, type, tools };
}

/** An MCP server without what opens it. */
export function withoutKeys({ authorization: _, headers: __, ...tool }: McpTool): McpTool {
  return tool;
}

/** How the caller takes the floor; milliseconds. */
export interface TurnNumbers {
  /** Voice heard before the agent gets softer. */
  readonly duck_after_ms: number;
  /** How loud it is then; 1: as spoken, and nothing ducks. */
  readonly duck_gain: number;
  /** How long getting softer takes, and coming back up. */
  readonly duck_ramp_ms: number;
  readonly restore_ramp_ms: number;
  /** Voice after which clear speech stops the agent. */
  readonly stop_after_ms: number;
  /** After the first voiced sample, when all that is not clear has been decided too. */
  readonly decide_by_ms: number;
  /** Whether a cough or a hum that nobody hears words in is no turn while the agent is silent. */
  readonly dismiss_noise: boolean;
}

/** What `sluice.turn` means as long as nobody says otherwise. */
export const turnNumberDefaults: TurnNumbers = {
  duck_after_ms: 20,
  duck_gain: 0.25,
  duck_ramp_ms: 40,
  restore_ramp_ms: 120,
  stop_after_ms: 90,
  decide_by_ms: 200,
  dismiss_noise: true,
};

/** What `turn_detection: {"type": "server_vad"}` means. */
export const serverVadDefaults: ServerVad = {
  type: "server_vad",
  threshold: 0.5,
  prefix_padding_ms: 300,
  silence_duration_ms: 500,
  create_response: true,
  interrupt_response: true,
  idle_timeout_ms: null,
};

/** What `turn_detection: {"type": "semantic_vad"}` means. */
export const semanticVadDefaults: SemanticVad = {
  type: "semantic_vad",
  eagerness: "auto",
  create_response: true,
  interrupt_response: true,
};

/** Settings of a new session. */
export interface SessionOptions {
  readonly id: string;
  /** Name to show; a model in `defaults` wins over it. */
  readonly model: string;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** What differs from the protocol's defaults: the server's own, then a client secret's or a call's. */
  readonly defaults?: SessionPatch | undefined;
}

/** A session with the protocol's defaults. */
export function createSession({ id, model, expiresAt, defaults = {} }: SessionOptions): Session {
  const session: Session = {
    type: defaults.type ?? "realtime",
    object: "realtime.session",
    id,
    model,
    expires_at: expiresAt,
    output_modalities: ["audio"],
    instructions: "",
    audio: {
      input: {
        format: { type: "audio/pcm", rate: 24000 },
        transcription: null,
        noise_reduction: null,
        turn_detection: serverVadDefaults,
      },
      output: { format: { type: "audio/pcm", rate: 24000 }, voice: "alloy", speed: 1 },
    },
    tools: [],
    tool_choice: "auto",
    max_output_tokens: "inf",
    truncation: "auto",
    tracing: null,
    prompt: null,
    include: null,
  };
  return merge(session, defaults);
}

/** What a session in use no longer lets change. */
export interface UpdateLocks {
  /** The agent has spoken. */
  readonly voiceLocked: boolean;
  /** The client named its model when it connected; without that, the first `session.update` may. Default false. */
  readonly modelLocked?: boolean | undefined;
  /** `event_id` of the `session.update`, to name in an error. */
  readonly cause?: CauseId;
}

/** The outcome of an update: nothing is applied on error. */
export type SessionUpdate =
  | { readonly ok: true; readonly session: Session }
  | { readonly ok: false; readonly error: RealtimeError };

/** Applies a `session.update`: present keys are merged, `null` clears. */
export function updateSession(session: Session, patch: SessionPatch, locks: UpdateLocks): SessionUpdate {
  const { voiceLocked, modelLocked = false, cause } = locks;
  if (patch.type !== undefined && patch.type !== session.type) {
    const message = `Passing a ${patch.type} session update event to a ${session.type} session is not allowed.`;
    return { ok: false, error: invalidRequest("invalid_value", message, "session.type", cause) };
  }
  const voice = patch.audio?.output?.voice;
  if (voiceLocked && voice !== undefined && voice !== session.audio.output.voice) {
    return { ok: false, error: cannotUpdateVoice(cause) };
  }
  if (modelLocked && patch.model !== undefined && patch.model !== session.model) {
    const message = `Cannot update a session's model: it is '${session.model}' until the session ends.`;
    return { ok: false, error: invalidRequest("invalid_value", message, "session.model", cause) };
  }
  return { ok: true, session: merge(session, patch) };
}

function merge(session: Session, patch: SessionPatch): Session {
  const { audio, sluice, type: _, ...rest } = patch;
  const { input, output } = session.audio;
  const turn = audio?.input?.turn_detection;
  const transcription = audio?.input?.transcription;
  return {
    ...session,
    ...present(rest),
    ...(sluice === undefined ? {} : { sluice: mergeSluice(session.sluice, sluice) }),
    audio: {
      input: {
        ...input,
        ...present({ format: audio?.input?.format, noise_reduction: audio?.input?.noise_reduction }),
        ...(turn === undefined ? {} : { turn_detection: mergeTurnDetection(input.turn_detection, turn) }),
        ...(transcription === undefined
          ? {}
          : { transcription: transcription && { ...input.transcription, ...present(transcription) } }),
      },
      output: { ...output, ...present(audio?.output ?? {}) },
    },
  };
}

function mergeSluice(
  current: SluiceExtensions = { timeline: false, turn: turnNumberDefaults },
  { turn, ...rest }: NonNullable<SessionPatch["sluice"]>,
): SluiceExtensions {
  return { ...current, ...present(rest), turn: { ...current.turn, ...present(turn ?? {}) } };
}

type TurnDetectionPatch = NonNullable<NonNullable<SessionPatch["audio"]>["input"]>["turn_detection"];

// A patch that names its type starts from that type's defaults; one that does not goes on from what is.
function mergeTurnDetection(current: TurnDetection | null, patch: TurnDetectionPatch): TurnDetection | null {
  if (!patch) return null;
  if (patch.type === "server_vad") return { ...serverVadDefaults, ...present(patch) };
  if (patch.type === "semantic_vad") return { ...semanticVadDefaults, ...present(patch) };
  const { eagerness, threshold, prefix_padding_ms, silence_duration_ms, idle_timeout_ms, type: _, ...both } = patch;
  if (current?.type === "semantic_vad") return { ...current, ...present({ ...both, eagerness }) };
  const server = { ...both, threshold, prefix_padding_ms, silence_duration_ms, idle_timeout_ms };
  return { ...(current ?? serverVadDefaults), ...present(server) };
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Only the members that have a value: what `exactOptionalPropertyTypes` wants of a spread. */
function present<T extends object>(value: T): Present<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Present<T>;
}
