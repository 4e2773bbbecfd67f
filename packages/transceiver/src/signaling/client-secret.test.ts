import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { ClientSecrets } from "./client-secret.ts";

const KEY = new Uint8Array(32).fill(7);
const NOW = 1_800_000_000;
const create = (audience = "sluice", key = KEY) => new ClientSecrets({ key, audience, random: randomBytes });
const plain = { seconds: 600, singleUse: false, session: undefined };

/** A secret whose record says what we like, signed as a server would, or not. */
function forge(record: unknown, sign: (text: string) => string): string {
  const text = Buffer.from(JSON.stringify(record)).toString("base64url");
  return `ek_${text}.${sign(`ek_${text}`)}`;
}
const signed = (text: string) => createHmac("sha256", KEY).update(text).digest("base64url");
const record = { id: "x", aud: "sluice", iat: NOW, exp: NOW + 60 };

test("opens sessions with its settings until it expires, and no second longer", () => {
  const secrets = create();
  const session = { instructions: "Be brief.", model: "m" };
  const secret = secrets.mint(NOW, { ...plain, session })!;
  assert.ok(secret.value.startsWith("ek_"));
  assert.equal(secret.expiresAt, NOW + 600);
  for (const now of [NOW, NOW + 1, NOW + 599.9]) {
    assert.deepEqual(secrets.verify(now, secret.value, true), { session });
  }
  assert.equal(secrets.verify(NOW + 600, secret.value, true), undefined);
});

test("is taken by every server with the same key and audience, and by no other", () => {
  const { value } = create().mint(NOW, plain)!;
  assert.ok(create().verify(NOW, value, true));
  assert.equal(create("other").verify(NOW, value, true), undefined);
  assert.equal(create("sluice", new Uint8Array(32)).verify(NOW, value, true), undefined);
});

test("is taken after a change of keys as long as its own is among the older ones", () => {
  const fresh = new Uint8Array(32).fill(8);
  const { value } = create().mint(NOW, plain)!;
  const changed = new ClientSecrets({ key: fresh, olderKeys: [KEY], random: randomBytes });
  assert.ok(changed.verify(NOW, value, true));
  assert.equal(new ClientSecrets({ key: fresh, random: randomBytes }).verify(NOW, value, true), undefined);
  assert.equal(create().verify(NOW, changed.mint(NOW, plain)!.value, true), undefined, "the new key mints");
});

test("refuses one from the future, beyond the leeway of clocks", () => {
  const { value } = create().mint(NOW, plain)!;
  assert.ok(create().verify(NOW - 29, value, true));
  assert.equal(create().verify(NOW - 32, value, true), undefined);
});

test("takes a genuine record and refuses it unsigned, with another algorithm, or with another claim", () => {
  const secrets = create();
  assert.ok(secrets.verify(NOW, forge(record, signed), true));
  for (const sign of [() => "", () => "none", (text: string) => Buffer.from(text).toString("base64url")]) {
    assert.equal(secrets.verify(NOW, forge(record, sign), true), undefined);
    assert.equal(secrets.verify(NOW, forge({ ...record, alg: "none" }, sign), true), undefined);
  }
  const genuine = forge(record, signed);
  const later = forge({ ...record, exp: NOW + 9999 }, () => genuine.split(".")[1]!);
  assert.equal(secrets.verify(NOW, later, true), undefined);
});

test("refuses every secret with one character changed, removed or added", () => {
  const secrets = create();
  const { value } = secrets.mint(NOW, plain)!;
  for (let at = 0; at < value.length; at++) {
    const other = value[at] === "A" ? "B" : "A";
    for (const changed of [other, "", `${value[at]}A`, ".", "="]) {
      const tampered = value.slice(0, at) + changed + value.slice(at + 1);
      if (tampered !== value) assert.equal(secrets.verify(NOW, tampered, true), undefined, `at ${at}`);
    }
  }
});

test("opens one session only when it is for single use, and is not used up by a look", () => {
  const secrets = create();
  const { value } = secrets.mint(NOW, { ...plain, singleUse: true })!;
  assert.ok(secrets.verify(NOW, value, false));
  assert.ok(secrets.verify(NOW, value, true));
  assert.equal(secrets.verify(NOW + 1, value, true), undefined);
  assert.ok(secrets.verify(NOW + 1, value, false)); // its holder may still hang up
});

test("keeps settings that are too long for a header, and gives them back", () => {
  const secrets = create();
  const session = { instructions: "long ".repeat(10_000) };
  const { value } = secrets.mint(NOW, { ...plain, session })!;
  assert.ok(value.length < 300);
  assert.deepEqual(secrets.verify(NOW, value, true), { session });
  assert.equal(create().verify(NOW, value, true), undefined); // kept elsewhere
});

test("bounds what it keeps and makes room when secrets expire", () => {
  const secrets = create();
  const session = { instructions: "x".repeat(1024 * 1024) };
  let minted = 0;
  while (minted < 100 && secrets.mint(NOW, { ...plain, session })) minted++;
  assert.ok(minted >= 31 && minted < 33, `${minted} of 1 MiB`);
  assert.ok(secrets.mint(NOW, plain));
  assert.ok(secrets.mint(NOW + 600, { ...plain, session }));
});

test("bounds the record of used secrets: full, it refuses rather than forgets", () => {
  const secrets = create();
  const spend = (now: number) =>
    secrets.verify(now, secrets.mint(now, { ...plain, singleUse: true })!.value, true) !== undefined;
  for (let i = 0; i < 10_000; i++) assert.ok(spend(NOW));
  assert.equal(spend(NOW), false);
  assert.ok(spend(NOW + 601));
});

test("never throws on any text", () => {
  const secrets = create();
  const text = fc.oneof(fc.string(), fc.base64String(), fc.string({ unit: "binary" }));
  fc.assert(
    fc.property(text, text, (a, b) => {
      for (const secret of [a, `ek_${a}`, `ek_${a}.${b}`, `ek_.${a}`]) {
        assert.equal(secrets.verify(NOW, secret, true), undefined);
      }
    }),
  );
  assert.equal(secrets.verify(NOW, `ek_${"A".repeat(1_000_000)}.x`, true), undefined);
});
