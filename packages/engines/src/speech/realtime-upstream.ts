/** One connection to a Realtime server: its session, its conversation kept equal to ours, one answer at a time. */
import { durationMs, type Pcm, type SpeechEvent, type SpeechRequest, type SttEvent } from "@sluice/conversation";
import { type Channel, orAborted, untilAborted } from "../channel.ts";
import { asObject } from "../http/endpoint.ts";
import { describeEngine, EngineError, type EngineErrorKind, messageIn } from "../http/engine-error.ts";
import { EngineSocket, type SocketEvent, type SocketRequest } from "../http/socket.ts";
import { within } from "../http/timed.ts";
import { encodePcm16 } from "../stt/wav.ts";
import type { RealtimeOptions } from "./realtime.ts";
import { UpstreamAnswer } from "./realtime-answer.ts";
import { SHORTEST_MS, UpstreamMemory } from "./realtime-memory.ts";
import { askedOf, firstUpdate, sessionUpdate } from "./realtime-session.ts";

/** An event to send. */
export type OutgoingEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

/** Audio in one event. */
const PIECE_SAMPLES = 12_000;
/** How long a cancelled answer may take to end before the connection is given up. */
const CANCEL_WITHIN_MS = 1000;

/** Errors that say of something that it was not necessary. */
const HARMLESS: ReadonlySet<unknown> = new Set(["response_cancel_not_active", "input_audio_buffer_commit_empty"]);

/** A connection that stands, its session created. */
export class Upstream {
  readonly #socket: EngineSocket;
  readonly #request: SocketRequest;
  readonly #options: RealtimeOptions;
  readonly #memory: UpstreamMemory;
  readonly #created = Promise.withResolvers<void>();
  readonly #listeners = new Map<string, Channel<SttEvent>>(); // by our item id
  readonly #partials = new Map<string, string>(); // words so far, by our item id
  readonly #words: SpeechEvent[] = []; // of the caller, that no answer has told yet
  #sentSession = "";
  #voice = "";
  #voiced = false;
  #answer: UpstreamAnswer | undefined;
  #listening: string | undefined; // our id of the utterance in the input buffer
  #ended: Promise<void> = Promise.resolve(); // of the answer before
  #failure: EngineError | undefined;
  #nextId = 0;

  private constructor(socket: EngineSocket, request: SocketRequest, options: RealtimeOptions, onLost: () => void) {
    this.#socket = socket;
    this.#request = request;
    this.#options = options;
    this.#memory = new UpstreamMemory((event) => this.#send(event, "item"));
    this.#created.promise.catch(() => {});
    void this.#receive().finally(onLost);
  }

