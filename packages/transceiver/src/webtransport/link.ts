/**
 * A conversation's pipe over one WebTransport session (docs/webtransport.md): events on one bidirectional stream, the
 * caller's voice by talkspurt streams and datagrams, the agent's by a stream per utterance, which the client holds and
 * plays. Sans-IO: the session's events go in, its calls come out; `handleTimeout` is due at `pollTimeout()`.
 */
import type { Link, LinkCapabilities, LinkListener, Milli, Pcm, Utterance } from "@sluice/conversation";
import {
  type AudioFrame,
  closeCodes,
  EventDecoder,
  encodeEvent,
  encodeEventsStart,
  encodeFrame,
  encodeUtteranceStart,
  KindDecoder,
  type ServerEvent,
  streamCodes,
  streamKinds,
} from "@sluice/realtime";
import { BufferedDownlink, type SpeechSink } from "../media/buffered-downlink.ts";
import type { OpusDecoder, OpusEncoder } from "../media/opus.ts";
import { RateLimit } from "../websocket/rate-limit.ts";
import { OutgoingStream } from "./outgoing-stream.ts";
import type { QuicDirection, QuicStream } from "./quic-engine.ts";
import { CONNECTION_LOST, type Session, type SessionListener } from "./session.ts";
import { Uplink, type UplinkAudio, type UplinkCounts } from "./uplink.ts";

/** Bounds of a link. */
export interface WebTransportLinkLimits {
  /** Bytes that may wait for a slow client before it is given up; default 4 MiB: ten minutes of speech. */
  readonly maxBuffered: number;
  /** Events a second that a client may send for long; default 500. */
  readonly eventsPerSecond: number;
  /** Events that it may send at once; default 5,000. Each 16 KiB of an event count as one more. */
  readonly burst: number;
  /** How long a client may take to open its event stream; default 10 s. */
  readonly openMs: Milli;
}

/** The bounds of a link that is given none. */
export const webTransportLinkDefaults: WebTransportLinkLimits = {
  maxBuffered: 4 * 1024 * 1024,
  eventsPerSecond: 500,
  burst: 5000,
  openMs: 10_000,
};

/** What became of the links of a server; it counts up, for metrics. */
export interface WebTransportLinkCounters {
  /** Streams of a kind that nobody knows, refused. */
  unknownStreams: number;
  /** Sessions closed because the client read too slowly. */
  overflowed: number;
  /** Sessions closed because the client sent too much. */
  rateLimited: number;
  /** Sessions closed because the client broke the wire format. */
  broken: number;
  /** Sessions closed because the client never opened its event stream. */
  unopened: number;
}

/** Counters at zero. */
export function createWebTransportLinkCounters(): WebTransportLinkCounters {
  return { unknownStreams: 0, overflowed: 0, rateLimited: 0, broken: 0, unopened: 0 };
}

/** Settings of {@link WebTransportLink}. */
export interface WebTransportLinkOptions {
  readonly encoder: OpusEncoder;
  readonly decoder: OpusDecoder;
  readonly earlyDecoder: OpusDecoder;
  /** How much speech the client holds beyond the ear. */
  readonly leadMs: Milli;
  /** Whether the event stream is ours to open, which saves the client a round trip; default false. */
  readonly opensEvents?: boolean | undefined;
  readonly limits: WebTransportLinkLimits;
  readonly counters: WebTransportLinkCounters;
  /** Asks the client's QUIC for an acknowledgement. */
  readonly ping: () => void;
  /** A round trip that was seen since it was asked for last. */
  readonly takeRoundTrip: () => Milli | undefined;
  /** Monotonic clock. */
  readonly now: () => Milli;
  /** A new `event_…` id, for the events that the link itself sends. */
  readonly createEventId: () => string;
  /** Whether the server takes no more calls: a client is told to reconnect elsewhere. */
  readonly isDraining: () => boolean;
  /** The link's deadlines may have changed. */
  readonly onInput: () => void;
  /** The link is over: {@link WebTransportLink.free} it once the calls under way have returned. Called once. */
  readonly onEnded: (reason: string) => void;
}

