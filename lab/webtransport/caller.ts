/**
 * A caller over WebTransport that is no browser: the engine's client side on a socket of its own, HTTP/3, and the wire format of
 * docs/webtransport.md. For tests and for load; several callers may share one endpoint.
 */
import { randomBytes } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import {
  type AudioFrame,
  EventDecoder,
  encodeEvent,
  encodeEventsStart,
  encodeFrame,
  encodeFrameDatagram,
  encodeTalkspurtStart,
  UtteranceDecoder,
  type UtteranceHeader,
  type WebTransportCallAnswer,
} from "@sluice/realtime";
import { Http3Connection } from "../../packages/transceiver/src/webtransport/http3.ts";
import type {
  QuicConnection,
  QuicConnectionStats,
  QuicEndpoint,
  QuicEngine,
  QuicEvent,
  QuicStream,
} from "../../packages/transceiver/src/webtransport/quic-engine.ts";
import type { Session, SessionListener } from "../../packages/transceiver/src/webtransport/session.ts";

const HOST = "127.0.0.1";
const now = () => performance.now();

/** A socket and an endpoint that callers share. */
export class CallerEndpoint {
  readonly endpoint: QuicEndpoint;
  #socket: Socket;
  readonly #callers = new Map<QuicConnection, Caller>();
  #timer: NodeJS.Timeout | undefined;
  #isDue = false;
  #isClosed = false;
  /** Datagrams that are thrown away before they are sent, or after they came: a broken path. */
  isBroken = false;

  private constructor(engine: QuicEngine, socket: Socket) {
    this.endpoint = engine.createEndpoint({
      // Not empty, as a browser's are: connections that share a socket are told apart by them.
      connectionIds: { length: 8, mint: () => randomBytes(8) },
      transport: { maxUnidirectionalStreams: 100 },
    });
    this.#socket = socket;
    this.#listen(socket);
  }

  /** Opens a socket. */
  static async open(engine: QuicEngine): Promise<CallerEndpoint> {
    return new CallerEndpoint(engine, await openSocket());
  }

  /** Goes on from another port, as behind a NAT that forgot. */
  async rebind(): Promise<void> {
    const old = this.#socket;
    this.#socket = await openSocket();
    this.#listen(this.#socket);
    old.close();
  }

  async close(): Promise<void> {
    this.turn();
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await new Promise<void>((closed) => this.#socket.close(closed));
  }

  /** To be called after anything was written. */
  wake(): void {
    if (this.#isDue || this.#isClosed) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      if (!this.#isClosed) this.turn();
    });
  }

  add(connection: QuicConnection, caller: Caller): void {
    this.#callers.set(connection, caller);
  }

  /** Does all that is due. */
  turn(): void {
    for (let any = true; any; ) {
      any = false;
      for (let event = this.endpoint.nextEvent(); event; event = this.endpoint.nextEvent()) {
        any = true;
        if ("connection" in event) this.#callers.get(event.connection)?.handleEvent(event);
        if (event.kind === "closed") this.#callers.delete(event.connection);
      }
      for (const { packet, to } of this.endpoint.drainTransmits(now())) {
        if (!this.isBroken) this.#socket.send(packet, to.port, to.address, () => {});
      }
    }
    clearTimeout(this.#timer);
    const at = this.endpoint.pollTimeout();
    if (at === undefined || this.#isClosed) return;
    this.#timer = setTimeout(
      () => {
        this.endpoint.handleTimeout(now());
        this.turn();
      },
      Math.max(0, Math.ceil(at - now())),
    );
  }

  #listen(socket: Socket): void {
    socket.on("message", (packet, { address, port }) => {
      if (this.#isClosed || this.isBroken) return;
      this.endpoint.handleDatagrams(now(), [{ packet, from: { address, port } }]);
      this.wake();
    });
  }
}

async function openSocket(): Promise<Socket> {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 * 1024 * 1024 });
  socket.bind(0, HOST);
  await once(socket, "listening");
  return socket;
}

/** How a caller connects. */
export interface CallerOptions {
  readonly answer: Pick<WebTransportCallAnswer, "url" | "certificate_hashes">;
  /** Of the page that it says it is; default none. */
  readonly origin?: string | undefined;
  /** Where to send to; default what the URL names. */
  readonly to?: { readonly address: string; readonly port: number } | undefined;
  /** Path instead of the URL's. */
  readonly path?: string | undefined;
}

