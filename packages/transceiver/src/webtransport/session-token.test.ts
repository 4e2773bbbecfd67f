import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { createKeyRing, generateKey } from "@sluice/routing";
import { MAX_TOKEN_SETTINGS, type SessionClaims, SessionTokens } from "./session-token.ts";

const NOW = 1_800_000_000;
const [key, next] = [generateKey(randomBytes, 0), generateKey(randomBytes, 1)];
const claims: SessionClaims = {
  id: "wt_1",
  expiresAt: NOW + 30,
  settings: [{ instructions: "Be brief." }],
  model: "m",
  leadMs: 10_000,
  origin: "https://example.com",
};
const tokens = (keys = [key]) => new SessionTokens(createKeyRing(keys), randomBytes);

test("any transceiver of the fleet opens a token, each once", () => {
  const token = tokens().mint(claims)!;
  const [one, other] = [tokens(), tokens([next, key])];
  assert.deepEqual(one.spend(NOW, token), { ok: true, claims });
  assert.deepEqual(one.spend(NOW, token), { ok: false, reason: "spent" });
  assert.deepEqual(other.spend(NOW, token), { ok: true, claims });
});

test("a token is good for its time", () => {
  const token = tokens().mint(claims)!;
  assert.ok(tokens().spend(NOW + 30, token).ok);
  assert.deepEqual(tokens().spend(NOW + 31, token), { ok: false, reason: "expired" });
});

test("what is not sealed by a live key is nothing", () => {
  const token = tokens().mint(claims)!;
  const bytes = Buffer.from(token, "base64url");
  for (let at = 0; at < bytes.length; at++) {
    const forged = Buffer.from(bytes);
    forged[at]! ^= 1;
    assert.deepEqual(tokens().spend(NOW, forged.toString("base64url")), { ok: false, reason: "malformed" });
    assert.equal(tokens().spend(NOW, bytes.subarray(0, at).toString("base64url")).ok, false);
  }
  assert.equal(tokens([next]).spend(NOW, token).ok, false);
  for (const text of ["", "x", "a".repeat(100_000), "%%%"]) assert.equal(tokens().spend(NOW, text).ok, false);
});

test("says nothing to whoever reads the URL", () => {
  const token = Buffer.from(tokens().mint(claims)!, "base64url").toString("latin1");
  assert.ok(!token.includes("brief") && !token.includes("wt_1"));
});

test("settings too long for a URL are refused", () => {
  const settings = (length: number) => [{ instructions: "x".repeat(length) }];
  assert.equal(tokens().mint({ ...claims, settings: settings(MAX_TOKEN_SETTINGS + 1024) }), undefined);
  const longest = tokens().mint({ ...claims, settings: settings(MAX_TOKEN_SETTINGS - 64) });
  assert.ok(tokens().spend(NOW, longest!).ok);
});
