import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  CID_LENGTH,
  createKeyRing,
  formatKey,
  formatKeys,
  generateKey,
  KeyFormatError,
  NONCE_SIZE,
  nextRotation,
  parseKey,
  parseKeys,
} from "./key-ring.ts";
import { createServerId } from "./server-id.ts";

const [old, fresh, foreign] = [generateKey(randomBytes, 0), generateKey(randomBytes, 1), generateKey(randomBytes, 0)];
const server = createServerId(3, 7);

test("every live key reads, the first one mints", () => {
  const [before, during, after] = [createKeyRing([old]), createKeyRing([fresh, old]), createKeyRing([fresh])];
  const oldCid = before.mintCid(server, randomBytes(NONCE_SIZE));
  const freshCid = during.mintCid(server, randomBytes(NONCE_SIZE));
  assert.equal(oldCid.length, CID_LENGTH);
  assert.deepEqual(
    [before.readCid(oldCid), during.readCid(oldCid), during.readCid(freshCid)],
    [server, server, server],
  );
  assert.equal(after.readCid(oldCid), undefined, "a retired key");
  assert.equal(freshCid[0]! >> 5, 1);
});

test("the same codepoint with another secret reads another server", () => {
  const cid = createKeyRing([old]).mintCid(server, randomBytes(NONCE_SIZE));
  assert.notEqual(createKeyRing([foreign]).readCid(cid), server);
});

test("an unroutable or empty connection ID has no key", () => {
  const ring = createKeyRing([old]);
  assert.equal(ring.readCid(Uint8Array.of(0xf0, ...randomBytes(16))), undefined);
  assert.equal(ring.readCid(new Uint8Array(0)), undefined);
});

test("the secret yields a different sub-key for each use", () => {
  const { minting } = createKeyRing([old]);
  const block = new Uint8Array(16);
  const uses = [
    Buffer.from(minting.cid.encode(block.subarray(0, 4), block.subarray(4)))
      .subarray(1)
      .toString("hex"),
    minting.ufragMac.update(block).toString("hex"),
    Buffer.from(minting.icePasswordKey).toString("hex"),
    Buffer.from(minting.hopTagKey).toString("hex"),
  ];
  assert.equal(new Set(uses).size, uses.length);
});

test("keys survive their text, with comments, commas and blank lines", () => {
  assert.deepEqual(parseKey(formatKey(old)), { rotation: 0, secret: Buffer.from(old.secret) });
  const text = `# newest first\n${formatKey(fresh)}, ${formatKey(old)} # retire on Friday\n\n`;
  assert.deepEqual(formatKeys(parseKeys(text)), formatKeys([fresh, old]));
  assert.deepEqual(parseKeys(""), []);
});

test("a bad key is refused without being repeated", () => {
  const secret = formatKey(old).slice(0, -1);
  assert.throws(
    () => parseKeys(`${formatKey(fresh)} ${secret}`),
    (error) => error instanceof KeyFormatError && error.message.includes("key 2") && !error.message.includes(secret),
  );
  assert.throws(() => parseKeys(`${formatKey(old)} ${formatKey(foreign)}`), KeyFormatError);
  assert.throws(() => createKeyRing([old, foreign]), RangeError);
  assert.throws(() => createKeyRing([]), RangeError);
  assert.throws(() => createKeyRing([{ rotation: 7, secret: old.secret }]), RangeError);
  assert.throws(() => createKeyRing([{ rotation: 0, secret: old.secret.subarray(1) }]), RangeError);
});

test("the next codepoint is the one after the newest that no live key has", () => {
  const key = (rotation: number) => generateKey(randomBytes, rotation);
  assert.equal(nextRotation([]), 0);
  assert.equal(nextRotation([key(0)]), 1);
  assert.equal(nextRotation([key(6), key(0)]), 1);
  assert.equal(nextRotation([0, 1, 2, 3, 4, 5, 6].map(key)), undefined);
});
