/** One conversation with an agent: what an app holds while a person talks. */
import type { ClientEventInput, ServerEvent } from "@sluice/realtime";
import { SessionEnded } from "./errors.ts";
import { type Microphone, type MicrophoneChoice, openMicrophone } from "./microphone.ts";
import { Feed, Router } from "./router.ts";
import type { StatsDigest } from "./stats.ts";
import { Timeline } from "./timeline.ts";
import { Transcript, type TranscriptEntry } from "./transcript.ts";
import type { Transport } from "./transport.ts";
import { type MeterHost, meterVoice, openMeterHost } from "./voice-meter.ts";

/** Where a conversation stands. `reconnecting`: the path broke and is being mended; speech meanwhile is lost. */
export type ConversationState = "connecting" | "connected" | "reconnecting" | "closed";

/** A server event of type `Type`. */
export type ServerEventOf<Type extends string, Event = ServerEvent> = Event extends { readonly type: string }
  ? Type extends Event["type"]
    ? Event & { readonly type: Type }
    : never
  : never;

/** What {@link Conversation.on} hears: every server event by its type, and what happens on this side. */
export type ConversationEvents = { [Type in ServerEvent["type"]]: ServerEventOf<Type> } & {
  /** Every server event. */
  event: ServerEvent;
  /** Every event sent. */
  sent: ClientEventInput;
  /** A message of the transcript appeared or changed. */
  transcript: TranscriptEntry;
  state: ConversationStateChange;
  /** Whether the microphone is muted. */
  mute: boolean;
  /** The microphone was unplugged or its permission taken back. */
  microphoneLost: undefined;
  /** The browser plays nothing before a gesture: call {@link Conversation.resumePlayout} from one. */
  playoutBlocked: undefined;
};

/** A change of state; `reason` says why a conversation closed, `undefined` when either side hung up. */
export interface ConversationStateChange {
  readonly state: ConversationState;
  readonly reason: Error | undefined;
}

/** What a conversation is made of. */
export interface ConversationParts {
  readonly transport: Transport;
  readonly timeline: boolean;
  readonly now: () => number;
}

/** How long after the server's cut the jitter buffer may still hold what was cut. */
const DRAIN_MS = 250;
/** A cut of ours is answered by the server; when it is not, nothing is worth more silence than this. */
const MAX_SILENCE_MS = 2_000;
const MAX_FEED = 1_000;
/** Codes of errors after which the server hangs up. */
const FAREWELLS = ["session_ended", "session_expired"];

/** A live conversation; {@link connect} makes it. */
export class Conversation {
  readonly #parts: ConversationParts;
  readonly #router = new Router<ConversationEvents>();
  readonly #feeds = new Set<Feed<ServerEvent>>();
  readonly #transcript = new Transcript();
  readonly #timeline: Timeline | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #restoreTimer: ReturnType<typeof setTimeout> | undefined;
  #state: ConversationState = "connecting";
  #microphone: Microphone | undefined;
  #meterHost: MeterHost | undefined;
  #stopMeter: (() => void) | undefined;
  #inputLevel = 0;
  #muted = false;
  #activeResponse: string | undefined;
  #farewell: SessionEnded | undefined; // what the server said before it hung up
  #heardItem: string | undefined;

  constructor(parts: ConversationParts) {
    this.#parts = parts;
    if (parts.timeline) this.#timeline = new Timeline(parts.now(), () => parts.transport.played());
  }

  get state(): ConversationState {
    return this.#state;
  }

  get muted(): boolean {
    return this.#muted;
  }

  /** The messages so far, oldest first. */
  get transcript(): readonly TranscriptEntry[] {
    return this.#transcript.entries;
  }

  /** Whether the agent is answering now. */
  get responding(): boolean {
    return this.#activeResponse !== undefined;
  }

  /** Calls `listener` for every `type`; returns the function that stops it. */
  on<Type extends keyof ConversationEvents>(
    type: Type,
    listener: (value: ConversationEvents[Type]) => void,
  ): () => void {
    return this.#router.on(type, listener);
  }

