import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { SdpError } from "../webrtc/sdp.ts";
import { Auth } from "./auth.ts";
import {
  AtCapacity,
  type CallDirectory,
  SettingsTooLong,
  TransportUnavailable,
  type WebRtcCallRequest,
} from "./calls.ts";
import { ClientSecrets } from "./client-secret.ts";
import { createOpenApi } from "./openapi.ts";
import { createSignaling } from "./signaling.ts";

const OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n";

/** A server with one call, `rtc_1`, that takes what it is offered, and notes it. */
function createServer({ apiKey, fail }: { apiKey?: string; fail?: () => unknown } = {}) {
  const requests: Omit<WebRtcCallRequest, "header" | "remoteAddress">[] = [];
  const wishes: object[] = [];
  const errors: unknown[] = [];
  const calls: CallDirectory = {
    async openWebRtc({ header, remoteAddress: _, ...request }) {
      if (fail) throw fail();
      assert.equal(header("host"), "localhost:8080");
      requests.push(request);
      return { callId: "rtc_1", answer: "v=0 answer" };
    },
    openWebTransport({ header, ...request }) {
      if (fail) throw fail();
      wishes.push({ ...request, origin: header("origin") });
      return {
        call_id: "wt_1",
        url: "https://192.0.2.1:3478/x?token=y",
        certificate_hashes: ["aGFzaA=="],
        expires_at: 5,
      };
    },
    hangup: (id) => id === "rtc_1",
    has: (id) => id === "rtc_1",
    isResumable: (token) => token === "good",
    findResumable: async (token) => token === "good",
  };
  const secrets = new ClientSecrets({ key: new Uint8Array(32), random: randomBytes });
  let now = 1_800_000_000_000;
  let ready = true;
  const app = createSignaling({
    calls,
    auth: new Auth({ apiKey, secrets }),
    now: () => now,
    random: randomBytes,
    model: "parrot",
    version: "1.2.3",
    ready: () => ready,
    metrics: { contentType: "text/plain; version=0.0.4", render: () => "up 1\n" },
    onError: (error) => errors.push(error),
  });
  const ask = (path: string, init: RequestInit = {}, remoteAddress = "127.0.0.1") => {
    const headers = new Headers(init.headers);
    if (!headers.has("host")) headers.set("host", "localhost:8080");
    return app.request(path, { ...init, headers }, { remoteAddress });
  };
  return {
    app,
    ask,
    requests,
    wishes,
    errors,
    pass: (ms: number) => {
      now += ms;
    },
    fill: () => {
      ready = false;
    },
  };
}

const post = (body: RequestInit["body"], type?: string, key?: string): RequestInit => ({
  method: "POST",
  body: body as BodyInit,
  headers: { ...(type ? { "content-type": type } : {}), ...(key ? { authorization: `Bearer ${key}` } : {}) },
});

async function errorOf(response: Response | Promise<Response>) {
  const { status } = await response;
  const { error } = (await (await response).json()) as {
    error: { message: string; type: string; param: string | null; code: string | null };
  };
  assert.ok(typeof error.message === "string" && typeof error.type === "string" && "param" in error && "code" in error);
  return { status, ...error };
}

test("takes a raw SDP offer: 201, the answer, and where the call is", async () => {
  const { ask, requests } = createServer();
  for (const path of ["/v1/realtime/calls?model=gpt-realtime", "/v1/realtime?model=gpt-realtime"]) {
    const response = await ask(path, post(OFFER, "application/sdp"));
    assert.equal(response.status, 201);
    assert.equal(response.headers.get("content-type"), "application/sdp");
    assert.equal(response.headers.get("location"), "/v1/realtime/calls/rtc_1");
    assert.match(response.headers.get("access-control-expose-headers") ?? "", /\bLocation\b/);
    assert.equal(await response.text(), "v=0 answer");
    assert.deepEqual(requests.pop(), { offer: OFFER, session: undefined, defaults: undefined, model: "gpt-realtime" });
  }
});

