/** Speech recognition behind an OpenAI-compatible `POST /audio/transcriptions` (OpenAI API reference, "Transcriptions"). */
import {
  durationMs,
  type Milli,
  type Pcm,
  type SpeechToText,
  type SttEvent,
  type SttOptions,
} from "@sluice/conversation";
import {
  asObject,
  Endpoint,
  type EndpointOptions,
  parseJson,
  type Reply,
  readText,
  sseEvents,
} from "../http/endpoint.ts";
import { messageIn } from "../http/engine-error.ts";
import { multipartPayload } from "../http/multipart.ts";
import { rolling } from "./rolling.ts";
import { wavParts } from "./wav.ts";

/** Settings of {@link createTranscriptions}. */
export interface TranscriptionsOptions extends EndpointOptions {
  /** The model's name at the server. */
  readonly model: string;
  /** Asks for the words as they are found; servers that cannot answer as a whole all the same. Default true. */
  readonly stream?: boolean | undefined;
  /**
   * Transcribes the utterance so far while it is still spoken, each time this much was added, in milliseconds of
   * audio. Default 0, never: each costs the server a request.
   */
  readonly partialEveryMs?: Milli | undefined;
  /** Further fields of the form, such as `temperature`; they win over ours. */
  readonly fields?: Readonly<Record<string, string>> | undefined;
}

/** Speech recognition by `audio/transcriptions`: OpenAI, speaches, vLLM, whisper.cpp, LocalAI, Groq and most others. */
export function createTranscriptions(options: TranscriptionsOptions): SpeechToText {
  const endpoint = new Endpoint("stt", options);
  return {
    transcribe: (audio, stt, signal) =>
      rolling(audio, (pieces, scope) => transcribeOnce(endpoint, options, stt, pieces, scope), {
        everyMs: options.partialEveryMs ?? 0,
        signal,
      }),
    warm: (signal) => endpoint.warm(signal),
  };
}

/** Shorter than what any server accepts (OpenAI: 100 ms); nobody says a word in it. */
const SHORTEST_MS = 100;

async function* transcribeOnce(
  endpoint: Endpoint,
  options: TranscriptionsOptions,
  stt: SttOptions,
  pieces: readonly Pcm[],
  signal: AbortSignal,
): AsyncGenerator<SttEvent> {
  if (pieces.reduce((ms, pcm) => ms + durationMs(pcm), 0) < SHORTEST_MS) {
    yield { kind: "final", text: "" };
    return;
  }
  const file = { name: "file", fileName: "speech.wav", contentType: "audio/wav", bytes: wavParts(pieces) };
  const payload = multipartPayload(toFields(options, stt), file);
  yield* endpoint.stream("audio/transcriptions", payload, (reply) => readReply(endpoint, reply), signal);
}

function toFields(options: TranscriptionsOptions, stt: SttOptions): readonly (readonly [string, string])[] {
  const fields: Record<string, string> = {
    model: options.model,
    response_format: "json",
    // ISO 639-1, which is how a BCP 47 tag begins.
    ...(stt.language !== undefined && { language: stt.language.split("-")[0]!.toLowerCase() }),
    ...(stt.prompt !== undefined && { prompt: stt.prompt }),
    ...(options.stream !== false && { stream: "true" }),
    ...options.fields,
  };
  return Object.entries(fields);
}

async function* readReply(endpoint: Endpoint, reply: Reply): AsyncGenerator<SttEvent> {
  if (!reply.contentType.startsWith("text/event-stream")) {
    yield readWhole(endpoint, await readText(reply)); // it does not stream, whatever was asked
    return;
  }
  let text = "";
  for await (const { event, data } of sseEvents(reply)) {
    const members = asObject(parseJson(data));
    if (!members) throw endpoint.error("malformed", "sent what is no JSON object");
    const type = typeof members.type === "string" ? members.type : event;
    if (type === "error" || members.error) {
      throw endpoint.error("failed", `reported: ${messageIn(members) ?? "no reason"}`);
    }
    if (type === "transcript.text.done") {
      reply.complete();
      yield final(members, text);
      return;
    }
    const delta = deltaOf(type, members);
    if (delta === "") continue;
    text += delta;
    yield { kind: "partial", text: text.trim(), stable: false };
  }
  // Servers that stream whole segments or chunks of chat end without a word.
  if (text === "") throw endpoint.error("empty", "ended its answer before it began");
  yield { kind: "final", text: text.trim() };
}

/** The words of an event: a delta, a chunk in the manner of chat completions (vLLM), or a whole segment (speaches). */
function deltaOf(type: string, members: Readonly<Record<string, unknown>>): string {
  if (typeof members.delta === "string") return members.delta;
  const choice = asObject(Array.isArray(members.choices) ? members.choices[0] : undefined);
  const content = asObject(choice?.delta)?.content;
  if (typeof content === "string") return content;
  return type === "message" && typeof members.text === "string" ? `${members.text} ` : "";
}

/** A reply as a whole: JSON with `text`, or, from servers that heed no `response_format`, the text itself. */
function readWhole(endpoint: Endpoint, body: string): SttEvent {
  const members = asObject(parseJson(body));
  if (members) {
    if (typeof members.text === "string") return final(members, "");
    throw endpoint.error("failed", `reported: ${messageIn(members) ?? "no text"}`);
  }
  if (body.trimStart().startsWith("<")) throw endpoint.error("malformed", "answered with a page, not with text");
  return { kind: "final", text: body.trim() };
}

function final(members: Readonly<Record<string, unknown>>, soFar: string): SttEvent {
  const text = (typeof members.text === "string" ? members.text : soFar).trim();
  return { kind: "final", text, ...(typeof members.language === "string" && { language: members.language }) };
}
