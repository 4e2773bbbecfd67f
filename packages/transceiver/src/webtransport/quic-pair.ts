/** Two QUIC endpoints and the network between them, in virtual time. For tests and benches. */
import type { KeyObject } from "node:crypto";
import { createHash } from "node:crypto";
import type { Milli } from "@sluice/conversation";
import { createDtlsIdentity } from "../webrtc/dtls-certificate.ts";
import type { Address } from "../webrtc/ice-lite.ts";
import type {
  QuicCidSource,
  QuicConnection,
  QuicEndpoint,
  QuicEngine,
  QuicEvent,
  QuicIdentity,
  QuicStream,
  QuicTransportOptions,
} from "./quic-engine.ts";

/** One direction of a path: `Link` of `@sluice/netem` is one. The label is the address of whoever sent a packet. */
export interface PathLink {
  handlePacket(now: Milli, packet: Uint8Array, label: Address): void;
  pollTimeout(): Milli | undefined;
  nextArrival(now: Milli): { readonly packet: Uint8Array; readonly label: Address } | undefined;
}

/** A self-made certificate, and its hash as a client wants it. */
export function createQuicIdentity(): { readonly identity: QuicIdentity; readonly hash: Uint8Array } {
  const { certificate, privateKey } = createDtlsIdentity(1_800_000_000_000);
  return {
    identity: { certificateChain: [certificate], privateKey: pkcs8(privateKey) },
    hash: createHash("sha256").update(certificate).digest(),
  };
}

function pkcs8(key: KeyObject): Uint8Array {
  return key.export({ type: "pkcs8", format: "der" });
}

/** Connection IDs that count up: the same in every run, and no two alike. */
export function createCountingCids(length: number, first = 0): QuicCidSource & { minted: number } {
  return {
    length,
    minted: 0,
    mint() {
      const cid = Buffer.alloc(length, 0xc1);
      cid.writeUInt32BE(first + ++this.minted, length - 4);
      return cid;
    },
  };
}

/** What to make a {@link QuicPair} of. */
export interface QuicPairOptions {
  readonly engine: QuicEngine;
  readonly up: PathLink;
  readonly down: PathLink;
  readonly server?: Partial<Parameters<QuicEngine["createEndpoint"]>[0]>;
  readonly admit?: NonNullable<Parameters<QuicEngine["createEndpoint"]>[0]["server"]>["admit"];
  readonly transport?: QuicTransportOptions;
  readonly clientTransport?: QuicTransportOptions;
  /** Bytes of the client's connection IDs. Default 0, as Chromium has them. */
  readonly clientCidLength?: number;
}

/** One end, with what it was told since `take` was called last. */
export class QuicEnd {
  readonly endpoint: QuicEndpoint;
  readonly events: QuicEvent[] = [];
  /** What the application does about an event, at once. */
  onEvent: (now: Milli, event: QuicEvent) => void = () => {};
  /** Of the newest connection. */
  connection = 0 as QuicConnection;

  constructor(endpoint: QuicEndpoint) {
    this.endpoint = endpoint;
  }

  /** Events of one kind so far. */
  of<K extends QuicEvent["kind"]>(kind: K): Extract<QuicEvent, { kind: K }>[] {
    return this.events.filter((event) => event.kind === kind) as Extract<QuicEvent, { kind: K }>[];
  }

  /** Hands out every event. */
  settle(now: Milli): void {
    for (let event = this.endpoint.nextEvent(); event; event = this.endpoint.nextEvent()) {
      if ("connection" in event) this.connection = event.connection;
      this.events.push(event);
      this.onEvent(now, event);
    }
  }

  /** Everything that waits in a stream of the newest connection, and the state behind it. */
  read(stream: QuicStream): { readonly bytes: Buffer; readonly state: string; readonly code?: number | undefined } {
    const chunks: Uint8Array[] = [];
    for (;;) {
      const read = this.endpoint.read(this.connection, stream);
      if (!read) return { bytes: Buffer.concat(chunks), state: "gone" };
      chunks.push(read.data);
      if (read.state !== "more") return { bytes: Buffer.concat(chunks), state: read.state, code: read.code };
    }
  }
}

