import assert from "node:assert/strict";
import { test } from "node:test";
import { type Impairments, Link } from "@sluice/netem";
import { encodeSack } from "./chunks.ts";
import { CHUNK, decodeSctpPacket, encodeChunk, encodeSctpPacket } from "./packet.ts";
import { type End, openGoodWire, Pair, type PairOptions, textsOf } from "./testing.ts";

const text = (words: string, stream = 0) => ({ stream, ppid: 51, bytes: Buffer.from(words) });
type Options = Omit<PairOptions<Link>, "openWire"> & { readonly network?: Impairments };
const pairOf = ({ network = { delayMs: 20 }, ...options }: Options) =>
  new Pair({ ...options, openWire: (seed) => new Link(network, seed) });
const kinds = ({ events }: End) => events.map(({ kind }) => kind);
const BAD: Impairments = { delayMs: 20, jitterMs: 8, jitterReorders: true, loss: 0.2, reorder: 0.05, duplicate: 0.05 };

test("both ends begin at once, or one of them", () => {
  const both = pairOf({ seed: 1 });
  both.connect();
  assert.deepEqual([kinds(both.a), kinds(both.b)], [["established"], ["established"]]);
  const one = pairOf({ seed: 2 });
  one.a.association.connect(0);
  one.run(200);
  assert.deepEqual([kinds(one.a), kinds(one.b)], [["established"], ["established"]]);
  assert.equal(one.now, 200, "and is still after it");
});

test("answers of the handshake that are lost go again before the peer would ask", () => {
  for (const lost of [CHUNK.initAck, CHUNK.cookieAck]) {
    let losses = 0;
    const pair = new Pair({
      seed: 4,
      openWire: () => {
        const wire = openGoodWire();
        const loses = (packet: Uint8Array) => decodeSctpPacket(packet)!.chunks[0]!.type === lost && losses++ === 0;
        return { ...wire, handlePacket: (now, packet) => loses(packet) || wire.handlePacket(now, packet, undefined) };
      },
    });
    pair.a.association.connect(0); // it alone: its patience is 250 ms
    assert.ok(pair.run(200, () => pair.a.association.isEstablished && pair.b.association.isEstablished));
    pair.run(5_000);
    assert.deepEqual([kinds(pair.a), kinds(pair.b)], [["established"], ["established"]]);
  }
});

test("a cookie that comes back tells of the round trip", () => {
  const pair = pairOf({ seed: 5, network: { delayMs: 45 } });
  pair.a.association.connect(0);
  pair.run(1_000);
  assert.equal(pair.b.association.roundTripMs, 90);
});

test("comes up through 20 % loss, reordering and duplicates, whoever begins", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const pair = pairOf({ seed, network: BAD });
    pair.a.association.connect(0);
    if (seed % 2) pair.b.association.connect(0);
    assert.ok(
      pair.run(20_000, () => pair.a.association.isEstablished && pair.b.association.isEstablished),
      `seed ${seed}`,
    );
  }
});

test("events of all sizes arrive once and in order, both ways, under 20 % loss, across the wrap of TSNs", () => {
  for (let seed = 1; seed <= 60; seed++) {
    // Beginnings around the wrap and around changes in the number of digits.
    const pair = pairOf({ seed, network: BAD, firstTsns: [2 ** 32 - 1 - (seed % 40), 10 ** (seed % 9) - 5] });
    pair.connect();
    const expected: string[] = [];
    for (let i = 0; i < 60; i++) {
      expected.push(`${i} ${"x".repeat((i * i * 17) % 4_000)}`);
      pair.a.association.send(pair.now, text(expected[i]!));
      pair.b.association.send(pair.now, text(expected[i]!));
      pair.run(pair.now + 50);
    }
    const isDone = () => textsOf(pair.a).length >= 60 && textsOf(pair.b).length >= 60;
    assert.ok(
      pair.run(pair.now + 60_000, isDone),
      `seed ${seed}: ${textsOf(pair.a).length}, ${textsOf(pair.b).length}`,
    );
    assert.deepEqual(textsOf(pair.a), expected);
    assert.deepEqual(textsOf(pair.b), expected);
    pair.run(pair.now + 10_000);
    assert.deepEqual([pair.a.association.bufferedBytes, pair.b.association.bufferedBytes], [0, 0]);
  }
});

test("an event waits for little under 20 % loss", () => {
  const waits: number[] = [];
  for (let seed = 1; seed <= 20; seed++) {
    const pair = pairOf({ seed, network: { delayMs: 20, loss: 0.2 } });
    pair.connect();
    for (let i = 0; i < 100; i++) {
      const sentAt = pair.now;
      pair.a.association.send(pair.now, text("an event ".repeat(20)));
      assert.ok(pair.run(pair.now + 20_000, () => textsOf(pair.b).length > i));
      waits.push(pair.now - sentAt);
      pair.run(sentAt + 100);
    }
  }
  waits.sort((x, y) => x - y);
  const [median, p99] = [waits[waits.length / 2]!, waits[Math.floor(waits.length * 0.99)]!];
  assert.ok(median <= 25 && p99 < 1_200, `${median}, ${p99}`);
});