/** Numbers of a link. */
export interface WebTransportLinkStats extends UplinkCounts {
  readonly utterances: number;
}

const BYTES_PER_EVENT = 16 * 1024;
const TOO_SLOW = "the client reads too slowly";
/** Events go before speech, and speech that is heard sooner before speech that is heard later. */
const EVENT_PRIORITY = 1_000_000;

/** Bits per second of the agent's voice where the path is narrow: with headers, 25 kbit/s on the wire. */
const NARROW_BITRATE = 24_000;

/** There, an answer's first second and a half goes before all events, so that it does not run dry while they pass. */
const AHEAD_MS: Milli = 1500;

/** The path is looked at this often at most. */
const FIT_EVERY_MS: Milli = 50;

/** What a stream of the client is, once its first bytes said so. */
type Incoming = KindDecoder | "talkspurt" | "events";

/** One client's session, as a conversation sees it. */
export class WebTransportLink implements Link, SessionListener {
  readonly capabilities: LinkCapabilities;
  readonly #session: Session;
  readonly #options: WebTransportLinkOptions;
  readonly #rate: RateLimit;
  readonly #uplink: Uplink;
  readonly #downlink: BufferedDownlink;
  #aheadUntil: Milli | undefined; // an utterance goes before events
  #uplinkState = { narrow: false, datagrams: false }; // as the client and the encoder know
  #fitAt: Milli = -Infinity; // not sooner
  readonly #incoming = new Map<QuicStream, Incoming>();
  readonly #utterances = new Map<string, OutgoingStream>(); // by item, oldest first
  readonly #heardOut = new Set<OutgoingStream>(); // of them, those that nobody will reset any more
  readonly #events: OutgoingStream;
  readonly #eventDecoder = new EventDecoder();
  #listener: LinkListener | undefined;
  #openBy: Milli | undefined;
  #utteranceCount = 0;
  #closing: string | undefined;
  #ended = false;

  constructor(session: Session, options: WebTransportLinkOptions) {
    const { now, limits, encoder, decoder, earlyDecoder, leadMs } = options;
    this.#session = session;
    this.#options = options;
    this.#rate = new RateLimit(now(), limits.eventsPerSecond, limits.burst);
    this.#uplink = new Uplink(now(), { decoder, earlyDecoder });
    this.#downlink = new BufferedDownlink({ encoder, sink: this.#sink, leadMs });
    this.#events = new OutgoingStream(session);
    this.#openBy = now() + limits.openMs;
    this.capabilities = { playout: "client", leadMs, audioInEvents: false, reset: true, playoutReports: true };
  }