/** A server and a client that know each other's addresses; the client's may change as a NAT's mapping does. */
export class QuicPair {
  now: Milli = 0;
  readonly client: QuicEnd;
  server: QuicEnd;
  readonly serverCids = createCountingCids(17);
  readonly hash: Uint8Array;
  readonly serverAddress: Address = { address: "198.51.100.7", port: 3478 };
  /** Where the server sees the client; what it sends elsewhere is lost. */
  clientAddress: Address = { address: "203.0.113.9", port: 50_000 };
  /** Called with every datagram that leaves, before the network. */
  onPacket: (from: "client" | "server", packet: Uint8Array) => void = () => {};
  /** Called with every datagram of the server and where it is sent. */
  onTransmit: (to: Address, packet: Uint8Array) => void = () => {};
  readonly #up: PathLink;
  readonly #down: PathLink;

  constructor(options: QuicPairOptions) {
    const {
      engine,
      up,
      down,
      server,
      admit,
      transport = {},
      clientTransport = transport,
      clientCidLength = 0,
    } = options;
    const { identity, hash } = createQuicIdentity();
    [this.#up, this.#down, this.hash] = [up, down, hash];
    this.server = new QuicEnd(
      engine.createEndpoint({
        connectionIds: this.serverCids,
        transport,
        server: { identity, ...(admit && { admit }) },
        ...server,
      }),
    );
    this.client = new QuicEnd(
      engine.createEndpoint({
        connectionIds: createCountingCids(clientCidLength, 1_000_000),
        transport: clientTransport,
      }),
    );
  }

  /** Begins a connection. */
  connect(hash = this.hash): QuicConnection {
    return (this.client.connection = this.client.endpoint.connect(this.now, {
      to: this.serverAddress,
      certificateHashes: [hash],
    }));
  }

  /** Lets time pass until something is so, at most `limitMs`; tells whether it is. */
  run(until: () => boolean, limitMs: Milli = 30_000): boolean {
    const limit = this.now + limitMs;
    for (;;) {
      this.settle();
      if (until()) return true;
      const next = this.#next();
      if (next === undefined || next > limit) {
        this.now = limit;
        return false;
      }
      this.now = Math.max(this.now, next);
      this.#deliver();
    }
  }

  /** Lets `ms` pass. */
  pass(ms: Milli): void {
    this.run(() => false, ms);
  }

  /** Puts another endpoint in the server's place. */
  restartServer(endpoint: QuicEndpoint): void {
    this.server = new QuicEnd(endpoint);
  }

  /** Hands out events and sends what is due, at this time. */
  settle(): void {
    for (const end of [this.server, this.client]) end.settle(this.now);
    for (const { packet } of this.client.endpoint.drainTransmits(this.now)) {
      this.onPacket("client", packet);
      this.#up.handlePacket(this.now, packet, this.clientAddress);
    }
    for (const { packet, to } of this.server.endpoint.drainTransmits(this.now)) {
      this.onPacket("server", packet);
      this.onTransmit(to, packet);
      this.#down.handlePacket(this.now, packet, to);
    }
    for (const end of [this.server, this.client]) end.settle(this.now);
  }

  #next(): Milli | undefined {
    const ends = [this.#up, this.#down, this.server.endpoint, this.client.endpoint];
    const times = ends.map((end) => end.pollTimeout()).filter((at) => at !== undefined);
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  #deliver(): void {
    for (const { endpoint } of [this.server, this.client]) endpoint.handleTimeout(this.now);
    for (let next = this.#up.nextArrival(this.now); next; next = this.#up.nextArrival(this.now))
      this.server.endpoint.handleDatagrams(this.now, [{ packet: next.packet, from: next.label }]);
    for (let next = this.#down.nextArrival(this.now); next; next = this.#down.nextArrival(this.now)) {
      const { address, port } = next.label;
      if (address !== this.clientAddress.address || port !== this.clientAddress.port) continue;
      this.client.endpoint.handleDatagrams(this.now, [{ packet: next.packet, from: this.serverAddress }]);
    }
  }
}
