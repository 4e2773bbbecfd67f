import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseQuicHeader, QUIC_V1, QUIC_V2 } from "./quic-header.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

// The protected headers of RFC 9001 appendix A (version 1) and RFC 9369 appendix A (version 2).
for (const { name, packet, version, type, destination, source } of [
  {
    name: "version 1 client Initial",
    packet: "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
    version: QUIC_V1,
    type: "initial",
    destination: "8394c8f03e515708",
    source: "",
  },
  {
    name: "version 1 server Initial",
    packet: "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a",
    version: QUIC_V1,
    type: "initial",
    destination: "",
    source: "f067a5502a4262b5",
  },
  {
    name: "version 1 Retry",
    packet: "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba",
    version: QUIC_V1,
    type: "retry",
    destination: "",
    source: "f067a5502a4262b5",
  },
  {
    name: "version 2 client Initial",
    packet: "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
    version: QUIC_V2,
    type: "initial",
    destination: "8394c8f03e515708",
    source: "",
  },
  {
    name: "version 2 Retry",
    packet: "cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6",
    version: QUIC_V2,
    type: "retry",
    destination: "",
    source: "f067a5502a4262b5",
  },
] as const)
  test(`reads the header of the RFC's ${name}, and refuses its truncations`, () => {
    const bytes = hex(packet);
    const header = parseQuicHeader(bytes, 17);
    assert.ok(header?.form === "long");
    assert.deepEqual([header.version, header.type], [version, type]);
    assert.deepEqual([toHex(header.destinationCid), toHex(header.sourceCid)], [destination, source]);
    const headerSize = 7 + (destination.length + source.length) / 2;
    for (let size = 0; size < headerSize; size++)
      assert.equal(parseQuicHeader(bytes.subarray(0, size), 17), undefined, `${size} bytes`);
  });

test("reads RFC 9001's short-header packet with IDs of the configured length", () => {
  const packet = hex("4cfe4189655e5cd55c41f69080575d7999c25a5bfb"); // appendix A.5
  const header = parseQuicHeader(packet, 17);
  assert.ok(header?.form === "short");
  assert.equal(toHex(header.destinationCid), "fe4189655e5cd55c41f69080575d7999c2");
  for (let size = 0; size < packet.length; size++)
    assert.equal(parseQuicHeader(packet.subarray(0, size), 17), undefined);
});

test("does not route other versions, version negotiation, or packets without the fixed bit", () => {
  const initial = hex("c000000001088394c8f03e5157080000449e7b9aec34");
  for (const version of ["00000000", "ff00001d", "1a2a3a4a", "00000002"])
    assert.equal(parseQuicHeader(Uint8Array.of(0xc0, ...hex(version), ...initial.subarray(5)), 17), undefined);
  assert.equal(parseQuicHeader(Uint8Array.of(0x80, ...initial.subarray(1)), 17), undefined);
  assert.equal(parseQuicHeader(new Uint8Array(40), 17), undefined);
});

test("refuses connection IDs longer than 20 bytes", () => {
  const ids = (destination: number, source: number) =>
    Uint8Array.of(
      0xc0,
      0,
      0,
      0,
      1,
      destination,
      ...new Uint8Array(destination),
      source,
      ...new Uint8Array(source + 30),
    );
  assert.ok(parseQuicHeader(ids(20, 20), 17));
  assert.equal(parseQuicHeader(ids(21, 0), 17), undefined);
  assert.equal(parseQuicHeader(ids(0, 21), 17), undefined);
});

test("never throws, and never gives an ID from outside the packet", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (packet) => {
      const header = parseQuicHeader(packet, 17);
      if (header?.form === "short") assert.equal(header.destinationCid.length, 17);
      if (header?.form === "long") assert.ok(header.destinationCid.length <= 20 && header.sourceCid.length <= 20);
    }),
    { numRuns: 2000 },
  );
});
