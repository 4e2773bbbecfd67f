/**
 * HTTP/3 (RFC 9114) as far as WebTransport needs it (draft-ietf-webtrans-http3, RFC 9220, RFC 9297), on one QUIC
 * connection that carries one session. Sans-IO: events of the connection go in, calls on {@link Http3Transport} come out.
 *
 * Data is never taken out of a stream before its session is accepted, so that what comes early waits in QUIC's own
 * windows. Nothing waits here but the first bytes of streams, a few datagrams, and a bounded header section.
 *
 * Drive rule: `handleTimeout` is due at `pollTimeout()`.
 */
import type { Milli } from "@sluice/conversation";
import { decodeVarint, encodeVarint } from "@sluice/realtime";
import { CapsuleDecoder, encodeClose, encodeDrain } from "./capsule.ts";
import {
  allowsDatagrams,
  BIDI_WEBTRANSPORT,
  decodeSettings,
  encodeControlStart,
  encodeFrame,
  errorCodes,
  FrameDecoder,
  forbiddenFrameTypes,
  frameTypes,
  fromWireCode,
  ourSettings,
  type Settings,
  toWireCode,
  uniStreamTypes,
} from "./http3-frame.ts";
import { decodeFieldSection, encodeFieldSection, type HeaderField } from "./qpack.ts";
import {
  isClientStream,
  type QuicDatagramResult,
  type QuicDirection,
  type QuicRead,
  type QuicStream,
  streamDirection,
} from "./quic-engine.ts";
import type { Session, SessionListener, SessionRequest } from "./session.ts";

/** One QUIC connection, as HTTP/3 uses it; see `QuicEndpoint`. */
export interface Http3Transport {
  openStream(direction: QuicDirection): QuicStream | undefined;
  write(stream: QuicStream, data: Uint8Array): number | undefined;
  finish(stream: QuicStream): boolean;
  reset(stream: QuicStream, code: number): boolean;
  setPriority(stream: QuicStream, priority: number): boolean;
  read(stream: QuicStream, maxBytes?: number): QuicRead | undefined;
  stop(stream: QuicStream, code: number): boolean;
  sendDatagram(data: Uint8Array): QuicDatagramResult;
  close(code: number, reason: string): void;
}

/** Settings of {@link Http3Connection}. */
export interface Http3Options {
  readonly role: "server" | "client";
  /** Monotonic clock. */
  readonly now: () => Milli;
  /** Server: a client wants a session. */
  readonly onRequest?: (request: SessionRequest) => void;
  /** How long a connection may be without a session, at its beginning; default 10 s. */
  readonly requestTimeoutMs?: Milli;
  /** How long the peer may take to close a connection whose session is over; default 2 s. */
  readonly lingerMs?: Milli;
}

/** Where a client wants its session. */
export interface SessionTarget {
  readonly authority: string;
  readonly path: string;
  readonly origin?: string | undefined;
}

/** Told of the answer to a client's CONNECT: its status, 0 for none; with a session, gives whoever listens to it. */
export type ConnectAnswer = (status: number, session: Session | undefined) => SessionListener | undefined;

/** Bytes of the longest header section: a token with 16 KiB of session settings, and the rest. */
const MAX_HEADERS_SIZE = 32 * 1024;
const MAX_SETTINGS_SIZE = 1024;
/** Streams that may wait for a session to be accepted, and datagrams. */
const MAX_EARLY_STREAMS = 16;
const MAX_EARLY_DATAGRAMS = 32;
/** Bytes of QPACK instructions that a peer may send although there is no table to instruct. */
const MAX_QPACK_BYTES = 4096;
/** Longest beginning of a stream: two variable-length integers. */
const MAX_START = 16;
const CONTROL_PRIORITY = 2 ** 30;

type Incoming =
  /** Its type is not known yet. */
  | { readonly kind: "start"; kept: Uint8Array }
  | { readonly kind: "control"; readonly frames: FrameDecoder }
  /** Read and thrown away. */
  | { readonly kind: "ignored"; left: number; readonly critical: boolean }
  | { readonly kind: "request"; readonly frames: FrameDecoder; readonly capsules: CapsuleDecoder; answered: boolean }
  /** Of a session that is not accepted yet: not read further. `kept`: what came with its first bytes. */
  | { readonly kind: "early"; readonly session: number; readonly kept: Uint8Array }
  | { readonly kind: "session" };

