/**
 * QUIC (RFC 9000, RFC 9221) as the transceiver sees it: a sans-IO endpoint that holds many connections, without socket, clock
 * or timer. `loadQuicEngine()` in `../node/quic-engine.ts` gives the real one (native/quic, Rust) where it was built.
 *
 * The drive rule: hand in datagrams or a timeout; take events with `nextEvent()` until there is none, reading and
 * writing as they ask; take `drainTransmits(now)` and send them; arm a timer for `pollTimeout()`. Writes, closes and
 * connects outside of events count as inputs too: drain and re-arm after them.
 *
 * Nothing that a peer does makes a method throw. What was closed meanwhile answers `undefined` or `false`; only
 * caller mistakes (a code out of range, an unusable certificate) throw, as `RangeError`, `TypeError` or `QuicEngineError`.
 */
import type { Milli } from "@sluice/conversation";
import type { Address, Transmit } from "../webrtc/ice-lite.ts";

/** One connection of an endpoint. Never reused; not a connection ID of the wire. */
export type QuicConnection = number & { readonly brand: "QuicConnection" };

/** A stream's number within its connection (RFC 9000 section 2.1). */
export type QuicStream = number & { readonly brand: "QuicStream" };

/** Which way a stream carries data. */
export type QuicDirection = "bidirectional" | "unidirectional";

/** Whether the client opened `stream` (RFC 9000 section 2.1). */
export function isClientStream(stream: QuicStream): boolean {
  return stream % 2 === 0;
}

/** Which way `stream` carries data (RFC 9000 section 2.1). */
export function streamDirection(stream: QuicStream): QuicDirection {
  return stream % 4 < 2 ? "bidirectional" : "unidirectional";
}

/** A datagram that arrived, and where from. */
export interface QuicArrival {
  readonly packet: Uint8Array;
  readonly from: Address;
}

/** A certificate that an endpoint shows. */
export interface QuicIdentity {
  /** DER, the leaf first. */
  readonly certificateChain: readonly Uint8Array[];
  /** PKCS#8 DER: ECDSA P-256 or P-384, Ed25519 or RSA. */
  readonly privateKey: Uint8Array;
}

/** What may be done with a client's first Initial. */
export type QuicAdmission =
  /** Begin the handshake. */
  | "accept"
  /** Answer with a Retry: the client comes again, with a token that proves its address. */
  | "retry"
  /** Answer CONNECTION_REFUSED. */
  | "refuse"
  /** Answer nothing. */
  | "ignore";

/** A client's first Initial. Nothing of it is authenticated but `validated`. */
export interface QuicIncoming {
  readonly from: Address;
  /** It carries our Retry token for this address: `retry` would be no use and is taken for `accept`. */
  readonly validated: boolean;
  /** The destination connection ID that the client chose at first, before a Retry. */
  readonly originalCid: Uint8Array;
}

/** Where an endpoint's connection IDs come from. */
export interface QuicCidSource {
  /** Bytes of every ID, 8 to 20: short headers do not say it (RFC 9000 section 17.3). 0 for one that only connects. */
  readonly length: number;
  /** A new ID that nobody can link to an earlier one; called before the engine works, for a stock of a few dozen. */
  mint(): Uint8Array;
}

/** How connections behave. Both sides of a test may differ. */
export interface QuicTransportOptions {
  /** Silence that ends a connection; the lower of both sides' values counts. Default 30,000. */
  readonly idleTimeoutMs?: Milli;
  /** A handshake that takes longer is dropped without a word. Default 10,000; longer lets half-open ones pile up. */
  readonly handshakeTimeoutMs?: Milli;
  /** We ping after this much silence; 0: never. Default 0. Keeps a NAT's mapping at the price of a packet. */
  readonly keepAliveMs?: Milli;
  /** Bidirectional streams that the peer may have open. Default 32; each may fill `streamReceiveWindow`. */
  readonly maxBidirectionalStreams?: number;
  /** Unidirectional streams that the peer may have open. Default 32; each costs about 50 bytes, opened or not. */
  readonly maxUnidirectionalStreams?: number;
  /** Bytes that wait unread in one stream before its sender must wait. Default 256 KiB. */
  readonly streamReceiveWindow?: number;
  /** Bytes that wait unread in one connection: its bound on memory. Default 1 MiB. */
  readonly receiveWindow?: number;
  /** Bytes of one connection that were written but not acknowledged; `write` takes no more. Default 1 MiB. */
  readonly sendWindow?: number;
  /** Bytes of received datagrams that wait between two events; older ones go first. Default 64 KiB; 0: no datagrams. */
  readonly datagramReceiveBuffer?: number;
  /** Bytes of unsent datagrams. Default 64 KiB. */
  readonly datagramSendBuffer?: number;
  /** UDP payload that we send, 1,200 to 1,452. Default 1,200: leaves room for the relay's hop header; not discovered. */
  readonly maxUdpPayload?: number;
  /** How fast to send. Default "cubic"; "bbr" does not take random loss for congestion. */
  readonly congestion?: "cubic" | "newReno" | "bbr";
  /**
   * What may be sent in any case, so that loss alone never stops a voice; given up while round trips show a queue, while more
   * than a third is lost, and in persistent congestion (RFC 9002 section 7.6). Default 256,000; 0: none.
   */
  readonly floorBitsPerSecond?: number;
  /** A guess at the round trip before one is measured. Default 333 (RFC 9002 section 6.2.2). */
  readonly initialRttMs?: Milli;
}

