import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { Link } from "@sluice/conversation";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { WebSocket } from "ws";
import { Auth } from "../signaling/auth.ts";
import { AtCapacity } from "../signaling/calls.ts";
import { ClientSecrets } from "../signaling/client-secret.ts";
import type { WebSocketRequest } from "../signaling/handshake.ts";
import { createSignaling } from "../signaling/signaling.ts";
import { createDtlsIdentity } from "../webrtc/dtls-certificate.ts";
import { type HttpLimits, PortInUse, serveHttp, type TlsOptions } from "./http.ts";

interface Heard {
  readonly request: WebSocketRequest;
  readonly link: Link;
  readonly messages: string[];
  closed: string | undefined;
}

/** A server on a free port whose calls are echoes: each event comes back as `echo`. */
async function serve(
  t: TestContext,
  settings: { apiKey?: string; limits?: HttpLimits; staticDir?: string; full?: boolean; tls?: TlsOptions } = {},
) {
  const secrets = new ClientSecrets({ key: new Uint8Array(32), random: randomBytes });
  const auth = new Auth({ apiKey: settings.apiKey, secrets });
  const calls = {
    openWebRtc: async ({ offer }: { offer: string }) => ({ callId: "rtc_1", answer: `answer to ${offer}` }),
    openWebTransport: () => assert.fail("nobody asks for it"),
    hangup: (id: string) => id === "rtc_1",
    has: (id: string) => id === "rtc_1",
    isResumable: (token: string) => token === "good",
    findResumable: async (token: string) => token === "good" || token === "elsewhere",
  };
  const errors: unknown[] = [];
  const app = createSignaling({
    calls,
    auth,
    now: Date.now,
    random: randomBytes,
    model: "echo",
    version: "0",
    ready: () => true,
    metrics: { contentType: "text/plain", render: () => "" },
    onError: (error) => errors.push(error),
  });
  const heard: Heard[] = [];
  const server = await serveHttp({
    app,
    auth,
    calls,
    host: "127.0.0.1",
    port: 0,
    staticDir: settings.staticDir,
    tls: settings.tls,
    limits: settings.limits,
    now: () => performance.now(),
    createEventId: () => "event_1",
    onError: (error) => errors.push(error),
    onWebSocket(wanted) {
      if (settings.full) throw new AtCapacity();
      return (link) => {
        const one: Heard = { request: wanted, link, messages: [], closed: undefined };
        heard.push(one);
        return {
          onOpen: () => link.sendEvent({ type: "session.created" }),
          onMessage(_now, text) {
            one.messages.push(text);
            if (text === "bug") throw new Error("a bug of ours");
            link.sendEvent({ type: "echo", text } as { type: string });
          },
          onEarlyAudio() {},
          onOrderedAudio() {},
          onSent() {},
          onUtteranceEnded() {},
          onClosed(_now, reason) {
            one.closed = reason;
          },
        };
      };
    },
  });
  t.after(() => server.close());
  const ws = (path = "/v1/realtime", protocols: string[] = ["realtime"], options = {}) =>
    new WebSocket(`ws://127.0.0.1:${server.port}${path}`, protocols, options);
  return { server, secrets, heard, errors, ws, base: `http://127.0.0.1:${server.port}` };
}

const next = async (socket: WebSocket) => String((await once(socket, "message"))[0]);

