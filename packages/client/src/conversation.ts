/// <reference lib="esnext.disposable" preserve="true" />
/** One conversation with an agent: what an app holds while a person talks. */
import {
  type ClientEventInput,
  isCounted,
  parseResumption,
  ReceiptCounter,
  ReplayWindow,
  type ResumedEvent,
  type ResumptionEvent,
  type ServerEvent,
} from "@sluice/realtime";
import { ConnectionLost, SessionEnded } from "./errors.ts";
import { type Microphone, type MicrophoneChoice, openMicrophone } from "./microphone.ts";
import type { PlayoutPosition } from "./playout-tracker.ts";
import type { Candidate, TransportChoice } from "./race.ts";
import { Feed, Router } from "./router.ts";
import type { StatsDigest } from "./stats.ts";
import { Timeline } from "./timeline.ts";
import { Transcript, type TranscriptEntry } from "./transcript.ts";
import type { Transport, TransportKind, TransportListener } from "./transport.ts";
import { type MeterHost, meterVoice } from "./voice-meter.ts";

/**
 * Where a conversation stands. `reconnecting`: the path broke and is being mended, or another one is made; speech meanwhile is
 * kept where the pipe allows it.
 */
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
  /** For a UI: where the connection stands. */
  connectionState: ConversationStateChange;
  /** The same, by its older name. */
  state: ConversationStateChange;
  /** The pipe that the conversation is on from now on, and why. */
  transport: TransportChoice;
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
  readonly timeline: boolean;
  readonly now: () => number;
  /** Sent when the session is there; `undefined` for none. */
  readonly settings: ClientEventInput<"session.update"> | undefined;
  /** Opens another pipe with a token, until one works or the signal is aborted. */
  readonly reopen: (token: string, signal: AbortSignal) => Promise<Opened>;
  /** Opens a pipe of another kind beside the one in use; it stays the choice from then on. */
  readonly switchTo: (kind: TransportKind | "auto", token: string, signal: AbortSignal) => Promise<Opened>;
  /** How long that may take. */
  readonly reconnectMs: number;
  /** The audio context that measures; by default one of its own is made when it is first needed. */
  readonly meter: () => MeterHost | undefined;
  /** Drops the speech that is held. */
  readonly silence: () => void;
  /** Called once, at the end. */
  readonly onClosed: () => void;
}

/** A pipe that carried its first event. */
export interface Opened {
  readonly candidate: Candidate;
  readonly choice: TransportChoice;
}

/** A pipe whose server says nothing for so long, although it was asked something, is dead, whatever the browser thinks. */
const SILENCE_MS = 5_000;
/** The same where there is reason to believe it: the network changed. */
const DOUBTED_SILENCE_MS = 1_500;
/** Where a conversation can go on over another pipe, the server is asked for a sign of life after so much silence. */
const PROBE_MS = 400;
/** It is given that long, or three round trips, before another pipe is opened beside this one. */
const ANSWER_MS = 1_100;
/** SCTP, under WebRTC's events, takes a second to send again what was lost. */
const ANSWER_WEBRTC_MS = 1_700;
/** A timer that is this late says that this page was asleep, not the server. */
const ASLEEP_MS = 300;
const MAX_FEED = 1_000;
/** Codes of errors after which the server hangs up. */
const FAREWELLS = ["session_ended", "session_expired"];