interface Outgoing {
  /** Not taken by QUIC yet. */
  pending: Uint8Array;
  /** To be ended once nothing is pending. */
  ends: boolean;
}

interface Accepted {
  readonly stream: QuicStream;
  /** Absent while nobody has accepted it. */
  listener: SessionListener | undefined;
}

/** HTTP/3 on one connection. */
export class Http3Connection {
  readonly #transport: Http3Transport;
  readonly #options: Http3Options;
  readonly #incoming = new Map<QuicStream, Incoming>();
  readonly #outgoing = new Map<QuicStream, Outgoing>();
  readonly #types = new Set<number>(); // the peer's critical streams
  readonly #paused = new Set<QuicStream>();
  readonly #earlyDatagrams: { readonly session: number; readonly data: Uint8Array }[] = [];
  #settings: Settings | undefined;
  #control: QuicStream | undefined;
  #session: Accepted | undefined;
  #isOver = false; // the session was, and is no more
  #isClosed = false;
  #closeAt: Milli | undefined;
  #connect: { readonly stream: QuicStream; readonly onAnswer: ConnectAnswer } | undefined;
  /** Streams and datagrams of no session, or too many to wait for one. */
  droppedDatagrams = 0;
  rejectedStreams = 0;

  constructor(transport: Http3Transport, options: Http3Options) {
    this.#transport = transport;
    this.#options = options;
    this.#closeAt = options.now() + (options.requestTimeoutMs ?? 10_000);
    this.#openControl();
  }

  /** When {@link handleTimeout} is due. */
  pollTimeout(): Milli | undefined {
    return this.#isClosed ? undefined : this.#closeAt;
  }

