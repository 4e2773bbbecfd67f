import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { createKeyRing, generateKey, hmacSha256 } from "./key-ring.ts";
import { formatRegistration, parseRegistration, type Registration } from "./registration.ts";
import { createServerId } from "./server-id.ts";

const ring = createKeyRing([generateKey(randomBytes, 1), generateKey(randomBytes, 0)]);
const now = 1_800_000_000;
const registration: Registration = {
  serverId: createServerId(1, 2),
  address: "192.0.2.7",
  port: 5000,
  load: 0.25,
  draining: false,
  quic: false,
  expiresAt: now + 10,
};
const signed = (body: string) => `1.${hmacSha256(ring.minting.registrationKey, body).toString("base64url")}.${body}`;

test("a registration reads back until it expires", () => {
  const text = formatRegistration(ring, registration);
  assert.deepEqual(parseRegistration(ring, text, now + 10), { ok: true, registration });
  assert.deepEqual(parseRegistration(ring, text, now + 11), { ok: false, reason: "expired" });
});

test("one of a version that did not say whether it speaks QUIC is taken to", () => {
  const { quic: _, ...old } = { ...registration, serverId: "1.2" };
  const reading = parseRegistration(ring, signed(JSON.stringify(old)), now);
  assert.deepEqual(reading, { ok: true, registration: { ...registration, quic: true } });
});

test("no changed character passes", () => {
  const text = formatRegistration(ring, registration);
  for (let at = 0; at < text.length; at++)
    assert.equal(parseRegistration(ring, `${text.slice(0, at)}~${text.slice(at + 1)}`, now).ok, false);
});

test("another fleet's registration is forged, one of a retired key unknown", () => {
  const text = formatRegistration(createKeyRing([generateKey(randomBytes, 1)]), registration);
  assert.deepEqual(parseRegistration(ring, text, now), { ok: false, reason: "forged" });
  const retired = formatRegistration(createKeyRing([generateKey(randomBytes, 5)]), registration);
  assert.deepEqual(parseRegistration(ring, retired, now), { ok: false, reason: "unknownKey" });
});

test("signed nonsense is malformed, and nothing throws", () => {
  for (const body of [
    "{}",
    "{]}",
    '{"serverId":"1.2","address":"localhost","port":1,"load":0,"draining":false,"expiresAt":9}',
  ])
    assert.deepEqual(parseRegistration(ring, signed(body), now), { ok: false, reason: "malformed" });
  for (const change of [
    { port: 0 },
    { port: 65_536 },
    { load: "x" },
    { draining: 1 },
    { quic: 1 },
    { expiresAt: null },
    { serverId: 7 },
  ]) {
    const body = JSON.stringify({ ...registration, serverId: "1.2", ...change });
    assert.equal(parseRegistration(ring, signed(body), now).ok, false, body);
  }
  assert.equal(parseRegistration(ring, signed(`{"a":"${"x".repeat(600)}"}`), now).ok, false);
  fc.assert(fc.property(fc.string(), (text) => assert.equal(parseRegistration(ring, text, now).ok, false)));
});