/** A live conversation; {@link connect} makes it. */
export class Conversation {
  readonly #parts: ConversationParts;
  readonly #replay = new ReplayWindow();
  readonly #receipts = new ReceiptCounter();
  #transport: Transport | undefined;
  #choice: TransportChoice | undefined;
  #token: string | undefined; // with which the conversation is resumed
  #replays = false; // what is sent counts
  #reopening: AbortController | undefined;
  #switching: AbortController | undefined;
  #goneMeanwhile: Error | true | undefined; // the pipe in use, while another is opened
  #heard: PlayoutPosition | undefined;
  #watch: ReturnType<typeof setTimeout> | undefined; // for a sign of life
  #probeMs: number | undefined; // the clock exchange that only asks for one
  #isDoubted = false; // another pipe is sought while this one may yet speak
  #holdsLost = false; // speech is held that was sent by a server that is gone
  readonly #router = new Router<ConversationEvents>();
  readonly #feeds = new Set<Feed<ServerEvent>>();
  readonly #transcript = new Transcript();
  readonly #timeline: Timeline | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
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
    if (parts.timeline) this.#timeline = new Timeline(parts.now(), () => this.#transport?.played());
  }

  /** Where the connection stands. */
  get connectionState(): ConversationState {
    return this.#state;
  }

  /** The pipe that it is on, and why; `undefined` before the first. */
  get transport(): TransportChoice | undefined {
    return this.#choice;
  }

  /** Whether the server keeps the conversation for a while when its connection is lost. */
  get resumable(): boolean {
    return this.#token !== undefined && !this.#replay.overflowed;
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
    this.#transmit(JSON.stringify(event));
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
    // Where the client truncates, what was heard says it all.
    if (!this.#transport?.truncates) this.send({ type: "output_audio_buffer.clear" });
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
    return this.#transport?.outputLevel() ?? 0;
  }

  /** Plays the agent again after `playoutBlocked`; call it from a click or a key. */
  async resumePlayout(): Promise<void> {
    await this.#meterHost?.context.resume();
    await this.#transport?.resumePlayout();
  }

  /**
   * Goes on over another kind of pipe, `auto`: the best. The one in use carries the conversation until the other is open, so
   * neither side misses anything; when it cannot be opened, this rejects with why, and all stays as it is. Call it from a click:
   * browsers may start another sound device only then. Needs a server that resumes ({@link Conversation.resumable}).
   */
  async switchTransport(kind: TransportKind | "auto"): Promise<TransportChoice> {
    const token = this.#token;
    if (this.#state !== "connected" || this.#switching || token === undefined || !this.resumable) {
      throw new ConnectionLost("this conversation cannot change its pipe now");
    }
    const switching = new AbortController();
    this.#switching = switching;
    const timer = setTimeout(() => {
      switching.abort(new ConnectionLost(`${kind} did not answer in time`));
    }, this.#parts.reconnectMs);
    try {
      const opened = await this.#parts.switchTo(kind, token, switching.signal);
      switching.signal.throwIfAborted();
      this.#reopening = switching; // from here to the server's welcome, what is sent waits
      this.#transport?.abandon();
      this.#resume(opened);
      return opened.choice;
    } catch (cause) {
      const gone = this.#goneMeanwhile;
      if (gone !== undefined && this.#isOpen) this.#reopen(gone === true ? undefined : gone);
      throw cause;
    } finally {
      clearTimeout(timer);
      this.#switching = undefined;
      this.#goneMeanwhile = undefined;
    }
  }

  /** The state of the media; read it once a second or so. */
  async getStats(): Promise<StatsDigest> {
    const stats = (await this.#transport?.stats()) ?? noStats;
    return { ...stats, roundTripMs: stats.roundTripMs ?? this.#timeline?.clockRoundTripMs };
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
    await this.#transport?.setMicrophone(microphone?.track ?? null);
    before?.release();
  }

  /** @internal The first pipe carried its first event: the conversation begins on it. */
  begin({ candidate, choice }: Opened): void {
    const { transport } = candidate;
    this.#adopt(transport, choice);
    if (this.#microphone) transport.setMicrophone(this.#microphone.track).catch(() => undefined);
    candidate.adopt(this.#listen(transport));
  }

  /** @internal One message from the server. */
  handleMessage(text: string): void {
    if (this.#state === "closed") return;
    const now = this.#parts.now();
    this.#handleLife();
    const resumption = parseResumption(text);
    if (resumption) {
      this.#handleResumption(resumption);
      return;
    }
    if (this.#token !== undefined && isCounted(text) && this.#receipts.count()) this.#acknowledge();
    const event = parseServerEvent(text);
    if (!event) return;
    if (event.type === "session.created" && this.#state === "connecting") this.#handleSession();
    if (event.type === "response.created") this.#activeResponse = event.response.id;
    if (event.type === "response.done") this.#activeResponse = undefined;
    if (event.type === "error" && FAREWELLS.includes(event.error.code ?? "")) {
      this.#farewell = new SessionEnded(event.error.message);
    }
    if (event.type !== "sluice.clock" || event.client_ms !== this.#probeMs) this.#timeline?.handleEvent(now, event);
    this.#transport?.handleEvent(event);
    if (event.type === "output_audio_buffer.cleared" && this.#holdsLost) this.#parts.silence();
    if (event.type === "response.created") this.#holdsLost = false;
    // With a timeline, it begins when it is heard: until then the jitter buffer still conceals the pause.
    if (event.type === "output_audio_buffer.started" && !this.#timeline) this.#transport?.handlePlayout(true);
    const entry = this.#transcript.handleEvent(event);
    this.#router.emit(event.type, event as never);
    this.#router.emit("event", event);
    for (const feed of this.#feeds) feed.push(event);
    if (entry) this.#router.emit("transcript", entry);
    this.#settle();
  }

  /** @internal The machine's network changed: asks the server for a sign of life. */
  handleNetworkChange(): void {
    this.#transport?.refresh();
    if (this.#state !== "connected" || !this.#timeline) return;
    this.send({ type: "sluice.clock", client_ms: this.#parts.now() });
    this.#expectLife(DOUBTED_SILENCE_MS);
  }

  /** @internal The end, from either side. */
  handleClosed(reason: Error | undefined): void {
    if (this.#state === "closed") return;
    clearTimeout(this.#watch);
    clearTimeout(this.#timer);
    this.#reopening?.abort(reason);
    this.#switching?.abort(reason ?? new ConnectionLost("the conversation is over"));
    this.#stopMeter?.();
    this.#microphone?.release();
    this.#transport?.close();
    this.#change("closed", this.#farewell ?? reason);
    for (const feed of this.#feeds) feed.end();
    this.#feeds.clear();
    this.#parts.onClosed();
  }

  /** The server spoke. */
  #handleLife(): void {
    clearTimeout(this.#watch);
    this.#watch = undefined;
    if (this.#isDoubted) this.#trust();
    if (!this.resumable || !this.#timeline || this.#state !== "connected") return;
    this.#watch = setTimeout(() => this.#probe(), PROBE_MS);
  }

  /** Asks for a sign of life: a dead server sends nothing, and an idle one has nothing to say. */
  #probe(again = false): void {
    const transport = this.#transport;
    if (!transport || this.#reopening || this.#switching || this.#state === "closed") return;
    this.#probeMs = this.#parts.now();
    transport.send(JSON.stringify({ type: "sluice.clock", client_ms: this.#probeMs }));
    const patience = transport.kind === "webrtc" ? ANSWER_WEBRTC_MS : ANSWER_MS;
    this.#expectLife(Math.max(patience, 200 + 3 * (this.#timeline?.clockRoundTripMs ?? 0)), true, again);
  }

  /** Alone, ICE watches WebRTC's path; a TCP connection may take minutes to die. */
  #expectLife(withinMs: number, always = false, again = false): void {
    const transport = this.#transport;
    if (!transport || (transport.kind === "webrtc" && !always)) return;
    clearTimeout(this.#watch);
    const dueAt = this.#parts.now() + withinMs;
    this.#watch = setTimeout(() => {
      if (this.#transport !== transport || this.#reopening || this.#switching) return;
      const wasAsleep = this.#parts.now() - dueAt > ASLEEP_MS;
      if (this.resumable && wasAsleep && !again) return this.#probe(true);
      const reason = new ConnectionLost(`the server fell silent for ${withinMs / 1000} s`);
      if (this.resumable) return this.#reopen(reason, true);
      transport.close();
      this.handleClosed(reason);
    }, withinMs);
  }

  get #isOpen(): boolean {
    return this.#state !== "closed";
  }

  /** The pipe that was doubted speaks again: no other is needed. */
  #trust(): void {
    this.#isDoubted = false;
    this.#reopening?.abort(new ConnectionLost("the old connection lives"));
    this.#reopening = undefined;
    this.#change("connected", undefined);
  }

  #adopt(transport: Transport, choice: TransportChoice): void {
    this.#transport = transport;
    this.#choice = choice;
    if (this.#meterHost) transport.measureWith(this.#meterHost.context);
    this.#router.emit("transport", choice);
  }

  #listen(transport: Transport): TransportListener {
    const current = () => this.#transport === transport && this.#state !== "closed";
    return {
      onMessage: (text) => {
        if (current()) this.handleMessage(text);
      },
      onPath: (whole) => {
        if (current() && this.#state !== "connecting") this.#change(whole ? "connected" : "reconnecting", undefined);
      },
      onPlayoutBlocked: () => this.#router.emit("playoutBlocked", undefined),
      onPlayed: (position) => {
        this.#heard = position;
        this.#timeline?.handlePosition(position);
        this.#drain();
      },
      onOutgoing: (event) => {
        if (!current()) return;
        this.#transmit(JSON.stringify(event));
        // A microphone in events would bury all else.
        if (event.type !== "input_audio_buffer.append") this.#router.emit("sent", event);
      },
      onClosed: (reason, lost) => {
        if (!current()) return;
        // The server lets go of it when the other is there, which may be heard of before the other is.
        if (this.#switching && !this.#farewell) {
          this.#goneMeanwhile = reason ?? true;
          return;
        }
        // It is certain now, and another pipe is on its way: maybe there already, and the server lets go of this one.
        if (this.#isDoubted && !this.#farewell) {
          this.#isDoubted = false;
          return;
        }
        if (lost && this.resumable && !this.#farewell) this.#reopen(reason);
        else this.handleClosed(reason);
      },
    };
  }

  #handleSession(): void {
    const { settings } = this.#parts;
    if (settings) this.send(settings);
    this.#replays = settings?.session.sluice?.resume === true; // counting begins behind the wish for it
    this.#transport?.begin(0);
    this.#change("connected", undefined);
    this.#settle();
    // Not before: making an audio context blocks the page for up to 100 ms, and nothing needs it until speech ends.
    this.#meterHost = this.#parts.meter();
    if (this.#meterHost) this.#transport?.measureWith(this.#meterHost.context);
    if (this.#microphone) this.#startMeter(this.#microphone);
  }

  #transmit(text: string): void {
    if (this.#replays && isCounted(text)) this.#replay.push(text);
    // Without a pipe it is kept for the next one, or void by then. Who is doubted may hear it: it counts once.
    if (!this.#reopening || this.#isDoubted) this.#transport?.send(text);
  }

  #acknowledge(): void {
    this.#transport?.send(JSON.stringify(this.#receipts.acknowledge()));
  }

  #handleResumption(event: ResumptionEvent): void {
    if (event.type === "sluice.resumable") this.#token = event.token;
    if (event.type === "sluice.ack" && !this.#replay.acknowledge(event.received)) {
      this.handleClosed(new ConnectionLost("the server acknowledged events that were never sent"));
    }
  }

  /** The connection is gone, or `doubted` to be there, and nobody wanted it: goes on over whatever works. */
  #reopen(reason: Error | undefined, doubted = false): void {
    const token = this.#token;
    if (token === undefined) return;
    const reopening = new AbortController();
    this.#reopening = reopening;
    this.#isDoubted = doubted;
    this.#change("reconnecting", reason);
    const timer = setTimeout(() => {
      reopening.abort(new ConnectionLost("no connection came back in time", { cause: reason }));
    }, this.#parts.reconnectMs);
    this.#parts
      .reopen(token, reopening.signal)
      .then(
        (opened) => {
          if (this.#reopening === reopening) this.#resume(opened);
          else opened.candidate.transport.close();
        },
        (cause: unknown) => {
          if (this.#reopening === reopening) this.#giveUp(cause instanceof Error ? cause : reason);
        },
      )
      .finally(() => clearTimeout(timer));
  }

  /** No other pipe can be had. One that is only doubted may still speak. */
  #giveUp(reason: Error | undefined): void {
    if (!this.#isDoubted) return this.handleClosed(reason);
    this.#watch = setTimeout(() => this.handleClosed(reason), SILENCE_MS);
  }

  #resume({ candidate, choice }: Opened): void {
    const { transport } = candidate;
    if (this.#state === "closed") {
      transport.close();
      return;
    }
    const before = this.#switching ? undefined : this.#transport; // one that is switched from is left already
    this.#isDoubted = false;
    const inbox: string[] = [];
    let welcomed = false;
    const listener = this.#listen(transport);
    this.#adopt(transport, choice);
    candidate.adopt({
      ...listener,
      onMessage: (text) => {
        const event = welcomed ? undefined : parseResumption(text);
        if (welcomed) listener.onMessage(text);
        else if (event?.type === "sluice.resumed") {
          welcomed = true;
          before?.abandon(); // not earlier: it might have spoken first; and a server that lives is not told farewell
          this.#welcome(transport, event);
          for (const early of inbox.splice(0)) listener.onMessage(early);
        } else inbox.push(text);
      },
    });
  }

  #welcome(transport: Transport, { received, audio_ms: audioMs, taken_over }: ResumedEvent): void {
    this.#reopening = undefined;
    if (taken_over) {
      this.#activeResponse = undefined; // it died with its server
      this.#holdsLost = true;
    }
    if (!this.#replay.acknowledge(received)) {
      this.handleClosed(new ConnectionLost("the server has lost what was said"));
      return;
    }
    transport.send(
      JSON.stringify({ type: "sluice.resume", received: this.#receipts.received, ...this.#place(transport) }),
    );
    if (transport.kind === "webrtc") this.#heard = undefined; // its jitter buffer does not say
    for (const text of this.#replay.unacknowledged) transport.send(text);
    transport.begin(audioMs ?? undefined);
    transport.setMicrophone(this.#microphone?.track ?? null).catch(() => undefined);
    this.#change("connected", undefined);
    this.#handleLife();
    this.#settle();
  }

  /** What the ear had last. What is held goes on sounding meanwhile; what comes again of it is ignored. */
  #place(next: Transport): { readonly item_id: string; readonly position_ms: number } | undefined {
    const heard = this.#heard;
    if (!heard) return undefined;
    // Another kind of pipe plays by another device: what this one holds is not to be heard beside it.
    if (next.kind === "webrtc") this.#parts.silence();
    return { item_id: heard.itemId, position_ms: Math.max(0, Math.round(heard.positionMs * 10) / 10) };
  }

  #change(state: ConversationState, reason: Error | undefined): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#router.emit("connectionState", { state, reason });
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
    this.#transport?.cut();
    this.#settle();
  }

  #drain(): void {
    for (let event = this.#timeline?.nextEvent(); event; event = this.#timeline?.nextEvent()) {
      if (event.type === "sluice.playout.report" && event.item_id !== this.#heardItem) {
        this.#heardItem = event.item_id;
        this.#transport?.handlePlayout(true);
      }
      this.send(event);
      if (event.type === "sluice.playout.report" && this.#transport?.kind === "webrtc") {
        this.#heard = { itemId: event.item_id, startedMs: 0, positionMs: event.position_ms, atMs: 0 };
      }
      if (event.type === "sluice.clock" && this.#watch === undefined) this.#expectLife(SILENCE_MS);
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

const nothing = { packets: 0, lost: 0, repaired: undefined, concealedMs: 0, kbitPerSecond: undefined };
const noStats: StatsDigest = {
  roundTripMs: undefined,
  jitterBufferMs: undefined,
  jitterMs: undefined,
  outputLatencyMs: undefined,
  received: nothing,
  sent: nothing,
};

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