test("a message as long as it may be, and one that is too long and costs nothing but itself", () => {
  const pair = pairOf({ seed: 3, network: { delayMs: 10, loss: 0.05 } });
  pair.connect();
  for (const size of [262_144, 262_145, 5]) pair.a.association.send(pair.now, text("y".repeat(size)));
  pair.run(60_000);
  assert.deepEqual(
    textsOf(pair.b).map(({ length }) => length),
    [262_144, 5],
  );
  assert.equal(pair.b.association.tooLong, 1);
});

test("unordered messages do not wait for one that is lost; other streams do not either", () => {
  const pair = pairOf({ seed: 4 });
  pair.connect();
  pair.links.up.impair({ delayMs: 20, blackhole: true });
  pair.a.association.send(pair.now, text("lost", 1));
  pair.settle();
  pair.links.up.impair({ delayMs: 20 });
  pair.a.association.send(pair.now, text("waits", 1));
  pair.a.association.send(pair.now, { ...text("unordered", 1), unordered: true });
  pair.a.association.send(pair.now, text("other", 2));
  pair.run(pair.now + 25);
  assert.deepEqual(textsOf(pair.b), ["unordered", "other"]);
  pair.run(pair.now + 2_000);
  assert.deepEqual(textsOf(pair.b), ["unordered", "other", "lost", "waits"]);
});

test("what may be lost is given up, and what comes after it is not held up", () => {
  for (const limit of [{ maxRetransmits: 0 }, { expiresAt: 500 }]) {
    for (const unordered of [false, true]) {
      const pair = pairOf({ seed: 5 });
      pair.connect();
      pair.links.up.impair({ delayMs: 20, blackhole: true });
      pair.a.association.send(pair.now, { ...text("x".repeat(3_000)), ...limit, unordered });
      pair.run(pair.now + 600);
      pair.links.up.impair({ delayMs: 20 });
      pair.a.association.send(pair.now, { ...text("after it"), unordered });
      pair.run(pair.now + 5_000);
      assert.deepEqual(textsOf(pair.b), ["after it"]);
      assert.equal(pair.a.association.bufferedBytes, 0);
    }
  }
});

test("partial reliability under loss: what arrives is whole, in order, and nothing stands still", () => {
  for (let seed = 1; seed <= 250; seed++) {
    const pair = pairOf({ seed, network: BAD, firstTsns: [2 ** 32 - 50, 1] });
    pair.connect();
    for (let i = 0; i < 100; i++) {
      const words = `${i} ${"z".repeat((i * 331) % 3_000)}`;
      pair.a.association.send(pair.now, { ...text(words), maxRetransmits: i % 2 });
      pair.run(pair.now + 20);
    }
    pair.a.association.send(pair.now, text("the end"));
    assert.ok(
      pair.run(pair.now + 30_000, () => textsOf(pair.b).at(-1) === "the end"),
      `seed ${seed}`,
    );
    const numbers = textsOf(pair.b)
      .slice(0, -1)
      .map((each) => Number.parseInt(each, 10));
    assert.deepEqual(
      numbers,
      [...numbers].sort((x, y) => x - y),
    );
    assert.equal(new Set(numbers).size, numbers.length);
    assert.ok(numbers.length > 40, `${numbers.length} of 100`);
    pair.run(pair.now + 10_000);
    assert.equal(pair.a.association.bufferedBytes, 0);
  }
});

test("resets streams while data is on the way, and counts them anew", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const pair = pairOf({ seed, network: BAD });
    pair.connect();
    for (const round of ["first", "second"]) {
      const wasReset = () => pair.b.events.filter(({ kind }) => kind === "streamsReset").length;
      const before = wasReset();
      for (let i = 0; i < 5; i++) pair.a.association.send(pair.now, text(`${round} ${i}`, 4));
      pair.a.association.resetStream(4);
      assert.equal(pair.a.association.send(pair.now, text("too late", 4)), false);
      assert.ok(
        pair.run(pair.now + 30_000, () => wasReset() > before),
        `seed ${seed}`,
      );
      assert.ok(pair.run(pair.now + 30_000, () => pair.a.association.send(pair.now, text(`${round} end`, 4))));
      pair.run(pair.now + 10_000);
    }
    const expected = ["first", "second"].flatMap((round) => [0, 1, 2, 3, 4, "end"].map((each) => `${round} ${each}`));
    assert.deepEqual(textsOf(pair.b), expected);
    const reset = pair.b.events.find(({ kind }) => kind === "streamsReset");
    assert.deepEqual(reset, { kind: "streamsReset", streams: [4] });
  }
});

