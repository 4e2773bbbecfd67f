/** WebTransport over real sockets with a caller that is no browser: what a call is carried by, and what strangers try. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { closeCodes, encodeEventsStart, streamCodes } from "@sluice/realtime";
import { createKeyRing, generateKey } from "@sluice/routing";
import { loadOpus, loadQuicEngine } from "@sluice/transceiver";
import { until } from "../../lab/fleet.ts";
import { startSluice } from "../../lab/sluice.ts";
import { Caller, CallerEndpoint, type CallerOptions, SessionRefused } from "../../lab/webtransport/caller.ts";
import { BareServer, type BareServerOptions } from "../../lab/webtransport/server.ts";

const loaded = loadQuicEngine();
const skip = loaded.engine ? false : loaded.reason;
const UTTERANCE = { responseId: "r", itemId: "i", outputIndex: 0, contentIndex: 0 };
const FRAME = 960;

async function open(t: TestContext, options: Partial<BareServerOptions> = {}) {
  const engine = loaded.engine!;
  const server = await BareServer.open({ engine, ...options });
  const endpoint = await CallerEndpoint.open(engine);
  t.after(async () => {
    await endpoint.close();
    await server.close();
  });
  const call = async (more: Partial<CallerOptions> = {}) => {
    const caller = await Caller.connect(endpoint, { answer: server.answer(), ...more });
    return { caller, session: server.sessions.at(-1)! };
  };
  return { server, endpoint, call };
}

/** The status that a connection is refused with. */
async function statusOf(connecting: Promise<unknown>): Promise<number> {
  try {
    await connecting;
    return 200;
  } catch (error) {
    assert.ok(error instanceof SessionRefused, String(error));
    return error.status;
  }
}

test("events go both ways, speech comes on a stream of its own", { skip }, async (t) => {
  const { call } = await open(t);
  const { caller, session } = await call();
  await until("the session is created", () => caller.events.length === 1);
  for (let n = 0; n < 1000; n++) caller.send({ type: "x", n });
  await until("they are there", () => session.messages.length === 1000);
  assert.deepEqual(JSON.parse(session.messages.at(-1)!), { type: "x", n: 999 });
  session.link.play(UTTERANCE, new Int16Array(24_000));
  session.link.endUtterance(UTTERANCE);
  await until("it is heard", () => caller.utterances[0]?.ended === true);
  assert.equal(caller.utterances[0]?.header?.item_id, "i");
  assert.deepEqual(
    caller.utterances[0]?.frames.map(({ time }) => time),
    Array.from({ length: 50 }, (_, n) => n * FRAME),
  );
});

test("a cancelled utterance is reset, and nothing of it comes any more", { skip }, async (t) => {
  const { call } = await open(t);
  const { caller, session } = await call();
  session.link.play(UTTERANCE, new Int16Array(24_000 * 60));
  await until("it begins", () => (caller.utterances[0]?.frames.length ?? 0) > 0);
  session.link.flush();
  await until("it is reset", () => caller.utterances[0]?.resetCode !== undefined);
  assert.equal(caller.utterances[0]?.resetCode, streamCodes.cancelled);
  session.link.play({ ...UTTERANCE, itemId: "j" }, new Int16Array(4800));
  await until("the next one comes", () => (caller.utterances[1]?.frames.length ?? 0) > 0);
});

test("thirty changes of address while the caller speaks lose no frame and no word of the answer", {
  skip,
}, async (t) => {
  const { endpoint, call, server } = await open(t);
  const { caller, session } = await call();
  const opus = await loadOpus();
  const encoder = await opus.createEncoder();
  const packet = encoder.encode(new Int16Array(480));
  encoder.free();
  session.link.play(UTTERANCE, new Int16Array(24_000 * 8));
  session.link.endUtterance(UTTERANCE);
  const frames = 30 * 8;
  for (let n = 0; n < frames; n++) {
    if (n % 8 === 4) await endpoint.rebind();
    if (n % 40 === 0) caller.beginTalkspurt();
    caller.say({ time: n * FRAME, packet });
    await sleep(10);
  }
  await until("every frame is heard", () => session.ordered.length === frames);
  assert.deepEqual(
    session.ordered,
    Array.from({ length: frames }, (_, n) => n * 20),
  );
  await until("and the whole answer", () => caller.utterances[0]?.ended === true);
  assert.equal(caller.utterances[0]?.frames.length, 400);
  assert.ok(server.server.stats().pathChanges >= 25, `${server.server.stats().pathChanges} changes were seen`);
});

test("a token opens one session, in its time, for the page that asked", { skip }, async (t) => {
  const { server, endpoint } = await open(t);
  const answer = server.answer();
  const spent = await Caller.connect(endpoint, { answer });
  assert.equal(await statusOf(Caller.connect(endpoint, { answer })), 401, "spent");
  const forged = { ...answer, url: `${answer.url}x` };
  assert.equal(await statusOf(Caller.connect(endpoint, { answer: forged })), 401, "forged");
  assert.equal(await statusOf(Caller.connect(endpoint, { answer, path: "/v1/realtime/webtransport" })), 401, "none");
  assert.equal(await statusOf(Caller.connect(endpoint, { answer, path: "/elsewhere" })), 404);
  assert.equal(await statusOf(Caller.connect(endpoint, { answer, path: "//[" })), 404);
  const asked = () => server.answer("https://example.com");
  assert.equal(await statusOf(Caller.connect(endpoint, { answer: asked(), origin: "https://evil.example" })), 403);
  assert.equal(await statusOf(Caller.connect(endpoint, { answer: asked() })), 403, "no page");
  assert.equal(await statusOf(Caller.connect(endpoint, { answer: asked(), origin: "https://example.com" })), 200);
  const elsewhere = { answer: server.answer(), origin: "https://evil.example" };
  assert.equal(await statusOf(Caller.connect(endpoint, elsewhere)), 403, "nobody asked, and not of this machine");
  assert.equal(spent.closed, undefined, "nothing of it disturbs the one call that is");
  const { refused } = server.server.stats();
  assert.deepEqual([refused.unauthorized, refused.forbidden, refused.notFound], [3, 3, 2]);
});

