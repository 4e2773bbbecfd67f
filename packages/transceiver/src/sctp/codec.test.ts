import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeData,
  decodeForwardTsn,
  decodeInit,
  decodeSack,
  encodeData,
  encodeForwardTsn,
  encodeInit,
  encodeSack,
} from "./chunks.ts";
import { openCookie, sealCookie } from "./cookie.ts";
import { crc32c } from "./crc32c.ts";
import { CHUNK, decodeParameters, decodeSctpPacket, encodeChunk, encodeParameter, encodeSctpPacket } from "./packet.ts";
import { unwrap16, unwrap32 } from "./serial.ts";

const ascii = (text: string) => Buffer.from(text);
const header = { sourcePort: 5000, destinationPort: 5001, verificationTag: 0xdeadbeef };
const readBack = (chunk: Uint8Array) => decodeSctpPacket(encodeSctpPacket(header, [chunk]))!.chunks[0]!;
const init = {
  tag: 7,
  receiveWindow: 65_536,
  outboundStreams: 1024,
  inboundStreams: 3,
  initialTsn: 0xffffffff,
  forwardTsn: true,
  reconfig: true,
};

test("computes CRC32c: RFC 3720's vectors (appendix B.4) and the usual one", () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c);
  assert.equal(crc32c(ascii("123456789")), 0xe3069283);
});

test("reads what it writes, whatever it is", () => {
  const u16 = fc.nat(0xffff);
  const u32 = fc.nat(0xffffffff);
  const data = fc.record({
    tsn: u32,
    stream: u16,
    ssn: u16,
    ppid: u32,
    unordered: fc.boolean(),
    begins: fc.boolean(),
    ends: fc.boolean(),
    immediate: fc.boolean(),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  });
  fc.assert(
    fc.property(data, (each) => {
      const { flags, value } = readBack(encodeData(each));
      assert.deepEqual(decodeData(flags, value), { ...each });
    }),
    { seed: 1 },
  );
  const sack = {
    cumulativeTsn: 5,
    receiveWindow: 9,
    gaps: [
      [2, 2],
      [4, 60_000],
    ] as const,
    duplicates: [1, 0xfffffffe],
  };
  assert.deepEqual(decodeSack(readBack(encodeSack(sack)).value), sack);
  const forward = { newCumulativeTsn: 0xfffffff0, streams: [{ stream: 1, ssn: 2 }] };
  assert.deepEqual(decodeForwardTsn(readBack(encodeForwardTsn(forward)).value), forward);
  const { cookie, unrecognized, ...read } = decodeInit(readBack(encodeInit(CHUNK.init, init)).value)!;
  assert.deepEqual(read, init);
  assert.deepEqual([cookie, unrecognized], [undefined, []]);
});

test("reports unknown parameters of INIT as their bits ask for, and stops where they ask for it", () => {
  const body = (type: number) =>
    Buffer.concat([
      readBack(encodeInit(CHUNK.init, { ...init, forwardTsn: false, reconfig: false })).value,
      encodeParameter(type, Uint8Array.of(1)),
      encodeParameter(0xc000, new Uint8Array(0)),
    ]);
  assert.deepEqual(decodeInit(body(0xc123))!.unrecognized, [encodeParameter(0xc123, Uint8Array.of(1))]);
  assert.deepEqual(
    [0xc123, 0x8123, 0x4123, 0x0123].map((type) => {
      const { unrecognized, forwardTsn } = decodeInit(body(type))!;
      return [unrecognized!.length, forwardTsn];
    }),
    [
      [1, true],
      [0, true],
      [1, false],
      [0, false],
    ],
  );
});

test("refuses a wrong checksum, and every truncation", () => {
  const packet = encodeSctpPacket(header, [encodeInit(CHUNK.init, init), encodeChunk(CHUNK.cookieAck, 0)]);
  assert.equal(decodeSctpPacket(packet)?.chunks.length, 2);
  for (let bit = 0; bit < packet.length * 8; bit++) {
    const flipped = packet.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(decodeSctpPacket(flipped), undefined);
  }
  for (let size = 0; size < packet.length; size++) assert.equal(decodeSctpPacket(packet.subarray(0, size)), undefined);
});

test("refuses what would keep a parser busy for ever: lengths of zero, and beyond the end", () => {
  const chunk = (type: number, length: number, body: readonly number[]) =>
    encodeSctpPacket(header, [Uint8Array.from([type, 0, length >> 8, length & 255, ...body])]);
  assert.ok(decodeSctpPacket(chunk(CHUNK.heartbeat, 12, [0, 1, 0, 8, 1, 2, 3, 4])));
  for (const length of [0, 3, 13, 0xffff])
    assert.equal(decodeSctpPacket(chunk(CHUNK.heartbeat, length, [0, 1, 0, 8, 1, 2, 3, 4])), undefined);
  for (const length of [0, 3, 9]) assert.equal(decodeParameters(Uint8Array.of(0, 1, 0, length, 1, 2, 3, 4)), undefined);
  assert.equal(decodeSack(Uint8Array.of(0, 0, 0, 1, 0, 0, 16, 0, 0, 9, 0, 0)), undefined);
});

test("opens its cookies and no other's, for a minute", () => {
  const key = new Uint8Array(32).fill(1);
  const state = { localTag: 1, tieTags: [2, 3], peer: { ...init, reconfig: false } } as const;
  const cookie = sealCookie(key, 1_000, state);
  assert.deepEqual(openCookie(key, 61_000, cookie), { ...state, sealedAt: 1_000 });
  assert.equal(openCookie(key, 61_001, cookie), "stale");
  assert.equal(openCookie(key, 999, cookie), "stale");
  assert.equal(openCookie(new Uint8Array(32), 1_000, cookie), undefined);
  for (let at = 0; at < cookie.length; at++)
    assert.equal(openCookie(key, 1_000, cookie.with(at, cookie[at]! ^ 1)), undefined);
});

test("unwraps numbers on both sides of a wrap", () => {
  const wrap = 2 ** 32;
  assert.equal(unwrap32(2 * wrap - 1, 0), 2 * wrap);
  assert.equal(unwrap32(2 * wrap, 0xffffffff), 2 * wrap - 1);
  assert.equal(unwrap32(wrap + 9, 10), wrap + 10); // 9 and 10 are where sorting as text fails
  assert.equal(unwrap16(0x1ffff, 0), 0x20000);
  assert.equal(unwrap16(0x20000, 0xffff), 0x1ffff);
});