/** Status of a refused handshake and its error. */
async function refusal(socket: WebSocket): Promise<{ status: number; code: string; headers: Record<string, unknown> }> {
  const [, response] = (await once(socket, "unexpected-response")) as [unknown, import("node:http").IncomingMessage];
  const body = (await response.toArray()).join("");
  const { error } = JSON.parse(body) as { error: { code: string } };
  socket.on("error", () => {});
  return { status: response.statusCode ?? 0, code: error.code, headers: response.headers };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

test("takes a call by HTTP and a session by WebSocket on one port", async (t) => {
  const { base, ws, heard } = await serve(t);
  const headers = { "content-type": "application/sdp" };
  const call = await fetch(`${base}/v1/realtime/calls`, { method: "POST", body: "v=0", headers });
  assert.deepEqual([call.status, await call.text()], [201, "answer to v=0"]);
  assert.equal(call.headers.get("location"), "/v1/realtime/calls/rtc_1");
  const socket = ws("/v1/realtime?model=m");
  assert.equal(await next(socket), '{"type":"session.created"}');
  socket.send("hello");
  assert.equal(await next(socket), '{"type":"echo","text":"hello"}');
  assert.deepEqual(heard[0]?.request, {
    model: "m",
    callId: undefined,
    type: "realtime",
    dialect: "ga",
    defaults: undefined,
  });
  socket.close(1000);
  await until(() => heard[0]?.closed !== undefined);
  assert.equal(heard[0]?.closed, "the client hung up");
});

test("selects the subprotocol realtime and never echoes the key beside it", async (t) => {
  const { server, heard } = await serve(t, { apiKey: "sk-1" });
  // The WebSocket of browsers, which fails unless the server selects one of its protocols.
  const protocols = ["realtime", "openai-insecure-api-key.sk-1", "openai-agents-sdk.0.20.0"];
  const socket = new globalThis.WebSocket(`ws://127.0.0.1:${server.port}/v1/realtime`, protocols);
  const message = (await new Promise((resolve, reject) => {
    socket.onmessage = resolve;
    socket.onerror = () => reject(new Error("the handshake failed"));
  })) as MessageEvent;
  assert.equal(socket.protocol, "realtime");
  assert.equal(message.data, '{"type":"session.created"}');
  socket.close();
  await until(() => heard[0]?.closed !== undefined);
});

test("serves the openai package: client secret, call and hang-up, over a base URL", async (t) => {
  const { base } = await serve(t, { apiKey: "sk-1" });
  const openai = new OpenAI({ apiKey: "sk-1", baseURL: `${base}/v1`, maxRetries: 0 });
  const secret = await openai.realtime.clientSecrets.create({ session: { type: "realtime", model: "m" } });
  assert.match(secret.value, /^ek_/);
  const browser = new OpenAI({ apiKey: secret.value, baseURL: `${base}/v1`, maxRetries: 0 });
  const call = await browser.realtime.calls.create({ sdp: "v=0", session: { type: "realtime" } });
  assert.equal(await call.text(), "answer to v=0");
  await browser.realtime.calls.hangup("rtc_1");
  await assert.rejects(browser.realtime.calls.hangup("rtc_2"), { status: 404, code: "call_not_found" });
  const stranger = new OpenAI({ apiKey: "sk-2", baseURL: `${base}/v1`, maxRetries: 0 });
  await assert.rejects(stranger.realtime.calls.create({ sdp: "v=0" }), { status: 401, code: "invalid_api_key" });
});

/** A self-signed certificate for TLS. */
function identity() {
  const { privateKey, certificate } = createDtlsIdentity(Date.now());
  const lines = Buffer.from(certificate).toString("base64");
  const cert = `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

test("serves the openai package's WebSocket, which dials TLS only, without a terminator", async (t) => {
  const tls = identity();
  const { server } = await serve(t, { apiKey: "sk-1", tls });
  assert.match(server.url, /^https:/);
  const openai = new OpenAI({ apiKey: "sk-1", baseURL: `https://127.0.0.1:${server.port}/v1` });
  const realtime = new OpenAIRealtimeWS({ model: "m", options: { rejectUnauthorized: false } }, openai);
  await new Promise((resolve, reject) => {
    realtime.once("session.created", resolve);
    realtime.once("error", reject);
  });
  realtime.send({ type: "response.create" });
  const event = (await new Promise((resolve) => realtime.once("event", resolve))) as unknown as { text: string };
  assert.equal(event.text, '{"type":"response.create"}');
  realtime.close();
});

test("over TLS connections are bounded as over TCP, WebSockets are not counted, and a renewed certificate is shown", async (t) => {
  const { server } = await serve(t, { tls: identity(), limits: { connectionsPerAddress: 4 } });
  const options = { rejectUnauthorized: false };
  const shown = async () => {
    const socket = connectTls({ port: server.port, host: "127.0.0.1", ...options });
    await once(socket, "secureConnect");
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    await once(socket, "close");
    return fingerprint256;
  };
  const before = await shown();
  server.setTls(identity());
  assert.notEqual(await shown(), before);
  const sockets: WebSocket[] = [];
  for (let count = 0; count < 5; count++) {
    const socket = new WebSocket(`wss://127.0.0.1:${server.port}/v1/realtime`, options);
    await next(socket);
    sockets.push(socket);
  }
  for (const socket of sockets) socket.terminate();
  const idle = [1, 2, 3, 4].map(() => connectTls({ port: server.port, host: "127.0.0.1", ...options }));
  await Promise.all(idle.map((socket) => once(socket, "secureConnect")));
  const fifth = connectTls({ port: server.port, host: "127.0.0.1", ...options });
  await once(fifth, "error");
  assert.equal(server.counters.overConnected, 1);
  for (const socket of idle) socket.destroy();
});

