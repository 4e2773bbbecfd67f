import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeRtp, encodeRtp, unwrapSequenceNumber, unwrapTimestamp } from "./rtp.ts";

const header = { marker: true, payloadType: 111, sequenceNumber: 0x1234, timestamp: 0xdecafbad, ssrc: 0xcafebabe };

test("writes the header of RFC 3550 section 5.1", () => {
  assert.equal(
    encodeRtp({ ...header, payload: Buffer.from("aabb", "hex") }).toString("hex"),
    "80ef1234decafbadcafebabeaabb",
  );
});

test("any packet survives a round trip", () => {
  fc.assert(
    fc.property(
      fc.record(
        {
          marker: fc.boolean(),
          payloadType: fc.nat(127),
          sequenceNumber: fc.nat(0xffff),
          timestamp: fc.nat(0xffffffff),
          ssrc: fc.nat(0xffffffff),
          payload: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
        },
        { noNullPrototype: true },
      ),
      (packet) => assert.deepEqual(decodeRtp(encodeRtp(packet)), packet),
    ),
  );
});

test("skips contributing sources, one-byte and two-byte header extensions, and padding", () => {
  const payload = Buffer.from("0102", "hex");
  const extensions = [
    "bede000110ff0000", // one-byte form: id 1, one octet
    "10000002010201020000ff00", // two-byte form, length 2
    "123400000", // no form at all
  ];
  for (const extension of extensions) {
    const packet = Buffer.concat([
      Buffer.from("b2ef1234decafbadcafebabe", "hex"),
      Buffer.alloc(8, 7),
      Buffer.from(extension, "hex"),
      payload,
      Buffer.from("000003", "hex"),
    ]);
    assert.deepEqual(decodeRtp(packet), { ...header, payload });
  }
});

test("refuses another version, lying lengths, and every truncation below the header", () => {
  const packet = Buffer.from("91ef1234decafbadcafebabe0000000112340001ffffffff", "hex");
  assert.ok(decodeRtp(packet));
  for (let size = 0; size < packet.length; size++) assert.equal(decodeRtp(packet.subarray(0, size)), undefined);
  for (const hex of ["40ef1234decafbadcafebabe", "a0ef1234decafbadcafebabe00", "a0ef1234decafbadcafebabe02"]) {
    assert.equal(decodeRtp(Buffer.from(hex, "hex")), undefined, hex);
  }
});

test("random bytes never throw", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void decodeRtp(bytes)));
});

test("unwraps to the nearest", () => {
  assert.equal(unwrapSequenceNumber(65_535, 0), 65_536);
  assert.equal(unwrapSequenceNumber(65_536, 65_535), 65_535);
  assert.equal(unwrapSequenceNumber(5 * 65_536 + 10, 65_530), 5 * 65_536 - 6);
  assert.equal(unwrapTimestamp(0xffffffff, 959), 0x1_0000_0000 + 959);
  assert.equal(unwrapTimestamp(3 * 2 ** 32 + 5, 0xfffffff0), 3 * 2 ** 32 - 16);
});
