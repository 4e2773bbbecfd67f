/** A peer that has authenticated itself and means harm: whatever it sends, nothing throws and nothing grows. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom } from "@sluice/netem";
import { encodeData, encodeForwardTsn, encodeSack } from "./chunks.ts";
import { CHUNK, encodeChunk, encodeSctpPacket } from "./packet.ts";
import { openGoodWire, Pair } from "./testing.ts";

const FIRST = 0xffffff00; // the wrap is near

function victimOf(seed: number) {
  const pair = new Pair({ seed, openWire: openGoodWire, firstTsns: [FIRST, FIRST] });
  pair.connect();
  const { association } = pair.a;
  let closed = false;
  return {
    association,
    isClosed: () => closed,
    /** What it answers to chunks in one packet, in packets. */
    hit(...chunks: readonly Uint8Array[]): number {
      const header = { sourcePort: 5000, destinationPort: 5000, verificationTag: association.tag };
      association.handlePacket(pair.now, encodeSctpPacket(header, chunks));
      let answers = 0;
      while (association.nextPacket(pair.now)) answers += 1;
      for (let event = association.nextEvent(); event; event = association.nextEvent())
        if (event.kind === "closed") closed = true;
      return answers;
    },
    wait(ms: number) {
      pair.now += ms;
      association.handleTimeout(pair.now);
      while (association.nextPacket(pair.now)) {}
    },
  };
}

const dataOf = (tsn: number, more: Partial<Parameters<typeof encodeData>[0]> = {}) =>
  encodeData({
    tsn: tsn >>> 0,
    stream: 0,
    ssn: 0,
    ppid: 51,
    unordered: false,
    begins: true,
    ends: true,
    immediate: false,
    bytes: new Uint8Array(1_000),
    ...more,
  });

test("fragments that never end, numbers whose turn never comes, and holes hold no more than the window", () => {
  const floods: Record<string, (i: number) => Uint8Array> = {
    "one message without end": (i) => dataOf(FIRST + i, { begins: i === 0, ends: false }),
    "fragments without beginning": (i) => dataOf(FIRST + 1 + i, { begins: false, ends: false }),
    "messages whose turn never comes": (i) => dataOf(FIRST + i, { ssn: i + 1 }),
    "messages of one byte whose turn never comes": (i) =>
      dataOf(FIRST + i, { ssn: i + 1, stream: i % 900, bytes: new Uint8Array(1) }),
    "a hole before each": (i) => dataOf(FIRST + 1 + 2 * i),
    "far ahead": (i) => dataOf(FIRST + 5_000 + i),
    "the same stream's parts on others": (i) => dataOf(FIRST + i, { stream: i, begins: false, ends: false }),
  };
  for (const [name, chunk] of Object.entries(floods)) {
    const victim = victimOf(1);
    for (let i = 0; i < 20_000; i++) {
      assert.ok(victim.hit(chunk(i)) <= 2, name);
      assert.ok(victim.association.heldBytes <= 1_100_000, `${name}: ${victim.association.heldBytes}`);
    }
  }
});

test("one packet of many questions gets few answers", () => {
  const victim = victimOf(2);
  const heartbeats = Array.from({ length: 200 }, () => encodeChunk(CHUNK.heartbeat, 0, Uint8Array.of(0, 1, 0, 4)));
  const unknown = Array.from({ length: 200 }, () => encodeChunk(0xff, 0));
  const resets = Array.from({ length: 50 }, (_, i) =>
    encodeChunk(CHUNK.reconfig, 0, Uint8Array.of(0, 13, 0, 16, 0, 0, 0, i, 0, 0, 0, 0, 0, 0, 0, 0)),
  );
  for (const chunks of [heartbeats, unknown, resets]) assert.ok(victim.hit(...chunks) <= 2);
});

test("random chunks of a peer that knows all numbers: nothing throws, nothing grows, timers stay in hand", () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = createRandom(seed);
    const below = (limit: number) => Math.floor(random() * limit);
    const victim = victimOf(seed);
    for (let i = 0; i < 10; i++) victim.association.send(0, { stream: i % 3, ppid: 51, bytes: new Uint8Array(3_000) });
    victim.wait(0);
    const chunks = [
      () =>
        dataOf(FIRST + below(600), {
          stream: below(1_200),
          ssn: below(8),
          unordered: below(2) === 0,
          begins: below(2) === 0,
          ends: below(2) === 0,
          bytes: new Uint8Array(1 + below(1_100)),
        }),
      () =>
        encodeForwardTsn({
          newCumulativeTsn: (FIRST + below(500)) >>> 0,
          streams: [{ stream: below(5), ssn: below(9) }],
        }),
      () =>
        encodeSack({
          cumulativeTsn: (FIRST - 1 + below(6)) >>> 0,
          receiveWindow: below(3) * 3_000,
          gaps: below(2) ? [] : [[2 + below(2), 4 + below(2)]],
          duplicates: [],
        }),
      () =>
        encodeChunk(
          [4, 5, 9, 130, 192, 3, 0, 7, 11, 64, 200][below(11)]!,
          below(8),
          Uint8Array.from({ length: below(30) }, () => below(256)),
        ),
    ];
    for (let i = 0; i < 400 && !victim.isClosed(); i++) {
      victim.hit(...Array.from({ length: 1 + below(3) }, () => chunks[below(chunks.length)]!()));
      if (below(4) === 0) victim.wait(below(400));
      assert.ok(victim.association.heldBytes <= 1_100_000);
      assert.ok(victim.association.bufferedBytes <= 30_000);
    }
  }
});
