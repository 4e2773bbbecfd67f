import assert from "node:assert/strict";
import { test } from "node:test";
import { Endpoint } from "./endpoint.ts";
import { EngineError, hideSecret, networkError, saidBy, statusError } from "./engine-error.ts";
import { parseRetryAfter, pauseBefore } from "./retry.ts";

const url = new URL("https://user:secret@models.example:8443/v1/chat/completions?key=secret");

test("says who failed, and how, without credentials or query", () => {
  const error = statusError("llm", url, 401, '{"error":{"message":"bad key sk-abcdef123456"}}');
  assert.equal(
    error.message,
    "the language model at https://models.example:8443 refused the key (HTTP 401: bad key (key))",
  );
  assert.equal(error.kind, "unauthorized");
});

test("keeps every form of a key out of its message", () => {
  for (const secret of [
    "sk-proj-abc123def456",
    "ek_0123456789abcdef",
    "gsk_0123456789",
    "Bearer abc.def-ghi",
    "api_key=topsecret",
    '"api-key": "topsecret"',
    "https://me:topsecret@host/",
    "https://host/v1?token=topsecret",
  ]) {
    const { message } = new EngineError({ stage: "tts", kind: "failed", message: `It said: ${secret}` });
    assert.doesNotMatch(message, /abc|0123456789|topsecret|ghi/, message);
  }
});

test("finds the words of an error in each shape, and leaves pages out", () => {
  for (const body of [
    '{"error":{"message":"no"}}',
    '{"error":"no"}',
    '{"message":"no"}',
    '{"detail":"no"}',
    '{"detail":[{"msg":"no"}]}',
    "no",
  ])
    assert.equal(saidBy(body), "no", body);
  assert.equal(saidBy("<html>no</html>"), "");
  assert.ok(saidBy("x".repeat(10_000)).length < 400);
});

test("tells which failures may pass", () => {
  const retryable = (status: number) => statusError("stt", url, status, "").retryable;
  assert.deepEqual([400, 401, 403, 404, 422, 429, 500, 503].map(retryable), [
    false,
    false,
    false,
    false,
    false,
    true,
    true,
    true,
  ]);
  const refused = networkError("llm", url, Object.assign(new Error("x"), { code: "ECONNREFUSED" }), false);
  assert.deepEqual([refused.kind, refused.retryable], ["unreachable", true]);
  assert.match(
    networkError("llm", url, new AggregateError([Object.assign(new Error("x"), { code: "ENOTFOUND" })]), false).message,
    /name/,
  );
  const plain = Object.assign(new Error("x"), { code: "ERR_SSL_WRONG_VERSION_NUMBER" });
  assert.match(networkError("llm", url, plain, false).message, /is it http, not https\?/);
  const foreign = Object.assign(new Error("x"), { code: "SELF_SIGNED_CERT_IN_CHAIN" });
  assert.match(networkError("llm", url, foreign, false).message, /not trusted/);
});

test("understands when to come again", () => {
  const now = () => Date.UTC(2026, 0, 1);
  assert.equal(parseRetryAfter({ "retry-after": "2" }, now), 2000);
  assert.equal(parseRetryAfter({ "retry-after": "Thu, 01 Jan 2026 00:00:03 GMT" }, now), 3000);
  assert.equal(parseRetryAfter({ "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" }, now), 0);
  assert.equal(parseRetryAfter({ "retry-after": "1", "retry-after-ms": "150" }, now), 150);
  assert.equal(parseRetryAfter({ "retry-after": "soon" }, now), undefined);
});

test("pauses longer each time, at random, and never less than was asked for", () => {
  const error = (retryAfterMs?: number) =>
    new EngineError({ stage: "llm", kind: "rateLimited", message: "", retryAfterMs });
  const policy = { retries: 2, baseMs: 100, capMs: 150, random: () => 0.5 };
  assert.equal(pauseBefore(1, policy, error()), 50);
  assert.equal(pauseBefore(2, policy, error()), 75);
  assert.equal(pauseBefore(1, policy, error(500)), 500);
});

test("refuses addresses that are none, or that hold a password", () => {
  for (const baseUrl of ["localhost:8000", "ftp://x", "", "http://a:b@c/v1"])
    assert.throws(() => new Endpoint("llm", { baseUrl }), RangeError);
});

test("a key that an engine was given is in no message, however a server quotes it", () => {
  hideSecret("plain-words-as-a-key");
  hideSecret("short");
  const error = new EngineError({ stage: "llm", kind: "failed", message: "wrong key plain-words-as-a-key, in short" });
  assert.equal(error.message, "wrong key (key), in short");
});
