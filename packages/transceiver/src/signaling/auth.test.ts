import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { Auth } from "./auth.ts";
import { ClientSecrets } from "./client-secret.ts";

const NOW = 1_800_000_000;
const secrets = new ClientSecrets({ key: new Uint8Array(32), random: randomBytes });
const open = new Auth({ apiKey: undefined, secrets });
const keyed = new Auth({ apiKey: "sk-right", secrets });

const from = (remoteAddress: string | undefined, headers: Record<string, string> = {}) => ({
  remoteAddress,
  header: (name: string) => headers[name],
});
const judge = (auth: Auth, ...caller: Parameters<typeof from>) => auth.authorize(NOW, from(...caller), true).kind;

test("is open to this machine when there is no key", () => {
  for (const address of ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]) {
    for (const host of ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1"]) {
      assert.equal(judge(open, address, { host }), "loopback", `${address} ${host}`);
    }
  }
  assert.equal(judge(open, "127.0.0.1", { host: "localhost", authorization: "Bearer sk-anything" }), "loopback");
});

test("is closed to any other machine when there is no key", () => {
  for (const address of [
    "192.168.1.2",
    "10.0.0.1",
    "1.2.3.4",
    "fe80::1",
    "::ffff:10.0.0.1",
    "127.0.0.1.evil",
    undefined,
  ]) {
    assert.equal(judge(open, address, { host: "localhost" }), "refused", String(address));
  }
});

test("is closed to what a proxy on this machine passes on", () => {
  for (const name of ["x-forwarded-for", "forwarded", "via", "x-real-ip", "cf-connecting-ip"]) {
    assert.equal(judge(open, "127.0.0.1", { host: "localhost", [name]: "127.0.0.1" }), "refused", name);
  }
});

test("is closed to names that were made to resolve to this machine", () => {
  for (const host of [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io:8080",
    "localhost:8080@evil",
    "",
    "0.0.0.0",
  ]) {
    assert.equal(judge(open, "127.0.0.1", { host }), "refused", host);
  }
  assert.equal(judge(open, "127.0.0.1"), "refused");
});

test("is closed to pages of other sites, and open to those of this machine", () => {
  const judgeOrigin = (origin: string) => judge(open, "127.0.0.1", { host: "localhost:8080", origin });
  for (const origin of ["http://localhost:8080", "http://localhost:5173", "https://127.0.0.1", "http://[::1]:3000"]) {
    assert.equal(judgeOrigin(origin), "loopback", origin);
  }
  for (const origin of [
    "https://evil.example",
    "null",
    "http://localhost.evil.example",
    "file://",
    "http://localhost@evil",
  ]) {
    assert.equal(judgeOrigin(origin), "refused", origin);
  }
});

test("takes the key, once there is one, wherever clients put it", () => {
  for (const headers of [
    { authorization: "Bearer sk-right" },
    { authorization: "bearer   sk-right" },
    { "api-key": "sk-right" },
    { "sec-websocket-protocol": "realtime, openai-insecure-api-key.sk-right" },
  ]) {
    assert.equal(judge(keyed, "1.2.3.4", headers), "key", JSON.stringify(headers));
  }
  // A key in use closes the loopback too: a reverse proxy may sit there.
  assert.equal(judge(keyed, "127.0.0.1", { host: "localhost" }), "refused");
});

test("refuses any other key, and says whether one was given", () => {
  for (const key of ["sk-wrong", "sk-righ", "sk-right2", "", "ek_x", "SK-RIGHT"]) {
    assert.equal(judge(keyed, "1.2.3.4", { authorization: `Bearer ${key}` }), "refused", key);
  }
  const without = keyed.authorize(NOW, from("1.2.3.4"));
  const wrong = keyed.authorize(NOW, from("1.2.3.4", { authorization: "Bearer sk-wrong" }));
  assert.ok(without.kind === "refused" && without.code === "missing_api_key");
  assert.ok(wrong.kind === "refused" && wrong.code === "invalid_api_key");
});

test("never repeats a key in a refusal", () => {
  for (const auth of [open, keyed]) {
    const refusal = auth.authorize(NOW, from("1.2.3.4", { host: "evil", authorization: "Bearer ek_mysecret.xyz" }));
    assert.ok(refusal.kind === "refused" && !JSON.stringify(refusal).includes("mysecret"));
  }
});

test("takes a client secret from anywhere, with its session, and refuses one that expired even from this machine", () => {
  const session = { instructions: "hello" };
  const { value } = secrets.mint(NOW, { seconds: 60, singleUse: false, session })!;
  for (const auth of [open, keyed]) {
    const grant = auth.authorize(NOW, from("1.2.3.4", { authorization: `Bearer ${value}` }), true);
    assert.deepEqual(grant, { kind: "secret", session });
    const late = from("127.0.0.1", { host: "localhost", authorization: `Bearer ${value}` });
    assert.equal(auth.authorize(NOW + 61, late, true).kind, "refused");
  }
  const protocols = `realtime, openai-insecure-api-key.${value}, openai-agents-sdk.0.20.0`;
  assert.equal(judge(keyed, "1.2.3.4", { "sec-websocket-protocol": protocols }), "secret");
});
