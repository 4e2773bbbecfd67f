/** {@link QuicEndpoint} over the native engine (native/quic): packs datagrams, unpacks events, mints connection IDs ahead. */
import type { Milli } from "@sluice/conversation";
import type { Transmit } from "../webrtc/ice-lite.ts";
import {
  AddressBook,
  decodeEvents,
  decodeTransmits,
  encodeDatagram,
  type IncomingRecord,
  RECORD_OVERHEAD,
} from "./engine-records.ts";
import {
  type QuicAdmission,
  type QuicArrival,
  type QuicCidSource,
  type QuicConnection,
  type QuicConnectionStats,
  type QuicDatagramResult,
  type QuicDirection,
  type QuicEndpoint,
  type QuicEndpointOptions,
  type QuicEndpointStats,
  type QuicEngine,
  QuicEngineError,
  type QuicEvent,
  type QuicIdentity,
  type QuicIncoming,
  type QuicRead,
  type QuicStream,
  type QuicTarget,
  type QuicTransportOptions,
} from "./quic-engine.ts";

/** What the native module exports. */
export interface NativeModule {
  readonly NativeEndpoint: new (options: NativeOptions) => NativeEndpoint;
  engineName(): string;
}

type NativeOptions = Required<QuicTransportOptions> & {
  readonly cidLength: number;
  readonly alpn: readonly string[];
  readonly secret: Uint8Array | undefined;
  readonly maxConnections: number;
  readonly identity: QuicIdentity | undefined;
};

/** The native class. Whatever it answers with -1 is `undefined` here; numbers beside that are explained at their use. */
interface NativeEndpoint {
  setIdentity(identity: QuicIdentity): void;
  /** Adds IDs that follow each other in `packed`; gives the size of the stock. */
  addCids(packed: Uint8Array): number;
  /** Takes the datagrams between two offsets and gives how many bytes it took: fewer than all when it wants IDs first. */
  handleDatagrams(now: Milli, input: Uint8Array, start: number, end: number): number;
  /** False: it wants connection IDs first. */
  decide(now: Milli, incoming: number, admission: number): boolean;
  handleTimeout(now: Milli): void;
  pollTimeout(): number;
  /** Fills the output, of 128 KiB, with whole events; 0: there are none. */
  takeEvents(output: Uint8Array): number;
  /** Fills the output from an offset on and gives how many bytes; -1 less them: there are more. */
  drainTransmits(now: Milli, output: Uint8Array, start: number): number;
  connect(now: Milli, to: Uint8Array, serverName: string, hashes: readonly Uint8Array[]): number;
  openStream(connection: number, bidirectional: boolean): number;
  write(connection: number, stream: number, data: Uint8Array): number;
  finish(connection: number, stream: number): boolean;
  reset(connection: number, stream: number, code: number): boolean;
  setPriority(connection: number, stream: number, priority: number): boolean;
  /** Size, and 2^32 times the place in {@link READ_STATES}. */
  read(connection: number, stream: number, output: Uint8Array, size: number): number;
  resetCode(): number;
  stop(connection: number, stream: number, code: number): boolean;
  sendDatagram(connection: number, data: Uint8Array): number;
  ping(connection: number): boolean;
  takeRoundTrip(connection: number): number;
  maxDatagramSize(connection: number): number;
  close(now: Milli, connection: number, code: number, reason: string): boolean;
  connectionStats(connection: number): (QuicConnectionStats & { remoteAddress: string; remotePort: number }) | null;
  stats(): QuicEndpointStats;
}

const defaults: Required<QuicTransportOptions> = {
  idleTimeoutMs: 30_000,
  handshakeTimeoutMs: 10_000,
  keepAliveMs: 0,
  maxBidirectionalStreams: 32,
  maxUnidirectionalStreams: 32,
  streamReceiveWindow: 256 * 1024,
  receiveWindow: 1024 * 1024,
  sendWindow: 1024 * 1024,
  datagramReceiveBuffer: 64 * 1024,
  datagramSendBuffer: 64 * 1024,
  maxUdpPayload: 1200,
  congestion: "cubic",
  floorBitsPerSecond: 256_000,
  initialRttMs: 333,
};

/** Wraps the native module. */
export function createQuicEngine(native: NativeModule): QuicEngine {
  return { name: native.engineName(), createEndpoint: (options) => new Endpoint(native, options) };
}

