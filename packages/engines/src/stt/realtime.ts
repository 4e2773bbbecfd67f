/**
 * Speech recognition over a WebSocket, word by word while the caller speaks: OpenAI's transcription sessions, the same in
 * the older dialect of speaches, and vLLM's `/v1/realtime`.
 */
import {
  durationMs,
  type Pcm,
  SAMPLE_RATE,
  type SpeechToText,
  type SttEvent,
  type SttOptions,
} from "@sluice/conversation";
import { untilAborted } from "../channel.ts";
import { describeEngine, EngineError, type EngineErrorKind, messageIn } from "../http/engine-error.ts";
import { DEFAULT_RETRY, type RetryPolicy, retrying } from "../http/retry.ts";
import { EngineSocket, type SocketEvent, socketHeaders, socketUrl } from "../http/socket.ts";
import { DEFAULT_TIMEOUTS, type StageTimeouts, timed } from "../http/timed.ts";
import { Resampler } from "../tts/resampler.ts";
import { DIALECTS, type Dialect, type RealtimeSttDialect } from "./realtime-dialects.ts";
import { encodePcm16 } from "./wav.ts";

/** Settings of {@link createRealtimeTranscription}. */
export interface RealtimeTranscriptionOptions {
  /** Address of the socket, such as `wss://api.openai.com/v1/realtime`. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** Sent with the handshake. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The model's name at the server. */
  readonly model: string;
  /** Default `openai`. */
  readonly dialect?: RealtimeSttDialect | undefined;
  /** `firstMs` and `betweenMs` run from the end of the utterance on: before it, silence is no fault. */
  readonly timeouts?: Partial<StageTimeouts> | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
}

/** Audio in one event. */
const PIECE_MS = 500;
/** OpenAI accepts no less, and nobody says a word in it. */
const SHORTEST_MS = 100;

/** Speech recognition by a socket of its own for every utterance, open from the utterance's beginning on. */
export function createRealtimeTranscription(options: RealtimeTranscriptionOptions): SpeechToText {
  const dialect = DIALECTS[options.dialect ?? "openai"];
  const url = socketUrl(options.url, dialect.query(options.model));
  return { transcribe: (audio, stt, signal) => transcribe({ ...options, dialect, url }, audio, stt, signal) };
}

interface Target extends Omit<RealtimeTranscriptionOptions, "url" | "dialect"> {
  readonly dialect: Dialect;
  readonly url: URL;
}

async function* transcribe(
  target: Target,
  audio: AsyncIterable<Pcm>,
  stt: SttOptions,
  signal: AbortSignal,
): AsyncGenerator<SttEvent> {
  const timeouts = { ...DEFAULT_TIMEOUTS, ...target.timeouts };
  const { url, dialect, model } = target;
  const headers = socketHeaders(target.apiKey, target.headers);
  let socket: EngineSocket | undefined;
  const close = () => socket?.close();
  signal.addEventListener("abort", close, { once: true });
  try {
    const { connectMs, firstMs } = timeouts;
    const connect = () => EngineSocket.open({ stage: "stt", url, headers, connectMs }, signal);
    socket = await retrying(connect, { ...DEFAULT_RETRY, ...target.retry }, firstMs, signal);
    for (const event of dialect.begin(model, stt)) socket.send(event);
    const sent = send(socket, dialect, untilAborted(audio, signal));
    const onTimeout = (_first: boolean, ms: number) =>
      failure(url, "timeout", `did not transcribe what was said within ${Math.round(ms)} ms`);
    const events = timed(socket.events, { timeouts, onTimeout, from: sent, stop: close });
    for await (const event of read(target, events)) if (!signal.aborted) yield event;
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener("abort", close);
    close();
  }
}

/** Sends all audio, and says that it ended. */
async function send(socket: EngineSocket, dialect: Dialect, audio: AsyncIterable<Pcm>): Promise<void> {
  const resampler = dialect.sampleRate === SAMPLE_RATE ? undefined : new Resampler(SAMPLE_RATE, dialect.sampleRate);
  const append = (pcm: Pcm) => {
    const size = (PIECE_MS * dialect.sampleRate) / 1000;
    for (let at = 0; at < pcm.length; at += size) {
      const bytes = encodePcm16(pcm.subarray(at, at + size));
      socket.send({ type: "input_audio_buffer.append", audio: bytes.toString("base64") });
    }
  };
  let ms = 0;
  for await (const pcm of audio) {
    ms += durationMs(pcm);
    append(resampler ? resampler.process(pcm) : pcm);
  }
  if (resampler) append(resampler.end());
  if (ms < SHORTEST_MS) socket.close();
  else for (const event of dialect.end()) socket.send(event);
}

async function* read({ dialect, url }: Target, events: AsyncIterable<SocketEvent>): AsyncGenerator<SttEvent> {
  let text = "";
  for await (const event of events) {
    const said = dialect.read(event);
    switch (said?.kind) {
      case "delta":
        text += said.text;
        yield { kind: "partial", text: text.trim(), stable: false };
        break;
      case "final":
        yield { kind: "final", text: (said.text ?? text).trim() };
        return;
      case "error":
        throw failure(url, "failed", `reported: ${messageIn(event) ?? "no reason"}`);
    }
  }
  yield { kind: "final", text: "" }; // too short to be sent
}

function failure(url: URL, kind: EngineErrorKind, message: string): EngineError {
  return new EngineError({ stage: "stt", kind, message: `${describeEngine("stt", url)} ${message}` });
}