/** The agent's speech, as it came. */
export interface HeardUtterance {
  readonly stream: QuicStream;
  header: UtteranceHeader | undefined;
  readonly frames: AudioFrame[];
  readonly startedAt: number;
  ended: boolean;
  /** The code that it was reset with. */
  resetCode: number | undefined;
}

/** A Realtime event. */
export interface CallerEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** The server refused the session. */
export class SessionRefused extends Error {
  override readonly name = "SessionRefused";
  readonly status: number;

  constructor(status: number, reason = "") {
    super(`the session was refused with status ${status} ${reason}`);
    this.status = status;
  }
}

/** One caller. */
export class Caller implements SessionListener {
  readonly events: CallerEvent[] = [];
  readonly utterances: HeardUtterance[] = [];
  /** Called with each event, and each frame. */
  onEvent: (event: CallerEvent) => void = () => {};
  onFrame: (utterance: HeardUtterance, frame: AudioFrame) => void = () => {};
  /** Code and reason, once the session is over. */
  closed: { readonly code: number; readonly reason: string } | undefined;
  readonly connection: QuicConnection;
  readonly #owner: CallerEndpoint;
  readonly #http3: Http3Connection;
  readonly #eventDecoder = new EventDecoder();
  readonly #spoken = new Map<
    QuicStream,
    { readonly heard: HeardUtterance; readonly decoder: UtteranceDecoder; kind: boolean }
  >();
  readonly #pending = new Map<QuicStream, Uint8Array[]>();
  readonly #ends = new Set<QuicStream>();
  #session: Session | undefined;
  #eventStream: QuicStream | undefined;
  #talkspurt: QuicStream | undefined;
  #talkspurtCount = 0;
  #resolve: ((status: number) => void) | undefined;

