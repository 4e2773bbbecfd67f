import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { DtlsGuard } from "./dtls-guard.ts";
import { encodeRecord } from "./dtls-record.ts";

const record = (type: number, epoch: number) =>
  encodeRecord({ type, epoch, sequenceNumber: 1, fragment: Buffer.from("x") });

test("lets a handshake through, and later nothing in plaintext", () => {
  const guard = new DtlsGuard(0);
  assert.equal(guard.admit(0, record(22, 0), true).length, 1);
  guard.handleEstablished();
  assert.equal(guard.admit(0, record(22, 0), true).length, 0);
  assert.equal(guard.admit(0, record(21, 0), true).length, 0);
  assert.equal(guard.counts.plaintext, 2);
  assert.equal(guard.admit(0, record(23, 1), true).length, 1);
});

test("drops plaintext alerts and data before the handshake, and epochs that do not exist", () => {
  const guard = new DtlsGuard(0);
  for (const datagram of [record(21, 0), record(23, 0), record(22, 2), record(20, 1)]) {
    assert.equal(guard.admit(0, datagram, true).length, 0);
  }
  assert.equal(guard.counts.unexpected, 4);
});

test("drops what comes from an address that passed no check, before it is even read", () => {
  const guard = new DtlsGuard(0);
  assert.equal(guard.admit(0, record(22, 0), false).length, 0);
  assert.deepEqual(guard.counts, { foreign: 1, malformed: 0, excess: 0, plaintext: 0, unexpected: 0 });
});

test("bounds the rate before the handshake is over and not after", () => {
  const guard = new DtlsGuard(0);
  for (let i = 0; i < 1_000; i++) guard.admit(0, record(22, 0), true);
  assert.equal(guard.counts.excess, 900);
  assert.equal(guard.admit(1_000, record(22, 0), true).length, 1);
  guard.handleEstablished();
  for (let i = 0; i < 1_000; i++) assert.equal(guard.admit(1_000, record(23, 1), true).length, 1);
});

test("drops random datagrams in DTLS's range of first bytes", () => {
  const guard = new DtlsGuard(0);
  guard.handleEstablished();
  for (let i = 0; i < 300; i++) {
    const datagram = randomBytes(1 + ((i * 37) % 1_400));
    datagram[0] = 20 + (i % 44);
    assert.equal(guard.admit(0, datagram, true).length, 0);
  }
  assert.equal(guard.counts.malformed, 300);
});