test("refuses a handshake by HTTP before the upgrade, with the reason", async (t) => {
  const keyed = await serve(t, { apiKey: "sk-1" });
  const wrong = await refusal(keyed.ws("/v1/realtime", ["realtime", "openai-insecure-api-key.sk-2"]));
  assert.deepEqual([wrong.status, wrong.code], [401, "invalid_api_key"]);
  assert.equal((await refusal(keyed.ws("/v1/realtime"))).code, "missing_api_key");
  const right = keyed.ws("/v1/realtime", ["realtime"], { headers: { authorization: "Bearer sk-1" } });
  await next(right);
  right.terminate();

  const open = await serve(t);
  assert.equal((await refusal(open.ws("/v1/elsewhere"))).status, 404);
  assert.equal((await refusal(open.ws("/v1/realtime?call_id=rtc_9"))).code, "call_not_found");
  const evil = await refusal(open.ws("/v1/realtime", ["realtime"], { origin: "https://evil.example" }));
  assert.deepEqual([evil.status, evil.code], [403, "forbidden_origin"]);
  const full = await serve(t, { full: true });
  const busy = await refusal(full.ws("/v1/realtime"));
  assert.deepEqual([busy.status, busy.headers["retry-after"]], [503, "5"]);
  assert.equal(open.server.counters.refusedHandshakes, 3);
});

test("opens a sideband to a call, and a session with what a client secret carries", async (t) => {
  const { ws, heard, secrets } = await serve(t, { apiKey: "sk-1" });
  const session = { instructions: "Be brief." };
  const { value } = secrets.mint(Date.now() / 1000, { seconds: 60, singleUse: true, session })!;
  const headers = { authorization: `Bearer ${value}` };
  const sideband = ws("/v1/realtime?call_id=rtc_1", ["realtime"], { headers });
  await next(sideband);
  assert.equal(heard[0]?.request.callId, "rtc_1");
  const socket = ws("/v1/realtime", ["realtime"], { headers });
  await next(socket);
  assert.deepEqual(heard[1]?.request.defaults, session);
  assert.equal((await refusal(ws("/v1/realtime", ["realtime"], { headers }))).status, 401);
  sideband.terminate();
  socket.terminate();
});

test("answers a binary message with an error event and lives on", async (t) => {
  const { ws, server } = await serve(t);
  const socket = ws();
  await next(socket);
  socket.send(new Uint8Array(10));
  const event = JSON.parse(await next(socket)) as { type: string; error: { code: string } };
  assert.deepEqual([event.type, event.error.code], ["error", "invalid_event"]);
  socket.send("still here");
  assert.match(await next(socket), /still here/);
  assert.equal(server.counters.binary, 1);
  socket.terminate();
});

test("takes 15 MiB of audio in one event and closes 1009 on more than 16 MiB", async (t) => {
  const { ws, heard } = await serve(t, { limits: { webSocket: { maxBuffered: 64 * 1024 * 1024 } } });
  const socket = ws();
  await next(socket);
  socket.send("x".repeat(15 * 1024 * 1024));
  await next(socket);
  assert.equal(heard[0]?.messages[0]?.length, 15 * 1024 * 1024);
  socket.on("error", () => {});
  socket.send("x".repeat(16 * 1024 * 1024 + 1));
  const [code] = (await once(socket, "close")) as [number];
  assert.equal(code, 1009);
});

test("survives a message in a million fragments, an unfinished one, and text that is not UTF-8 (A14)", async (t) => {
  const { ws, heard, errors } = await serve(t);
  const flood = ws();
  await next(flood);
  flood.on("error", () => {});
  for (let i = 0; i < 20_000 && flood.readyState === flood.OPEN; i++) flood.send("x", { fin: false });
  const [floodCode] = (await once(flood, "close")) as [number];
  assert.ok(floodCode === 1008 || floodCode === 1006, String(floodCode)); // too many fragments
  const unfinished = ws();
  await next(unfinished);
  unfinished.send("never ", { fin: false });
  unfinished.terminate();
  const broken = ws();
  await next(broken);
  broken.send(Buffer.from([0xff, 0xfe]), { binary: false });
  const [brokenCode] = (await once(broken, "close")) as [number];
  assert.equal(brokenCode, 1007);
  await until(() => heard.every(({ closed }) => closed !== undefined));
  assert.deepEqual(
    heard.map(({ messages }) => messages),
    [[], [], []],
  );
  assert.deepEqual(errors, []);
});