  private constructor(
    owner: CallerEndpoint,
    { answer, to, origin, path }: CallerOptions,
    done: (status: number) => void,
  ) {
    this.#owner = owner;
    this.#resolve = done;
    const url = new URL(answer.url);
    const { endpoint } = owner;
    this.connection = endpoint.connect(now(), {
      to: to ?? { address: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port) },
      certificateHashes: answer.certificate_hashes.map((hash) => Buffer.from(hash, "base64")),
    });
    const id = this.connection;
    owner.add(id, this);
    this.#http3 = new Http3Connection(
      {
        openStream: (direction) => endpoint.openStream(id, direction),
        write: (stream, data) => endpoint.write(id, stream, data),
        finish: (stream) => endpoint.finish(id, stream),
        reset: (stream, code) => endpoint.reset(id, stream, code),
        setPriority: (stream, priority) => endpoint.setPriority(id, stream, priority),
        read: (stream, maxBytes) => endpoint.read(id, stream, maxBytes),
        stop: (stream, code) => endpoint.stop(id, stream, code),
        sendDatagram: (data) => endpoint.sendDatagram(id, data),
        close: (code, reason) => void endpoint.close(now(), id, code, reason),
      },
      { role: "client", now },
    );
    this.#target = { authority: url.host, path: path ?? url.pathname + url.search, origin };
    owner.wake();
  }

  readonly #target: { readonly authority: string; readonly path: string; readonly origin: string | undefined };

  /** Connects, and opens the event stream; throws {@link SessionRefused}. */
  static async connect(owner: CallerEndpoint, options: CallerOptions): Promise<Caller> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const caller = new Caller(owner, options, resolve);
    const status = await promise;
    if (status !== 200) throw new SessionRefused(status, caller.closed?.reason);
    return caller;
  }

  get session(): Session {
    if (!this.#session) throw new Error("there is no session");
    return this.#session;
  }

  stats(): QuicConnectionStats | undefined {
    return this.#owner.endpoint.connectionStats(this.connection);
  }

  send(event: object): void {
    this.write(this.#eventStream!, encodeEvent(JSON.stringify(event)));
  }

  /** Begins a talkspurt, after ending the one before. */
  beginTalkspurt(): void {
    if (this.#talkspurt !== undefined) this.finish(this.#talkspurt);
    this.#talkspurt = this.open("unidirectional", encodeTalkspurtStart(this.#talkspurtCount++));
  }

  /** Says one frame, on the talkspurt's stream and, by default, in a datagram too. */
  say(frame: AudioFrame, withDatagram = true): void {
    if (this.#talkspurt === undefined) this.beginTalkspurt();
    this.write(this.#talkspurt!, encodeFrame(frame));
    if (withDatagram) this.#session?.sendDatagram(encodeFrameDatagram(frame));
    this.#owner.wake();
  }

  /** Opens a stream with these bytes. */
  open(direction: "unidirectional" | "bidirectional", bytes: Uint8Array): QuicStream {
    const stream = this.session.openStream(direction);
    if (stream === undefined) throw new Error("the server allows no more streams");
    this.write(stream, bytes);
    return stream;
  }

  write(stream: QuicStream, bytes: Uint8Array): void {
    const pending = this.#pending.get(stream) ?? [];
    pending.push(bytes);
    this.#pending.set(stream, pending);
    this.#flush(stream);
    this.#owner.wake();
  }

  finish(stream: QuicStream): void {
    this.#ends.add(stream);
    this.#flush(stream);
    this.#owner.wake();
  }

  close(code = 0, reason = ""): void {
    this.#session?.close(code, reason);
    this.#owner.wake();
    const { endpoint } = this.#owner;
    setTimeout(() => {
      endpoint.close(now(), this.connection, 0x100, "");
      this.#owner.wake();
    }, 50);
  }

  handleEvent(event: QuicEvent): void {
    switch (event.kind) {
      case "connected":
        this.#http3.connect(this.#target, (status, session) => {
          this.#session = session;
          if (session) {
            this.#eventStream = session.openStream("bidirectional");
            this.write(this.#eventStream!, encodeEventsStart());
          }
          this.#resolve?.(status);
          this.#resolve = undefined;
          return this;
        });
        return;
      case "streamReadable":
        return this.#http3.handleReadable(event.stream);
      case "streamWritable":
        return this.#http3.handleWritable(event.stream);
      case "streamStopped":
        return this.#http3.handleStopped(event.stream, event.code);
      case "streamsAvailable":
        return this.#http3.handleStreamsAvailable(event.direction);
      case "datagram":
        return this.#http3.handleDatagram(event.data);
      case "closed":
        this.closed ??= { code: -1, reason: `${event.close.by} ${event.close.code} ${event.close.reason}` };
        this.#http3.handleClosed(this.closed.reason);
        this.#resolve?.(0);
        this.#resolve = undefined;
    }
  }

  onStream(stream: QuicStream): void {
    if (stream % 4 !== 3) return;
    const heard: HeardUtterance = {
      stream,
      header: undefined,
      frames: [],
      startedAt: now(),
      ended: false,
      resetCode: undefined,
    };
    this.utterances.push(heard);
    this.#spoken.set(stream, { heard, decoder: new UtteranceDecoder(), kind: false });
  }

  onStreamData(stream: QuicStream, data: Uint8Array, isEnd: boolean): void {
    if (stream === this.#eventStream) {
      for (const json of this.#eventDecoder.push(data) ?? []) {
        const event = JSON.parse(json) as CallerEvent;
        this.events.push(event);
        this.onEvent(event);
      }
      return;
    }
    const spoken = this.#spoken.get(stream);
    if (!spoken) return;
    const bytes = spoken.kind ? data : data.subarray(1);
    spoken.kind = true;
    const piece = spoken.decoder.push(bytes);
    if (!piece) throw new Error("the server broke the wire format");
    spoken.heard.header ??= piece.header;
    for (const { time, packet } of piece.frames) {
      const frame = { time, packet: packet.slice() };
      spoken.heard.frames.push(frame);
      this.onFrame(spoken.heard, frame);
    }
    if (isEnd) spoken.heard.ended = true;
  }

  onStreamReset(stream: QuicStream, code: number | undefined): void {
    const spoken = this.#spoken.get(stream);
    if (spoken) spoken.heard.resetCode = code;
  }

  onStreamStopped(): void {}

  onStreamWritable(stream: QuicStream): void {
    this.#flush(stream);
  }

  onStreamsAvailable(): void {}

  onDatagram(): void {}

  onClosed(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }

  #flush(stream: QuicStream): void {
    const pending = this.#pending.get(stream) ?? [];
    while (pending.length > 0) {
      const written = this.#session?.write(stream, pending[0]!);
      if (written === undefined) {
        pending.length = 0;
        return;
      }
      if (written < pending[0]!.length) {
        pending[0] = pending[0]!.subarray(written);
        return;
      }
      pending.shift();
    }
    if (this.#ends.delete(stream)) this.#session?.finish(stream);
  }
}
