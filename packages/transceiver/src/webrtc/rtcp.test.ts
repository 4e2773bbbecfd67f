import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeRtcp, encodeNack, encodeReceiverReport, encodeSenderReport } from "./rtcp.ts";

const report = {
  ssrc: 0xbc5e9a40,
  fractionLost: 12,
  packetsLost: -3,
  highestSequenceNumber: 0x000146e1,
  jitter: 273,
  lastSenderReport: 0x09f36432,
  delaySinceLastSenderReport: 150_137,
};

// RR, SDES with a CNAME of 38 characters, BYE: what a peer sends when it leaves.
const COMPOUND =
  "81c90007902f9e2ebc5e9a4000000000000046e10000011109f3643200024a79" +
  `81ca000c902f9e2e0126${Buffer.from("{9c00eb92-1afb-9d49-a47d-91f64eee69f5}").toString("hex")}00000000` +
  "81cb0001902f9e2e";

test("reads a compound and leaves out what it does not act on", () => {
  assert.deepEqual(decodeRtcp(hex(COMPOUND)), [
    {
      kind: "receiverReport",
      ssrc: 0x902f9e2e,
      reports: [{ ...report, fractionLost: 0, packetsLost: 0, highestSequenceNumber: 0x46e1 }],
    },
    { kind: "bye", ssrcs: [0x902f9e2e] },
  ]);
});

test("reports survive a round trip, each in a compound with a source description", () => {
  const sender = {
    ssrc: 1,
    ntp: { seconds: 0xe0000000, fraction: 0x80000000 },
    rtpTimestamp: 0xffffffff,
    packetCount: 5,
    octetCount: 500,
    reports: [report],
  };
  assert.deepEqual(decodeRtcp(encodeSenderReport(sender, "cname")), [{ kind: "senderReport", ...sender }]);
  const receiver = { ssrc: 2, reports: [report, { ...report, packetsLost: 0x7fffff }] };
  assert.deepEqual(decodeRtcp(encodeReceiverReport(receiver, "")), [{ kind: "receiverReport", ...receiver }]);
});

test("the source description holds the CNAME and ends on a 32-bit boundary", () => {
  for (let size = 0; size < 12; size++) {
    const compound = encodeReceiverReport({ ssrc: 7, reports: [] }, "c".repeat(size));
    assert.equal(compound.length % 4, 0);
    assert.equal(compound[17], size);
    assert.equal(compound[18 + size], 0, "a zero octet ends the item list");
    assert.equal((compound.readUInt16BE(10) + 1) * 4, compound.length - 8);
  }
});

test("a NACK names a packet and the 16 after it by a mask (RFC 4585 section 6.2.1)", () => {
  const nack = { senderSsrc: 1, mediaSsrc: 2, sequenceNumbers: [65_535, 0, 15, 16, 300] };
  const bytes = encodeNack(nack);
  assert.equal(bytes.toString("hex"), "81cd00050000000100000002ffff8001001000000" + "12c0000");
  assert.deepEqual(decodeRtcp(bytes), [{ kind: "nack", ...nack }]);
});

test("any ascending set of sequence numbers survives a NACK", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(0xffff), { minLength: 1, maxLength: 60 }), (numbers) => {
      const sequenceNumbers = numbers.sort((a, b) => a - b);
      const [packet] = decodeRtcp(encodeNack({ senderSsrc: 1, mediaSsrc: 2, sequenceNumbers }))!;
      assert.deepEqual(packet?.kind === "nack" && packet.sequenceNumbers, sequenceNumbers);
    }),
  );
});

test("skips picture loss indications and application packets, but not a compound around them", () => {
  const ignored = hex("81ce00020000000100000002" + "80cc0002000000014e414d45");
  const known = hex("81cb000100000009");
  assert.deepEqual(decodeRtcp(Buffer.concat([ignored, known])), [{ kind: "bye", ssrcs: [9] }]);
});

test("takes padding off the last packet and refuses it elsewhere", () => {
  const padded = Buffer.concat([encodeNack({ senderSsrc: 1, mediaSsrc: 2, sequenceNumbers: [5] }), hex("00000004")]);
  padded[0]! |= 0x20;
  padded.writeUInt16BE(padded.length / 4 - 1, 2);
  assert.deepEqual(decodeRtcp(padded), [{ kind: "nack", senderSsrc: 1, mediaSsrc: 2, sequenceNumbers: [5] }]);
  assert.equal(decodeRtcp(Buffer.concat([padded, hex("81cb000100000001")])), undefined);
  padded[padded.length - 1] = 255;
  assert.equal(decodeRtcp(padded), undefined);
});

test("refuses every truncation", () => {
  const compound = hex(COMPOUND);
  const ends = new Set([32, 84]); // a compound cut between packets is a compound
  for (let size = 0; size < compound.length; size++) {
    if (!ends.has(size)) assert.equal(decodeRtcp(compound.subarray(0, size)), undefined, `${size}`);
  }
});

test("refuses counts that the packet does not hold", () => {
  for (const short of ["82c9000100000001", "81c8000100000001", "82cb000100000001", "81cd000200000001" + "00000002"]) {
    assert.equal(decodeRtcp(hex(short)), undefined, short);
  }
});

test("random bytes never throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(200, 201, 202, 203, 205), (bytes, type) => {
      decodeRtcp(bytes);
      bytes.set([0x80 | (bytes[0] ?? 0), type, 0].slice(0, bytes.length));
      decodeRtcp(bytes);
    }),
  );
});

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}