const ADMISSIONS = ["accept", "retry", "refuse", "ignore"] as const satisfies QuicAdmission[];
const READ_STATES = ["more", "blocked", "finished", "reset"] as const satisfies QuicRead["state"][];
const DATAGRAM_RESULTS = [
  "queued",
  "dropped",
  "tooLarge",
  "unsupported",
  "closed",
] as const satisfies QuicDatagramResult[];

const KIBI = 1024;
const INPUT_SIZE = 256 * KIBI;
const EVENTS_SIZE = 128 * KIBI;
const READ_SIZE = 64 * KIBI;
/** Transmits are views into slabs of this size, which live as long as the last of them. */
const SLAB_SIZE = 64 * KIBI;
/** Below this rest a slab is not worth filling. */
const MIN_SLAB_REST = 2 * KIBI;
const CID_STOCK = 96;

class Endpoint implements QuicEndpoint {
  readonly #native: NativeEndpoint;
  readonly #cids: QuicCidSource;
  readonly #admit: (now: Milli, incoming: QuicIncoming) => QuicAdmission;
  readonly #book = new AddressBook();
  readonly #input = Buffer.allocUnsafeSlow(INPUT_SIZE);
  readonly #scratch = Buffer.allocUnsafeSlow(EVENTS_SIZE);
  #slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
  #slabOffset = 0;
  #events: QuicEvent[] = [];
  #nextEvent = 0;
  #now: Milli = 0;

