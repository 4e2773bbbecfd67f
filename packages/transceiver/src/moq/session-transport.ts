/**
 * A session as the W3C's `WebTransport` (https://www.w3.org/TR/webtransport/), as far as `@moq/net` asks: streams of the web
 * over ours. Backpressure is real both ways: a stream that nobody reads is not read off QUIC either, and a write waits until
 * QUIC took it. All that a client can make grow is bounded; beyond, its session ends.
 */
import type { Milli } from "@sluice/conversation";
import { RateLimit } from "../websocket/rate-limit.ts";
import type { QuicDirection, QuicStream } from "../webtransport/quic-engine.ts";
import type { Session, SessionListener } from "../webtransport/session.ts";

/** Bounds of a {@link SessionTransport}. */
export interface SessionTransportLimits {
  /** Bytes a second of unidirectional streams and datagrams, for long; default 128 KiB: Opus needs 64 at the very most. */
  readonly mediaPerSecond: number;
  /** And at once; default 2 MiB. */
  readonly mediaBurst: number;
  /** Bytes of one unidirectional stream; default 256 KiB. A group of a track that we follow is a packet or a few. */
  readonly maxGroup: number;
  /** Bytes a second of bidirectional streams; default 16 KiB. */
  readonly controlPerSecond: number;
  /** And at once; default 128 KiB. */
  readonly controlBurst: number;
  /** Streams a second that the client opens, for long; default 250. */
  readonly streamsPerSecond: number;
  /** And at once; default 2,000. */
  readonly streamBurst: number;
  /** Streams of ours that wait until the client allows them; default 256. */
  readonly maxWaiting: number;
}

/** The bounds of a transport that is given none. */
export const sessionTransportDefaults: SessionTransportLimits = {
  mediaPerSecond: 128 * 1024,
  mediaBurst: 2 * 1024 * 1024,
  maxGroup: 256 * 1024,
  controlPerSecond: 16 * 1024,
  controlBurst: 128 * 1024,
  streamsPerSecond: 250,
  streamBurst: 2000,
  maxWaiting: 256,
};

/** Settings of {@link SessionTransport}. */
export interface SessionTransportOptions {
  readonly limits: SessionTransportLimits;
  /** What was negotiated, `undefined`: nothing. */
  readonly protocol: string | undefined;
  /** Monotonic clock. */
  readonly now: () => Milli;
  /** Something was written, read or closed: QUIC may have packets to send. */
  readonly onOutput: () => void;
  /** The session is over; called once. */
  readonly onClosed: (reason: string) => void;
}

/** Why and how a session ended (WebTransportCloseInfo). */
export interface CloseInfo {
  readonly closeCode: number;
  readonly reason: string;
}

/** Both halves of a bidirectional stream. */
export interface StreamPair {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

interface SendOptions {
  readonly sendOrder?: number | undefined;
}

/** What one of the client's streams brought and nobody has read. */
interface Incoming {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  received: number;
}

/** A write of ours that QUIC did not take whole. */
interface Pending {
  data: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Bytes of one stream that are read ahead of its reader. */
const READ_AHEAD = 16 * 1024;
/** Streams and datagrams that wait for whoever accepts them. */
const MAX_UNACCEPTED = 256;
/** A datagram that fits into QUIC's smallest packet in any case. */
const MAX_DATAGRAM_SIZE = 1100;
/** The session's own code for clients that break a bound. */
const BROKEN = 2;
const CANCELLED = 0;
const MIN_PRIORITY = -(2 ** 31);

/** A `WebTransport` of the server's side, to be given the session's events. */
export class SessionTransport implements SessionListener {
  readonly protocol: string;
  readonly ready: Promise<void> = Promise.resolve();
  readonly closed: Promise<CloseInfo>;
  readonly incomingBidirectionalStreams: ReadableStream<StreamPair>;
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  readonly datagrams: {
    readonly readable: ReadableStream<Uint8Array>;
    readonly writable: WritableStream<Uint8Array>;
    readonly maxDatagramSize: number;
  };
  readonly #session: Session;
  readonly #options: SessionTransportOptions;
  readonly #media: RateLimit;
  readonly #control: RateLimit;
  readonly #streams: RateLimit;
  readonly #incoming = new Map<QuicStream, Incoming>();
  readonly #pending = new Map<QuicStream, Pending>();
  readonly #writers = new Map<QuicStream, WritableStreamDefaultController>();
  readonly #waiting: Record<QuicDirection, { resolve(stream: QuicStream): void; reject(error: Error): void }[]> = {
    bidirectional: [],
    unidirectional: [],
  };
  #acceptBidi!: ReadableStreamDefaultController<StreamPair>;
  #acceptUni!: ReadableStreamDefaultController<ReadableStream<Uint8Array>>;
  #acceptDatagram!: ReadableStreamDefaultController<Uint8Array>;
  #resolveClosed!: (info: CloseInfo) => void;
  #isClosed = false;

