import assert from "node:assert/strict";
import { test } from "node:test";
import { classify } from "./demux.ts";
import { formatBindingRequest } from "./stun.ts";

const packet = (first: number, second = 0, size = 40) => Uint8Array.of(first, second, ...new Uint8Array(size - 2));

test("tells every first byte apart as RFC 9443 says", () => {
  const expected = (first: number) => {
    if (first >= 20 && first <= 63) return "dtls";
    if ((first >= 64 && first <= 127) || first >= 192) return "quic";
    return first >= 128 ? "srtp" : undefined;
  };
  for (let first = 0; first < 256; first++) assert.equal(classify(packet(first)), expected(first), `${first}`);
});

test("takes STUN only with its cookie and its length", () => {
  const request = formatBindingRequest({ transactionId: new Uint8Array(12), username: "a:b", password: "c" });
  assert.equal(classify(request), "stun");
  assert.equal(classify(Uint8Array.of(...request, 0)), undefined);
  assert.equal(classify(Uint8Array.from(request, (byte, i) => (i === 5 ? byte ^ 1 : byte))), undefined);
});

test("tells RTCP from RTP by the second byte", () => {
  for (let second = 0; second < 256; second++)
    assert.equal(classify(packet(0x80, second)), second >= 192 && second <= 223 ? "srtcp" : "srtp");
});

test("drops what is too short to be what it looks like", () => {
  assert.equal(classify(new Uint8Array(0)), undefined);
  for (const [first, second, size] of [
    [20, 0, 13],
    [64, 0, 7],
    [128, 0, 12],
    [128, 200, 8],
    [200, 0, 7],
  ] as const) {
    assert.notEqual(classify(packet(first, second, size)), undefined);
    assert.equal(classify(packet(first, second, size).subarray(0, size - 1)), undefined);
    assert.equal(classify(Uint8Array.of(first)), undefined);
  }
});
