/** One WebTransport session (draft-ietf-webtrans-http3): streams and datagrams with an application's own codes. */
import type { QuicDatagramResult, QuicDirection, QuicStream } from "./quic-engine.ts";

/** How the reason begins when the connection died under a session, so that its client may come back. */
export const CONNECTION_LOST = "the connection was lost";

/** What a session tells whoever uses it. Nothing follows `onClosed`. */
export interface SessionListener {
  /** The peer opened a stream. */
  onStream(stream: QuicStream, direction: QuicDirection): void;
  /** The next bytes of a stream, maybe none with `isEnd`. They are the listener's to keep. */
  onStreamData(stream: QuicStream, data: Uint8Array, isEnd: boolean): void;
  /** The peer gave up a stream that it sends; `code` is `undefined` where the application said none. */
  onStreamReset(stream: QuicStream, code: number | undefined): void;
  /** The peer wants no more of a stream that we send; it has been reset. */
  onStreamStopped(stream: QuicStream, code: number | undefined): void;
  /** A write that was not taken whole may go on. */
  onStreamWritable(stream: QuicStream): void;
  /** A stream may be opened that could not be before. */
  onStreamsAvailable(direction: QuicDirection): void;
  onDatagram(data: Uint8Array): void;
  /** The session is over: closed by the peer, by us, or with its connection. */
  onClosed(code: number, reason: string): void;
}

/** A session, for its user. Once it is closed, everything is refused. */
export interface Session {
  /**
   * Opens a stream; `undefined`: not now, see {@link SessionListener.onStreamsAvailable}. Its first bytes have `priority` (default
   * 0), as all that follows until it is set: what already waits for its turn keeps that.
   */
  openStream(direction: QuicDirection, priority?: number): QuicStream | undefined;
  /** Writes what fits and says how many bytes that were; `undefined`: the stream takes nothing any more. */
  write(stream: QuicStream, data: Uint8Array): number | undefined;
  /** Ends a stream after what was written. */
  finish(stream: QuicStream): void;
  /** Ends a stream that we send at once: what was not sent never is. */
  reset(stream: QuicStream, code: number): void;
  /** Asks the peer to send no more on a stream, and forgets what came. */
  stop(stream: QuicStream, code: number): void;
  /** Reads no more of a stream for now: its sender is held back by QUIC once a window has filled. */
  pause(stream: QuicStream): void;
  /** Reads on; what waits follows at once. */
  resume(stream: QuicStream): void;
  /** Higher goes first; 0 for a new stream. */
  setPriority(stream: QuicStream, priority: number): void;
  sendDatagram(data: Uint8Array): QuicDatagramResult;
  /** Ends the session; `onClosed` follows at once. */
  close(code: number, reason: string): void;
  /** Tells the peer that the session should end soon. */
  drain(): void;
}

/** A client's wish for a session. One of `accept` and `reject` is to be called, once, at any time. */
export interface SessionRequest {
  readonly authority: string;
  /** Path and query. */
  readonly path: string;
  /** Absent from clients that are no browsers. */
  readonly origin: string | undefined;
  /** What the client can speak inside the session (`wt-available-protocols`), its preference first. */
  readonly protocols: readonly string[];
  /**
   * Takes the session, speaking `protocol`. `create` gives whoever listens to it; what came early follows at once. False,
   * and nothing is created: the client has gone.
   */
  accept(create: (session: Session) => SessionListener, protocol?: string): boolean;
  reject(status: number): void;
}
