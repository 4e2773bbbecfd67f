/** The session that is asked of a Realtime server: 24 kHz both ways, no turn detection, for turns are ours. */
import type { SpeechRequest, Tool, ToolChoice } from "@sluice/conversation";
import type { RealtimeOptions } from "./realtime.ts";

/** `session` of `session.update`, in the dialect of the server; without `voiceName` the voice stays as it is. */
export function sessionUpdate(
  options: RealtimeOptions,
  request: SpeechRequest,
  voiceName: string | undefined,
): Readonly<Record<string, unknown>> {
  const { transcriptionModel = "gpt-4o-mini-transcribe", dialect, session } = options;
  const { maxOutputTokens = "inf", language } = request;
  const hint = language === undefined ? {} : { language: language.split("-")[0]!.toLowerCase() };
  const transcription = transcriptionModel === null ? null : { model: transcriptionModel, ...hint };
  const voice = voiceName === undefined ? {} : { voice: voiceName };
  const speed = request.speed === undefined ? {} : { speed: request.speed };
  const shared = askedOf(request);
  if (dialect === "beta") {
    return {
      ...shared,
      ...voice,
      modalities: ["audio", "text"],
      input_audio_format: "pcm16",
      output_audio_format: "pcm16",
      input_audio_transcription: transcription,
      turn_detection: null,
      max_response_output_tokens: maxOutputTokens,
      ...session,
    };
  }
  const format = { type: "audio/pcm", rate: 24_000 };
  return {
    type: "realtime",
    ...shared,
    output_modalities: ["audio"],
    max_output_tokens: maxOutputTokens,
    audio: { input: { format, transcription, turn_detection: null }, output: { format, ...voice, ...speed } },
    ...session,
  };
}

/** What must hold before the first audio: our turns, not the server's, and the words of what it hears. */
export function firstUpdate(options: RealtimeOptions): Readonly<Record<string, unknown>> {
  const { dialect, transcriptionModel = "gpt-4o-mini-transcribe" } = options;
  const transcription = transcriptionModel === null ? null : { model: transcriptionModel };
  if (dialect === "beta") {
    return { input_audio_format: "pcm16", input_audio_transcription: transcription, turn_detection: null };
  }
  const format = { type: "audio/pcm", rate: 24_000 };
  return { type: "realtime", audio: { input: { format, transcription, turn_detection: null } } };
}

/** What an answer is to be like, as a session and a response say it. */
export function askedOf({ instructions, tools = [], toolChoice = "auto" }: SpeechRequest) {
  return { instructions, tools: tools.map(toTool), tool_choice: toToolChoice(toolChoice) };
}

function toTool({ name, description, parameters }: Tool) {
  return {
    type: "function",
    name,
    ...(description !== undefined && { description }),
    parameters: parameters ?? { type: "object", properties: {} },
  };
}

function toToolChoice(choice: ToolChoice): unknown {
  return typeof choice === "string" ? choice : { type: "function", name: choice.name };
}
