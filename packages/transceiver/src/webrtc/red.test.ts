import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeRed, encodeRed, RED_MAX_BLOCK_SIZE } from "./red.ts";

test("writes the headers of RFC 2198 section 3", () => {
  const payload = {
    redundant: [{ payloadType: 111, timestampOffset: 960, payload: Buffer.from("aabbcc", "hex") }],
    primary: { payloadType: 111, payload: Buffer.from("dd", "hex") },
  };
  assert.equal(encodeRed(payload).toString("hex"), "ef0f00036faabbccdd");
  assert.deepEqual(decodeRed(encodeRed(payload)), payload);
});

test("reads a packet of two redundant blocks, oldest first", () => {
  const read = decodeRed(Buffer.from("ef1e0002ef0f00016faabbccdd", "hex"))!;
  assert.deepEqual(
    read.redundant.map(({ timestampOffset, payload }) => [timestampOffset, Buffer.from(payload).toString("hex")]),
    [
      [1920, "aabb"],
      [960, "cc"],
    ],
  );
  assert.equal(Buffer.from(read.primary.payload).toString("hex"), "dd");
});

test("any payload survives a round trip", () => {
  const bytes = fc.uint8Array({ maxLength: RED_MAX_BLOCK_SIZE }).map((bytes) => Buffer.from(bytes));
  const plain = { noNullPrototype: true } as const;
  const block = fc.record({ payloadType: fc.nat(127), timestampOffset: fc.nat(0x3fff), payload: bytes }, plain);
  const primary = fc.record({ payloadType: fc.nat(127), payload: bytes }, plain);
  fc.assert(
    fc.property(fc.record({ redundant: fc.array(block, { maxLength: 9 }), primary }, plain), (payload) =>
      assert.deepEqual(decodeRed(encodeRed(payload)), payload),
    ),
  );
});

test("refuses what ends within headers or redundant blocks, and endless headers", () => {
  const whole = Buffer.from("ef1e0002ef0f00016faabbcc", "hex");
  assert.ok(decodeRed(whole));
  for (let size = 0; size < whole.length; size++) assert.equal(decodeRed(whole.subarray(0, size)), undefined);
  assert.equal(decodeRed(Buffer.from(`${"ef000000".repeat(10)}6f`, "hex")), undefined);
});

test("random bytes never throw", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void decodeRed(bytes)));
});
