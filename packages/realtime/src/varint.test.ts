import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeVarint, encodeVarint, varintSize } from "./varint.ts";

const hex = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

test("agrees with the vectors of RFC 9000, appendix A.1", () => {
  // The first is 2^57 and more: a number holds it only nearly.
  assert.deepEqual(decodeVarint(hex("c2197c5eff14e88c")), { value: Number(151_288_809_941_952_652n), end: 8 });
  const vectors = [
    ["9d7f3e7d", 494_878_333],
    ["7bbd", 15_293],
    ["25", 37],
  ] as const;
  for (const [bytes, value] of vectors) {
    assert.deepEqual(decodeVarint(hex(bytes)), { value, end: bytes.length / 2 });
    assert.deepEqual(encodeVarint(value), hex(bytes));
  }
  assert.deepEqual(decodeVarint(hex("4025")), { value: 37, end: 2 }, "longer than it need be is allowed");
});

test("gives back every integer, wherever it stands", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.uint8Array({ maxLength: 9 }), (value, before) => {
      const bytes = encodeVarint(value);
      assert.equal(bytes.length, varintSize(value));
      const placed = Uint8Array.from([...before, ...bytes, 7]);
      assert.deepEqual(decodeVarint(placed, before.length), { value, end: before.length + bytes.length });
    }),
  );
  for (const value of [0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, Number.MAX_SAFE_INTEGER]) {
    assert.equal(decodeVarint(encodeVarint(value))?.value, value);
  }
});

test("waits for the rest of a cut integer", () => {
  for (const value of [64, 2 ** 20, 2 ** 40]) {
    const bytes = encodeVarint(value);
    for (let size = 0; size < bytes.length; size++) assert.equal(decodeVarint(bytes.subarray(0, size)), undefined);
  }
});

test("refuses to write what is no such integer", () => {
  for (const value of [-1, 1.5, Number.NaN, 2 ** 53, Infinity]) assert.throws(() => encodeVarint(value), RangeError);
});