  constructor(session: Session, options: SessionTransportOptions) {
    const { limits, now, protocol = "" } = options;
    this.#session = session;
    this.#options = options;
    this.protocol = protocol;
    this.#media = new RateLimit(now(), limits.mediaPerSecond, limits.mediaBurst);
    this.#control = new RateLimit(now(), limits.controlPerSecond, limits.controlBurst);
    this.#streams = new RateLimit(now(), limits.streamsPerSecond, limits.streamBurst);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.incomingBidirectionalStreams = queue((controller) => {
      this.#acceptBidi = controller;
    });
    this.incomingUnidirectionalStreams = queue((controller) => {
      this.#acceptUni = controller;
    });
    this.datagrams = {
      readable: queue((controller) => {
        this.#acceptDatagram = controller;
      }),
      writable: new WritableStream({ write: (data) => this.#sendDatagram(data) }),
      maxDatagramSize: MAX_DATAGRAM_SIZE,
    };
  }

  /** Opens a stream both ways; waits where the client allows none now, whatever the options say. */
  async createBidirectionalStream(options?: SendOptions): Promise<StreamPair> {
    const stream = await this.#open("bidirectional");
    return { readable: this.#read(stream), writable: this.#write(stream, options) };
  }

  /** Opens a stream of ours; waits where the client allows none now, whatever the options say. */
  async createUnidirectionalStream(options?: SendOptions): Promise<WritableStream<Uint8Array>> {
    return this.#write(await this.#open("unidirectional"), options);
  }

  /** Ends the session. */
  close({ closeCode = 0, reason = "" }: Partial<CloseInfo> = {}): void {
    if (this.#isClosed) return;
    this.#session.close(closeCode, reason);
    this.#options.onOutput();
  }

  onStream(stream: QuicStream, direction: QuicDirection): void {
    const accept: ReadableStreamDefaultController<never> =
      direction === "unidirectional" ? this.#acceptUni : this.#acceptBidi;
    if (!this.#streams.take(this.#options.now(), 1) || (accept.desiredSize ?? 0) <= 0) {
      return this.#break("too many streams");
    }
    const readable = this.#read(stream);
    if (direction === "unidirectional") this.#acceptUni.enqueue(readable);
    else this.#acceptBidi.enqueue({ readable, writable: this.#write(stream) });
  }

  onStreamData(stream: QuicStream, data: Uint8Array, isEnd: boolean): void {
    const incoming = this.#incoming.get(stream);
    if (!incoming) return;
    incoming.received += data.length;
    if (!this.#admit(stream, incoming.received, data.length)) return this.#break("too much data");
    const { controller } = incoming;
    if (data.length > 0) controller.enqueue(data);
    if (isEnd) {
      this.#incoming.delete(stream);
      controller.close();
    } else if ((controller.desiredSize ?? 0) <= 0) this.#session.pause(stream);
  }

  onStreamReset(stream: QuicStream, code: number | undefined): void {
    const incoming = this.#incoming.get(stream);
    this.#incoming.delete(stream);
    incoming?.controller.error(streamError("the stream was reset", code));
  }

  onStreamStopped(stream: QuicStream, code: number | undefined): void {
    this.#fail(stream, streamError("the stream was stopped", code));
  }

  onStreamWritable(stream: QuicStream): void {
    const pending = this.#pending.get(stream);
    if (pending) this.#flush(stream, pending);
  }

  onStreamsAvailable(direction: QuicDirection): void {
    const waiting = this.#waiting[direction];
    while (waiting.length > 0) {
      const stream = this.#session.openStream(direction);
      if (stream === undefined) return;
      waiting.shift()!.resolve(stream);
    }
  }

  onDatagram(data: Uint8Array): void {
    if (!this.#media.take(this.#options.now(), data.length)) return this.#break("too much data");
    if ((this.#acceptDatagram.desiredSize ?? 0) > 0) this.#acceptDatagram.enqueue(data); // else lost, as datagrams are
  }

  /** Readers hear a clean end: what they have is all there is. */
  onClosed(closeCode: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const over = new Error("the session is over");
    for (const { controller } of this.#incoming.values()) controller.close();
    this.#incoming.clear();
    for (const stream of [...this.#writers.keys()]) this.#fail(stream, over);
    for (const { reject } of Object.values(this.#waiting).flatMap((all) => all.splice(0))) reject(over);
    for (const accept of [this.#acceptBidi, this.#acceptUni, this.#acceptDatagram]) ifOpen(() => accept.close());
    this.#resolveClosed({ closeCode, reason });
    this.#options.onClosed(reason);
  }

  async #open(direction: QuicDirection): Promise<QuicStream> {
    if (this.#isClosed) throw new Error("the session is over");
    const waiting = this.#waiting[direction];
    const stream = waiting.length === 0 ? this.#session.openStream(direction) : undefined;
    if (stream !== undefined) return stream;
    if (waiting.length >= this.#options.limits.maxWaiting) throw new Error("the client allows no more streams");
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  }

  #read(stream: QuicStream): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#incoming.set(stream, { controller, received: 0 });
        },
        pull: () => {
          this.#session.resume(stream);
          this.#options.onOutput();
        },
        cancel: (reason) => {
          this.#incoming.delete(stream);
          this.#session.stop(stream, codeOf(reason));
          this.#options.onOutput();
        },
      },
      { highWaterMark: READ_AHEAD, size: (data) => data?.length ?? 0 },
    );
  }

  #write(stream: QuicStream, { sendOrder }: SendOptions = {}): WritableStream<Uint8Array> {
    const end = (how: () => void) => {
      this.#writers.delete(stream);
      how();
      this.#options.onOutput();
    };
    const writable = new WritableStream<Uint8Array>({
      start: (controller) => {
        this.#writers.set(stream, controller);
      },
      // A copy: `@moq/net` writes its integers out of one buffer.
      write: (data) => new Promise((resolve, reject) => this.#flush(stream, { data: data.slice(), resolve, reject })),
      close: () => end(() => this.#session.finish(stream)),
      abort: (reason) =>
        end(() => {
          this.#pending.delete(stream);
          this.#session.reset(stream, codeOf(reason));
        }),
    });
    const rank = (order: number) => this.#session.setPriority(stream, priorityOf(order));
    if (sendOrder !== undefined) rank(sendOrder);
    return Object.defineProperty(writable, "sendOrder", { get: () => sendOrder, set: rank });
  }

  #flush(stream: QuicStream, pending: Pending): void {
    const written = pending.data.length === 0 ? 0 : this.#session.write(stream, pending.data);
    this.#options.onOutput();
    if (written === undefined) {
      this.#pending.delete(stream);
      pending.reject(new Error("the stream takes nothing any more"));
    } else if (written < pending.data.length) {
      pending.data = pending.data.subarray(written);
      this.#pending.set(stream, pending);
    } else {
      this.#pending.delete(stream);
      pending.resolve();
    }
  }

  /** The client, or the end of the session, ended a stream of ours. */
  #fail(stream: QuicStream, error: Error): void {
    const pending = this.#pending.get(stream);
    this.#pending.delete(stream);
    const writer = this.#writers.get(stream);
    this.#writers.delete(stream);
    writer?.error(error);
    pending?.reject(error);
  }

  #sendDatagram(data: Uint8Array): void {
    if (data.length <= MAX_DATAGRAM_SIZE) this.#session.sendDatagram(data);
    this.#options.onOutput();
  }

  #admit(stream: QuicStream, received: number, size: number): boolean {
    const now = this.#options.now();
    if (stream % 4 < 2) return this.#control.take(now, size);
    return received <= this.#options.limits.maxGroup && this.#media.take(now, size);
  }

  #break(reason: string): void {
    this.close({ closeCode: BROKEN, reason });
  }
}

function queue<T>(start: (controller: ReadableStreamDefaultController<T>) => void): ReadableStream<T> {
  return new ReadableStream<T>({ start }, { highWaterMark: MAX_UNACCEPTED });
}

/** As a `WebTransportError` says it: `@moq/net` reads the members and not the class. */
function streamError(message: string, code: number | undefined): Error {
  return Object.assign(new Error(message), { source: "stream", streamErrorCode: code ?? CANCELLED });
}

function codeOf(reason: unknown): number {
  const code = typeof reason === "object" && reason !== null && "code" in reason ? reason.code : undefined;
  return typeof code === "number" && Number.isInteger(code) && code >= 0 && code < 2 ** 32 ? code : CANCELLED;
}

/**
 * `@moq/net` packs a track's priority (8 bits, inverted) and a group's place (44 bits) into one negative number: both, with
 * fewer places, in 32 bits. 0, for what is no group, stays above all groups.
 */
function priorityOf(sendOrder: number): number {
  if (!(sendOrder < 0)) return 0;
  const rank = -sendOrder - 1;
  const track = Math.min(255, Math.floor(rank / PLACES));
  return Math.max(MIN_PRIORITY, -1 - (track * OUR_PLACES + Math.min(OUR_PLACES - 1, rank % PLACES)));
}

const PLACES = 2 ** 44;
const OUR_PLACES = 2 ** 22;

/** A controller whose reader has cancelled throws when it is closed. */
function ifOpen(close: () => void): void {
  try {
    close();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}
