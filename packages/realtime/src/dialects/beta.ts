/**
 * The Realtime API as it was before 2025-08, for clients that mark it (`OpenAI-Beta: realtime=v1`): a flat session,
 * `response.audio.delta`, `conversation.item.created`, content of types `text` and `audio`.
 */
import type { AudioFormat, SessionObject } from "../session.ts";
import type { Dialect, WireEvent } from "./dialect.ts";

type Members = Readonly<Record<string, unknown>>;

/** The beta's translator; it keeps nothing and serves any number of connections. */
export const betaDialect: Dialect = { read, write };

/** Events that say the same in both, but for their name. */
const NAMES: Readonly<Record<string, string>> = {
  "conversation.item.added": "conversation.item.created",
  "response.output_text.delta": "response.text.delta",
  "response.output_text.done": "response.text.done",
  "response.output_audio.delta": "response.audio.delta",
  "response.output_audio.done": "response.audio.done",
  "response.output_audio_transcript.delta": "response.audio_transcript.delta",
  "response.output_audio_transcript.done": "response.audio_transcript.done",
};

/** Events whose text differs; all others, audio above all, are not even parsed here. */
const DIFFERS = /"type"\s*:\s*"(?:session\.update|transcription_session\.update|response\.create)"/;

function read(text: string): string {
  if (!DIFFERS.test(text)) return text;
  const event = parse(text);
  switch (event?.type) {
    case "session.update":
      return JSON.stringify({ ...event, session: fromBetaSession(event.session) });
    case "transcription_session.update": {
      const session = { ...asMembers(fromBetaSession(event.session)), type: "transcription" };
      return JSON.stringify({ ...event, type: "session.update", session });
    }
    case "response.create":
      return JSON.stringify({ ...event, response: fromBetaResponse(event.response) });
    default:
      return text;
  }
}

/** A flat session in GA shape; members that are GA already stay. */
export function fromBetaSession(value: unknown): unknown {
  const session = asMembers(value);
  if (!session) return value;
  const {
    modalities,
    voice,
    speed,
    input_audio_format,
    output_audio_format,
    input_audio_transcription,
    input_audio_noise_reduction,
    turn_detection,
    max_response_output_tokens,
    temperature: _,
    audio: given,
    ...rest
  } = session;
  const audio = asMembers(given);
  const input = present({
    format: formatOf(input_audio_format),
    transcription: input_audio_transcription,
    noise_reduction: input_audio_noise_reduction,
    turn_detection: asMembers(turn_detection)?.type === "none" ? null : turn_detection,
    ...asMembers(audio?.input),
  });
  const output = present({ format: formatOf(output_audio_format), voice, speed, ...asMembers(audio?.output) });
  return {
    ...rest,
    ...present({ output_modalities: modalityOf(modalities), max_output_tokens: max_response_output_tokens }),
    audio: { ...audio, input, output },
  };
}

function fromBetaResponse(value: unknown): unknown {
  const response = asMembers(value);
  if (!response) return value;
  const {
    modalities,
    voice,
    output_audio_format,
    max_response_output_tokens,
    temperature: _,
    audio,
    ...rest
  } = response;
  const output = present({ format: formatOf(output_audio_format), voice, ...asMembers(asMembers(audio)?.output) });
  return {
    ...rest,
    ...present({ output_modalities: modalityOf(modalities), max_output_tokens: max_response_output_tokens }),
    ...(Object.keys(output).length === 0 ? {} : { audio: { output } }),
  };
}

function write(event: WireEvent): WireEvent | undefined {
  const members = event as WireEvent & Members;
  switch (event.type) {
    case "session.created":
    case "session.updated": {
      const session = members.session as SessionObject;
      const type = session.type === "transcription" ? `transcription_${event.type}` : event.type;
      return { ...event, type, ...{ session: toBetaSession(session) } };
    }
    case "conversation.item.done": // the beta told of an item once
      return undefined;
    case "response.created":
    case "response.done":
      return { ...event, ...{ response: toBetaResponse(members.response) } };
    default: {
      const item = members.item === undefined ? {} : { item: toBetaItem(members.item) };
      return { ...event, ...item, type: NAMES[event.type] ?? event.type };
    }
  }
}

/** A session as the beta showed it. */
export function toBetaSession(session: SessionObject): Members {
  const { input } = session.audio;
  const hearing = {
    input_audio_format: betaFormat(input.format),
    input_audio_transcription: input.transcription,
    input_audio_noise_reduction: input.noise_reduction,
    turn_detection: input.turn_detection,
    include: session.include,
  };
  const { id, object, expires_at } = session;
  if (session.type === "transcription") return { id, object, expires_at, ...hearing };
  const { model, output_modalities, instructions, audio, tools, tool_choice, max_output_tokens, tracing } = session;
  return {
    id,
    object,
    model,
    expires_at,
    modalities: betaModalities(output_modalities[0]),
    instructions,
    voice: audio.output.voice,
    speed: audio.output.speed,
    output_audio_format: betaFormat(audio.output.format),
    ...hearing,
    tools,
    tool_choice,
    temperature: 0.8,
    max_response_output_tokens: max_output_tokens,
    tracing,
    ...(session.sluice ? { sluice: session.sluice } : {}),
  };
}

function toBetaResponse(value: unknown): unknown {
  const { output_modalities, audio, output, ...rest } = value as Members;
  const modality = Array.isArray(output_modalities) ? output_modalities[0] : undefined;
  const spoken = asMembers(asMembers(audio)?.output);
  return {
    ...rest,
    output: Array.isArray(output) ? output.map(toBetaItem) : [],
    modalities: betaModalities(modality),
    voice: spoken?.voice,
    output_audio_format: betaFormat(spoken?.format as AudioFormat),
    temperature: 0.8,
  };
}

/** What the agent said goes by `text` and `audio`. */
function toBetaItem(value: unknown): unknown {
  const item = asMembers(value);
  if (item?.type !== "message" || item.role !== "assistant" || !Array.isArray(item.content)) return value;
  const names: Record<string, string> = { output_text: "text", output_audio: "audio" };
  const content = item.content.map((part: Members) => ({ ...part, type: names[String(part.type)] ?? part.type }));
  return { ...item, content };
}

const FORMATS: Readonly<Record<string, unknown>> = {
  pcm16: { type: "audio/pcm", rate: 24_000 },
  g711_ulaw: { type: "audio/pcmu" },
  g711_alaw: { type: "audio/pcma" },
};

/** A name that is none of the beta's stays, for the parser to refuse. */
function formatOf(name: unknown): unknown {
  return typeof name === "string" ? (FORMATS[name] ?? { type: name }) : name;
}

function betaFormat({ type }: AudioFormat): string {
  return type === "audio/pcm" ? "pcm16" : type === "audio/pcmu" ? "g711_ulaw" : "g711_alaw";
}

/** `["text", "audio"]` meant speech with its transcript. */
function modalityOf(modalities: unknown): unknown {
  if (!Array.isArray(modalities)) return modalities;
  return modalities.includes("audio") ? ["audio"] : modalities;
}

const betaModalities = (modality: unknown) => (modality === "text" ? ["text"] : ["audio", "text"]);

function present(members: Members): Members {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

function parse(text: string): Members | undefined {
  try {
    return asMembers(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function asMembers(value: unknown): Members | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : undefined;
}