test("a token of the fleet opens a session on any of its transceivers, behind the same certificate", {
  skip,
}, async (t) => {
  const keyRing = createKeyRing([generateKey(randomBytes)]);
  const [one, other] = [await open(t, { keyRing }), await open(t, { keyRing })];
  const to = { address: "127.0.0.1", port: other.server.socket.address().port };
  const caller = await Caller.connect(one.endpoint, { answer: one.server.answer(), to });
  await until("the session is created", () => caller.events.length === 1);
  assert.equal(other.server.sessions.length, 1);
});

test("a full server says so, and has room again when a call ends", { skip }, async (t) => {
  const { server, endpoint, call } = await open(t, { maxSessions: 1 });
  const { caller, session } = await call();
  assert.equal(await statusOf(Caller.connect(endpoint, { answer: server.answer() })), 503);
  caller.close(0, "goodbye");
  await until("it is gone", () => session.closed !== undefined);
  assert.equal(session.closed, "goodbye");
  assert.equal(await statusOf(Caller.connect(endpoint, { answer: server.answer() })), 200);
});

test("a flood of streams, of whatever kind, ends its own session only", { skip }, async (t) => {
  const { call } = await open(t);
  const quiet = await call();
  const { caller, session } = await call();
  for (let n = 0; n < 100_000 && session.closed === undefined; n++) {
    const stream = caller.session.openStream("unidirectional");
    if (stream === undefined) await sleep(1);
    else caller.session.write(stream, Uint8Array.of(9, 9, 9));
    if (n % 16 === 0) {
      caller.send({ type: "x" });
      await sleep(0);
    }
  }
  assert.equal(session.closed, "too many events");
  await until("the caller is told", () => caller.closed !== undefined);
  assert.equal(caller.closed?.code, closeCodes.broken);
  quiet.caller.send({ type: "still here" });
  await until("the other call goes on", () => quiet.session.messages.length === 1);
});

test("an event as long as allowed is taken, one that is longer ends the session", { skip }, async (t) => {
  const { call } = await open(t);
  const { caller, session } = await call();
  const text = "x".repeat(2 * 1024 * 1024);
  caller.send({ type: "x", text });
  await until("it has come", () => session.messages.length === 1, 20_000);
  assert.equal(session.messages[0]?.length, JSON.stringify({ type: "x", text }).length);
  const giant = caller.open("unidirectional", Uint8Array.of(1, 0, 0x7f, 0xff));
  await until("it ends", () => session.closed !== undefined);
  assert.match(session.closed!, /talkspurt broke/);
  assert.ok(giant >= 0);
});

test("a client that never reads is given up, and costs no more than its bound", { skip }, async (t) => {
  const { call, endpoint, server } = await open(t);
  const { session } = await call();
  endpoint.isBroken = true; // neither data nor acknowledgements
  for (let n = 0; n < 200 && session.closed === undefined; n++) {
    session.link.sendEvent({ type: "x".repeat(64 * 1024) });
    await sleep(0);
  }
  assert.equal(session.closed, "the client reads too slowly");
  assert.equal(server.server.stats().links.overflowed, 1);
  endpoint.isBroken = false;
});

test("a client that opens two event streams, or none, or garbage is dealt with", { skip }, async (t) => {
  const { call } = await open(t);
  const { caller, session } = await call();
  await until("the session is created", () => caller.events.length === 1);
  caller.open("bidirectional", encodeEventsStart());
  caller.open("bidirectional", randomBytes(40).fill(0xff, 0, 8));
  for (let n = 0; n < 200; n++) caller.session.sendDatagram(randomBytes(n % 60));
  caller.send({ type: "still here" });
  await until("the call goes on", () => session.messages.length === 1);
  assert.equal(session.closed, undefined);
});

test("without the engine a server says so, at its start and to who asks, and everything else works", async (t) => {
  const sluice = await startSluice({ env: { SLUICE_NATIVE: "off" } });
  t.after(() => sluice.stop());
  assert.match(sluice.output(), /quic +the QUIC engine is off/);
  const ask = (body: string) => {
    const headers = { "content-type": "application/json" };
    return fetch(`${sluice.url}/v1/realtime/calls`, { method: "POST", headers, body });
  };
  const refused = await ask('{"transport":"webtransport"}');
  assert.equal(refused.status, 501);
  assert.equal(((await refused.json()) as { error: { code: string } }).error.code, "transport_unavailable");
  const socket = new WebSocket(`${sluice.url.replace("http", "ws")}/v1/realtime`, "realtime");
  const [event] = (await once(socket, "message")) as [MessageEvent];
  assert.equal((JSON.parse(event.data) as { type: string }).type, "session.created");
  socket.close();
});
