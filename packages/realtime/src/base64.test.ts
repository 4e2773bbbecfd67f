import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeBase64, encodeBase64, encodePortably } from "./base64.ts";

const ascii = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

test("agrees with the vectors of RFC 4648, section 10", () => {
  const vectors = [
    ["", ""],
    ["f", "Zg=="],
    ["fo", "Zm8="],
    ["foo", "Zm9v"],
    ["foob", "Zm9vYg=="],
    ["fooba", "Zm9vYmE="],
    ["foobar", "Zm9vYmFy"],
  ] as const;
  for (const [text, base64] of vectors) {
    assert.equal(encodeBase64(ascii(text)), base64);
    assert.equal(encodePortably(ascii(text)), base64);
    assert.deepEqual(decodeBase64(base64), ascii(text));
    assert.deepEqual(decodeBase64(base64.replaceAll("=", "")), ascii(text));
  }
});

test("gives back any bytes, as Buffer would write them", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20_000 }), (bytes) => {
      const text = encodeBase64(bytes);
      assert.equal(text, Buffer.from(bytes).toString("base64"));
      assert.deepEqual(decodeBase64(text), bytes);
    }),
    { numRuns: 60 },
  );
});

test("refuses every character outside the alphabet, at every place", () => {
  const good = "Zm9vYmE";
  const valid = /[A-Za-z0-9+/]/;
  for (let code = 0; code < 300; code++) {
    const char = String.fromCharCode(code);
    for (let at = 0; at < good.length; at++) {
      const text = good.slice(0, at) + char + good.slice(at + 1);
      assert.equal(decodeBase64(text) !== undefined, valid.test(char), JSON.stringify(text));
    }
  }
});

test("refuses a length that no bytes have, and padding in the wrong place", () => {
  for (const text of ["Z", "Zm9vY", "=", "====", "Z===", "Zg=", "Zg==Zg==", "=Zg="]) {
    assert.equal(decodeBase64(text), undefined, text);
  }
});

test("never throws on any text", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      decodeBase64(text);
    }),
  );
});