test("never compresses, whatever a client offers", async (t) => {
  const { ws } = await serve(t);
  const socket = ws("/v1/realtime", ["realtime"], { perMessageDeflate: true });
  await next(socket);
  assert.equal(socket.extensions, "");
  socket.terminate();
});

test("closes 1008 on a client that sends 10,000 events at once (A15)", async (t) => {
  const { ws, heard, server } = await serve(t);
  const socket = ws();
  await next(socket);
  for (let i = 0; i < 10_000; i++) socket.send("{}");
  const [code] = (await once(socket, "close")) as [number];
  assert.equal(code, 1008);
  assert.ok(heard[0]!.messages.length >= 5000 && heard[0]!.messages.length < 6000);
  assert.equal(server.counters.rateLimited, 1);
});

test("gives up a client that never reads, and keeps no more than its bound (C1)", async (t) => {
  const { ws, heard, server } = await serve(t);
  const socket = ws();
  await next(socket);
  socket.pause();
  const { link } = heard[0]!;
  const event = { type: "response.output_audio.delta", delta: "x".repeat(64 * 1024) };
  for (let i = 0; i < 1000 && server.counters.overflowed === 0; i++) {
    link.sendEvent(event);
    await new Promise(setImmediate);
  }
  assert.equal(server.counters.overflowed, 1);
  await until(() => heard[0]?.closed !== undefined);
  assert.equal(heard[0]?.closed, "the client reads too slowly");
  socket.terminate();
});

test("pings, and drops a client that went away without a word", async (t) => {
  const { ws, heard, server } = await serve(t, { limits: { webSocket: { pingMs: 20, idleMs: 60 } } });
  const mute = ws("/v1/realtime", ["realtime"], { autoPong: false });
  const alive = ws();
  await Promise.all([next(mute), next(alive), once(mute, "ping")]);
  await until(() => heard.some(({ closed }) => closed !== undefined));
  assert.equal(server.counters.timedOut, 1);
  assert.equal(server.webSockets, 1);
  alive.terminate();
});

test("contains a bug of ours to the session that met it", async (t) => {
  const { ws, errors } = await serve(t);
  const [unlucky, other] = [ws(), ws()];
  await Promise.all([next(unlucky), next(other)]);
  unlucky.send("bug");
  const [code] = (await once(unlucky, "close")) as [number];
  assert.equal(code, 1011);
  other.send("hello");
  assert.match(await next(other), /hello/);
  assert.equal(errors.length, 1);
  other.terminate();
});

test("closes what is slow to send its request, and serves others meanwhile (A16)", async (t) => {
  const { server, base } = await serve(t, { limits: { requestMs: 200 } });
  const starts = [
    "",
    "GET /healthz HTTP/1.1\r\n",
    "POST /v1/realtime/calls HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nv",
  ];
  const slow = starts.map((start) => {
    const socket = connect(server.port, "127.0.0.1");
    socket.write(start);
    socket.on("error", () => {});
    return socket;
  });
  assert.equal((await fetch(`${base}/healthz`)).status, 200);
  await Promise.all(slow.map((socket) => once(socket.resume(), "close")));
  assert.ok(server.counters.malformed >= 2);
});

test("bounds the connections of one address, but not its open WebSockets", async (t) => {
  const { server, ws } = await serve(t, { limits: { connectionsPerAddress: 3 } });
  const sockets = [];
  for (let i = 0; i < 5; i++) {
    const socket = ws();
    await next(socket);
    sockets.push(socket);
  }
  const idle = [1, 2, 3].map(() => connect(server.port, "127.0.0.1"));
  await Promise.all(idle.map((socket) => once(socket, "connect")));
  const fourth = connect(server.port, "127.0.0.1");
  fourth.on("error", () => {});
  await once(fourth.resume(), "close");
  assert.equal(server.counters.overConnected, 1);
  idle[0]!.destroy();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const again = ws();
  await next(again);
  for (const socket of [...sockets, again]) socket.terminate();
  for (const socket of idle) socket.destroy();
});