  constructor(native: NativeModule, options: QuicEndpointOptions) {
    const { connectionIds, transport, server, alpn = ["h3"], secret } = options;
    this.#cids = connectionIds;
    this.#admit = server?.admit ?? (() => "accept");
    this.#native = checked(
      () =>
        new native.NativeEndpoint({
          ...defaults,
          ...transport,
          cidLength: connectionIds.length,
          alpn,
          secret,
          maxConnections: server?.maxConnections ?? 10_000,
          identity: server?.identity,
        }),
    );
    this.#mint();
  }

  handleDatagrams(now: Milli, batch: readonly QuicArrival[]): void {
    this.#now = now;
    let end = 0;
    for (const { packet, from } of batch) {
      if (end + RECORD_OVERHEAD + packet.length > INPUT_SIZE) {
        this.#handleInput(now, end);
        end = 0;
      }
      // Whose address is not numeric cannot be answered.
      end = encodeDatagram(this.#input, end, packet, from, this.#book) ?? end;
    }
    this.#handleInput(now, end);
  }

  #handleInput(now: Milli, end: number): void {
    let start = 0;
    while (start < end) {
      const taken = this.#native.handleDatagrams(now, this.#input, start, end);
      start += taken;
      if (start < end) this.#mint();
      this.#takeEvents();
    }
  }

  handleTimeout(now: Milli): void {
    this.#now = now;
    this.#native.handleTimeout(now);
    this.#takeEvents();
  }

  pollTimeout(): Milli | undefined {
    return orUndefined(this.#native.pollTimeout());
  }

  nextEvent(): QuicEvent | undefined {
    // What an application does in between may cause events too.
    if (this.#nextEvent >= this.#events.length) this.#takeEvents();
    return this.#events[this.#nextEvent++];
  }

  #takeEvents(): void {
    if (this.#nextEvent >= this.#events.length) {
      this.#events = [];
      this.#nextEvent = 0;
    }
    for (let size: number; (size = this.#native.takeEvents(this.#scratch)) > 0; )
      for (const event of decodeEvents(this.#scratch, size, this.#book))
        if (event.kind === "incoming") this.#decide(event);
        else this.#events.push(event);
  }

  #decide({ number, incoming }: IncomingRecord): void {
    const admission = ADMISSIONS.indexOf(this.#admit(this.#now, incoming));
    while (!this.#native.decide(this.#now, number, admission)) this.#mint();
  }

  drainTransmits(now: Milli): Transmit[] {
    const transmits: Transmit[] = [];
    for (;;) {
      const size = this.#native.drainTransmits(now, this.#slab, this.#slabOffset);
      const end = this.#slabOffset + (size < 0 ? -1 - size : size);
      decodeTransmits(this.#slab, this.#slabOffset, end, this.#book, transmits);
      this.#slabOffset = end;
      if (size < 0 || SLAB_SIZE - end < MIN_SLAB_REST) {
        this.#slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
        this.#slabOffset = 0;
      }
      if (size >= 0) return transmits;
    }
  }

  connect(now: Milli, { to, serverName = "localhost", certificateHashes }: QuicTarget): QuicConnection {
    const address = this.#book.encode(to.address);
    if (!address) throw new RangeError(`not a numeric address: ${to.address}`);
    this.#mint();
    const record = Uint8Array.of(...address, to.port & 0xff, to.port >> 8);
    return checked(() => this.#native.connect(now, record, serverName, certificateHashes)) as QuicConnection;
  }

  openStream(connection: QuicConnection, direction: QuicDirection): QuicStream | undefined {
    return orUndefined(this.#native.openStream(connection, direction === "bidirectional")) as QuicStream | undefined;
  }

  write(connection: QuicConnection, stream: QuicStream, data: Uint8Array): number | undefined {
    return orUndefined(this.#native.write(connection, stream, data));
  }

  finish(connection: QuicConnection, stream: QuicStream): boolean {
    return this.#native.finish(connection, stream);
  }

  reset(connection: QuicConnection, stream: QuicStream, code: number): boolean {
    return this.#native.reset(connection, stream, checkedCode(code));
  }

  setPriority(connection: QuicConnection, stream: QuicStream, priority: number): boolean {
    if (priority !== (priority | 0)) throw new RangeError(`priority out of range: ${priority}`);
    return this.#native.setPriority(connection, stream, priority);
  }

  read(connection: QuicConnection, stream: QuicStream, maxBytes = READ_SIZE): QuicRead | undefined {
    if (!(maxBytes >= 1)) throw new RangeError(`cannot read ${maxBytes} bytes`);
    const read = this.#native.read(connection, stream, this.#scratch, Math.min(maxBytes, READ_SIZE));
    if (read < 0) return undefined;
    const size = read % 2 ** 32;
    const data = new Uint8Array(size);
    data.set(this.#scratch.subarray(0, size));
    const state = READ_STATES[(read - size) / 2 ** 32]!;
    return state === "reset" ? { data, state, code: this.#native.resetCode() } : { data, state };
  }

  stop(connection: QuicConnection, stream: QuicStream, code: number): boolean {
    return this.#native.stop(connection, stream, checkedCode(code));
  }

  sendDatagram(connection: QuicConnection, data: Uint8Array): QuicDatagramResult {
    return DATAGRAM_RESULTS[this.#native.sendDatagram(connection, data)]!;
  }

  ping(connection: QuicConnection): boolean {
    return this.#native.ping(connection);
  }

  takeRoundTrip(connection: QuicConnection): Milli | undefined {
    return orUndefined(this.#native.takeRoundTrip(connection));
  }

  maxDatagramSize(connection: QuicConnection): number | undefined {
    return orUndefined(this.#native.maxDatagramSize(connection));
  }

  close(now: Milli, connection: QuicConnection, code: number, reason: string): boolean {
    return this.#native.close(now, connection, checkedCode(code), reason);
  }

  connectionStats(connection: QuicConnection): QuicConnectionStats | undefined {
    const stats = this.#native.connectionStats(connection);
    if (!stats) return undefined;
    const { remoteAddress: address, remotePort: port, ...figures } = stats;
    return { ...figures, remote: { address, port } };
  }

  stats(): QuicEndpointStats {
    return this.#native.stats();
  }

  setIdentity(identity: QuicIdentity): void {
    checked(() => this.#native.setIdentity(identity));
  }

  #mint(): void {
    const { length } = this.#cids;
    if (length === 0) return;
    const packed = new Uint8Array(length * CID_STOCK);
    let stock = this.#native.addCids(packed.subarray(0, 0));
    let size = 0;
    for (; stock < CID_STOCK; stock++, size += length) {
      const cid = this.#cids.mint();
      if (cid.length !== length) throw new RangeError(`a connection ID of ${cid.length} bytes, not ${length}`);
      packed.set(cid, size);
    }
    this.#native.addCids(packed.subarray(0, size));
  }
}

function orUndefined(value: number): number | undefined {
  return value < 0 ? undefined : value;
}

function checkedCode(code: number): number {
  if (!Number.isSafeInteger(code) || code < 0) throw new RangeError(`not an error code: ${code}`);
  return code;
}

function checked<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new QuicEngineError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