test("takes a form of sdp and session, its parts typed or not", async () => {
  const { ask, requests } = createServer();
  const session = { type: "realtime", instructions: "Hi", audio: { output: { voice: "marin" } } };
  const untyped = new FormData();
  untyped.set("sdp", OFFER);
  untyped.set("session", JSON.stringify(session));
  const typed = new FormData();
  typed.set("sdp", new Blob([OFFER], { type: "application/sdp" }));
  typed.set("session", new Blob([JSON.stringify(session)], { type: "application/json" }));
  for (const form of [untyped, typed]) {
    const response = await ask("/v1/realtime/calls", post(form));
    assert.equal(response.status, 201);
    assert.deepEqual(requests.pop(), { offer: OFFER, session, defaults: undefined, model: undefined });
  }
});

test("gives a page what it needs to call over WebTransport", async () => {
  const { ask, wishes } = createServer();
  const body = {
    transport: "webtransport",
    lead_ms: 5000,
    events: "server",
    session: { type: "realtime", instructions: "Be brief." },
  };
  const init = post(JSON.stringify(body), "application/json; charset=utf-8");
  const headers = new Headers(init.headers);
  headers.set("origin", "http://localhost:8080");
  const response = await ask("/v1/realtime/calls?model=m", { ...init, headers });
  assert.equal(response.status, 201);
  assert.equal(response.headers.get("location"), "/v1/realtime/calls/wt_1");
  assert.equal(response.headers.get("cache-control"), "no-store");
  assert.equal(((await response.json()) as { call_id: string }).call_id, "wt_1");
  assert.deepEqual(wishes, [
    {
      transport: "webtransport",
      session: { type: "realtime", instructions: "Be brief." },
      leadMs: 5000,
      events: "server",
      defaults: undefined,
      model: "m",
      remoteAddress: "127.0.0.1",
      origin: "http://localhost:8080",
    },
  ]);
});

test("says so where there is no WebTransport, and where a session is too long for a URL", async () => {
  const body = post('{"transport":"webtransport"}', "application/json");
  const none = createServer({ fail: () => new TransportUnavailable("no engine") });
  assert.deepEqual(await errorOf(none.ask("/v1/realtime/calls", body)), {
    status: 501,
    message: "no engine",
    type: "invalid_request_error",
    param: "transport",
    code: "transport_unavailable",
  });
  const long = createServer({ fail: () => new SettingsTooLong("too long") });
  assert.equal((await errorOf(long.ask("/v1/realtime/calls", body))).code, "session_too_long");
});

test("says what is wrong with a call, in OpenAI's shape", async () => {
  const { ask } = createServer();
  const form = (fields: Record<string, string | Blob>) => {
    const data = new FormData();
    for (const [name, value] of Object.entries(fields)) data.set(name, value);
    return post(data);
  };
  const calls = "/v1/realtime/calls";
  assert.equal((await errorOf(ask(calls, post("{}", "text/plain")))).status, 415);
  assert.equal((await errorOf(ask(calls, post("{}", "application/json")))).param, "transport");
  assert.equal((await errorOf(ask(calls, post("{", "application/json")))).code, "invalid_body");
  assert.equal((await errorOf(ask(calls, { method: "POST" }))).status, 415);
  assert.deepEqual((await errorOf(ask(calls, form({ session: "{}" })))).param, "sdp");
  assert.equal((await errorOf(ask(calls, form({ sdp: OFFER, session: "{" })))).param, "session");
  const voice = await errorOf(ask(calls, form({ sdp: OFFER, session: '{"audio":{"output":{"speed":9}}}' })));
  assert.deepEqual([voice.status, voice.param], [400, "session.audio.output.speed"]);
  const boundary = "multipart/form-data; boundary=x";
  for (const body of ["", "--x", "--x\r\n\r\n", "garbage", "--x\r\ncontent-disposition: form-data\r\n\r\n\r\n--x--"]) {
    assert.equal((await errorOf(ask(calls, post(body, boundary)))).status, 400, body);
  }
  assert.equal((await errorOf(ask(calls, post(OFFER, "multipart/form-data")))).status, 400);
});

