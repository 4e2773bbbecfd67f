import assert from "node:assert/strict";
import { createPublicKey, randomBytes, verify, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { createKeyRing, generateKey } from "@sluice/routing";
import { CERTIFICATE_PERIOD_MS, FleetCertificates } from "./certificates.ts";
import { deriveP256Key, p256Key, signDeterministic } from "./ecdsa.ts";

const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 10, 26, 12);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("signs as RFC 6979, appendix A.2.5 does", () => {
  const scalar = Buffer.from("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721", "hex");
  const vectors = [
    [
      "sample",
      "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
      "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    ],
    [
      "test",
      "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
      "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
    ],
  ] as const;
  for (const [message, r, s] of vectors) {
    const signature = hex(signDeterministic({ scalar }, Buffer.from(message)));
    assert.ok(signature.includes(r), message);
    assert.ok(signature.endsWith(s), message);
    const { publicKey } = p256Key(scalar);
    const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    assert.ok(verify("sha256", Buffer.from(message), key, Buffer.from(signature, "hex")));
  }
});

test("signatures verify whatever the key and the message", () => {
  for (let n = 0; n < 50; n++) {
    const key = deriveP256Key(randomBytes(32), "x");
    const message = randomBytes(100);
    const publicKey = createPublicKey({ key: Buffer.from(key.publicKey), format: "der", type: "spki" });
    assert.ok(verify("sha256", message, publicKey, signDeterministic(key, message)));
  }
});

test("every server of a fleet shows the same certificate, one that browsers take by its hash", () => {
  const keys = [generateKey(randomBytes, 3)];
  const [one, other] = [new FleetCertificates(createKeyRing(keys)), new FleetCertificates(createKeyRing(keys))];
  const { identity, hash } = one.current(NOW);
  assert.deepEqual(other.current(NOW).identity, identity);
  const certificate = new X509Certificate(identity.certificateChain[0]!);
  assert.ok(certificate.verify(certificate.publicKey));
  assert.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
  assert.equal(certificate.fingerprint256.replaceAll(":", "").toLowerCase(), hex(hash));
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  assert.equal(to - from, 13 * DAY_MS);
  assert.ok(NOW - from > 3 * DAY_MS && to - NOW > 3 * DAY_MS, "far from both ends");
});

test("the next certificate's hash is served before it is shown", () => {
  const certificates = new FleetCertificates(createKeyRing([generateKey(randomBytes, 0)]));
  const { hash, until } = certificates.current(NOW);
  assert.ok(until > NOW && until <= NOW + CERTIFICATE_PERIOD_MS);
  const served = certificates.hashes(until - 1000).map(hex);
  assert.ok(served.includes(hex(hash)));
  assert.ok(served.includes(hex(certificates.current(until).hash)));
  assert.notEqual(hex(certificates.current(until).hash), hex(hash));
  const after = certificates.hashes(until + 1000).map(hex);
  assert.ok(after.includes(hex(hash)), "a server whose clock is late still shows the former");
  assert.equal(certificates.hashes(NOW).length, 2);
});

test("while keys change, certificates of all live keys are expected", () => {
  const [older, newer] = [generateKey(randomBytes, 0), generateKey(randomBytes, 1)];
  const before = new FleetCertificates(createKeyRing([older, newer]));
  const after = new FleetCertificates(createKeyRing([newer, older]));
  const hashes = before.hashes(NOW).map(hex);
  assert.ok(hashes.includes(hex(after.current(NOW).hash)));
  assert.ok(hashes.includes(hex(before.current(NOW).hash)));
});
