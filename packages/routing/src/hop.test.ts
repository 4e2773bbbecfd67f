import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { classify } from "./demux.ts";
import { decodeHop, encodeHop, type HopHeader, looksLikeHop, MAX_HOP_HEADER_SIZE } from "./hop.ts";

const key = randomBytes(32);
const v4: HopHeader = { address: Uint8Array.of(192, 0, 2, 1), port: 5004, unverified: false, entryRelay: 0 };
const v6: HopHeader = { ...v4, address: new Uint8Array(16).fill(0x20) };
const payload = Uint8Array.of(0x80, 111, 1, 2, 3);

const header = fc.record({
  address: fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 })),
  port: fc.integer({ min: 1, max: 65_535 }),
  unverified: fc.boolean(),
  entryRelay: fc.integer({ min: 0, max: 255 }),
});

test("reads what it wrote, tagged or not, within 24 bytes", () => {
  fc.assert(
    fc.property(header, fc.uint8Array({ minLength: 1, maxLength: 1500 }), fc.boolean(), (sent, body, tagged) => {
      const packet = encodeHop(sent, body, tagged ? key : undefined);
      assert.ok(packet.length - body.length <= MAX_HOP_HEADER_SIZE);
      const read = decodeHop(packet, tagged ? [randomBytes(32), key] : undefined)!;
      assert.deepEqual(
        { ...read, address: new Uint8Array(read.address), payload: new Uint8Array(read.payload) },
        {
          ...sent,
          payload: body,
        },
      );
    }),
  );
});

test("writes the bytes that docs/hop.md shows", () => {
  const hex = (packet: Uint8Array) => Buffer.from(packet).toString("hex");
  assert.equal(hex(encodeHop(v4, payload)), "0800138cc0000201806f010203");
  assert.equal(hex(encodeHop({ ...v4, unverified: true, entryRelay: 7 }, payload)), "0907138cc0000201806f010203");
  assert.equal(hex(encodeHop(v6, payload)), `0c00138c${"20".repeat(16)}806f010203`);
  assert.equal(hex(encodeHop(v4, payload, new Uint8Array(32))).slice(0, 16), "0a00138cc0000201");
});

test("no protocol of a client looks like a hop datagram, and no hop datagram like one of theirs", () => {
  for (const sent of [v4, v6]) assert.equal(classify(encodeHop(sent, new Uint8Array(100), key)), undefined);
  for (let first = 0; first < 256; first++) {
    const packet = Uint8Array.of(first, ...new Uint8Array(40));
    assert.ok(!(looksLikeHop(packet) && classify(packet) !== undefined));
  }
});

test("refuses every truncation, an empty payload, port 0 and other versions", () => {
  for (const sent of [v4, v6])
    for (const tag of [undefined, key]) {
      const packet = encodeHop(sent, payload, tag);
      const size = packet.length - payload.length;
      for (let end = 0; end <= size; end++) assert.equal(decodeHop(packet.subarray(0, end), tag && [tag]), undefined);
    }
  assert.equal(decodeHop(encodeHop({ ...v4, port: 0 }, payload)), undefined);
  assert.equal(decodeHop(Uint8Array.of(0x10, ...encodeHop(v4, payload).subarray(1))), undefined);
});

test("with keys nothing untagged, altered or tagged by a stranger passes, without keys nothing tagged", () => {
  const packet = encodeHop(v6, payload, key);
  assert.ok(decodeHop(packet, [key]));
  assert.equal(decodeHop(packet), undefined);
  assert.equal(decodeHop(packet, [randomBytes(32)]), undefined);
  assert.equal(decodeHop(encodeHop(v6, payload), [key]), undefined);
  for (let bit = 0; bit < packet.length * 8; bit++) {
    const flipped = Uint8Array.from(packet);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(decodeHop(flipped, [key]), undefined, `bit ${bit}`);
  }
});

test("never throws on random bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (packet) => {
      decodeHop(packet);
      decodeHop(Uint8Array.of(0x0a, ...packet), [key]);
    }),
    { numRuns: 2000 },
  );
});