test("passes on why an offer was refused, and that there is no room", async () => {
  const bad = createServer({ fail: () => new SdpError("the offer has no valid a=ice-ufrag") });
  const refused = await errorOf(bad.ask("/v1/realtime/calls", post(OFFER, "application/sdp")));
  assert.deepEqual([refused.status, refused.code, refused.param], [400, "invalid_offer", "sdp"]);
  assert.match(refused.message, /ice-ufrag/);
  const full = createServer({ fail: () => new AtCapacity() });
  const response = await full.ask("/v1/realtime/calls", post(OFFER, "application/sdp"));
  assert.equal(response.status, 503);
  assert.equal(response.headers.get("retry-after"), "5");
});

test("answers 500 to an error of ours without a word of it, and reports it", async () => {
  const { ask, errors } = createServer({ fail: () => new Error("the password is hunter2") });
  const error = await errorOf(ask("/v1/realtime/calls", post(OFFER, "application/sdp")));
  assert.equal(error.status, 500);
  assert.equal(error.message.includes("hunter2"), false);
  assert.equal(errors.length, 1);
});

test("bounds bodies: an offer at 64 KiB, a session at 1 MiB, whatever the length says", async () => {
  const { ask, requests } = createServer();
  const calls = "/v1/realtime/calls";
  assert.equal((await ask(calls, post("x".repeat(65_536), "application/sdp"))).status, 201);
  assert.equal((await errorOf(ask(calls, post("x".repeat(65_537), "application/sdp")))).status, 413);
  assert.equal(requests.length, 1);
  const big = new FormData();
  big.set("sdp", "x".repeat(65_537));
  assert.deepEqual((await errorOf(ask(calls, post(big)))).param, "sdp");
  big.set("sdp", OFFER);
  big.set("session", JSON.stringify({ instructions: "x".repeat(1_048_576) }));
  assert.equal((await errorOf(ask(calls, post(big)))).status, 413);
  const secrets = "/v1/realtime/client_secrets";
  assert.equal((await errorOf(ask(secrets, post(" ".repeat(1_048_577), "application/json")))).status, 413);
  // A body without a length, cut off as soon as it is too long.
  let pulled = 0;
  const endless = new ReadableStream({
    pull(controller) {
      pulled += 1;
      controller.enqueue(new Uint8Array(16_384));
    },
  });
  const init = { ...post(endless as unknown as BodyInit, "application/sdp"), duplex: "half" } as RequestInit;
  assert.equal((await errorOf(ask(calls, init))).status, 413);
  assert.ok(pulled < 10, `${pulled} pieces were read`);
});

test("refuses bodies that are not UTF-8", async () => {
  const { ask } = createServer();
  const bytes = Uint8Array.of(0x76, 0x3d, 0xff, 0xfe);
  assert.equal((await errorOf(ask("/v1/realtime/calls", post(bytes, "application/sdp")))).status, 400);
  assert.equal((await errorOf(ask("/v1/realtime/client_secrets", post(bytes, "application/json")))).status, 400);
});

test("hangs up calls that exist", async () => {
  const { ask } = createServer();
  const hung = await ask("/v1/realtime/calls/rtc_1/hangup", { method: "POST" });
  assert.deepEqual([hung.status, await hung.text()], [200, ""]);
  const unknown = await errorOf(ask("/v1/realtime/calls/rtc_2/hangup", { method: "POST" }));
  assert.deepEqual([unknown.status, unknown.code], [404, "call_not_found"]);
});

test("mints a client secret that opens a call with its session, until it expires", async () => {
  const { ask, requests, pass } = createServer({ apiKey: "sk-1" });
  const session = { type: "realtime", model: "gpt-realtime-2.1", instructions: "Be kind." };
  const body = JSON.stringify({ expires_after: { anchor: "created_at", seconds: 60 }, session });
  const response = await ask("/v1/realtime/client_secrets", post(body, "application/json", "sk-1"), "1.2.3.4");
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("cache-control"), "no-store");
  const secret = (await response.json()) as { value: string; expires_at: number; session: Record<string, unknown> };
  assert.match(secret.value, /^ek_[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/); // also a valid subprotocol
  assert.equal(secret.expires_at, 1_800_000_060);
  assert.equal(secret.session.instructions, "Be kind.");
  assert.equal(secret.session.object, "realtime.session");
  const call = () => ask("/v1/realtime/calls", post(OFFER, "application/sdp", secret.value), "1.2.3.4");
  assert.equal((await call()).status, 201);
  assert.deepEqual(requests[0]?.defaults, session);
  pass(60_000);
  assert.equal((await errorOf(call())).status, 401);
});

