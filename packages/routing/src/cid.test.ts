import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type CidConfig, cidRotation, createCidCodec } from "./cid.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const key = hex("8f95f09245765f80256934e50c66207f");

// draft-ietf-quic-load-balancers-21, appendix "Load Balancer Test Vectors". Its second clear vector has a nonce of nine
// nibbles, and the first octet of its last one belongs to codepoint 0 although the text says 3: both are left out or mended.
// The last two clear ones are those of google/quiche.
const VECTORS = [
  { name: "clear", rotation: 0, sid: "c4605e", nonce: "4504cc4f", cid: "07c4605e4504cc4f", key: undefined },
  { name: "four-pass, 7 bytes", rotation: 0, sid: "ed793a", nonce: "ee080dbf", cid: "0720b1d07b359d3c", key },
  {
    name: "four-pass, 15 bytes, server id over the middle",
    rotation: 1,
    sid: "ed793a51d49b8f5fab65",
    nonce: "ee080dbf48",
    cid: "2fcc381bc74cb4fbad2823a3d1f8fed2",
    key,
  },
  {
    name: "single-pass",
    rotation: 2,
    sid: "ed793a51d49b8f5f",
    nonce: "ee080dbf48c0d1e5",
    cid: "504dd2d05a7b0de9b2b9907afb5ecf8cc3",
    key,
  },
  {
    name: "four-pass, 18 bytes",
    rotation: 0,
    sid: "ed793a51d49b8f5fab",
    nonce: "ee080dbf48c0d1e55d",
    cid: "125779c9cc86beb3a3a4a3ca96fce4bfe0cdbc",
    key,
  },
  {
    name: "clear, quiche's first",
    rotation: 0,
    sid: "ed793a",
    nonce: "8049718a",
    cid: "07ed793a8049718a",
    key: undefined,
  },
  {
    name: "clear, quiche's second",
    rotation: 1,
    sid: "ed793a51d49b8f5f",
    nonce: "ee15da27c4",
    cid: "2ded793a51d49b8f5fee15da27c4",
    key: undefined,
  },
  {
    name: "four-pass, the draft's worked example",
    rotation: 0,
    sid: "31441a",
    nonce: "9c69c275",
    cid: "0767947d29be054a",
    key: hex("fdf726a9893ec05c0632d3956680baf0"),
  },
];

for (const vector of VECTORS) {
  const codec = createCidCodec({
    rotation: vector.rotation,
    serverIdSize: vector.sid.length / 2,
    nonceSize: vector.nonce.length / 2,
    key: vector.key,
  });
  test(`writes and reads the vector: ${vector.name}`, () => {
    assert.equal(Buffer.from(codec.encode(hex(vector.sid), hex(vector.nonce))).toString("hex"), vector.cid);
    const decoded = codec.decode(hex(vector.cid));
    assert.deepEqual(new Uint8Array(decoded!.serverId), hex(vector.sid));
    assert.deepEqual(new Uint8Array(decoded!.nonce), hex(vector.nonce));
  });
  test(`refuses every truncation and every other rotation: ${vector.name}`, () => {
    const cid = hex(vector.cid);
    for (let size = 0; size < cid.length; size++) assert.equal(codec.decode(cid.subarray(0, size)), undefined);
    for (let rotation = 0; rotation < 8; rotation++) {
      if (rotation === vector.rotation) continue;
      assert.equal(codec.decode(Uint8Array.of((rotation << 5) | (cid[0]! & 0x1f), ...cid.subarray(1))), undefined);
    }
  });
}

test("reads what it wrote, for every size, and leaves its input as it was", () => {
  const config = fc
    .record({ rotation: fc.integer({ min: 0, max: 6 }), serverIdSize: fc.integer({ min: 1, max: 15 }) })
    .chain(({ rotation, serverIdSize }) =>
      fc.record({
        rotation: fc.constant(rotation),
        serverIdSize: fc.constant(serverIdSize),
        nonceSize: fc.integer({ min: 4, max: 19 - serverIdSize }),
        key: fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 }), { nil: undefined }),
      }),
    );
  fc.assert(
    fc.property(config, fc.infiniteStream(fc.integer({ min: 0, max: 255 })), (config: CidConfig, bytes) => {
      const take = (size: number) => Buffer.from(Array.from({ length: size }, () => bytes.next().value as number));
      const [sid, nonce] = [take(config.serverIdSize), take(config.nonceSize)];
      const codec = createCidCodec(config);
      // A Buffer in: its slice is a view, the trap that a codec must not fall into.
      const cid = Buffer.from(codec.encode(sid, nonce));
      const sealed = Buffer.from(cid);
      assert.equal(cid.length, codec.length);
      assert.equal(cidRotation(cid), config.rotation);
      const decoded = codec.decode(cid)!;
      assert.deepEqual([Buffer.from(decoded.serverId), Buffer.from(decoded.nonce)], [sid, nonce]);
      assert.deepEqual(cid, sealed);
      assert.deepEqual(codec.decode(Buffer.concat([cid, Buffer.from([1, 2])])), decoded, "extra bytes at the end");
    }),
    { numRuns: 300 },
  );
});

test("one flipped bit anywhere in a sealed body changes the server id or the nonce beyond recognition", () => {
  const codec = createCidCodec({ rotation: 0, serverIdSize: 4, nonceSize: 12, key });
  const cid = codec.encode(hex("00010002"), hex("000102030405060708090a0b"));
  for (let bit = 8; bit < cid.length * 8; bit++) {
    const flipped = Uint8Array.from(cid);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    const decoded = codec.decode(flipped)!;
    assert.notDeepEqual(new Uint8Array(decoded.serverId), hex("00010002"));
  }
});

test("refuses sizes and codepoints outside the draft", () => {
  const config = { rotation: 0, serverIdSize: 4, nonceSize: 12, key };
  for (const bad of [{ rotation: 7 }, { rotation: -1 }, { serverIdSize: 0 }, { nonceSize: 3 }, { nonceSize: 16 }])
    assert.throws(() => createCidCodec({ ...config, ...bad }), RangeError);
  assert.throws(() => createCidCodec(config).encode(hex("0001"), new Uint8Array(12)), RangeError);
});