/** How to make an endpoint. */
export interface QuicEndpointOptions {
  readonly connectionIds: QuicCidSource;
  readonly transport?: QuicTransportOptions;
  /** Without it the endpoint only connects. */
  readonly server?: {
    readonly identity: QuicIdentity;
    /** Called within `handleDatagrams` for each client's first Initial, to bound rates and load. Default: accepts. */
    readonly admit?: (now: Milli, incoming: QuicIncoming) => QuicAdmission;
    /** Connections at once, half-open ones included; more are refused without asking `admit`. Default 10,000. */
    readonly maxConnections?: number;
  };
  /** Application protocols (RFC 7301), our preference first. Default `["h3"]`. */
  readonly alpn?: readonly string[];
  /**
   * 32 bytes behind stateless resets and Retry tokens (RFC 9000 sections 10.3 and 8.1.2). Default: random. Servers that
   * share it tell each other's clients at once that their connection is gone.
   */
  readonly secret?: Uint8Array;
}

/** Where to connect to. */
export interface QuicTarget {
  readonly to: Address;
  /** Name for SNI. Default "localhost". */
  readonly serverName?: string;
  /** SHA-256 of DER certificates, any of which the server must show; nothing else of the certificate is judged. */
  readonly certificateHashes: readonly Uint8Array[];
}

/** What an endpoint tells. */
export type QuicEvent =
  /** Server: a ClientHello is complete. Streams may be opened and written already: they leave with the first flight (0.5-RTT). */
  | { readonly kind: "opening"; readonly connection: QuicConnection; readonly remote: Address }
  /** The handshake is complete; both sides may send all. */
  | { readonly kind: "connected"; readonly connection: QuicConnection; readonly remote: Address }
  /** Server: a client got no further than its first packets: refused, timed out, or nonsense. No other event names it. */
  | { readonly kind: "handshakeFailed"; readonly remote: Address; readonly reason: string }
  /** The peer opened a stream; `streamReadable` follows. */
  | { readonly kind: "streamOpened"; readonly connection: QuicConnection; readonly stream: QuicStream }
  /** Data, an end or a reset waits: `read` until it gives nothing, for it is not told again before. */
  | { readonly kind: "streamReadable"; readonly connection: QuicConnection; readonly stream: QuicStream }
  /** A `write` that was not taken whole may be tried again. */
  | { readonly kind: "streamWritable"; readonly connection: QuicConnection; readonly stream: QuicStream }
  /** The peer wants no more of a stream that we send (STOP_SENDING); reset it. */
  | {
      readonly kind: "streamStopped";
      readonly connection: QuicConnection;
      readonly stream: QuicStream;
      readonly code: number;
    }
  /** The peer acknowledged everything that we sent on a finished stream. */
  | { readonly kind: "streamFinished"; readonly connection: QuicConnection; readonly stream: QuicStream }
  /** `openStream` may succeed again. */
  | { readonly kind: "streamsAvailable"; readonly connection: QuicConnection; readonly direction: QuicDirection }
  | { readonly kind: "datagram"; readonly connection: QuicConnection; readonly data: Uint8Array }
  /** The peer's address changed (RFC 9000 section 9). Validated meanwhile; until then we send it at most 3 times what it sent. */
  | { readonly kind: "pathChanged"; readonly connection: QuicConnection; readonly remote: Address }
  /** The last event of a connection. What came before can be read until `drainTransmits`. */
  | { readonly kind: "closed"; readonly connection: QuicConnection; readonly close: QuicClose };

/** Why a connection ended. */
export interface QuicClose {
  readonly by: /** We called `close`. */
    | "us"
    /** The peer's application closed it: `code` is its own. */
    | "peer"
    /** The peer's QUIC closed it: `code` is of RFC 9000 section 20.1, 0x100 + alert for TLS. */
    | "peerTransport"
    /** The peer broke the protocol, or TLS failed here: `code` is of RFC 9000 section 20.1. */
    | "protocol"
    /** Silence, or a handshake that took too long. */
    | "timeout"
    /** A stateless reset: the peer does not know the connection any more. */
    | "reset"
    /** A bug in the engine; it took this connection only. */
    | "bug";
  /** 0 where there is none. */
  readonly code: number;
  /** For people; written by the peer in "peer" and "peerTransport". */
  readonly reason: string;
}

/** What `read` took from a stream. */
export interface QuicRead {
  /** In order, maybe empty. */
  readonly data: Uint8Array;
  /** "more": there may be more right now; "blocked": wait for `streamReadable`; "finished": that was all. */
  readonly state: "more" | "blocked" | "finished" | "reset";
  /** The peer's code, with `state: "reset"` only. */
  readonly code?: number;
}

/** What became of a datagram. "dropped": the oldest unsent ones made room for it. */
export type QuicDatagramResult = "queued" | "dropped" | "tooLarge" | "unsupported" | "closed";