test("mints with defaults, and within bounds", async () => {
  const { ask } = createServer();
  const mint = (body: unknown) => ask("/v1/realtime/client_secrets", post(JSON.stringify(body), "application/json"));
  const empty = await ask("/v1/realtime/client_secrets", { method: "POST" });
  const { expires_at, session } = (await empty.json()) as { expires_at: number; session: { model: string } };
  assert.deepEqual([expires_at, session.model], [1_800_000_600, "parrot"]);
  for (const seconds of [9, 7201, 1.5, "60"]) {
    assert.equal((await errorOf(mint({ expires_after: { seconds } }))).param, "expires_after.seconds");
  }
  assert.equal((await errorOf(mint({ session: { type: "translation" } }))).param, "session.type");
  const words = await mint({ session: { type: "transcription" } });
  const shown = (await words.json()) as { session: { object: string } };
  assert.equal(shown.session.object, "realtime.transcription_session");
  assert.equal((await errorOf(mint([]))).status, 400);
});

test("lets a single-use secret open one call, and still hang it up", async () => {
  const { ask } = createServer({ apiKey: "sk-1" });
  const body = JSON.stringify({ sluice: { single_use: true } });
  const minted = await ask("/v1/realtime/client_secrets", post(body, "application/json", "sk-1"), "1.2.3.4");
  const { value } = (await minted.json()) as { value: string };
  const call = () => ask("/v1/realtime/calls", post(OFFER, "application/sdp", value), "1.2.3.4");
  assert.equal((await call()).status, 201);
  assert.equal((await call()).status, 401);
  assert.equal((await ask("/v1/realtime/calls/rtc_1/hangup", post("", undefined, value), "1.2.3.4")).status, 200);
});

test("does not let a client secret mint another", async () => {
  const { ask } = createServer({ apiKey: "sk-1" });
  const minted = await ask("/v1/realtime/client_secrets", post("{}", "application/json", "sk-1"), "1.2.3.4");
  const { value } = (await minted.json()) as { value: string };
  for (const path of ["/v1/realtime/client_secrets", "/v1/realtime/sessions"]) {
    assert.equal((await errorOf(ask(path, post("{}", "application/json", value), "1.2.3.4"))).status, 403);
  }
});

test("mints at the former path too", async () => {
  const { ask } = createServer();
  const response = await ask("/v1/realtime/sessions", post('{"model":"m","voice":"alloy"}', "application/json"));
  const session = (await response.json()) as { model: string; voice: string; client_secret: { value: string } };
  assert.deepEqual([session.model, session.voice], ["m", "alloy"], "flat in, flat out");
  assert.match(session.client_secret.value, /^ek_/);
  const body = '{"input_audio_format":"g711_ulaw"}';
  const words = await ask("/v1/realtime/transcription_sessions", post(body, "application/json"));
  const { object, input_audio_format } = (await words.json()) as { object: string; input_audio_format: string };
  assert.deepEqual([object, input_audio_format], ["realtime.transcription_session", "g711_ulaw"]);
});

test("keeps the keys of MCP servers out of a secret, which anybody who has it can read, and out of the answer", async () => {
  const { ask, requests } = createServer({ apiKey: "sk-1" });
  const tools = [{ type: "mcp", server_label: "docs", authorization: "canary" }];
  const body = JSON.stringify({ session: { tools } });
  const minted = await ask("/v1/realtime/client_secrets", post(body, "application/json", "sk-1"), "1.2.3.4");
  const text = await minted.text();
  const { value } = JSON.parse(text) as { value: string };
  const [record = ""] = value.slice(3).split(".");
  assert.doesNotMatch(text + Buffer.from(record, "base64url").toString(), /canary/);
  assert.equal((await ask("/v1/realtime/calls", post(OFFER, "application/sdp", value), "1.2.3.4")).status, 201);
  assert.deepEqual(requests[0]?.defaults?.tools, tools, "and its sessions have them all the same");
});