  handleTimeout(now: Milli): void {
    if (this.#isClosed || this.#closeAt === undefined || now < this.#closeAt) return;
    if (this.#isOver) this.#close(errorCodes.noError, "");
    else this.#close(errorCodes.requestIncomplete, "no session was asked for");
  }

  /** The session, if there is one that was accepted. */
  get hasSession(): boolean {
    return this.#session?.listener !== undefined;
  }

  /** Client: asks for a session. `onAnswer` hears the status, 0 for none, and on success gives the listener. */
  connect({ authority, path, origin }: SessionTarget, onAnswer: ConnectAnswer): boolean {
    const stream = this.#transport.openStream("bidirectional");
    if (stream === undefined) return false;
    this.#connect = { stream, onAnswer };
    this.#incoming.set(stream, createRequest());
    const fields: HeaderField[] = [
      { name: ":method", value: "CONNECT" },
      { name: ":protocol", value: "webtransport" },
      { name: ":scheme", value: "https" },
      { name: ":authority", value: authority },
      { name: ":path", value: path },
      { name: "sec-webtransport-http3-draft02", value: "1" },
      ...(origin === undefined ? [] : [{ name: "origin", value: origin }]),
    ];
    this.#send(stream, encodeFrame(frameTypes.headers, encodeFieldSection(fields)));
    return true;
  }

  /** Data waits in a stream. */
  handleReadable(stream: QuicStream): void {
    // Each turn takes what is there; flow control bounds how much that can be.
    for (let isMore = true; isMore && !this.#isClosed && !this.#paused.has(stream); ) isMore = this.#read(stream);
  }

  handleWritable(stream: QuicStream): void {
    if (this.#isClosed || !this.#flush(stream)) return;
    this.#session?.listener?.onStreamWritable(stream);
  }

  /** The peer wants no more of a stream. */
  handleStopped(stream: QuicStream, code: number): void {
    if (this.#isClosed) return;
    if (stream === this.#control) return this.#close(errorCodes.closedCriticalStream, "the control stream was stopped");
    this.#transport.reset(stream, code);
    this.#outgoing.delete(stream);
    if (stream === this.#session?.stream) return this.#endSession(0, "the session's stream was stopped");
    this.#session?.listener?.onStreamStopped(stream, fromWireCode(code));
  }

  handleStreamsAvailable(direction: QuicDirection): void {
    if (this.#isClosed) return;
    if (this.#control === undefined && direction === "unidirectional") this.#openControl();
    this.#session?.listener?.onStreamsAvailable(direction);
  }

  handleDatagram(data: Uint8Array): void {
    if (this.#isClosed) return;
    const quarter = decodeVarint(data);
    if (!quarter || quarter.value > 2 ** 50) return this.#close(DATAGRAM_ERROR, "a datagram of no session");
    const session = quarter.value * 4;
    const payload = data.subarray(quarter.end);
    if (this.#session?.listener && session === this.#session.stream) return this.#session.listener.onDatagram(payload);
    if (this.#isOver || this.hasSession || this.#earlyDatagrams.length >= MAX_EARLY_DATAGRAMS) {
      this.droppedDatagrams += 1;
      return;
    }
    this.#earlyDatagrams.push({ session, data: payload.slice() });
  }

  /** The connection is gone. */
  handleClosed(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#forget(0, reason);
  }

  /** Ends the connection. */
  close(reason: string): void {
    this.#close(errorCodes.noError, reason);
  }

  #openControl(): void {
    this.#control = this.#transport.openStream("unidirectional");
    if (this.#control === undefined) return;
    this.#transport.setPriority(this.#control, CONTROL_PRIORITY);
    this.#send(this.#control, encodeControlStart(ourSettings));
  }

  #read(stream: QuicStream): boolean {
    const incoming = this.#incoming.get(stream) ?? this.#open(stream);
    if (incoming.kind === "early") return false;
    const read = this.#transport.read(stream, incoming.kind === "start" ? MAX_START - incoming.kept.length : undefined);
    if (!read) {
      this.#incoming.delete(stream);
      return false;
    }
    const isEnd = read.state === "finished";
    if (read.state === "reset") this.#handleReset(stream, incoming, read.code ?? 0);
    else if (read.data.length > 0 || isEnd) this.#handleData(stream, incoming, read.data, isEnd);
    if (isEnd || read.state === "reset") this.#incoming.delete(stream);
    return read.state === "more";
  }

  #open(stream: QuicStream): Incoming {
    const incoming: Incoming = { kind: "start", kept: NONE };
    this.#incoming.set(stream, incoming);
    return incoming;
  }

  #handleData(stream: QuicStream, incoming: Incoming, data: Uint8Array, isEnd: boolean): void {
    switch (incoming.kind) {
      case "start":
        return this.#handleStart(stream, concat(incoming.kept, data), isEnd);
      case "control":
        return this.#handleControl(incoming.frames, data, isEnd);
      case "request":
        return this.#handleRequest(stream, incoming, data, isEnd);
      case "ignored":
        incoming.left -= data.length;
        if (incoming.left < 0) this.#close(errorCodes.excessiveLoad, "too much on a stream that says nothing");
        else if (isEnd && incoming.critical) this.#close(errorCodes.closedCriticalStream, "a QPACK stream ended");
        return;
      case "session":
        return this.#session?.listener?.onStreamData(stream, data, isEnd);
    }
  }

  #handleReset(stream: QuicStream, incoming: Incoming, code: number): void {
    if (incoming.kind === "control" || (incoming.kind === "ignored" && incoming.critical)) {
      return this.#close(errorCodes.closedCriticalStream, "a critical stream was reset");
    }
    if (stream === this.#session?.stream) return this.#endSession(0, "the session's stream was reset");
    if (stream === this.#connect?.stream) return this.#answer(0);
    if (incoming.kind === "session") this.#session?.listener?.onStreamReset(stream, fromWireCode(code));
  }

  /** The first bytes of a stream say what it is. */
  #handleStart(stream: QuicStream, bytes: Uint8Array, isEnd: boolean): void {
    const type = decodeVarint(bytes);
    const isUni = streamDirection(stream) === "unidirectional";
    const isWebTransport = type?.value === (isUni ? uniStreamTypes.webTransport : BIDI_WEBTRANSPORT);
    const session = type && isWebTransport ? decodeVarint(bytes, type.end) : undefined;
    if (!type || (isWebTransport && !session)) {
      // A stream that ends before it began is no harm (RFC 9114, section 6.2).
      if (!isEnd) this.#incoming.set(stream, { kind: "start", kept: bytes });
      return;
    }
    if (session) return this.#handleSessionStream(stream, session.value, bytes.slice(session.end), isEnd);
    const incoming = isUni ? this.#startUni(stream, type.value) : this.#startRequest(stream);
    if (!incoming) return;
    this.#incoming.set(stream, incoming);
    const rest = isUni ? bytes.subarray(type.end) : bytes;
    this.#handleData(stream, incoming, rest, isEnd);
  }

  #startUni(stream: QuicStream, type: number): Incoming | undefined {
    const isCritical = CRITICAL.includes(type);
    if (isCritical && this.#types.has(type)) {
      this.#close(errorCodes.streamCreationError, "a critical stream came twice");
      return undefined;
    }
    if (isCritical) this.#types.add(type);
    switch (type) {
      case uniStreamTypes.control:
        return { kind: "control", frames: new FrameDecoder(CONTROL_LIMITS) };
      case uniStreamTypes.qpackEncoder:
      case uniStreamTypes.qpackDecoder:
        return { kind: "ignored", left: MAX_QPACK_BYTES, critical: true };
      case uniStreamTypes.push:
        this.#close(this.#options.role === "server" ? errorCodes.streamCreationError : errorCodes.idError, "a push");
        return undefined;
      default:
        this.#transport.stop(stream, errorCodes.streamCreationError);
        this.#incoming.delete(stream);
        return undefined;
    }
  }

  #startRequest(stream: QuicStream): Incoming | undefined {
    if (this.#options.role === "server" && isClientStream(stream)) return createRequest();
    this.#close(errorCodes.streamCreationError, "a request of a server");
    return undefined;
  }

  #handleControl(frames: FrameDecoder, data: Uint8Array, isEnd: boolean): void {
    for (const piece of frames.push(data)) {
      if (piece.kind === "data") return this.#close(errorCodes.frameUnexpected, "DATA on the control stream");
      if (piece.kind === "tooLong" && piece.type === frameTypes.settings) {
        return this.#close(errorCodes.excessiveLoad, "SETTINGS are too long");
      }
      if (piece.kind === "tooLong") return this.#close(errorCodes.frameUnexpected, "on the control stream");
      if (piece.type === frameTypes.settings) {
        const settings = this.#settings ? undefined : decodeSettings(piece.payload);
        if (this.#settings) return this.#close(errorCodes.frameUnexpected, "SETTINGS came twice");
        if (!settings) return this.#close(errorCodes.settingsError, "malformed SETTINGS");
        this.#settings = settings;
        continue;
      }
      if (!this.#settings) return this.#close(errorCodes.missingSettings, "SETTINGS come first");
      if (piece.type === frameTypes.goaway) continue; // our one session goes on
      return this.#close(errorCodes.frameUnexpected, `a frame of type ${piece.type} on the control stream`);
    }
    if (isEnd) this.#close(errorCodes.closedCriticalStream, "the control stream ended");
  }

  #handleRequest(stream: QuicStream, request: Incoming & { kind: "request" }, data: Uint8Array, isEnd: boolean): void {
    for (const piece of request.frames.push(data)) {
      if (piece.kind === "tooLong" && piece.type === frameTypes.headers) {
        return this.#refuse(stream, errorCodes.excessiveLoad);
      }
      if (piece.kind === "tooLong") return this.#close(errorCodes.frameUnexpected, "on a request's stream");
      if (piece.kind === "frame") {
        if (piece.type !== frameTypes.headers) return this.#close(errorCodes.frameUnexpected, "on a request's stream");
        if (request.answered) continue; // trailers
        request.answered = true;
        if (!this.#handleHeaders(stream, piece.payload)) return;
      } else if (stream === this.#session?.stream) {
        if (!this.#handleCapsules(request.capsules, piece.data)) return;
      } else if (!request.answered) return this.#close(errorCodes.frameUnexpected, "DATA before HEADERS");
    }
    if (!isEnd) return;
    if (stream === this.#session?.stream) this.#endSession(0, "");
    else if (stream === this.#connect?.stream) this.#answer(0);
    else if (!request.answered) this.#transport.reset(stream, errorCodes.requestIncomplete);
  }

  /** Whether the stream goes on. */
  #handleHeaders(stream: QuicStream, section: Uint8Array): boolean {
    const fields = decodeFieldSection(section);
    if (!fields) {
      this.#close(errorCodes.qpackDecompressionFailed, "a field section cannot be read");
      return false;
    }
    if (this.#options.role === "client") return this.#handleAnswer(stream, fields);
    const request = parseConnect(fields);
    if (request === "malformed") {
      this.#refuse(stream, errorCodes.messageError);
      return false;
    }
    if (request === "other" || !this.#options.onRequest) {
      this.#sendStatus(stream, 404, true);
      this.#transport.stop(stream, errorCodes.noError);
      return false;
    }
    if (this.#session || this.#isOver) {
      this.#refuse(stream, errorCodes.requestRejected);
      return false;
    }
    this.#session = { stream, listener: undefined };
    this.#options.onRequest({
      ...request,
      accept: (create, protocol) => this.#accept(stream, create, protocol),
      reject: (status) => this.#reject(stream, status),
    });
    return !this.#isClosed && this.#incoming.has(stream);
  }

  #accept(stream: QuicStream, create: (session: Session) => SessionListener, protocol: string | undefined): boolean {
    if (this.#isClosed || this.#session?.stream !== stream || this.#session.listener) return false;
    const headers = [{ name: "sec-webtransport-http3-draft", value: "draft02" }];
    if (protocol !== undefined) headers.push({ name: "wt-protocol", value: JSON.stringify(protocol) });
    this.#sendStatus(stream, 200, false, headers);
    this.#begin(stream, create);
    return true;
  }

  /** The session exists; its listener hears what came early. */
  #begin(stream: QuicStream, create: (session: Session) => SessionListener): void {
    this.#closeAt = undefined;
    this.#transport.setPriority(stream, CONTROL_PRIORITY);
    const session: Accepted = { stream, listener: undefined };
    this.#session = session;
    const listener = create(this.#createSession(stream));
    if (this.#session !== session) return; // it was closed at once
    session.listener = listener;
    for (const [each, incoming] of [...this.#incoming]) {
      if (incoming.kind !== "early") continue;
      this.#incoming.delete(each);
      this.#handleSessionStream(each, incoming.session, incoming.kept, false);
      if (this.#incoming.has(each)) this.handleReadable(each);
    }
    for (const { session: id, data } of this.#earlyDatagrams.splice(0)) {
      if (id === stream) session.listener?.onDatagram(data);
      else this.droppedDatagrams += 1;
    }
  }

  #reject(stream: QuicStream, status: number): void {
    if (this.#isClosed || this.#session?.stream !== stream || this.#session.listener) return;
    this.#sendStatus(stream, status, true);
    this.#transport.stop(stream, errorCodes.noError);
    this.#session = undefined;
    this.#isOver = true;
    this.#closeAt = this.#options.now() + (this.#options.lingerMs ?? 2000);
    this.#dropEarly();
  }

  /** A stream of a session: for its listener, to wait, or for nobody. */
  #handleSessionStream(stream: QuicStream, id: number, rest: Uint8Array, isEnd: boolean): void {
    if (id % 4 !== 0) return this.#close(errorCodes.idError, "a stream of an impossible session");
    const session = this.#session;
    if (session?.listener && id === session.stream) {
      this.#incoming.set(stream, SESSION);
      session.listener.onStream(stream, streamDirection(stream));
      if (rest.length > 0 || isEnd) session.listener.onStreamData(stream, rest, isEnd);
      return;
    }
    const waits = !this.#isOver && (session ? id === session.stream : true) && this.#earlyCount < MAX_EARLY_STREAMS;
    // Its end came with its first bytes: too short to matter to anybody who comes later.
    if (waits && !isEnd) {
      this.#incoming.set(stream, { kind: "early", session: id, kept: rest });
      return;
    }
    this.#refuse(stream, this.#isOver ? errorCodes.sessionGone : errorCodes.bufferedStreamRejected);
  }

  get #earlyCount(): number {
    let count = 0;
    for (const { kind } of this.#incoming.values()) if (kind === "early") count += 1;
    return count;
  }

  /** Whether the session goes on. */
  #handleCapsules(capsules: CapsuleDecoder, data: Uint8Array): boolean {
    for (const capsule of capsules.push(data)) {
      if (capsule.kind === "drain") continue;
      if (capsule.kind === "malformed") this.#close(DATAGRAM_ERROR, "a malformed capsule");
      else this.#endSession(capsule.code, capsule.reason);
      return false;
    }
    return true;
  }

  /** The peer ended the session: our side of its stream ends too. */
  #endSession(code: number, reason: string): void {
    const session = this.#session;
    if (!session) return;
    this.#end(session.stream);
    this.#afterSession(code, reason);
  }

  #afterSession(code: number, reason: string): void {
    this.#closeAt = this.#options.now() + (this.#options.lingerMs ?? 2000);
    const open = [...this.#incoming].filter(([, incoming]) => incoming.kind === "session" || incoming.kind === "early");
    const { stream } = this.#session!;
    this.#forget(code, reason);
    for (const [each] of open) {
      this.#transport.stop(each, errorCodes.sessionGone);
      this.#incoming.delete(each);
    }
    for (const each of [...this.#outgoing.keys()]) {
      if (each === stream || each === this.#control) continue;
      this.#transport.reset(each, errorCodes.sessionGone);
      this.#outgoing.delete(each);
    }
  }

  /** Tells the listener, once. */
  #forget(code: number, reason: string): void {
    const listener = this.#session?.listener;
    this.#session = undefined;
    this.#isOver = true;
    this.#paused.clear();
    this.#earlyDatagrams.length = 0;
    if (this.#connect) this.#answer(0);
    listener?.onClosed(code, reason);
  }

  #dropEarly(): void {
    for (const [stream, { kind }] of [...this.#incoming]) {
      if (kind === "early") this.#refuse(stream, errorCodes.sessionGone);
    }
    this.droppedDatagrams += this.#earlyDatagrams.splice(0).length;
  }

  #handleAnswer(stream: QuicStream, fields: readonly HeaderField[]): boolean {
    const status = Number(fields.find(({ name }) => name === ":status")?.value);
    if (stream !== this.#connect?.stream || !(status >= 200)) return true;
    this.#answer(status);
    return true;
  }

  #answer(status: number): void {
    const connect = this.#connect;
    this.#connect = undefined;
    if (!connect) return;
    if (!(status >= 200 && status < 300)) {
      this.#isOver = true;
      connect.onAnswer(status, undefined);
      return;
    }
    this.#begin(connect.stream, (session) => connect.onAnswer(status, session) ?? SILENT);
  }

  #createSession(id: QuicStream): Session {
    const isOpen = () => !this.#isClosed && this.#session?.stream === id;
    return {
      openStream: (direction, priority) => {
        const stream = isOpen() ? this.#transport.openStream(direction) : undefined;
        if (stream === undefined) return undefined;
        if (priority !== undefined) this.#transport.setPriority(stream, priority);
        const type = direction === "unidirectional" ? uniStreamTypes.webTransport : BIDI_WEBTRANSPORT;
        if (direction === "bidirectional") this.#incoming.set(stream, SESSION);
        this.#send(stream, concat(encodeVarint(type), encodeVarint(id)));
        return stream;
      },
      write: (stream, data) => {
        if (!isOpen()) return undefined;
        if (!this.#flush(stream)) return 0;
        this.#outgoing.set(stream, this.#outgoing.get(stream) ?? { pending: NONE, ends: false });
        return this.#transport.write(stream, data);
      },
      finish: (stream) => {
        if (isOpen()) this.#end(stream);
      },
      reset: (stream, code) => {
        if (!isOpen()) return;
        this.#outgoing.delete(stream);
        this.#transport.reset(stream, toWireCode(code));
      },
      stop: (stream, code) => {
        if (!isOpen()) return;
        this.#incoming.delete(stream);
        this.#paused.delete(stream);
        this.#transport.stop(stream, toWireCode(code));
      },
      pause: (stream) => {
        if (isOpen() && this.#incoming.get(stream)?.kind === "session") this.#paused.add(stream);
      },
      resume: (stream) => {
        if (isOpen() && this.#paused.delete(stream)) this.handleReadable(stream);
      },
      setPriority: (stream, priority) => {
        if (isOpen()) this.#transport.setPriority(stream, priority);
      },
      sendDatagram: (data) => {
        if (!isOpen()) return "closed";
        if (this.#settings && !allowsDatagrams(this.#settings)) return "unsupported";
        return this.#transport.sendDatagram(concat(encodeVarint(id / 4), data));
      },
      close: (code, reason) => {
        if (!isOpen()) return;
        this.#send(id, encodeClose(code, reason));
        this.#end(id);
        this.#afterSession(code, reason);
      },
      drain: () => {
        if (isOpen()) this.#send(id, encodeDrain());
      },
    };
  }

  #sendStatus(stream: QuicStream, status: number, isEnd: boolean, more: readonly HeaderField[] = []): void {
    const section = encodeFieldSection([{ name: ":status", value: String(status) }, ...more]);
    this.#send(stream, encodeFrame(frameTypes.headers, section));
    if (isEnd) this.#end(stream);
  }

  /** Writes all of `bytes`, which are few, now or as soon as QUIC takes them. */
  #send(stream: QuicStream, bytes: Uint8Array): void {
    const outgoing = this.#outgoing.get(stream) ?? { pending: NONE, ends: false };
    outgoing.pending = concat(outgoing.pending, bytes);
    this.#outgoing.set(stream, outgoing);
    this.#flush(stream);
  }

  #end(stream: QuicStream): void {
    const outgoing = this.#outgoing.get(stream) ?? { pending: NONE, ends: false };
    outgoing.ends = true;
    this.#outgoing.set(stream, outgoing);
    this.#flush(stream);
  }

  /** Whether nothing of ours is before what a session writes. */
  #flush(stream: QuicStream): boolean {
    const outgoing = this.#outgoing.get(stream);
    if (!outgoing) return true;
    if (outgoing.pending.length > 0) {
      const written = this.#transport.write(stream, outgoing.pending);
      if (written === undefined) {
        this.#outgoing.delete(stream);
        return true;
      }
      outgoing.pending = outgoing.pending.slice(written);
    }
    if (outgoing.pending.length > 0) return false;
    if (outgoing.ends) {
      this.#outgoing.delete(stream);
      this.#transport.finish(stream);
    }
    return true;
  }

  /** Gives up a stream of the peer, both ways, and lives on. */
  #refuse(stream: QuicStream, code: number): void {
    this.rejectedStreams += 1;
    this.#incoming.delete(stream);
    this.#outgoing.delete(stream);
    this.#transport.stop(stream, code);
    if (streamDirection(stream) === "bidirectional") this.#transport.reset(stream, code);
  }

  #close(code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#transport.close(code, reason);
    this.#forget(0, reason);
  }
}

const NONE = new Uint8Array(0);
const SESSION: Incoming = { kind: "session" };
const DATAGRAM_ERROR = 0x33; // RFC 9297, section 5.2
const CRITICAL: readonly number[] = [uniStreamTypes.control, uniStreamTypes.qpackEncoder, uniStreamTypes.qpackDecoder];
const CONTROL_LIMITS = new Map<number, number>([
  [frameTypes.settings, MAX_SETTINGS_SIZE],
  [frameTypes.headers, 0],
  [frameTypes.goaway, 8],
  ...forbiddenFrameTypes.map((type) => [type, MAX_SETTINGS_SIZE] as const),
]);
const REQUEST_LIMITS = new Map<number, number>([
  [frameTypes.headers, MAX_HEADERS_SIZE],
  [frameTypes.settings, 0],
  [frameTypes.goaway, 0],
  ...forbiddenFrameTypes.map((type) => [type, 0] as const),
]);

/** Of a session that nobody listens to. */
const SILENT: SessionListener = {
  onStream: () => {},
  onStreamData: () => {},
  onStreamReset: () => {},
  onStreamStopped: () => {},
  onStreamWritable: () => {},
  onStreamsAvailable: () => {},
  onDatagram: () => {},
  onClosed: () => {},
};

function createRequest(): Incoming {
  return {
    kind: "request",
    frames: new FrameDecoder(REQUEST_LIMITS),
    capsules: new CapsuleDecoder(),
    answered: false,
  };
}

/** What a header section asks for: a WebTransport session (RFC 9220, section 3), something else, or nonsense. */
function parseConnect(
  fields: readonly HeaderField[],
): Pick<SessionRequest, "authority" | "path" | "origin" | "protocols"> | "other" | "malformed" {
  const pseudo = new Map<string, string>();
  for (const { name, value } of fields) {
    if (!name.startsWith(":")) continue;
    if (pseudo.has(name)) return "malformed";
    pseudo.set(name, value);
  }
  const [method, scheme] = [pseudo.get(":method"), pseudo.get(":scheme")];
  const [authority, path] = [pseudo.get(":authority"), pseudo.get(":path")];
  if (method === undefined) return "malformed";
  const protocol = pseudo.get(":protocol");
  if (method !== "CONNECT" || protocol === undefined || !PROTOCOLS.includes(protocol)) return "other";
  if (scheme !== "https" || !authority || !path?.startsWith("/")) return "malformed";
  const field = (wanted: string) => fields.find(({ name }) => name === wanted)?.value;
  return { authority, path, origin: field("origin"), protocols: readList(field("wt-available-protocols") ?? "") };
}

const PROTOCOLS: readonly string[] = ["webtransport", "webtransport-h3"];

/** The strings of a structured field list (RFC 9651): what else may stand there is left out. */
function readList(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\["\\])*)"/g)].map(([, inner]) => inner!.replace(/\\(.)/g, "$1")).slice(0, 32);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
