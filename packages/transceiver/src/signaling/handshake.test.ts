import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { Auth } from "./auth.ts";
import { ClientSecrets } from "./client-secret.ts";
import { judgeHandshake } from "./handshake.ts";

const NOW = 1_800_000_000_000;
const secrets = new ClientSecrets({ key: new Uint8Array(32), random: randomBytes });
const calls = { has: (id: string) => id === "rtc_1", isResumable: (token: string) => token === "good" };
const judge = (target: string, headers: Record<string, string> = {}, apiKey?: string) => {
  const caller = { remoteAddress: "127.0.0.1", header: (name: string) => ({ host: "localhost", ...headers })[name] };
  return judgeHandshake(NOW, target, caller, { auth: new Auth({ apiKey, secrets }), calls });
};
const statusOf = (verdict: ReturnType<typeof judge>) => (verdict.ok ? 101 : verdict.error.status);

test("reads what a client wants, and ignores what it does not know", () => {
  const wanted = (target: string) => {
    const verdict = judge(target);
    assert.ok(verdict.ok, target);
    return verdict.request;
  };
  const nothing = { model: undefined, callId: undefined, type: "realtime", dialect: "ga", defaults: undefined };
  assert.deepEqual(wanted("/v1/realtime"), nothing);
  assert.deepEqual(wanted("/v1/realtime?model=gpt-realtime&temperature=0.8"), { ...nothing, model: "gpt-realtime" });
  assert.deepEqual(wanted("/v1/realtime?call_id=rtc_1"), { ...nothing, callId: "rtc_1" });
  assert.deepEqual(wanted("/v1/realtime?model="), nothing);
  assert.deepEqual(wanted("/v1/realtime?intent=transcription"), { ...nothing, type: "transcription" });
});

test("refuses other paths, unknown calls, sessions that are not offered, and bad keys", () => {
  assert.equal(statusOf(judge("/v1/live")), 404);
  assert.equal(statusOf(judge("/v1/realtime/")), 404);
  assert.equal(statusOf(judge("/v1/realtime?call_id=rtc_2")), 404);
  assert.equal(statusOf(judge("/v1/realtime?intent=translation")), 400);
  assert.equal(statusOf(judge("/v1/realtime", {}, "sk-1")), 401);
  assert.equal(statusOf(judge("/v1/realtime", { origin: "https://evil.example" })), 403);
  // Whether a call exists is nobody's business without a key.
  assert.equal(statusOf(judge("/v1/realtime?call_id=rtc_2", {}, "sk-1")), 401);
});

test("speaks the beta's dialect to who marks it, and to nobody else", () => {
  const dialect = (headers: Record<string, string>) => {
    const verdict = judge("/v1/realtime", headers);
    assert.ok(verdict.ok);
    return verdict.request.dialect;
  };
  assert.equal(dialect({ "openai-beta": "realtime=v1" }), "beta");
  assert.equal(dialect({ "sec-websocket-protocol": "realtime, openai-beta.realtime-v1" }), "beta");
  assert.equal(dialect({ "openai-beta": "assistants=v2" }), "ga");
  assert.equal(dialect({ "sec-websocket-protocol": "realtime, openai-agents-sdk.0.20.0" }), "ga");
});

test("hands on the session of a client secret, and spends a single-use one on a session but not on a look", () => {
  const session = { instructions: "x" };
  const { value } = secrets.mint(NOW / 1000, { seconds: 60, singleUse: true, session })!;
  const headers = { "sec-websocket-protocol": `realtime, openai-insecure-api-key.${value}` };
  assert.equal(statusOf(judge("/v1/realtime?call_id=rtc_1", headers, "sk-1")), 101);
  const first = judge("/v1/realtime", headers, "sk-1");
  assert.deepEqual(first.ok && first.request.defaults, session);
  assert.equal(statusOf(judge("/v1/realtime", headers, "sk-1")), 401);
});

test("never throws on any target", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.webUrl(), fc.webPath(), fc.webQueryParameters()), (text) => {
      judge(text);
      judge(`/v1/realtime?${text}`);
      judge(`/v1/realtime?call_id=${text}`);
    }),
  );
});

test("a conversation is resumed by its token alone, and by no other", () => {
  const verdict = judge("/v1/realtime?resume=good", {}, "sk-1");
  assert.ok(verdict.ok && verdict.request.resume === "good");
  const refused = judge("/v1/realtime?resume=guessed", {}, "sk-1");
  assert.ok(!refused.ok && refused.error.status === 404 && refused.error.error.code === "conversation_gone");
});