  /** Begins: `listener` hears everything from now on. To be called before the session tells anything. */
  attach(listener: LinkListener): void {
    this.#listener = listener;
    if (this.#options.opensEvents) this.#openEvents();
  }

  stats(): WebTransportLinkStats {
    return { ...this.#uplink.counts, utterances: this.#utteranceCount };
  }

  sendEvent(event: { readonly type: string }): void {
    if (this.#closing !== undefined) return;
    this.#events.write(encodeEvent(JSON.stringify(event)));
    this.#bound();
  }

  play(utterance: Utterance, pcm: Pcm): void {
    this.#speak((now) => this.#downlink.play(now, utterance, pcm));
  }

  endUtterance(utterance: Utterance): void {
    this.#speak((now) => this.#downlink.end(now, utterance));
  }

  flush(): void {
    this.#speak(() => this.#downlink.flush());
  }

  heard(itemId: string, positionMs: Milli): void {
    this.#speak((now) => this.#downlink.heard(now, itemId, positionMs));
  }

  /** Asks the client for it, which holds the speech. */
  duck(gain: number, rampMs: Milli): void {
    this.#letEventsPass();
    const event_id = this.#options.createEventId();
    const event: ServerEvent = { type: "sluice.duck", event_id, gain, ramp_ms: rampMs };
    this.sendEvent(event);
  }

  close(reason: string): void {
    this.#close(this.#options.isDraining() ? closeCodes.draining : closeCodes.ended, reason);
  }

  /** Asks the client to go elsewhere soon. */
  drain(): void {
    if (this.#closing === undefined) this.#session.drain();
  }

  pollTimeout(): Milli | undefined {
    if (this.#ended) return undefined;
    const next = Math.min(this.#openBy ?? Infinity, this.#downlink.pollTimeout() ?? Infinity);
    return next === Infinity ? undefined : next;
  }

  handleTimeout(now: Milli): void {
    if (this.#ended) return;
    if (this.#openBy !== undefined && now >= this.#openBy) {
      this.#options.counters.unopened += 1;
      this.#close(closeCodes.broken, "the event stream was not opened in time");
      return;
    }
    this.#downlink.handleTimeout(now);
  }

  onStream(stream: QuicStream): void {
    this.#incoming.set(stream, new KindDecoder());
    this.#admit(this.#options.now(), 1); // streams cost as events do
  }

  onStreamData(stream: QuicStream, data: Uint8Array, isEnd: boolean): void {
    const now = this.#options.now();
    const incoming = this.#incoming.get(stream);
    if (incoming === undefined || this.#closing !== undefined) return;
    const known =
      incoming instanceof KindDecoder ? this.#identify(now, stream, incoming.push(data)) : { incoming, data };
    if (known?.incoming === "events") this.#takeEvents(now, known.data, isEnd);
    else if (known?.incoming === "talkspurt")
      this.#hear(now, this.#uplink.handleStream(now, stream, known.data, isEnd));
    if (isEnd) this.#incoming.delete(stream);
    this.#options.onInput();
  }

  onStreamReset(stream: QuicStream, code: number | undefined): void {
    const incoming = this.#incoming.get(stream);
    this.#incoming.delete(stream);
    const now = this.#options.now();
    // Without a code of the application it goes with its session, whose close may come later.
    if (incoming === "events" && code !== undefined) return this.#break("the event stream was reset");
    if (incoming === "talkspurt") this.#hear(now, this.#uplink.handleReset(now, stream));
    this.#options.onInput();
  }

  onStreamStopped(stream: QuicStream, code: number | undefined): void {
    if (stream === this.#events.stream) {
      if (code !== undefined) this.#break("the event stream was stopped");
      return;
    }
    for (const [itemId, { stream: other }] of this.#utterances) if (other === stream) this.#utterances.delete(itemId);
  }

  onStreamWritable(stream: QuicStream): void {
    if (stream === this.#events.stream) {
      this.#events.flush();
      return;
    }
    for (const [itemId, utterance] of this.#utterances) {
      if (utterance.stream !== stream) continue;
      utterance.flush();
      if (utterance.isComplete && this.#heardOut.delete(utterance)) this.#utterances.delete(itemId);
      return;
    }
  }

  onStreamsAvailable(direction: QuicDirection): void {
    if (direction === "unidirectional") this.#openUtterances();
    else if (this.#options.opensEvents) this.#openEvents();
  }

  onDatagram(data: Uint8Array): void {
    if (this.#closing !== undefined) return;
    const now = this.#options.now();
    this.#hear(now, this.#uplink.handleDatagram(now, data));
    this.#options.onInput();
  }

  onClosed(_code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    const lost = this.#closing === undefined ? reason.startsWith(CONNECTION_LOST) : this.#closing === TOO_SLOW;
    this.#closing ??= reason === "" ? "the client hung up" : reason;
    this.#utterances.clear();
    this.#heardOut.clear();
    this.#incoming.clear();
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.onClosed(this.#options.now(), this.#closing, lost);
    this.#options.onEnded(this.#closing);
    this.#options.onInput();
  }

  /** Frees the codecs; not from within the link's own calls. */
  free(): void {
    this.#downlink.close(); // and the encoder
    this.#options.decoder.free();
    this.#options.earlyDecoder.free();
  }

  readonly #sink: SpeechSink = {
    begin: ({ responseId, itemId, outputIndex, contentIndex }, start) => {
      this.#utteranceCount += 1;
      this.#aheadUntil = this.#options.now() + AHEAD_MS;
      const utterance = new OutgoingStream(this.#session);
      const ids = { response_id: responseId, item_id: itemId };
      const indices = { output_index: outputIndex, content_index: contentIndex };
      utterance.write(encodeUtteranceStart({ ...ids, ...indices, start }));
      this.#utterances.set(itemId, utterance);
      this.#openUtterances();
    },
    frames: ({ itemId }, frames) => {
      this.#utterances.get(itemId)?.write(joinFrames(frames));
      this.#bound();
    },
    finish: ({ itemId }) => {
      this.#utterances.get(itemId)?.finish();
    },
    reset: ({ itemId }) => {
      this.#utterances.get(itemId)?.reset(streamCodes.cancelled);
      this.#utterances.delete(itemId);
    },
    sent: (now, utterance, sentMs) => {
      if (this.#aheadUntil !== undefined && now >= this.#aheadUntil) this.#letEventsPass();
      this.#listener?.onSent(now, utterance, sentMs, undefined);
    },
    heardOut: (now, utterance) => {
      const stream = this.#utterances.get(utterance.itemId);
      // Until here a reset could be wanted; what a slow pipe still carries goes out.
      if (stream?.isComplete) this.#utterances.delete(utterance.itemId);
      else if (stream) this.#heardOut.add(stream);
      this.#listener?.onUtteranceEnded(now, utterance);
    },
  };

  #speak(input: (now: Milli) => void): void {
    if (this.#ended || this.#closing !== undefined) return;
    input(this.#options.now());
    this.#options.onInput();
  }

  /** Looks at what the way up carries, and tells the client when that has changed; what goes down has half of it as a rule. */
  #fit(now: Milli): void {
    if (now < this.#fitAt) return;
    this.#fitAt = now + FIT_EVERY_MS;
    const rttMs = this.#options.takeRoundTrip();
    if (rttMs !== undefined) this.#uplink.handleRoundTrip(now, rttMs);
    if (this.#uplink.takeAsk(now)) this.#options.ping();
    const { isNarrow: narrow, hasRoom: datagrams } = this.#uplink;
    const known = this.#uplinkState;
    if (narrow === known.narrow && datagrams === known.datagrams) return;
    this.#uplinkState = { narrow, datagrams };
    const event: ServerEvent = { type: "sluice.uplink", event_id: this.#options.createEventId(), narrow, datagrams };
    this.sendEvent(event);
    if (narrow === known.narrow) return;
    this.#options.encoder.setBitrate(narrow ? NARROW_BITRATE : undefined);
    this.#rankAll();
  }

  /** No utterance goes before events any more. */
  #letEventsPass(): void {
    this.#aheadUntil = undefined;
    this.#rankAll();
  }

  #rankAll(): void {
    for (const { stream } of this.#utterances.values()) {
      if (stream !== undefined) this.#session.setPriority(stream, this.#rank);
    }
  }

  /** The events of an answer are as long as a second of its speech: where that matters, they and it take turns. */
  get #rank(): number {
    if (!this.#uplinkState.narrow) return Math.max(1, EVENT_PRIORITY - this.#utteranceCount);
    return this.#aheadUntil === undefined ? EVENT_PRIORITY : EVENT_PRIORITY + 1;
  }

  /** Opens the event stream, as soon as the client lets us. */
  #openEvents(): void {
    if (this.#openBy === undefined) return;
    const stream = this.#session.openStream("bidirectional");
    if (stream === undefined) return;
    this.#events.write(encodeEventsStart());
    this.#begin(this.#options.now(), stream);
  }

  /** Events flow on `stream` from now on. */
  #begin(now: Milli, stream: QuicStream): void {
    this.#openBy = undefined;
    this.#incoming.set(stream, "events");
    this.#session.setPriority(stream, EVENT_PRIORITY);
    this.#events.open(stream);
    this.#listener?.onOpen(now);
  }

  /** Opens streams for utterances that wait for one, the oldest first. */
  #openUtterances(): void {
    for (const utterance of this.#utterances.values()) {
      if (utterance.stream !== undefined) continue;
      const stream = this.#session.openStream("unidirectional", this.#rank);
      if (stream === undefined) return;
      utterance.open(stream);
    }
  }

  /** What a stream is; `undefined` while it is not known, or when it is refused. */
  #identify(
    now: Milli,
    stream: QuicStream,
    start: { readonly kind: number; readonly rest: Uint8Array } | undefined,
  ): { readonly incoming: "events" | "talkspurt"; readonly data: Uint8Array } | undefined {
    if (!start) return undefined;
    const isBidi = stream % 4 < 2;
    if (start.kind === streamKinds.talkspurt && !isBidi) {
      this.#incoming.set(stream, "talkspurt");
      return { incoming: "talkspurt", data: start.rest };
    }
    const isOurs = this.#options.opensEvents === true;
    if (start.kind === streamKinds.events && isBidi && !isOurs && this.#openBy !== undefined) {
      this.#begin(now, stream);
      return { incoming: "events", data: start.rest };
    }
    this.#options.counters.unknownStreams += 1;
    this.#incoming.delete(stream);
    this.#session.stop(stream, streamCodes.unknownKind);
    if (isBidi) this.#session.reset(stream, streamCodes.unknownKind);
    return undefined;
  }

  #takeEvents(now: Milli, data: Uint8Array, isEnd: boolean): void {
    const events = this.#eventDecoder.push(data);
    if (!events) return this.#break("the event stream broke its format");
    for (const text of events) {
      if (this.#closing !== undefined) return;
      if (!this.#admit(now, 1 + Math.floor(text.length / BYTES_PER_EVENT))) return;
      this.#listener?.onMessage(now, text);
    }
    if (isEnd) this.#close(closeCodes.ended, "the client hung up");
  }

  #hear(now: Milli, { early, ordered }: UplinkAudio): void {
    this.#fit(now);
    for (const audio of early) this.#listener?.onEarlyAudio(now, audio);
    for (const audio of ordered) this.#listener?.onOrderedAudio(now, audio);
    const { fault } = this.#uplink;
    if (fault === "tooMuch" && this.#closing === undefined) {
      this.#options.counters.rateLimited += 1;
      this.#close(closeCodes.broken, "too much audio");
    } else if (fault === "malformed") this.#break("a talkspurt broke its format");
  }

  #admit(now: Milli, events: number): boolean {
    if (this.#rate.take(now, events)) return true;
    if (this.#closing === undefined) {
      this.#options.counters.rateLimited += 1;
      this.#close(closeCodes.broken, "too many events");
    }
    return false;
  }

  /** Gives a client up for whom too much waits. */
  #bound(): void {
    let waiting = this.#events.waiting;
    for (const utterance of this.#utterances.values()) waiting += utterance.waiting;
    if (waiting <= this.#options.limits.maxBuffered || this.#closing !== undefined) return;
    this.#options.counters.overflowed += 1;
    this.#close(closeCodes.tooSlow, TOO_SLOW);
  }

  #break(reason: string): void {
    if (this.#closing !== undefined) return;
    this.#options.counters.broken += 1;
    this.#close(closeCodes.broken, reason);
  }

  #close(code: number, reason: string): void {
    if (this.#closing !== undefined) return;
    this.#closing = reason;
    this.#session.close(code, reason);
  }
}

function joinFrames(frames: readonly AudioFrame[]): Uint8Array {
  const parts = frames.map(encodeFrame);
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
