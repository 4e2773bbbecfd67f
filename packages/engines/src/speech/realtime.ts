/**
 * Speech to speech by another server of the OpenAI Realtime protocol, over a WebSocket: OpenAI, Azure, xAI, vLLM-Omni, another
 * Sluice. Turns are ours: the upstream hears what we commit, answers when we ask, and forgets what the ear did not hear.
 */
import type {
  Milli,
  Pcm,
  SpeechEvent,
  SpeechRequest,
  SpeechSession,
  SpeechToSpeech,
  SttEvent,
} from "@sluice/conversation";
import { Channel, orAborted } from "../channel.ts";
import { EngineError } from "../http/engine-error.ts";
import { DEFAULT_RETRY, type RetryPolicy, retrying } from "../http/retry.ts";
import { socketHeaders, socketUrl } from "../http/socket.ts";
import { DEFAULT_TIMEOUTS, type StageTimeouts, timed } from "../http/timed.ts";
import { Upstream } from "./realtime-upstream.ts";

/** Settings of {@link createRealtime}. */
export interface RealtimeOptions {
  /** Address of the socket, such as `wss://api.openai.com/v1/realtime`; a query in it is kept. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** Sent with the handshake, such as `api-key` for Azure. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Put into the address as `model`. */
  readonly model?: string | undefined;
  /** Used for every answer; without it the conversation's voice. */
  readonly voice?: string | undefined;
  /** Transcribes what the caller says at the upstream; `null`: not at all. Default `gpt-4o-mini-transcribe`. */
  readonly transcriptionModel?: string | null | undefined;
  /** Names of events and settings: today's, or those before 2025-08. Default `ga`; events of both are understood. */
  readonly dialect?: "ga" | "beta" | undefined;
  /** Further members of the session, for servers with settings of their own; they win over ours. */
  readonly session?: Readonly<Record<string, unknown>> | undefined;
  readonly timeouts?: Partial<StageTimeouts> | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
  /** What the agent can do, in a sentence for a person. */
  readonly description?: string | undefined;
}

/** An agent that another Realtime server plays. */
export function createRealtime(options: RealtimeOptions): SpeechToSpeech {
  const url = socketUrl(options.url, { model: options.model });
  return {
    description:
      options.description ??
      `A speech model at ${url.host} hears you and answers in its own voice, interruptions included.`,
    open: (opened) => new RealtimeSession(options, url, opened),
  };
}

class RealtimeSession implements SpeechSession {
  readonly #options: RealtimeOptions;
  readonly #url: URL;
  readonly #closed = new AbortController();
  readonly #signal: AbortSignal;
  readonly #timeouts: StageTimeouts;
  #upstream: Promise<Upstream> | undefined;

  constructor(options: RealtimeOptions, url: URL, opened: AbortSignal) {
    this.#options = options;
    this.#url = url;
    this.#signal = AbortSignal.any([opened, this.#closed.signal]);
    this.#timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
    // The caller has not spoken yet: by then the connection stands. If it cannot, the first answer will say so.
    if (!opened.aborted) void this.#connect().catch(() => {});
  }

  listen(itemId: string, audio: AsyncIterable<Pcm>, signal: AbortSignal): AsyncIterable<SttEvent> {
    const events = new Channel<SttEvent>();
    const hear = async () => {
      const upstream = await orAborted(this.#connect(), signal);
      if (upstream) await upstream.listen(itemId, audio, events, AbortSignal.any([this.#signal, signal]));
    };
    hear().then(
      () => {},
      (error: unknown) => events.end(signal.aborted || this.#signal.aborted ? undefined : error),
    );
    return events;
  }

  async *respond(request: SpeechRequest, signal: AbortSignal): AsyncGenerator<SpeechEvent> {
    const left = new AbortController();
    const scope = AbortSignal.any([this.#signal, signal, left.signal]);
    if (scope.aborted || (request.items.length === 0 && request.instructions === "")) return;
    try {
      const policy = { ...DEFAULT_RETRY, ...this.#options.retry };
      const ready = retrying(() => this.#ready(scope), policy, this.#timeouts.firstMs, scope);
      const upstream = await orAborted(ready, scope);
      if (!upstream || scope.aborted) return;
      const onTimeout = (first: boolean, ms: Milli) => this.#timeout(upstream, first, ms);
      const answer = upstream.respond(request, scope);
      const isProgress = ({ kind }: SpeechEvent) => kind !== "inputTranscript";
      const options = { timeouts: this.#timeouts, isProgress, onTimeout, stop: () => left.abort() };
      for await (const event of timed(answer, options)) {
        if (signal.aborted || this.#signal.aborted) return;
        yield event;
      }
    } catch (error) {
      if (!signal.aborted && !this.#signal.aborted) throw error;
    } finally {
      left.abort();
    }
  }

  close(): void {
    this.#closed.abort();
  }

  /** The connection of this conversation; a new one when it was lost. */
  #connect(): Promise<Upstream> {
    this.#upstream ??= this.#open();
    return this.#upstream;
  }

  async #ready(signal: AbortSignal): Promise<Upstream> {
    const upstream = await this.#connect();
    await upstream.free(signal);
    return upstream;
  }

  async #open(): Promise<Upstream> {
    const { apiKey, headers } = this.#options;
    const request = {
      stage: "speech",
      url: this.#url,
      headers: socketHeaders(apiKey, headers),
      connectMs: this.#timeouts.connectMs,
    } as const;
    const forget = () => {
      this.#upstream = undefined;
    };
    try {
      return await Upstream.open(request, this.#options, this.#signal, forget);
    } catch (error) {
      forget();
      throw error;
    }
  }

  #timeout(upstream: Upstream, first: boolean, ms: Milli): EngineError {
    upstream.close(); // whatever it still says belongs to no answer
    const what = first ? "gave no answer" : "fell silent in the middle of its answer";
    const message = `${upstream.description} ${what} for ${Math.round(ms)} ms`;
    return new EngineError({ stage: "speech", kind: "timeout", message });
  }
}
