import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeWav, parseWav } from "./wav.ts";

const file = encodeWav({ sampleRate: 48_000, channels: 1, pcm: Int16Array.of(0, 1, -1, 32_767, -32_768) });

test("writes the canonical 44-byte header", () => {
  const header = "52494646 2e000000 57415645 666d7420 10000000 0100 0100 80bb0000 00770100 0200 1000 64617461 0a000000";
  assert.equal(Buffer.from(file.subarray(0, 44)).toString("hex"), header.replaceAll(" ", ""));
});

test("reads what it wrote", () => {
  const shape = { sampleRate: fc.integer({ min: 1, max: 192_000 }), channels: fc.constant(1), pcm: fc.int16Array() };
  const wavs = fc.record(shape, { noNullPrototype: true });
  fc.assert(fc.property(wavs, (wav) => assert.deepEqual(parseWav(encodeWav(wav)), wav)));
});

test("skips chunks that it does not know, padded to even sizes", () => {
  const odd = Buffer.from("LIST\x03\0\0\0abc\0", "latin1");
  const bytes = Buffer.concat([file.subarray(0, 12), odd, file.subarray(12)]);
  assert.deepEqual(parseWav(bytes)?.pcm, Int16Array.of(0, 1, -1, 32_767, -32_768));
});

test("gives the samples that are there of a file cut short", () => {
  for (let size = 0; size < file.length; size++) {
    const wav = parseWav(file.subarray(0, size));
    assert.equal(wav?.pcm.length, size < 44 ? undefined : Math.floor((size - 44) / 2));
  }
});

test("refuses other formats", () => {
  const eightBit = Buffer.from(file);
  eightBit.writeUInt16LE(8, 34);
  assert.equal(parseWav(eightBit), undefined);
});

test("never throws on noise", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(43), (noise, kept) => {
      parseWav(Buffer.concat([file.subarray(0, kept), noise]));
    }),
    { numRuns: 2000 },
  );
});