/** Figures of one connection. */
export interface QuicConnectionStats {
  readonly remote: Address;
  /** Smoothed (RFC 9002 section 5.3). */
  readonly rttMs: Milli;
  readonly minRttMs: Milli;
  /** Bytes that may be in flight. */
  readonly congestionWindow: number;
  readonly congestionEvents: number;
  readonly sentPackets: number;
  readonly lostPackets: number;
  readonly lostBytes: number;
  /** UDP payload, both ways. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly sentDatagrams: number;
  readonly receivedDatagrams: number;
  /** UDP payload that the path carries. */
  readonly maxUdpPayload: number;
}

/** Figures of an endpoint since it was made. */
export interface QuicEndpointStats {
  /** Right now, half-open and closing ones included. */
  readonly connections: number;
  /** Of them, those whose handshake is not complete. */
  readonly handshaking: number;
  readonly accepted: number;
  readonly retried: number;
  readonly refused: number;
  readonly ignored: number;
  /** UDP datagrams that belonged to no connection and began none. */
  readonly stray: number;
  /** Bugs that were caught; each took one connection. */
  readonly panics: number;
}

/** A QUIC endpoint. `now` is any clock that never runs backwards; the same for all calls. */
export interface QuicEndpoint {
  /** Takes datagrams that arrived by `now`, in their order. Their memory is free afterwards. */
  handleDatagrams(now: Milli, batch: readonly QuicArrival[]): void;
  /** Does what is due. Early and needless calls do no harm. */
  handleTimeout(now: Milli): void;
  /** When to call `handleTimeout`; `undefined`: never. Valid after `drainTransmits`. */
  pollTimeout(): Milli | undefined;
  /** The next event. */
  nextEvent(): QuicEvent | undefined;
  /** Datagrams to send now, all of them, in order. Each `packet` stays as it is for as long as it is held. */
  drainTransmits(now: Milli): Transmit[];

  /** Begins a handshake; `connected` or `closed` follows. */
  connect(now: Milli, target: QuicTarget): QuicConnection;
  /** Opens a stream; `undefined`: the peer allows no more (wait for `streamsAvailable`), or the connection is closed. */
  openStream(connection: QuicConnection, direction: QuicDirection): QuicStream | undefined;
  /**
   * Writes what fits and says how many bytes that were; for the rest wait for `streamWritable`. `undefined`: the stream takes
   * nothing any more (stopped, reset, finished, closed).
   */
  write(connection: QuicConnection, stream: QuicStream, data: Uint8Array): number | undefined;
  /** Ends a stream after what was written; false: it ended already. */
  finish(connection: QuicConnection, stream: QuicStream): boolean;
  /** Ends a stream at once (RESET_STREAM): what was not sent never is. False: it ended already. */
  reset(connection: QuicConnection, stream: QuicStream, code: number): boolean;
  /**
   * Higher goes first, equals take turns; -2^31 to 2^31 - 1, 0 for a new stream. A stream that waits for its turn has it with
   * the priority from before.
   */
  setPriority(connection: QuicConnection, stream: QuicStream, priority: number): boolean;
  /** Reads up to `maxBytes`, default 64 KiB. `undefined`: the stream ended, was stopped, or its connection is closed. */
  read(connection: QuicConnection, stream: QuicStream, maxBytes?: number): QuicRead | undefined;
  /** Asks the peer to stop sending (STOP_SENDING) and forgets what came. False: it ended already. */
  stop(connection: QuicConnection, stream: QuicStream, code: number): boolean;
  /** Sends a datagram (RFC 9221), once. */
  sendDatagram(connection: QuicConnection, data: Uint8Array): QuicDatagramResult;
  /** Asks for an acknowledgement (PING), so that a round trip is seen. False: it shakes hands, or is closed. */
  ping(connection: QuicConnection): boolean;
  /**
   * The latest round trip as it was, the peer's delay of acknowledgements included; `undefined`: none was seen since the last
   * call.
   */
  takeRoundTrip(connection: QuicConnection): Milli | undefined;
  /** The longest datagram that can be sent; `undefined`: the peer takes none, or the connection is closed. */
  maxDatagramSize(connection: QuicConnection): number | undefined;
  /** Closes with an application's code and reason; `closed` follows, by "us". False: it was closed. */
  close(now: Milli, connection: QuicConnection, code: number, reason: string): boolean;
  /** Figures of a connection; `undefined` once it is gone. */
  connectionStats(connection: QuicConnection): QuicConnectionStats | undefined;
  /** Figures of the endpoint. */
  stats(): QuicEndpointStats;
  /** Shows another certificate to clients that come from now on. */
  setIdentity(identity: QuicIdentity): void;
}

/** Makes endpoints. */
export interface QuicEngine {
  /** The engine's name and version, such as "quinn-proto 0.11". */
  readonly name: string;
  createEndpoint(options: QuicEndpointOptions): QuicEndpoint;
}

/** Options that the engine cannot work with; the message says why. */
export class QuicEngineError extends Error {
  override readonly name = "QuicEngineError";
}
