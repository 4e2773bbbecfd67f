/**
 * A conversation's pipe over one WebSocket (RFC 6455): Realtime events as text, both ways. The audio rides in events, and
 * the client does with it what it likes; or, by the subprotocol, as Opus in binary messages to a client that holds it and
 * says what was heard (docs/websocket.md). Sans-IO: the shell feeds it messages and the clock, and does what
 * {@link Socket} says.
 */
import {
  type Link,
  type LinkCapabilities,
  type LinkListener,
  type Milli,
  type Pcm,
  SAMPLES_PER_MS,
  type Utterance,
} from "@sluice/conversation";
import {
  type AudioMessage,
  decodeTalkMessage,
  encodeAudioMessage,
  invalidEvent,
  type ServerEvent,
  STREAM_CLOCK_RATE,
} from "@sluice/realtime";
import { BufferedDownlink } from "../media/buffered-downlink.ts";
import { FRAME_MS, type OpusDecoder, type OpusEncoder } from "../media/opus.ts";
import { RateLimit } from "./rate-limit.ts";

/** What the link needs of a WebSocket. Nothing throws; sends after a close are dropped. */
export interface Socket {
  /** Bytes that were sent and have not left this machine. */
  readonly bufferedAmount: number;
  /** May wait for what else is sent in the same moment. */
  send(data: string | Uint8Array): void;
  /** Lets what was sent leave now. */
  flush(): void;
  ping(): void;
  /** Begins the closing handshake. */
  close(code: number, reason: string): void;
  /** Drops the connection at once. */
  terminate(): void;
}

/** Bounds of a link. */
export interface WebSocketLinkLimits {
  /** Bytes that may wait for a slow client before it is given up; default 4 MiB, which is a minute of audio. */
  readonly maxBuffered: number;
  /** Events a second that a client may send for long; default 500, ten times what a microphone makes. */
  readonly eventsPerSecond: number;
  /** Events that it may send at once; default 5,000, 100 s of audio. Each 16 KiB of an event count as one more. */
  readonly burst: number;
  /** Time between pings; default 15 s. */
  readonly pingMs: Milli;
  /** How long a client may be silent, pongs included, before it is given up; default 45 s. */
  readonly idleMs: Milli;
}

/** The bounds of a link that is given none. */
export const webSocketLinkDefaults: WebSocketLinkLimits = {
  maxBuffered: 4 * 1024 * 1024,
  eventsPerSecond: 500,
  burst: 5000,
  pingMs: 15_000,
  idleMs: 45_000,
};

/** What became of the links of a server; it counts up, for metrics. */
export interface WebSocketCounters {
  /** Binary messages that were no audio, answered with an error. */
  binary: number;
  /** Links closed because the client read too slowly. */
  overflowed: number;
  /** Links closed because the client sent too much. */
  rateLimited: number;
  /** Links closed because the client fell silent. */
  timedOut: number;
}

/** Counters at zero. */
export function createWebSocketCounters(): WebSocketCounters {
  return { binary: 0, overflowed: 0, rateLimited: 0, timedOut: 0 };
}

/** Settings of {@link WebSocketLink}. */
export interface WebSocketLinkOptions {
  readonly limits: WebSocketLinkLimits;
  readonly counters: WebSocketCounters;
  /** A new `event_…` id, for the errors that the link itself sends. */
  readonly createEventId: () => string;
  /** Present: audio in binary messages. The link frees them. */
  readonly codecs?: WebSocketCodecs | undefined;
}

/** What a link with audio in binary messages codes it with. */
export interface WebSocketCodecs {
  readonly encoder: OpusEncoder;
  readonly decoder: OpusDecoder;
  /** Monotonic clock. */
  readonly now: () => Milli;
  /** The link's deadlines may have changed. */
  readonly onInput: () => void;
}

const CHARS_PER_EVENT = 16 * 1024;
/** Bytes of a binary message: half a minute of speech. */
const MAX_TALK_SIZE = 256 * 1024;

const TOO_SLOW = "the client reads too slowly";
const SILENT = "the client fell silent";
/** Ends that the network is to blame for: the client may come back. */
const LOST: ReadonlySet<string> = new Set([TOO_SLOW, SILENT]);