test("ends when all is acknowledged, on both sides, under loss", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const pair = pairOf({ seed, network: BAD });
    pair.connect();
    for (let i = 0; i < 20; i++) pair.a.association.send(pair.now, text(`${i}`));
    pair.b.association.send(pair.now, text("from the other side"));
    pair.a.association.shutdown(pair.now);
    if (seed % 3 === 0) pair.b.association.shutdown(pair.now);
    assert.equal(pair.a.association.send(pair.now, text("too late")), false);
    const isClosed = (end: End) => kinds(end).at(-1) === "closed";
    assert.ok(
      pair.run(pair.now + 120_000, () => isClosed(pair.a) && isClosed(pair.b)),
      `seed ${seed}`,
    );
    assert.deepEqual(
      textsOf(pair.b),
      Array.from({ length: 20 }, (_, i) => `${i}`),
    );
    assert.deepEqual(textsOf(pair.a), ["from the other side"]);
    assert.equal(pair.a.association.pollTimeout(), undefined);
  }
});

test("an abort ends the other side at once", () => {
  const pair = pairOf({ seed: 6 });
  pair.connect();
  pair.a.association.abort();
  pair.run(pair.now + 30);
  assert.deepEqual(pair.b.events.at(-1), { kind: "closed", reason: "the peer aborted SCTP" });
  assert.deepEqual(kinds(pair.a), ["established"]);
});

test("goes on after half a minute without a path", () => {
  const pair = pairOf({ seed: 7, network: { delayMs: 20, loss: 0.02 } });
  pair.connect();
  const { up, down } = pair.links;
  for (const link of [up, down]) link.impair({ delayMs: 20, blackhole: true });
  for (let i = 0; i < 30; i++) {
    pair.a.association.send(pair.now, text(`${i}`));
    pair.run(pair.now + 1_000);
  }
  assert.ok(pair.a.packets < 100, `${pair.a.packets} packets into nothing`);
  for (const link of [up, down]) link.impair({ delayMs: 20 });
  const back = pair.now;
  assert.ok(pair.run(pair.now + 10_000, () => textsOf(pair.b).length === 30));
  assert.ok(pair.now - back < 2_200, `after ${pair.now - back} ms`);
});

test("is quiet while there is nothing to say, but for a heartbeat that is answered", () => {
  const pair = pairOf({ seed: 8 });
  pair.connect();
  pair.run(pair.now + 1_000);
  const before = pair.a.packets + pair.b.packets;
  pair.run(pair.now + 300_000);
  const sent = pair.a.packets + pair.b.packets - before;
  assert.ok(sent >= 32 && sent <= 60, `${sent}`);
  assert.equal(Math.round(pair.a.association.roundTripMs!), 40);
});

test("a narrow path is not overrun, and is used", () => {
  const pair = pairOf({ seed: 9, network: { delayMs: 30, bitsPerSecond: 1_000_000, queueBytes: 40_000 } });
  pair.connect();
  const from = pair.now;
  for (let i = 0; i < 4; i++) pair.a.association.send(pair.now, text("w".repeat(200_000)));
  assert.ok(pair.run(from + 20_000, () => textsOf(pair.b).length === 4));
  assert.ok(pair.now - from < 9_000, `${pair.now - from} ms for 6,400 ms of path`);
  const { sent, queueDropped } = pair.links.up.stats;
  assert.ok(queueDropped < sent * 0.15, `${queueDropped} of ${sent} packets were too much`);
});

test("a peer that begins anew, acknowledges what was not sent, or sends nothing as data ends the association", () => {
  const spoiled: Record<string, Uint8Array> = {
    "the peer acknowledged what was not sent": encodeSack({
      cumulativeTsn: 77,
      receiveWindow: 1_000,
      gaps: [],
      duplicates: [],
    }),
    "the peer sent a chunk without data": encodeChunk(CHUNK.data, 3, new Uint8Array(12)),
    "the peer aborted SCTP": encodeChunk(CHUNK.abort, 0),
  };
  for (const [reason, chunk] of Object.entries(spoiled)) {
    const pair = pairOf({ seed: 10, firstTsns: [50, 0xffffffff] });
    pair.connect();
    const verificationTag = pair.a.association.tag;
    const packet = encodeSctpPacket({ sourcePort: 5000, destinationPort: 5000, verificationTag }, [chunk]);
    pair.a.association.handlePacket(pair.now, packet);
    pair.settle();
    assert.deepEqual(pair.a.events.at(-1), { kind: "closed", reason });
  }
  const pair = pairOf({ seed: 11 });
  pair.connect();
  const anew = pairOf({ seed: 12 });
  anew.b.association.connect(0);
  // The new one talks to the old a.
  for (let i = 0; i < 3; i++) {
    for (let packet = anew.b.association.nextPacket(0); packet; packet = anew.b.association.nextPacket(0))
      pair.a.association.handlePacket(pair.now, packet);
    for (let packet = pair.a.association.nextPacket(pair.now); packet; packet = pair.a.association.nextPacket(pair.now))
      anew.b.association.handlePacket(0, packet);
  }
  pair.settle();
  assert.deepEqual(pair.a.events.at(-1), { kind: "closed", reason: "the peer began SCTP anew" });
});