  /** Connects and waits for the session; `onLost` is called once when the connection ends. */
  static async open(
    request: SocketRequest,
    options: RealtimeOptions,
    signal: AbortSignal,
    onLost: () => void,
  ): Promise<Upstream> {
    const socket = await EngineSocket.open(request, signal);
    const upstream = new Upstream(socket, request, options, onLost);
    signal.addEventListener("abort", () => socket.close(), { once: true });
    const late = () => upstream.#error("timeout", `began no session within ${request.connectMs} ms`);
    try {
      await within(upstream.#created.promise, request.connectMs, late);
    } catch (error) {
      socket.close();
      throw error;
    }
    upstream.#send({ type: "session.update", session: firstUpdate(options) }, "session");
    socket.keepAlive(false);
    return upstream;
  }

  /** Who this is, as messages begin. */
  get description(): string {
    return describeEngine("speech", this.#request.url);
  }

  /** Ends the connection. */
  close(): void {
    this.#socket.close();
  }

  /** Sends an utterance while it is spoken; `events` get its words. */
  async listen(
    itemId: string,
    audio: AsyncIterable<Pcm>,
    events: Channel<SttEvent>,
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#listening !== undefined) return events.end(); // one buffer, one utterance
    this.#listening = itemId;
    let ms = 0;
    try {
      for await (const pcm of untilAborted(audio, signal)) {
        ms += durationMs(pcm);
        this.#append(pcm);
      }
    } finally {
      this.#listening = undefined;
    }
    if (signal.aborted || ms < SHORTEST_MS) {
      this.#send({ type: "input_audio_buffer.clear" }, "buffer");
      return events.end();
    }
    this.#listeners.set(itemId, events);
    this.#commit(itemId);
  }

  /** Waits until the answer before has ended, as a cancelled one soon does; a server that goes on talking is left. */
  async free(signal: AbortSignal): Promise<void> {
    const late = () => this.#error("cut", "did not stop an answer that was not wanted any more");
    try {
      await orAborted(within(this.#ended, CANCEL_WITHIN_MS, late), signal);
      if (this.#failure) throw this.#failure;
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  /** Brings the upstream's conversation up to date and asks for an answer; it must be {@link Upstream.free}. */
  async *respond(request: SpeechRequest, signal: AbortSignal): AsyncGenerator<SpeechEvent> {
    this.#socket.keepAlive(true);
    try {
      this.#configure(request);
      if (!request.outOfBand) this.#remember(request);
      yield* this.#words.splice(0);
      const answer = new UpstreamAnswer(request.modality, request.outOfBand ? undefined : this.#memory);
      this.#answer = answer;
      this.#ended = answer.ended;
      const cancel = () => this.#cancel(answer);
      signal.addEventListener("abort", cancel, { once: true });
      this.#send({ type: "response.create", response: this.#responseOf(request) }, "create");
      try {
        for await (const event of untilAborted(answer.events, signal)) {
          this.#voiced ||= event.kind === "audio";
          yield* this.#words.splice(0);
          yield event;
        }
      } finally {
        signal.removeEventListener("abort", cancel);
        this.#cancel(answer);
      }
    } finally {
      this.#socket.keepAlive(false);
    }
  }

  #cancel(answer: UpstreamAnswer): void {
    if (!answer.cancel()) return; // it had ended, or it was cancelled before
    const response_id = answer.responseId;
    // Before the answer has a name, the server is told as soon as it has one.
    if (response_id !== undefined) this.#send({ type: "response.cancel", response_id }, "cancel");
  }

  /** An answer beside the conversation brings its own settings. */
  #configure(request: SpeechRequest): void {
    if (request.outOfBand && this.#sentSession !== "") return;
    if (!this.#voiced) this.#voice = this.#options.voice ?? request.voice;
    const session = JSON.stringify(sessionUpdate(this.#options, request, this.#voice));
    if (session === this.#sentSession) return;
    this.#sentSession = session;
    const voice = this.#voiced ? undefined : this.#voice; // after its first sound it cannot be changed
    this.#send({ type: "session.update", session: sessionUpdate(this.#options, request, voice) }, "session");
  }

  #responseOf(request: SpeechRequest): Readonly<Record<string, unknown>> {
    const { modality, outOfBand, items } = request;
    const response =
      this.#options.dialect === "beta"
        ? { modalities: modality === "audio" ? ["audio", "text"] : ["text"] }
        : { output_modalities: [modality] };
    if (!outOfBand) return response;
    return { ...response, conversation: "none", ...askedOf(request), input: this.#memory.describe(items) };
  }

  #remember({ items }: SpeechRequest): void {
    this.#memory.sync(items, (itemId, pcm) => {
      if (this.#listening === undefined) {
        this.#append(pcm);
        this.#commit(itemId);
        return;
      }
      // The buffer is taken by what the caller says now.
      const content = [{ type: "input_audio", audio: encodePcm16(pcm).toString("base64") }];
      this.#memory.know(itemId, itemId);
      this.#send(
        { type: "conversation.item.create", item: { id: itemId, type: "message", role: "user", content } },
        "item",
      );
    });
  }

  #append(pcm: Pcm): void {
    for (let at = 0; at < pcm.length; at += PIECE_SAMPLES) {
      const audio = encodePcm16(pcm.subarray(at, at + PIECE_SAMPLES)).toString("base64");
      this.#send({ type: "input_audio_buffer.append", audio }, "buffer");
    }
  }

  #commit(itemId: string): void {
    this.#memory.expectCommit(itemId, this.#send({ type: "input_audio_buffer.commit" }, "buffer"));
  }

  /** `cause` begins the event's id, so that an error tells what it is about. */
  #send(event: OutgoingEvent, cause: string): string {
    const event_id = `${cause}_${this.#nextId++}`;
    this.#socket.send({ ...event, event_id });
    return event_id;
  }

  async #receive(): Promise<void> {
    let failure = this.#error("cut", "closed the connection");
    try {
      for await (const event of this.#socket.events) this.#handle(event);
    } catch (error) {
      if (error instanceof EngineError) failure = error;
    }
    this.#failure = failure;
    this.#created.reject(failure);
    this.#answer?.fail(failure);
    for (const events of this.#listeners.values()) events.end();
    this.#listeners.clear();
  }

  #handle(event: SocketEvent): void {
    switch (event.type) {
      case "session.created":
        return this.#created.resolve();
      case "error":
        return this.#handleError(event);
      case "input_audio_buffer.committed":
        if (typeof event.item_id === "string") this.#memory.handleCommitted(event.item_id);
        return;
      case "conversation.item.input_audio_transcription.delta":
        return this.#handlePartial(event);
      case "conversation.item.input_audio_transcription.completed":
        return this.#handleWords(event);
      case "conversation.item.input_audio_transcription.failed":
        return this.#listenerOf(event)?.end();
    }
    const answer = this.#answer;
    if (!answer) return;
    const wasNamed = answer.responseId !== undefined;
    answer.handle(event, (message) => this.#error("failed", message));
    const { responseId: response_id } = answer;
    if (!wasNamed && response_id !== undefined && answer.cancelled) {
      this.#send({ type: "response.cancel", response_id }, "cancel");
    }
  }

  #handleWords(event: SocketEvent): void {
    const itemId = this.#memory.ownIdOf(event.item_id);
    if (itemId === undefined || typeof event.transcript !== "string") return;
    const text = event.transcript.trim();
    const events = this.#listeners.get(itemId);
    this.#listeners.delete(itemId);
    this.#partials.delete(itemId);
    events?.push({ kind: "final", text });
    events?.end();
    const words: SpeechEvent = { kind: "inputTranscript", itemId, text };
    if (this.#answer?.push(words) !== true) this.#words.push(words);
    if (this.#words.length > MAX_WORDS) this.#words.shift();
  }

  /** Deltas go on from each other; a partial is all that was said so far. */
  #handlePartial(event: SocketEvent): void {
    const itemId = this.#memory.ownIdOf(event.item_id);
    const events = itemId === undefined ? undefined : this.#listeners.get(itemId);
    if (itemId === undefined || !events || typeof event.delta !== "string") return;
    const text = (this.#partials.get(itemId) ?? "") + event.delta;
    this.#partials.set(itemId, text);
    events.push({ kind: "partial", text, stable: false });
  }

  #listenerOf(event: SocketEvent): Channel<SttEvent> | undefined {
    const itemId = this.#memory.ownIdOf(event.item_id);
    return itemId === undefined ? undefined : this.#listeners.get(itemId);
  }

  #handleError(event: SocketEvent): void {
    const error = asObject(event.error) ?? {};
    const cause = typeof error.event_id === "string" ? error.event_id : "";
    this.#memory.handleRefused(cause);
    if (HARMLESS.has(error.code) || /^(item|buffer|cancel)_/.test(cause)) return;
    const failure = this.#error("failed", `reported: ${messageIn(event) ?? "no reason"}`);
    this.#created.reject(failure); // has no effect once the session was there
    this.#answer?.fail(failure);
  }

  #error(kind: EngineErrorKind, message: string): EngineError {
    return new EngineError({ stage: "speech", kind, message: `${this.description} ${message}` });
  }
}

/** Words of the caller that wait for an answer to tell them. */
const MAX_WORDS = 32;