// RFC 6455, section 7.4.1, and the registry.
const CLOSE_NORMAL = 1000;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_POLICY = 1008;
const CLOSE_TRY_LATER = 1013;

const inEvents: LinkCapabilities = {
  playout: "client",
  leadMs: Infinity,
  audioInEvents: true,
  reset: false,
  playoutReports: false,
};
const buffered: LinkCapabilities = {
  playout: "client",
  leadMs: 10_000,
  audioInEvents: false,
  reset: true,
  playoutReports: true,
};

/** One client's WebSocket, as a conversation sees it. */
export class WebSocketLink implements Link {
  readonly capabilities: LinkCapabilities;
  readonly #socket: Socket;
  readonly #codecs: WebSocketCodecs | undefined;
  readonly #downlink: BufferedDownlink | undefined;
  #mediaMs: Milli = 0; // where the caller's audio ends
  readonly #options: WebSocketLinkOptions;
  readonly #rate: RateLimit;
  #listener: LinkListener | undefined;
  #heardAt: Milli;
  #pingedAt: Milli;
  #closing: string | undefined; // why we are closing, once we are

  constructor(now: Milli, socket: Socket, options: WebSocketLinkOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#rate = new RateLimit(now, options.limits.eventsPerSecond, options.limits.burst);
    this.#heardAt = now;
    this.#pingedAt = now;
    this.#codecs = options.codecs;
    this.capabilities = options.codecs ? buffered : inEvents;
    this.#downlink = options.codecs && this.#openDownlink(options.codecs.encoder);
  }

  /** Begins: `listener` hears everything from now on, first that the pipe is open. */
  start(now: Milli, listener: LinkListener): void {
    this.#listener = listener;
    listener.onOpen(now);
  }

  sendEvent(event: { readonly type: string }): void {
    this.#send(JSON.stringify(event));
    if (event.type === "response.output_audio.delta") this.#socket.flush();
  }

