import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeG711, encodeG711, type G711Law } from "./g711.ts";

// G.711 tables 5 and 6: one period of 1 kHz at 0 dBm0, the digital milliwatt.
const milliwatt = {
  pcmu: Uint8Array.of(0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e),
  pcma: Uint8Array.of(0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4),
};
const laws: G711Law[] = ["pcmu", "pcma"];

test("decodes the digital milliwatt of G.711 to a sine of 0 dBm0", () => {
  for (const law of laws) {
    const samples = decodeG711(law, milliwatt[law]);
    const power = samples.reduce((sum, sample) => sum + sample ** 2, 0) / samples.length;
    // A full-scale sine is 3.17 dBm0 in mu-law and 3.14 dBm0 in A-law.
    const dbm0 = 10 * Math.log10((2 * power) / 32124 ** 2) + 3.17;
    assert.ok(Math.abs(dbm0) < 0.25, `${law}: ${dbm0} dBm0`);
  }
});

test("decodes the ends of both scales as G.711 says", () => {
  assert.deepEqual(decodeG711("pcmu", Uint8Array.of(0x00, 0x80, 0x7f, 0xff)), Int16Array.of(-32124, 32124, 0, 0));
  assert.deepEqual(decodeG711("pcma", Uint8Array.of(0x2a, 0xaa, 0x55, 0xd5)), Int16Array.of(-32256, 32256, -8, 8));
});

test("encodes what it decoded to the same code, but for the second zero of mu-law", () => {
  const codes = Uint8Array.from({ length: 256 }, (_, code) => code);
  assert.deepEqual(encodeG711("pcma", decodeG711("pcma", codes)), codes);
  const expected = codes.map((code) => (code === 0x7f ? 0xff : code));
  assert.deepEqual(encodeG711("pcmu", decodeG711("pcmu", codes)), expected);
});

test("errs by at most half a step of the sample's segment", () => {
  const all = Int16Array.from({ length: 65536 }, (_, i) => i - 32768);
  const step = {
    pcmu: (magnitude: number) => 2 ** (Math.floor(Math.log2(magnitude + 132)) - 4),
    pcma: (magnitude: number) => 2 ** Math.max(4, Math.floor(Math.log2(magnitude)) - 4),
  };
  for (const law of laws) {
    const coded = decodeG711(law, encodeG711(law, all));
    for (const [i, sample] of all.entries()) {
      const error = Math.abs(coded[i]! - sample);
      assert.ok(error <= step[law](Math.abs(sample)) / 2, `${law} ${sample} -> ${coded[i]}`);
      assert.ok(i === 0 || coded[i]! >= coded[i - 1]!, `${law} is monotonic at ${sample}`);
    }
  }
});
