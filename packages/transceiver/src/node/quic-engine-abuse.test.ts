/** The real engine against those who mean harm, and against our own mistakes. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createRandom, type Impairments, Link } from "@sluice/netem";
import type { Address } from "../webrtc/ice-lite.ts";
import {
  type QuicAdmission,
  type QuicArrival,
  type QuicConnection,
  QuicEngineError,
  type QuicStream,
} from "../webtransport/quic-engine.ts";
import { createCountingCids, createQuicIdentity, QuicPair, type QuicPairOptions } from "../webtransport/quic-pair.ts";
import { loadQuicEngine } from "./quic-engine.ts";

const loaded = loadQuicEngine();
const skip = loaded.engine ? false : loaded.reason;

const MIB = 2 ** 20;

test("200,000 datagrams of garbage grow no memory and disturb no connection", { skip }, () => {
  const wire = connected();
  const random = bytes(2000, "garbage");
  const memory = Array.from({ length: 64 }, () => Buffer.alloc(1300)); // used again and again: no garbage of our own
  const flood = (count: number, seed: number) => {
    for (let sent = 0; sent < count; ) {
      const batch: QuicArrival[] = memory.map((buffer) => {
        const packet = buffer.subarray(0, 20 + ((sent * 37) % 1200));
        random.copy(packet, 0, sent % 700);
        packet.writeUInt32LE(seed + sent, 4);
        if (sent % 4 === 0)
          packet[0] = 0x40 | (packet[0]! & 0x3f); // a short header
        else if (sent % 4 === 1) Buffer.from([0xc0 | (packet[0]! & 0x0f), 0, 0, 0, 1, 8]).copy(packet); // an Initial
        sent += 1;
        return { packet, from: { address: `192.0.${(sent >> 8) & 255}.${sent & 255}`, port: 1024 + (sent % 60_000) } };
      });
      wire.server.endpoint.handleDatagrams(wire.now, batch);
      wire.settle();
    }
    wire.pass(20_000);
  };
  flood(200_000, 1 << 24); // first what is allocated once, of V8's own too
  // The allocators keep what they please: only what grows with every flood is a leak.
  const growths = [0, 1, 2].map((seed) => {
    const before = settledMemory();
    flood(200_000, seed << 20);
    return settledMemory() - before;
  });
  const grown = Math.min(...growths);
  assert.ok(grown < 32 * MIB, `grown by ${(grown / MIB).toFixed(1)} MiB`);
  const { connections, panics, stray } = wire.server.endpoint.stats();
  assert.deepEqual([connections, panics], [1, 0]);
  assert.ok(stray > 150_000, `${stray} stray`);
  assertAlive(wire);
});

test("20,000 spoofed Initials are answered with Retries once they are many, and forgotten", { skip }, () => {
  const HALF_OPEN = 500;
  let admitted = 0;
  const admit = (_now: number, { validated }: { validated: boolean }): QuicAdmission => {
    if (!validated && wire?.server.endpoint.stats().handshaking >= HALF_OPEN) return "retry";
    admitted += 1;
    return "accept";
  };
  let wire = undefined as unknown as QuicPair;
  wire = connected({ admit });
  const initials = Array.from({ length: 40 }, () => spoofedInitials(500));
  const before = settledMemory();
  let [sentBytes, receivedBytes] = [0, 0];
  wire.onTransmit = (to, packet) => {
    if (to.address.startsWith("198.18.")) sentBytes += packet.length;
  };
  let source = 0;
  for (let round = 0; round < 40; round++) {
    const batch = initials[round]!.map((packet) => {
      receivedBytes += packet.length;
      source += 1;
      return { packet, from: { address: `198.18.${source >> 8}.${source & 255}`, port: 4433 } };
    });
    wire.server.endpoint.handleDatagrams(wire.now, batch);
    wire.settle();
    wire.pass(25);
    assert.ok(wire.server.endpoint.stats().connections <= HALF_OPEN + 2);
    if (round % 10 === 0) assertAlive(wire);
  }
  assert.equal(source, 20_000);
  const grown = settledMemory() - before;
  assert.ok(grown < 32 * MIB, `grown by ${(grown / MIB).toFixed(1)} MiB`);
  assert.ok(sentBytes > 0 && sentBytes <= 3 * receivedBytes, `${sentBytes} bytes for ${receivedBytes}`);
  assert.ok(wire.server.endpoint.stats().retried >= 19_000 && admitted <= HALF_OPEN + 2);
  wire.pass(11_000); // the handshake's time
  assert.equal(wire.server.endpoint.stats().connections, 1);
  assert.equal(wire.server.of("handshakeFailed").length + wire.server.of("closed").length, admitted - 1);
  assertAlive(wire);
});

test("what is done to connections and streams that are gone, or never were, does nothing", { skip }, () => {
  const wire = connected();
  const { endpoint, connection } = wire.client;
  const stream = endpoint.openStream(connection, "bidirectional")!;
  const peers = wire.server.endpoint.openStream(wire.server.connection, "unidirectional")!;
  wire.server.endpoint.write(wire.server.connection, peers, Buffer.from("hello"));
  wire.pass(500);
  const use = (which: QuicConnection, ids: readonly number[]) => {
    for (const id of ids as QuicStream[]) {
      assert.equal(endpoint.write(which, id, Buffer.from("a")), undefined, `write to ${id}`);
      assert.equal(endpoint.finish(which, id), false);
      assert.equal(endpoint.reset(which, id, 1), false);
      assert.equal(endpoint.setPriority(which, id, 1), false);
    }
  };
  // The server's unidirectional stream, streams that nobody opened, of all four kinds, and numbers that cannot be.
  use(connection, [peers, 4, 8, 1, 5, 2, 7, 2 ** 40, 2 ** 53, -1, 0.5 + 400, Number.NaN]);
  for (const id of [2, 4, 1, 7, 2 ** 50] as QuicStream[]) {
    assert.equal(endpoint.read(connection, id), undefined);
    assert.equal(endpoint.stop(connection, id, 1), false);
  }
  assert.ok(endpoint.finish(connection, stream));
  assert.equal(endpoint.finish(connection, stream), false);
  assert.ok(endpoint.close(wire.now, connection, 0, ""));
  for (const gone of [connection, 4_000_000 as QuicConnection]) {
    use(gone, [0, peers]);
    assert.equal(endpoint.openStream(gone, "unidirectional"), undefined);
    assert.equal(endpoint.sendDatagram(gone, Buffer.from("a")), "closed");
    assert.equal(endpoint.maxDatagramSize(gone), undefined);
    assert.equal(endpoint.takeRoundTrip(gone), undefined);
    assert.equal(endpoint.ping(gone), false);
    assert.equal(endpoint.close(wire.now, gone, 0, ""), false);
  }
  wire.pass(5000);
  use(connection, [0, peers]);
  assert.equal(endpoint.read(connection, peers), undefined);
  assert.equal(endpoint.connectionStats(connection), undefined);
  assert.equal(endpoint.stats().panics + wire.server.endpoint.stats().panics, 0);
});

test("a caller's mistakes are errors that name them", { skip }, () => {
  const wire = connected();
  const { endpoint, connection } = wire.server;
  const stream = endpoint.openStream(connection, "unidirectional")!;
  for (const code of [-1, 0.5, 2 ** 53, Number.NaN]) {
    assert.throws(() => endpoint.reset(connection, stream, code), RangeError);
    assert.throws(() => endpoint.stop(connection, stream, code), RangeError);
    assert.throws(() => endpoint.close(wire.now, connection, code, ""), RangeError);
  }
  assert.throws(() => endpoint.setPriority(connection, stream, 2 ** 31), RangeError);
  assert.throws(() => endpoint.read(connection, stream, 0), RangeError);
  for (const now of [Number.NaN, -1, Number.POSITIVE_INFINITY])
    for (const call of [
      () => endpoint.handleTimeout(now),
      () => endpoint.drainTransmits(now),
      () => endpoint.handleDatagrams(now, [{ packet: Buffer.alloc(30), from: wire.clientAddress }]),
    ])
      assert.throws(call, /not a time/);
  const make = (change: object) =>
    loaded.engine!.createEndpoint({
      connectionIds: createCountingCids(17),
      server: { identity: createQuicIdentity().identity },
      ...change,
    });
  const [one, other] = [createQuicIdentity().identity, createQuicIdentity().identity];
  for (const change of [
    { server: { identity: { ...one, privateKey: other.privateKey } } },
    { server: { identity: { ...one, certificateChain: [] } } },
    { server: { identity: { ...one, privateKey: Buffer.from("no key") } } },
    { transport: { maxUdpPayload: 1100 } },
    { secret: Buffer.alloc(31) },
    { connectionIds: createCountingCids(4) },
    { connectionIds: createCountingCids(21) },
  ])
    assert.throws(() => make(change), QuicEngineError);
  assert.throws(() => endpoint.setIdentity({ ...one, privateKey: other.privateKey }), QuicEngineError);
  assert.throws(() => make({ connectionIds: { length: 17, mint: () => Buffer.alloc(16) } }), /16 bytes, not 17/);
  assert.throws(
    () => endpoint.connect(wire.now, { to: { address: "example.org", port: 1 }, certificateHashes: [] }),
    RangeError,
  );
  assertAlive(wire);
});

test("any calls in any order, on a network that loses, end in no bug and leave nothing behind", { skip }, () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = createRandom(seed);
    const any = (below: number) => Math.floor(random() * below);
    const wire = connected({ clientCidLength: 8 * (seed % 2) }, () => {}, {
      delayMs: 5,
      loss: 0.1,
      jitterMs: 5,
      jitterReorders: true,
    });
    for (let step = 0; step < 1500; step++) {
      const { endpoint } = any(2) === 0 ? wire.client : wire.server;
      const connection = (any(20) === 0 ? any(50) : 1 + any(2)) as QuicConnection;
      const stream = any(64) as QuicStream;
      const calls = [
        () => endpoint.openStream(connection, any(2) === 0 ? "bidirectional" : "unidirectional"),
        () => endpoint.write(connection, stream, Buffer.alloc(any(5000))),
        () => endpoint.write(connection, stream, Buffer.alloc(any(50))),
        () => endpoint.read(connection, stream, 1 + any(3000)),
        () => any(4) === 0 && endpoint.finish(connection, stream),
        () => any(4) === 0 && endpoint.reset(connection, stream, any(9)),
        () => any(4) === 0 && endpoint.stop(connection, stream, any(9)),
        () => endpoint.setPriority(connection, stream, any(9) - 4),
        () => endpoint.sendDatagram(connection, Buffer.alloc(any(1300))),
        () => endpoint.maxDatagramSize(connection),
        () => endpoint.ping(connection),
        () => endpoint.takeRoundTrip(connection),
        () => endpoint.connectionStats(connection),
        () => any(300) === 0 && endpoint.close(wire.now, connection, any(9), "any"),
        () => any(100) === 0 && (wire.clientAddress = { address: "203.0.113.9", port: 50_000 + any(100) }),
        () => any(100) === 0 && wire.connect(),
        () => wire.pass(any(30)),
      ];
      calls[any(calls.length)]!();
    }
    wire.pass(2_000_000); // longer than any connection is idle, late probes of the other side included
    for (const { endpoint } of [wire.client, wire.server]) {
      const { panics, connections } = endpoint.stats();
      assert.deepEqual([panics, connections, endpoint.pollTimeout()], [0, 0, undefined], `seed ${seed}`);
    }
  }
});

test("truncated and altered packets of a real handshake neither crash nor confuse", { skip }, () => {
  const recorded: Buffer[] = [];
  const record = connected({}, (wire) => {
    wire.onPacket = (from, packet) => from === "client" && recorded.push(Buffer.from(packet));
  });
  record.client.endpoint.sendDatagram(record.client.connection, Buffer.alloc(100));
  record.pass(100);
  const wire = connected();
  for (const [at, packet] of recorded.entries()) {
    const batch: QuicArrival[] = [];
    for (let size = 0; size <= packet.length; size += size < 100 ? 1 : 13)
      batch.push({ packet: packet.subarray(0, size), from: { address: "192.0.2.1", port: 1000 + at } });
    for (let i = 0; i < packet.length; i += i < 60 ? 1 : 29) {
      const altered = Buffer.from(packet);
      altered[i]! ^= 1 << (i % 8);
      batch.push({ packet: altered, from: wire.clientAddress });
    }
    wire.server.endpoint.handleDatagrams(wire.now, batch);
    wire.pass(50);
  }
  wire.pass(15_000);
  assert.equal(wire.server.endpoint.stats().panics, 0);
  assert.equal(wire.server.endpoint.stats().connections, 1);
  assertAlive(wire);
});

function connected(
  options: Partial<QuicPairOptions> = {},
  prepare: (wire: QuicPair) => void = () => {},
  impairments: Impairments = { delayMs: 5 },
): QuicPair {
  const [up, down] = [new Link<Address>(impairments, 1), new Link<Address>(impairments, 2)];
  const transport = { idleTimeoutMs: 300_000 };
  const wire = new QuicPair({ engine: loaded.engine!, up, down, transport, ...options });
  prepare(wire);
  wire.connect();
  assert.ok(wire.run(() => wire.server.of("connected").length > 0 && wire.client.of("connected").length > 0));
  wire.pass(100);
  return wire;
}

/** What both sides say is heard. */
function assertAlive(wire: QuicPair): void {
  const connection = wire.server.of("connected")[0]!.connection;
  const [up, down] = [wire.server.of("datagram").length, wire.client.of("datagram").length];
  assert.equal(wire.client.endpoint.sendDatagram(wire.client.connection, Buffer.from("up")), "queued");
  assert.equal(wire.server.endpoint.sendDatagram(connection, Buffer.from("down")), "queued");
  wire.pass(50);
  assert.deepEqual([wire.server.of("datagram").length, wire.client.of("datagram").length], [up + 1, down + 1]);
}

/** Resident memory; of V8's heap only what is used, for its nursery grows with our batches and says nothing of the engine. */
function settledMemory(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let i = 0; i < 3; i++) collect();
  const { rss, heapTotal, heapUsed } = process.memoryUsage();
  return rss - heapTotal + heapUsed;
}

/** First packets of clients that never say more. */
function spoofedInitials(count: number): Uint8Array[] {
  const spoofer = loaded.engine!.createEndpoint({ connectionIds: createCountingCids(8) });
  const to = { address: "198.51.100.7", port: 3478 };
  for (let i = 0; i < count; i++) spoofer.connect(0, { to, certificateHashes: [Buffer.alloc(32)] });
  return spoofer.drainTransmits(0).map(({ packet }) => packet);
}

function bytes(size: number, seed: string): Buffer {
  const blocks = Array.from({ length: Math.ceil(size / 32) }, (_, i) =>
    createHash("sha256").update(`${seed}${i}`).digest(),
  );
  return Buffer.concat(blocks).subarray(0, size);
}