  #send(data: string | Uint8Array): void {
    if (this.#closing !== undefined) return;
    this.#socket.send(data);
    if (this.#socket.bufferedAmount <= this.#options.limits.maxBuffered) return;
    this.#options.counters.overflowed += 1;
    this.#close(CLOSE_TRY_LATER, TOO_SLOW);
    // What waits would keep a closing frame waiting as well.
    this.#socket.terminate();
  }

  /** Where audio rides in events there is nothing to do, here and below: the client plays it. */
  play(utterance: Utterance, pcm: Pcm): void {
    this.#speak((now, downlink) => downlink.play(now, utterance, pcm));
  }

  endUtterance(utterance: Utterance): void {
    this.#speak((now, downlink) => downlink.end(now, utterance));
  }

  flush(): void {
    this.#speak((_now, downlink) => downlink.flush());
  }

  heard(itemId: string, positionMs: Milli): void {
    this.#speak((now, downlink) => downlink.heard(now, itemId, positionMs));
  }

  /** Asks the client for it, which holds the audio; only for clients that know the event. */
  duck(gain: number, rampMs: Milli): void {
    const event_id = this.#options.createEventId();
    const event: ServerEvent = { type: "sluice.duck", event_id, gain, ramp_ms: rampMs };
    this.sendEvent(event);
  }

  close(reason: string): void {
    this.#close(CLOSE_GOING_AWAY, reason);
  }

  /** A text message came. */
  handleText(now: Milli, text: string): void {
    if (!this.#admit(now, text.length)) return;
    this.#listener?.onMessage(now, text);
  }

  /** A binary message came: audio, or an error, and the session goes on. */
  handleBinary(now: Milli, message: Uint8Array): void {
    if (!this.#admit(now, message.length)) return;
    if (this.#codecs && this.#hear(now, this.#codecs.decoder, message)) return;
    this.#options.counters.binary += 1;
    const expected = this.#codecs
      ? "expected audio in this binary message."
      : "expected a text message, but got a binary one.";
    const event: ServerEvent = {
      type: "error",
      event_id: this.#options.createEventId(),
      error: invalidEvent(expected, undefined),
    };
    this.sendEvent(event);
  }

  /** The client answered a ping, or sent one. */
  handleSign(now: Milli): void {
    this.#heardAt = now;
  }

  /** The socket is closed. */
  handleClosed(now: Milli, code: number): void {
    const byClient = code === CLOSE_NORMAL || code === CLOSE_GOING_AWAY || code === 1005;
    const lost = this.#closing === undefined ? !byClient : LOST.has(this.#closing);
    const reason = this.#closing ?? (byClient ? "the client hung up" : `the connection was lost (${code})`);
    this.#closing = reason;
    const listener = this.#listener;
    this.#listener = undefined;
    this.#downlink?.close();
    this.#codecs?.decoder.free();
    listener?.onClosed(now, reason, lost);
  }

  /** When speech is to go on; pings are the business of {@link WebSocketLink.handleTick}. */
  pollTimeout(): Milli | undefined {
    return this.#downlink?.pollTimeout();
  }

  handleTimeout(now: Milli): void {
    if (this.#listener) this.#downlink?.handleTimeout(now);
  }

  /** Call it at least every {@link WebSocketLinkLimits.pingMs}: pings, and gives a silent client up. */
  handleTick(now: Milli): void {
    const { pingMs, idleMs } = this.#options.limits;
    if (now - this.#heardAt >= idleMs) {
      if (this.#closing === undefined) this.#options.counters.timedOut += 1;
      this.#closing ??= SILENT;
      this.#socket.terminate();
    } else if (now - this.#pingedAt >= pingMs && this.#closing === undefined) {
      this.#pingedAt = now;
      this.#socket.ping();
    }
  }

  #speak(input: (now: Milli, downlink: BufferedDownlink) => void): void {
    if (!this.#downlink || !this.#codecs || !this.#listener) return;
    input(this.#codecs.now(), this.#downlink);
    this.#codecs.onInput();
  }

  #openDownlink(encoder: OpusEncoder): BufferedDownlink {
    const write = (message: AudioMessage) => this.#send(encodeAudioMessage(message));
    return new BufferedDownlink({
      encoder,
      sink: {
        begin: ({ responseId, itemId, outputIndex, contentIndex }, start) =>
          write({
            kind: "utterance",
            header: {
              response_id: responseId,
              item_id: itemId,
              output_index: outputIndex,
              content_index: contentIndex,
              start,
            },
          }),
        frames: (_utterance, frames) => {
          write({ kind: "more", frames });
          this.#socket.flush();
        },
        finish: () => write({ kind: "finished" }),
        reset: () => write({ kind: "reset" }),
        sent: (now, utterance, sentMs) => this.#listener?.onSent(now, utterance, sentMs, undefined),
        heardOut: (now, utterance) => this.#listener?.onUtteranceEnded(now, utterance),
      },
    });
  }

  /** The caller's frames; false if it is no such message. What came before, on this connection, is not heard twice. */
  #hear(now: Milli, decoder: OpusDecoder, message: Uint8Array): boolean {
    const frames = message.length > MAX_TALK_SIZE ? undefined : decodeTalkMessage(message);
    // A message may hold as much as was said before the connection was up: each frame counts as an event.
    if (frames && !this.#take(now, frames.length - 1)) return true;
    for (const { time, packet } of frames ?? []) {
      const mediaMs = time / (STREAM_CLOCK_RATE / 1000);
      if (mediaMs < this.#mediaMs) continue;
      const pcm = packet.length === 0 ? decoder.conceal(FRAME_MS) : decoder.decode(packet);
      if (!pcm) continue;
      this.#mediaMs = mediaMs + pcm.length / SAMPLES_PER_MS;
      this.#listener?.onEarlyAudio(now, { pcm, mediaMs });
      this.#listener?.onOrderedAudio(now, { pcm, mediaMs, origin: "received" });
    }
    return frames !== undefined;
  }

  #admit(now: Milli, size: number): boolean {
    this.#heardAt = now;
    return this.#closing === undefined && this.#take(now, 1 + Math.floor(size / CHARS_PER_EVENT));
  }

  #take(now: Milli, events: number): boolean {
    if (this.#rate.take(now, Math.max(0, events))) return true;
    this.#options.counters.rateLimited += 1;
    this.#close(CLOSE_POLICY, "too many events");
    return false;
  }

  #close(code: number, reason: string): void {
    if (this.#closing !== undefined) return;
    this.#closing = reason;
    this.#socket.close(code, reason);
  }
}
