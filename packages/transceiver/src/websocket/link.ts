/**
 * A conversation's pipe over one WebSocket (RFC 6455): Realtime events as text, both ways; the client holds and plays
 * the audio, which rides in events. Sans-IO: the shell feeds it messages and the clock, and does what {@link Socket} says.
 */
import type { Link, LinkCapabilities, LinkListener, Milli } from "@sluice/conversation";
import { invalidEvent, type ServerEvent } from "@sluice/realtime";
import { RateLimit } from "./rate-limit.ts";

/** What the link needs of a WebSocket. Nothing throws; sends after a close are dropped. */
export interface Socket {
  /** Bytes that were sent and have not left this machine. */
  readonly bufferedAmount: number;
  send(text: string): void;
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
  /** Binary messages, answered with an error. */
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
}

const CHARS_PER_EVENT = 16 * 1024;

// RFC 6455, section 7.4.1, and the registry.
const CLOSE_NORMAL = 1000;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_POLICY = 1008;
const CLOSE_TRY_LATER = 1013;

/** One client's WebSocket, as a conversation sees it. */
export class WebSocketLink implements Link {
  readonly capabilities: LinkCapabilities = {
    playout: "client",
    leadMs: Infinity,
    audioInEvents: true,
    reset: false,
    playoutReports: false,
  };
  readonly #socket: Socket;
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
  }

  /** Begins: `listener` hears everything from now on, first that the pipe is open. */
  start(now: Milli, listener: LinkListener): void {
    this.#listener = listener;
    listener.onOpen(now);
  }

  sendEvent(event: { readonly type: string }): void {
    if (this.#closing !== undefined) return;
    this.#socket.send(JSON.stringify(event));
    if (this.#socket.bufferedAmount <= this.#options.limits.maxBuffered) return;
    this.#options.counters.overflowed += 1;
    this.#close(CLOSE_TRY_LATER, "the client reads too slowly");
    // What waits would keep a closing frame waiting as well.
    this.#socket.terminate();
  }

  /** Nothing to do: audio rides in events here, and the client plays it. */
  play(): void {}

  /** Nothing to do: the client knows the end from `response.output_audio.done`. */
  endUtterance(): void {}

  /** Nothing to do: what was sent is the client's, and it stops playing by itself. */
  flush(): void {}

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

  /** A binary message came: an error, and the session goes on. */
  handleBinary(now: Milli, size: number): void {
    if (!this.#admit(now, size)) return;
    this.#options.counters.binary += 1;
    const error = invalidEvent("expected a text message, but got a binary one.", undefined);
    const event: ServerEvent = { type: "error", event_id: this.#options.createEventId(), error };
    this.sendEvent(event);
  }

  /** The client answered a ping, or sent one. */
  handleSign(now: Milli): void {
    this.#heardAt = now;
  }

  /** The socket is closed. */
  handleClosed(now: Milli, code: number): void {
    const byClient = code === CLOSE_NORMAL || code === CLOSE_GOING_AWAY || code === 1005;
    const reason = this.#closing ?? (byClient ? "the client hung up" : `the connection was lost (${code})`);
    this.#closing = reason;
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.onClosed(now, reason);
  }

  /** Call it at least every {@link WebSocketLinkLimits.pingMs}: pings, and gives a silent client up. */
  handleTimeout(now: Milli): void {
    const { pingMs, idleMs } = this.#options.limits;
    if (now - this.#heardAt >= idleMs) {
      if (this.#closing === undefined) this.#options.counters.timedOut += 1;
      this.#closing ??= "the client fell silent";
      this.#socket.terminate();
    } else if (now - this.#pingedAt >= pingMs && this.#closing === undefined) {
      this.#pingedAt = now;
      this.#socket.ping();
    }
  }

  #admit(now: Milli, size: number): boolean {
    this.#heardAt = now;
    if (this.#closing !== undefined) return false;
    if (this.#rate.take(now, 1 + Math.floor(size / CHARS_PER_EVENT))) return true;
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
