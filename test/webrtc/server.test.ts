import assert from "node:assert/strict";
import { after, test } from "node:test";
import { AtCapacity, UdpPortInUse } from "@sluice/transceiver";
import { Call, endClients, openServer, until } from "./call.ts";

after(endClients);

const UTTERANCE = { responseId: "r", itemId: "i", outputIndex: 0, contentIndex: 0 };

test("events said before the channel opens arrive, all and in order", async (t) => {
  const server = await openServer();
  t.after(() => server.close());
  const call = await Call.open(server, { impatient: true });
  for (let i = 0; i < 500; i++) call.server.link!.sendEvent({ type: `${i}` });
  await until("they are there", () => call.events.length === 500);
  assert.deepEqual(
    call.events.map(({ type }) => type),
    Array.from({ length: 500 }, (_, i) => `${i}`),
  );
  await call.close();
});

test("speech leaves as one packet per 20 ms, and a flush ends it at once", async (t) => {
  const server = await openServer();
  t.after(() => server.close());
  const call = await Call.open(server);
  call.server.link!.play(UTTERANCE, new Int16Array(24_000 * 10));
  await until("it is heard", () => call.received >= 10);
  call.server.link!.flush();
  const received = call.received;
  await new Promise((done) => setTimeout(done, 300));
  assert(call.received - received <= 6, `${call.received - received} packets after the flush`);
  await call.close();
});

test("hanging up ends the call on both sides and frees it", async (t) => {
  const server = await openServer();
  t.after(() => server.close());
  const call = await Call.open(server);
  assert(server.has(call.callId));
  assert(server.hangup(call.callId, "goodbye"));
  assert.equal(call.server.closed, "goodbye");
  assert(!server.has(call.callId));
  assert(!server.hangup(call.callId, "again"));
  assert.equal(server.stats().sessions, 0);
  await call.close();
});

test("a client that closes its channel is freed at once", async (t) => {
  const server = await openServer();
  t.after(() => server.close());
  const call = await Call.open(server);
  await call.close();
  assert.match(call.server.closed!, /peer/);
  assert.equal(server.stats().sessions, 0);
});

test("a client that vanished is freed when its consent has expired", async (t) => {
  const server = await openServer({ consentMs: 300 });
  t.after(() => server.close());
  const call = await Call.open(server);
  call.proxy.passes = () => false;
  await until("it is freed", () => call.server.closed !== undefined);
  assert.match(call.server.closed!, /consent/);
  await call.close();
});

test("a handshake that is not finished in time is freed", async (t) => {
  const server = await openServer({ handshakeTimeoutMs: 300 });
  t.after(() => server.close());
  const call = await Call.open(server, { impatient: true });
  call.proxy.passes = (datagram) => datagram[0]! < 4;
  await until("it is freed", () => call.server.closed !== undefined);
  assert.match(call.server.closed!, /handshake/);
  await call.close();
});

test("a conversation that throws ends its own call and no other", async (t) => {
  const server = await openServer();
  t.after(() => server.close());
  const [good, bad] = await Promise.all([Call.open(server), Call.open(server)]);
  bad.server.link!.sendEvent = () => {
    throw new Error("bug");
  };
  bad.send("hello");
  await until("it is ended", () => bad.server.closed !== undefined);
  assert.equal(bad.server.closed, "internal error");
  await good.exchange();
  await Promise.all([good.close(), bad.close()]);
});

test("refuses more calls than it has room for, and has room again after", async (t) => {
  const server = await openServer({ maxSessions: 1 });
  t.after(() => server.close());
  const call = await Call.open(server);
  await assert.rejects(Call.open(server), AtCapacity);
  await call.close();
  await (await Call.open(server)).close();
});

test("closing the server ends its calls with the reason", async () => {
  const server = await openServer();
  const call = await Call.open(server);
  await server.close();
  assert.equal(call.server.closed, "the server is shutting down");
  await call.close();
  await assert.rejects(Call.open(server), AtCapacity);
});

test("says when its port is taken", async (t) => {
  const server = await openServer();
  t.after(() => server.close());
  await assert.rejects(openServer({ udpPort: server.udpPort }), UdpPortInUse);
});
