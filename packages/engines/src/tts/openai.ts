/** Speech synthesis behind an OpenAI-compatible `POST /audio/speech` (OpenAI API reference, "Create speech"). */
import type { TextToSpeech, TtsEvent, TtsOptions } from "@sluice/conversation";
import { inOrder } from "../ahead.ts";
import {
  asObject,
  Endpoint,
  type EndpointOptions,
  jsonPayload,
  parseJson,
  type Reply,
  readText,
  sseEvents,
} from "../http/endpoint.ts";
import { messageIn, saidBy } from "../http/engine-error.ts";
import {
  BadAudio,
  createOggOpusDecoder,
  createPcmDecoder,
  createWavDecoder,
  isSampleRate,
  type SpeechDecoder,
} from "./openai-formats.ts";
import { gather } from "./openai-text.ts";

/** Settings of {@link createOpenAiSpeech}. */
export interface OpenAiSpeechOptions extends EndpointOptions {
  /** The model's name at the server. */
  readonly model: string;
  /** Used for every request; without it the conversation's voice, such as `alloy`. */
  readonly voice?: string | undefined;
  /**
   * How the audio comes. Default `pcm`: plays from its first byte. `sse` is PCM in events; `opus` takes a tenth of the
   * bytes; `wav` for servers that know no headerless audio.
   */
  readonly format?: "pcm" | "wav" | "opus" | "sse" | undefined;
  /** Of headerless audio, in Hz. Default 24,000; a rate in the reply's content type wins. */
  readonly sampleRate?: number | undefined;
  /** How to speak, for models that take advice. */
  readonly instructions?: string | undefined;
  /** Further members of the request's body; they win over ours. */
  readonly body?: Readonly<Record<string, unknown>> | undefined;
}

/** Requests at a time: the one that is heard and one ahead, which an interruption throws away. */
const AT_A_TIME = 2;
const SLOWEST = 0.25;
const FASTEST = 4;

/** Speech by `audio/speech`: OpenAI, Kokoro, speaches, LocalAI, Orpheus and most others. */
export function createOpenAiSpeech(options: OpenAiSpeechOptions): TextToSpeech {
  const endpoint = new Endpoint("tts", options, { firstMs: 3000 });
  if (options.sampleRate !== undefined && !isSampleRate(options.sampleRate)) {
    throw new RangeError(`no sample rate of speech: ${options.sampleRate}`);
  }
  return {
    speak: (text, tts, signal) =>
      inOrder(
        gather(text, signal),
        (piece, scope) => speakPiece(endpoint, options, piece, tts, scope),
        AT_A_TIME,
        signal,
      ),
    warm: (signal) => endpoint.warm(signal),
  };
}

async function* speakPiece(
  endpoint: Endpoint,
  options: OpenAiSpeechOptions,
  input: string,
  tts: TtsOptions,
  signal: AbortSignal,
): AsyncGenerator<TtsEvent> {
  if (!/[\p{L}\p{N}]/u.test(input)) return; // nothing that has a sound
  const payload = jsonPayload(toBody(options, input, tts));
  const read = (reply: Reply) => readSpeech(endpoint, options, reply);
  yield* endpoint.stream("audio/speech", payload, read, signal);
}

function toBody(
  { model, voice, format = "pcm", instructions, body }: OpenAiSpeechOptions,
  input: string,
  tts: TtsOptions,
) {
  const wanted = voice ?? tts.voice;
  const speed = tts.speed === undefined ? 1 : Math.max(SLOWEST, Math.min(FASTEST, tts.speed));
  return {
    model,
    input,
    ...(wanted !== undefined && { voice: wanted }),
    response_format: format === "sse" ? "pcm" : format,
    ...(format === "sse" && { stream_format: "sse" }),
    ...(speed !== 1 && { speed }),
    ...(instructions !== undefined && { instructions }),
    ...body,
  };
}

async function* readSpeech(endpoint: Endpoint, options: OpenAiSpeechOptions, reply: Reply): AsyncGenerator<TtsEvent> {
  await refuseOther(endpoint, reply);
  const decoder = await decoderFor(options, reply.contentType);
  let samples = 0;
  try {
    for await (const bytes of audioBytes(endpoint, options, reply)) {
      const pcm = decoder.push(bytes);
      samples += pcm.length;
      if (pcm.length > 0) yield { kind: "audio", pcm };
    }
    const pcm = decoder.end();
    samples += pcm.length;
    if (pcm.length > 0) yield { kind: "audio", pcm };
  } catch (error) {
    if (error instanceof BadAudio) throw endpoint.error("malformed", `sent ${error.message}`, error);
    throw error;
  } finally {
    decoder.close();
  }
  if (samples === 0) throw endpoint.error("empty", "said that it was done, but sent no audio");
}

/** The audio of a reply, out of its events where it comes in events. */
async function* audioBytes(endpoint: Endpoint, options: OpenAiSpeechOptions, reply: Reply): AsyncGenerator<Uint8Array> {
  if (options.format !== "sse" && !isEventStream(reply)) {
    yield* reply.chunks;
    return;
  }
  for await (const { event, data } of sseEvents(reply)) {
    const members = asObject(parseJson(data));
    if (!members) throw endpoint.error("malformed", "sent what is no JSON object");
    const type = typeof members.type === "string" ? members.type : event;
    if (type === "error" || members.error) {
      throw endpoint.error("failed", `reported: ${messageIn(members) ?? "no reason"}`);
    }
    const audio = members.audio ?? members.delta;
    if (typeof audio === "string") yield Buffer.from(audio, "base64");
    if (type === "speech.audio.done") return reply.complete();
  }
}

/** A reply that is no audio of the kind that was asked for. */
async function refuseOther(endpoint: Endpoint, reply: Reply): Promise<void> {
  const { contentType } = reply;
  if (contentType.includes("json") || contentType.startsWith("text/html")) {
    throw endpoint.error("failed", `answered without audio: ${saidBy(await readText(reply)) || contentType}`);
  }
  if (/^audio\/(mpeg|mp3|aac|flac)/.test(contentType)) {
    throw endpoint.error("rejected", `sends ${contentType} whatever it is asked for; try another format`);
  }
}

async function decoderFor(options: OpenAiSpeechOptions, contentType: string): Promise<SpeechDecoder> {
  const { format = "pcm", sampleRate = 24_000 } = options;
  if (format === "opus") return createOggOpusDecoder();
  if (format === "wav") return createWavDecoder();
  const told = Number(/\brate=(\d+)/.exec(contentType)?.[1]);
  return createPcmDecoder(isSampleRate(told) ? told : sampleRate);
}

function isEventStream({ contentType }: Reply): boolean {
  return contentType.startsWith("text/event-stream");
}
