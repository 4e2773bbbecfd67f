/** Packets of real QUIC connections through the relay: first by the client's address, from then on by connection ID. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { CID_LENGTH, formatIp, NONCE_SIZE, type ServerId } from "@sluice/routing";
import { type Client, createRelay, type Relay, ring, START, serverA, serverB } from "../packages/relay/src/testing.ts";
import { loadQuicEngine } from "../packages/transceiver/src/node/quic-engine.ts";
import type { QuicAdmission, QuicConnection } from "../packages/transceiver/src/webtransport/quic-engine.ts";
import { createCountingCids, createQuicIdentity, QuicEnd } from "../packages/transceiver/src/webtransport/quic-pair.ts";

const loaded = loadQuicEngine();
const skip = loaded.engine ? false : loaded.reason;
const RELAY = { address: "198.51.100.1", port: 3478 };
const CLIENTS = 24;

test("clients are spread over transceivers, connect and talk, each with one of them", { skip }, () => {
  const fleet = new Fleet();
  fleet.connectAll();
  const shares = fleet.servers.map(({ end }) => end.endpoint.stats().connections);
  assert.equal(shares[0]! + shares[1]!, CLIENTS);
  assert.ok(Math.min(...shares) >= 3, `${shares}`);
  fleet.talk();
  assert.ok(Object.values(fleet.relay.forwarder.stats.drops).every((count) => count === 0));
});

test("after a change of address, or behind a relay that just started, packets find their transceiver", { skip }, () => {
  const fleet = new Fleet();
  fleet.connectAll();
  for (const client of fleet.clients) client.address = { address: "192.0.2.77", port: client.address.port + 7 };
  fleet.talk();
  fleet.relay = createRelay();
  for (const client of fleet.clients) client.address = { address: "192.0.2.78", port: client.address.port + 7 };
  fleet.talk();
  assert.equal(fleet.relay.forwarder.flows.tentativeSize, 0, "no flow was opened for them");
});

test("a client that got a Retry comes back to the transceiver that sent it", { skip }, () => {
  const fleet = new Fleet(({ validated }) => (validated ? "accept" : "retry"));
  fleet.connectAll();
  const stats = fleet.servers.map(({ end }) => end.endpoint.stats());
  for (const { retried, accepted } of stats) assert.equal(retried, accepted);
  assert.equal(stats[0]!.accepted + stats[1]!.accepted, CLIENTS);
  fleet.talk();
});

/** Two transceivers behind one relay, and clients. */
class Fleet {
  now = START;
  relay: Relay = createRelay();
  readonly servers: readonly { readonly serverId: ServerId; readonly address: string; readonly end: QuicEnd }[];
  readonly clients: { address: Client; readonly end: QuicEnd }[];
  readonly #hash: Uint8Array;

  constructor(admit: (incoming: { validated: boolean }) => QuicAdmission = () => "accept") {
    const engine = loaded.engine!;
    const { identity, hash } = createQuicIdentity();
    this.#hash = hash;
    this.servers = [
      { serverId: serverA, address: "10.1.0.1" },
      { serverId: serverB, address: "10.1.0.2" },
    ].map(({ serverId, address }) => {
      const connectionIds = { length: CID_LENGTH, mint: () => ring.mintCid(serverId, randomBytes(NONCE_SIZE)) };
      const server = { identity, admit: (_now: number, incoming: { validated: boolean }) => admit(incoming) };
      return { serverId, address, end: new QuicEnd(engine.createEndpoint({ connectionIds, server })) };
    });
    this.clients = Array.from({ length: CLIENTS }, (_, i) => ({
      address: { address: `203.0.113.${i}`, port: 40_000 + i },
      end: new QuicEnd(engine.createEndpoint({ connectionIds: createCountingCids(0) })),
    }));
  }

  connectAll(): void {
    for (const { end } of this.clients) end.endpoint.connect(this.now, { to: RELAY, certificateHashes: [this.#hash] });
    this.#exchange();
    for (const { end } of this.clients) assert.equal(end.of("connected").length, 1);
  }

  /** Everyone says something to their transceiver, which answers. */
  talk(): void {
    const heard = this.clients.map(({ end }) => end.of("datagram").length);
    for (const { end } of this.servers)
      end.onEvent = (_now, event) => {
        if (event.kind === "datagram") end.endpoint.sendDatagram(event.connection, event.data);
      };
    // Enough that the 3 times of it carry the challenge of a new path.
    for (const { end } of this.clients) end.endpoint.sendDatagram(end.connection as QuicConnection, Buffer.alloc(600));
    this.#exchange();
    for (const [i, { end }] of this.clients.entries()) assert.equal(end.of("datagram").length, heard[i]! + 1);
  }

  /** Lets a second pass, 5 ms at a time; the network takes none. */
  #exchange(): void {
    const until = this.now + 1000;
    for (; this.now < until; this.now += 5) {
      for (const { end } of [...this.servers, ...this.clients]) {
        end.endpoint.handleTimeout(this.now);
        end.settle(this.now);
      }
      for (const { address, end } of this.clients)
        for (const { packet } of end.endpoint.drainTransmits(this.now)) this.#up(packet, address);
      for (const { serverId, end } of this.servers)
        for (const { packet, to } of end.endpoint.drainTransmits(this.now)) this.#down(packet, to, serverId);
    }
  }

  #up(packet: Uint8Array, from: Client): void {
    const sent = this.relay.up(this.now, packet, from);
    if (!sent?.hop) return;
    const { end } = this.servers.find(({ address }) => address === sent.address)!;
    const { address, port, payload } = sent.hop;
    end.endpoint.handleDatagrams(this.now, [{ packet: payload, from: { address: formatIp(address), port } }]);
    end.settle(this.now);
  }

  #down(packet: Uint8Array, to: Client, serverId: ServerId): void {
    const sent = this.relay.down(this.now, packet, to, serverId);
    const client = this.clients.find(({ address }) => address.address === sent?.address && address.port === sent.port);
    if (!sent || !client) return;
    client.end.endpoint.handleDatagrams(this.now, [{ packet: sent.packet, from: RELAY }]);
    client.end.settle(this.now);
  }
}