test("asks for a key everywhere but where health and the API are described", async () => {
  const { ask } = createServer({ apiKey: "sk-1" });
  const away = (path: string, method: string) => ask(path, { method }, "1.2.3.4");
  for (const path of ["/v1/realtime/calls", "/v1/realtime", "/v1/realtime/client_secrets", "/v1/realtime/sessions"]) {
    const response = await away(path, "POST");
    assert.equal(response.headers.get("www-authenticate"), "Bearer");
    assert.equal((await errorOf(response)).status, 401, path);
  }
  assert.equal((await away("/v1/realtime/calls/rtc_1/hangup", "POST")).status, 401);
  assert.equal((await away("/metrics", "GET")).status, 401);
  for (const path of ["/healthz", "/readyz", "/openapi.json"]) assert.equal((await away(path, "GET")).status, 200);
});

test("answers preflights with what clients ask for", async () => {
  const { ask } = createServer({ apiKey: "sk-1" });
  const asked = "authorization,content-type,x-openai-agents-sdk,x-stainless-os";
  const response = await ask("/v1/realtime/calls", {
    method: "OPTIONS",
    headers: {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": asked,
    },
  });
  assert.equal(response.status, 204);
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
  assert.equal(response.headers.get("access-control-allow-headers"), asked);
  assert.equal(response.headers.get("access-control-allow-credentials"), null);
  // An error is readable by the page as well.
  const refused = await ask("/v1/realtime/calls", { method: "POST", headers: { origin: "https://app.example" } });
  assert.equal(refused.headers.get("access-control-allow-origin"), "*");
});

test("tells whether it lives and whether it takes calls", async () => {
  const { ask, fill } = createServer();
  assert.equal((await ask("/healthz")).status, 200);
  assert.equal((await ask("/readyz")).status, 200);
  fill();
  assert.equal((await ask("/readyz")).status, 503);
  assert.equal((await ask("/healthz")).status, 200);
  const metrics = await ask("/metrics");
  assert.equal(await metrics.text(), "up 1\n");
  assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain/);
});

test("says where the WebSocket is, and what it does not know", async () => {
  const { ask } = createServer();
  assert.equal((await errorOf(ask("/v1/realtime"))).status, 426);
  assert.equal((await errorOf(ask("/v1/live/sessions", { method: "POST" }))).code, "unknown_url");
});

test("describes every route, and no other, in its OpenAPI document", async () => {
  const { app, ask } = createServer();
  const document = (await (await ask("/openapi.json")).json()) as ReturnType<typeof createOpenApi>;
  assert.deepEqual(document, JSON.parse(JSON.stringify(createOpenApi("1.2.3"))));
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const routed = app.routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  assert.deepEqual(described.sort(), routed.sort());
});

test("refers only to schemas that its OpenAPI document has, and names each operation once", () => {
  const document = createOpenApi("1.2.3");
  const text = JSON.stringify(document);
  const schemas = new Set(Object.keys(document.components.schemas));
  for (const [, name] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g))
    assert.ok(schemas.has(name!), `no schema ${name}`);
  const operations = [...text.matchAll(/"operationId":"(\w+)"/g)].map(([, name]) => name);
  assert.equal(new Set(operations).size, operations.length);
});

test("a conversation is resumed by its token alone, over either kind of call, and by no other", async () => {
  const { ask, requests, wishes } = createServer({ apiKey: "sk-1" });
  const sdp = { method: "POST", headers: { "content-type": "application/sdp" }, body: OFFER };
  const json = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"transport":"webtransport"}',
  };
  assert.equal((await ask("/v1/realtime/calls?resume=good", sdp)).status, 201);
  assert.equal((await ask("/v1/realtime/calls?resume=good", json)).status, 201);
  assert.equal(requests[0]?.resume, "good");
  assert.equal((wishes[0] as { resume?: string }).resume, "good");
  for (const init of [sdp, json]) {
    const refused = await ask("/v1/realtime/calls?resume=guessed", init);
    assert.equal(refused.status, 404);
    assert.equal(((await refused.json()) as { error: { code: string } }).error.code, "conversation_gone");
  }
  assert.equal((await ask("/v1/realtime/calls", sdp)).status, 401);
});
