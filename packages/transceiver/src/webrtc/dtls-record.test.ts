import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { prf } from "./dtls-handshake.ts";
import { decodeRecords, encodeRecord, protectRecord, RecordWindow, unprotectRecord } from "./dtls-record.ts";

const KEY = { key: Buffer.alloc(16, 1), iv: Buffer.alloc(4, 2) };
const RECORD = { type: 23, epoch: 1, sequenceNumber: 2 ** 40 + 5, fragment: Buffer.from("hello") };

test("the PRF gives the published vector for SHA-256", () => {
  // IETF TLS working group, "Test vectors for the TLS 1.2 PRF", 2009.
  const hex = (text: string) => Buffer.from(text, "hex");
  const made = prf(hex("9bbe436ba940f017b17652849a71db35"), "test label", hex("a0ba9f936cda311827a6f796ffd5198c"), 100);
  assert.equal(
    made.toString("hex"),
    "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af" +
      "0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701" +
      "87347b66",
  );
});

test("records come back as they went", () => {
  const datagram = Buffer.concat([encodeRecord(RECORD), encodeRecord({ ...RECORD, type: 22, epoch: 0 })]);
  assert.deepEqual(decodeRecords(datagram), [RECORD, { ...RECORD, type: 22, epoch: 0 }]);
});

test("refuses every truncation of a datagram", () => {
  const datagram = encodeRecord(RECORD);
  for (let size = 0; size < datagram.length; size++) assert.equal(decodeRecords(datagram.subarray(0, size)), undefined);
});

test("refuses other versions, other types, empty fragments and too many records", () => {
  const datagram = encodeRecord(RECORD);
  const changed = (at: number, value: number) => {
    const copy = Buffer.from(datagram);
    copy[at] = value;
    return decodeRecords(copy);
  };
  assert.equal(changed(0, 19), undefined);
  assert.equal(changed(0, 24), undefined);
  assert.equal(changed(2, 0xfc), undefined);
  assert.equal(decodeRecords(encodeRecord({ ...RECORD, fragment: Buffer.alloc(0) })), undefined);
  assert.equal(decodeRecords(Buffer.concat(Array(17).fill(datagram))), undefined);
});

test("a protected record opens with its key and with nothing changed", () => {
  const [sealed] = decodeRecords(protectRecord(KEY, RECORD))!;
  assert.deepEqual(unprotectRecord(KEY, sealed!), RECORD.fragment);
  assert.equal(unprotectRecord({ ...KEY, key: Buffer.alloc(16, 3) }, sealed!), undefined);
  assert.equal(unprotectRecord(KEY, { ...sealed!, sequenceNumber: 1 }), undefined);
  assert.equal(unprotectRecord(KEY, { ...sealed!, type: 21 }), undefined);
  for (let at = 0; at < sealed!.fragment.length; at++) {
    const fragment = Buffer.from(sealed!.fragment);
    fragment[at]! ^= 1;
    assert.equal(unprotectRecord(KEY, { ...sealed!, fragment }), undefined);
  }
  for (let size = 0; size < 24; size++) {
    assert.equal(unprotectRecord(KEY, { ...sealed!, fragment: sealed!.fragment.subarray(0, size) }), undefined);
  }
});

test("the explicit nonce of a record is its epoch and number, so it repeats only if they do", () => {
  const nonces = new Set<string>();
  for (let sequenceNumber = 0; sequenceNumber < 4_096; sequenceNumber++) {
    nonces.add(
      protectRecord(KEY, { ...RECORD, sequenceNumber })
        .subarray(13, 21)
        .toString("hex"),
    );
  }
  assert.equal(nonces.size, 4_096);
});

test("the window takes each number once and none older than 64", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(200), { minLength: 1, maxLength: 200 }), (numbers) => {
      const window = new RecordWindow();
      const seen = new Set<number>();
      for (const number of numbers) {
        const top = Math.max(-1, ...seen);
        assert.equal(window.isFresh(number), !seen.has(number) && number > top - 64);
        if (!window.isFresh(number)) continue;
        window.accept(number);
        seen.add(number);
      }
    }),
    { seed: 1 },
  );
});

test("random datagrams are refused or decoded, never thrown at", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const record of decodeRecords(bytes) ?? []) unprotectRecord(KEY, record);
    }),
    { seed: 2, numRuns: 2_000 },
  );
});