  /** The server's events from now until the conversation closes. A reader 1,000 events behind loses the oldest. */
  events(): AsyncIterableIterator<ServerEvent> {
    const feed: Feed<ServerEvent> = new Feed(MAX_FEED, () => this.#feeds.delete(feed));
    if (this.#state === "closed") feed.end();
    else this.#feeds.add(feed);
    return feed;
  }

  /** Sends any event of the protocol. */
  send(event: ClientEventInput): void {
    if (this.#state === "closed") return;
    this.#parts.transport.send(JSON.stringify(event));
    this.#router.emit("sent", event);
  }

  /** Says `text` to the agent in writing and asks for an answer. */
  sendText(text: string): void {
    this.send({
      type: "conversation.item.create",
      item: { type: "message", role: "user", content: [{ type: "input_text", text }] },
    });
    this.send({ type: "response.create" });
  }

  /** Stops the agent at once: its voice here, and its answer at the server. */
  interrupt(): void {
    this.#cut();
    // Cancelling nothing is an error of the protocol.
    if (this.#activeResponse !== undefined) this.send({ type: "response.cancel" });
    this.send({ type: "output_audio_buffer.clear" });
  }

  /** Sends silence instead of the microphone, or the microphone again. */
  mute(on: boolean): void {
    if (this.#muted === on) return;
    this.#muted = on;
    if (this.#microphone) this.#microphone.track.enabled = !on;
    this.#router.emit("mute", on);
  }

  /** Changes to another microphone, or adds one to a conversation that began without; throws a microphone error. */
  async useMicrophone(choice: MicrophoneChoice): Promise<void> {
    await this.attachMicrophone(await openMicrophone(choice));
  }

  /** Loudness of the caller, 0 to 1 RMS. Cheap: read it in every animation frame. */
  inputLevel(): number {
    return this.#muted ? 0 : this.#inputLevel;
  }

  /** Loudness of the agent, 0 to 1 RMS. */
  outputLevel(): number {
    return this.#parts.transport.outputLevel();
  }

  /** Plays the agent again after `playoutBlocked`; call it from a click or a key. */
  async resumePlayout(): Promise<void> {
    await this.#meterHost?.context.resume();
    await this.#parts.transport.resumePlayout();
  }

  /** The state of the media; read it once a second or so. */
  async getStats(): Promise<StatsDigest> {
    return this.#parts.transport.stats();
  }

  /** Hangs up. */
  close(): void {
    this.handleClosed(undefined);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal The microphone that `connect` opened, or none. */
  async attachMicrophone(microphone: Microphone | undefined): Promise<void> {
    if (this.#state === "closed") {
      microphone?.release();
      return;
    }
    const before = this.#microphone;
    this.#microphone = microphone;
    this.#stopMeter?.();
    this.#stopMeter = undefined;
    this.#inputLevel = 0;
    if (microphone) {
      microphone.track.enabled = !this.#muted;
      microphone.track.onended = () => {
        if (this.#microphone === microphone) this.#router.emit("microphoneLost", undefined);
      };
      this.#startMeter(microphone);
    }
    await this.#parts.transport.setMicrophone(microphone?.track ?? null);
    before?.release();
  }

  /** @internal The session is there: the conversation begins. */
  handleConnected(): void {
    this.#change("connected", undefined);
    this.#settle();
    // Not before: making an audio context blocks the page for up to 100 ms, and nothing needs it until speech ends.
    this.#meterHost = openMeterHost();
    if (this.#meterHost) this.#parts.transport.measureWith(this.#meterHost.context);
    if (this.#microphone) this.#startMeter(this.#microphone);
  }

  /** @internal One message from the server. */
  handleMessage(text: string): void {
    if (this.#state === "closed") return;
    const now = this.#parts.now();
    const event = parseServerEvent(text);
    if (!event) return;
    if (event.type === "response.created") this.#activeResponse = event.response.id;
    if (event.type === "response.done") this.#activeResponse = undefined;
    if (event.type === "error" && FAREWELLS.includes(event.error.code ?? "")) {
      this.#farewell = new SessionEnded(event.error.message);
    }
    this.#timeline?.handleEvent(now, event);
    this.#followPlayout(event.type);
    const entry = this.#transcript.handleEvent(event);
    this.#router.emit(event.type, event as never);
    this.#router.emit("event", event);
    for (const feed of this.#feeds) feed.push(event);
    if (entry) this.#router.emit("transcript", entry);
    this.#settle();
  }

  /** @internal The path broke or is whole again. */
  handlePath(whole: boolean): void {
    if (this.#state === "connected" || this.#state === "reconnecting") {
      this.#change(whole ? "connected" : "reconnecting", undefined);
    }
  }

  /** @internal */
  handlePlayoutBlocked(): void {
    this.#router.emit("playoutBlocked", undefined);
  }

  /** @internal The end, from either side. */
  handleClosed(reason: Error | undefined): void {
    if (this.#state === "closed") return;
    clearTimeout(this.#timer);
    clearTimeout(this.#restoreTimer);
    this.#stopMeter?.();
    this.#microphone?.release();
    this.#parts.transport.close();
    this.#meterHost?.context.close().catch(() => undefined);
    this.#change("closed", reason ?? this.#farewell);
    for (const feed of this.#feeds) feed.end();
    this.#feeds.clear();
  }

  #followPlayout(type: ServerEvent["type"]): void {
    if (type === "sluice.utterance.started" || type === "output_audio_buffer.started") this.#restore();
    if (type === "output_audio_buffer.cleared") this.#silence(DRAIN_MS);
    // With a timeline, it begins when it is heard: until then the jitter buffer still conceals the pause.
    if (type === "output_audio_buffer.started" && !this.#timeline) this.#parts.transport.handlePlayout(true);
    if (type === "output_audio_buffer.stopped" || type === "output_audio_buffer.cleared") {
      this.#parts.transport.handlePlayout(false);
    }
  }

  #change(state: ConversationState, reason: Error | undefined): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#router.emit("state", { state, reason });
  }

  #startMeter(microphone: Microphone): void {
    this.#meter(microphone).catch((cause: unknown) => console.warn("sluice: the microphone is not metered:", cause));
  }

  async #meter(microphone: Microphone): Promise<void> {
    const host = this.#meterHost;
    if (!host) return;
    await host.ready;
    if (this.#microphone !== microphone || this.#stopMeter || this.#state === "closed") return;
    this.#stopMeter = meterVoice(host.context, microphone.track, (block) => {
      this.#inputLevel = block.rms;
      this.#timeline?.handleLevel(block);
      this.#drain();
    });
  }

  #cut(): void {
    this.#timeline?.handleCut(this.#parts.now());
    this.#silence(MAX_SILENCE_MS);
    this.#settle();
  }

  // Silent until the server has stopped too: what it sent before it heard of the interruption is still on its way.
  #silence(forMs: number): void {
    this.#parts.transport.silence();
    clearTimeout(this.#restoreTimer);
    this.#restoreTimer = setTimeout(() => this.#restore(), forMs);
  }

  #restore(): void {
    clearTimeout(this.#restoreTimer);
    this.#parts.transport.restore();
  }

  #drain(): void {
    for (let event = this.#timeline?.nextEvent(); event; event = this.#timeline?.nextEvent()) {
      if (event.type === "sluice.playout.report" && event.item_id !== this.#heardItem) {
        this.#heardItem = event.item_id;
        this.#parts.transport.handlePlayout(true);
      }
      this.send(event);
    }
  }

  #settle(): void {
    this.#drain();
    clearTimeout(this.#timer);
    if (!this.#timeline || this.#state === "connecting" || this.#state === "closed") return;
    this.#timer = setTimeout(
      () => {
        this.#timeline?.handleTimeout(this.#parts.now());
        this.#settle();
      },
      Math.max(0, this.#timeline.pollTimeout() - this.#parts.now()),
    );
  }
}

/** An event of the server, or `undefined` for what is none. Servers are trusted with their own types. */
function parseServerEvent(text: string): ServerEvent | undefined {
  try {
    const event: unknown = JSON.parse(text);
    return typeof event === "object" && event !== null && "type" in event && typeof event.type === "string"
      ? (event as ServerEvent)
      : undefined;
  } catch {
    return undefined;
  }
}
