import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { createKeyRing, generateKey } from "../key-ring.ts";
import { createServerId } from "../server-id.ts";
import { icePassword, mintUfrag, readUfrag, UFRAG_LENGTH } from "./ufrag.ts";

const ring = createKeyRing([generateKey(randomBytes, 1), generateKey(randomBytes, 0)]);
const now = 1_800_000_000;
const serverId = createServerId(65_535, 1);
const mint = (expiresAt = now + 60) => mintUfrag(ring, { serverId, expiresAt, random: randomBytes });

test("a minted ufrag reads back, in ice-chars only, never twice the same", () => {
  const [first, second] = [mint(), mint()];
  assert.match(first, /^[A-Za-z0-9+/]{36}$/);
  assert.equal(UFRAG_LENGTH, 36);
  assert.notEqual(first, second);
  assert.deepEqual(readUfrag(ring, first, now), { ok: true, serverId, expiresAt: now + 60, rotation: 1 });
});

test("any server id and expiry survive", () => {
  const uint16 = fc.integer({ min: 0, max: 0xffff });
  fc.assert(
    fc.property(uint16, uint16, fc.integer({ min: 0, max: 0xffffffff }), (cluster, node, expiresAt) => {
      const id = createServerId(cluster, node);
      const reading = readUfrag(ring, mintUfrag(ring, { serverId: id, expiresAt, random: randomBytes }), expiresAt);
      assert.deepEqual(reading, { ok: true, serverId: id, expiresAt, rotation: 1 });
    }),
  );
});

test("an expired ufrag is refused from the second after its last", () => {
  const ufrag = mint(now);
  assert.equal(readUfrag(ring, ufrag, now).ok, true);
  assert.deepEqual(readUfrag(ring, ufrag, now + 1), { ok: false, reason: "expired" });
});

test("a ufrag of a retired key is refused, one of an older live key is not", () => {
  const keys = [generateKey(randomBytes, 2), generateKey(randomBytes, 3)];
  const ufrag = mintUfrag(createKeyRing([keys[1]!]), { serverId, expiresAt: now, random: randomBytes });
  assert.equal(readUfrag(createKeyRing(keys), ufrag, now).ok, true);
  assert.deepEqual(readUfrag(createKeyRing([keys[0]!]), ufrag, now), { ok: false, reason: "unknownKey" });
});

test("every single flipped bit is refused", () => {
  const token = Buffer.from(mint(), "base64");
  for (let bit = 0; bit < token.length * 8; bit++) {
    const flipped = Buffer.from(token);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(readUfrag(ring, flipped.toString("base64"), now).ok, false, `bit ${bit}`);
  }
});

test("every truncation, extension and foreign character is malformed", () => {
  const ufrag = mint();
  for (let size = 0; size < ufrag.length; size++)
    assert.deepEqual(readUfrag(ring, ufrag.slice(0, size), now), { ok: false, reason: "malformed" });
  for (const bad of [
    `${ufrag}A`,
    `${ufrag.slice(0, 35)}=`,
    `${ufrag.slice(0, 35)}-`,
    `${ufrag.slice(0, 34)}\u0141\u0141`,
  ])
    assert.deepEqual(readUfrag(ring, bad, now), { ok: false, reason: "malformed" });
});

test("random text is never read and never throws", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String({ minLength: 36, maxLength: 36 })), (text) => {
      assert.equal(readUfrag(ring, text, now).ok, false);
    }),
    { numRuns: 1000 },
  );
});

test("the password is 24 ice-chars, belongs to one ufrag and one key, and is the same for whoever has the key", () => {
  const [first, second] = [mint(), mint()];
  assert.match(icePassword(ring, first), /^[A-Za-z0-9+/]{24}$/);
  assert.equal(icePassword(ring, first), icePassword(ring, first));
  assert.notEqual(icePassword(ring, first), icePassword(ring, second));
  const stranger = createKeyRing([generateKey(randomBytes, 1)]);
  assert.notEqual(icePassword(stranger, first), icePassword(ring, first));
  assert.throws(() => icePassword(createKeyRing([generateKey(randomBytes, 5)]), first), RangeError);
});

test("an expiry that is no time in unix seconds is the caller's mistake", () => {
  for (const expiresAt of [-1, 1.5, 2 ** 32, Number.NaN]) assert.throws(() => mint(expiresAt), RangeError);
});