test("answers what is not HTTP with 400 and headers that flood with 431", async (t) => {
  const { server } = await serve(t);
  const answerTo = async (text: string) => {
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(text);
    return (await socket.toArray()).join("").split("\r\n")[0];
  };
  assert.equal(await answerTo("\u0016\u0003\u0001 nonsense\r\n\r\n"), "HTTP/1.1 400 Bad Request");
  const flood = `GET / HTTP/1.1\r\nhost: localhost\r\n${"x: y\r\n".repeat(10_000)}\r\n`;
  assert.equal(await answerTo(flood), "HTTP/1.1 431 Request Header Fields Too Large");
});

test("serves the console with types, caching and a content security policy, and nothing beside it", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "sluice-static-"));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, "console", "assets"), { recursive: true });
  await writeFile(join(folder, "secret.txt"), "secret");
  await writeFile(join(folder, "console", "index.html"), "<!doctype html>");
  await writeFile(join(folder, "console", "assets", "main-1a2b.js"), "1");
  const { base, server } = await serve(t, { staticDir: join(folder, "console") });
  const page = await fetch(`${base}/`);
  assert.equal(await page.text(), "<!doctype html>");
  assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
  assert.match(page.headers.get("content-security-policy") ?? "", /default-src 'self'/);
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  assert.equal(page.headers.get("cache-control"), "no-cache");
  const etag = page.headers.get("etag") ?? "";
  assert.equal((await fetch(`${base}/`, { headers: { "if-none-match": etag } })).status, 304);
  const script = await fetch(`${base}/assets/main-1a2b.js`);
  assert.match(script.headers.get("content-type") ?? "", /^text\/javascript/);
  assert.match(script.headers.get("cache-control") ?? "", /immutable/);
  const head = await fetch(`${base}/assets/main-1a2b.js`, { method: "HEAD" });
  assert.deepEqual([head.status, head.headers.get("content-length"), await head.text()], [200, "1", ""]);
  for (const path of [
    "/../secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/assets/../../secret.txt",
    "/%",
    "//",
  ]) {
    const sent = request({ port: server.port, host: "127.0.0.1", path }).end();
    const [response] = (await once(sent, "response")) as [import("node:http").IncomingMessage];
    assert.equal(response.statusCode, 404, path);
    response.resume();
  }
});

test("says that a port is in use", async (t) => {
  const { server } = await serve(t);
  const other = serveHttp({
    app: createSignaling({} as never),
    auth: new Auth({ apiKey: undefined, secrets: new ClientSecrets({ key: new Uint8Array(32), random: randomBytes }) }),
    calls: { has: () => false, isResumable: () => false, findResumable: async () => false },
    host: "127.0.0.1",
    port: server.port,
    now: () => 0,
    createEventId: () => "",
    onError: () => {},
    onWebSocket: () => assert.fail(),
  });
  await assert.rejects(other, (error) => error instanceof PortInUse && error.port === server.port);
});

test("closes: sessions hear 1001 with the reason, nothing stays open", async (t) => {
  const { ws, server, heard } = await serve(t);
  const socket = ws();
  await next(socket);
  const closed = once(socket, "close") as Promise<[number, Buffer]>;
  await Promise.all([server.close("the server is restarting"), server.close()]);
  const [code, reason] = await closed;
  assert.deepEqual([code, String(reason)], [1001, "the server is restarting"]);
  assert.equal(heard[0]?.closed, "the server is restarting");
  assert.equal(server.webSockets, 0);
  await assert.rejects(fetch(server.url));
});

test("repeats no key or secret in any answer (A17)", async (t) => {
  const { base, ws } = await serve(t, { apiKey: "sk-verysecret" });
  const key = "ek_verysecret.verysecret";
  const answers: string[] = [];
  for (const path of ["/v1/realtime/calls", "/v1/realtime/client_secrets", "/v1/realtime/calls/x/hangup", "/nowhere"]) {
    const response = await fetch(`${base}${path}`, { method: "POST", headers: { authorization: `Bearer ${key}` } });
    answers.push(JSON.stringify([...response.headers]) + (await response.text()));
  }
  const refused = await refusal(ws("/v1/realtime", ["realtime", `openai-insecure-api-key.${key}`]));
  answers.push(JSON.stringify(refused));
  for (const answer of answers) assert.equal(answer.includes("verysecret"), false, answer);
});
