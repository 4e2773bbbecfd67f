import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createKeyRing,
  createServerId,
  decodeHop,
  encodeHop,
  formatBindingRequest,
  formatBindingSuccess,
  formatRegistration,
  formatServerId,
  generateKey,
  icePassword,
  mintUfrag,
  parseStun,
  type ServerId,
} from "@sluice/routing";
import { hasBatches } from "@sluice/udp";
import { createClient } from "redis";
import { type RelayOptions, serveRelay } from "./serve.ts";

const key = generateKey(randomBytes);
const ring = createKeyRing([key]);
const serverId = createServerId(1, 1);
const HOST = "127.0.0.1";

for (const udp of ["dgram", "auto"] as const) {
  test(`a call goes through the relay's sockets, both ways, with its address kept (${udp})`, async (context) => {
    const { relay, transceiver, client } = await start(context, { udp });
    assert.equal(relay.batches, udp === "auto" && hasBatches());
    await client.knock(relay.port);
    client.send(rtp(7), relay.port);
    const [hop] = await transceiver.received(rtp(7));
    assert.deepEqual([...hop!.address, hop!.port], [127, 0, 0, 1, client.port]);
    transceiver.answer(rtp(8));
    await client.received(rtp(8));
    const [report] = await relay.reports();
    assert.equal(report!.confirmed, 1);
  });

  test(`one of two workers is killed and no call is lost, nor when another takes its place (${udp})`, async (context) => {
    const { relay, transceiver, client } = await start(context, { udp, workers: 2 });
    const clients = [client, ...(await Promise.all(Array.from({ length: 15 }, () => createUdpClient(context))))];
    for (const each of clients) await each.knock(relay.port);
    await sleep(50); // the workers tell each other
    const allTalk = async (step: number) => {
      for (const [index, each] of clients.entries()) {
        const packet = rtp(1000 * step + index);
        each.send(packet, relay.port);
        await transceiver.received(packet);
        transceiver.answer(packet);
        await each.received(packet);
      }
    };
    await allTalk(1);
    await relay.reports();
    await relay.killWorker(0);
    await allTalk(2);
    await sleep(400);
    await allTalk(3);
    assert.equal((await relay.reports()).length, 3, "two that run and the one that ended");
  });
}

test("a relay that starts again is heard by transceivers where it was, and so learns its calls without hearing them", async (context) => {
  const probe = await bind(context);
  const upstreamPort = probe.address().port;
  await new Promise<void>((closed) => probe.close(closed));
  const { relay, transceiver, client } = await start(context, { upstreamPort });
  const { port } = relay;
  await client.knock(port);
  await relay.close();
  const directory = { cluster: 1, transceivers: [{ serverId, address: HOST, port: transceiver.port }] };
  const again = await serveRelay({ keys: [key], host: HOST, port, upstreamPort, directory });
  context.after(() => again.close());
  transceiver.answer(rtp(1));
  await client.received(rtp(1));
  client.send(rtp(2), port);
  await transceiver.received(rtp(2));
  assert.equal((await again.reports())[0]!.stats.recovered.transceiver, 1);
});

test("a port towards transceivers that another program has is left to it", async (context) => {
  const stranger = await bind(context);
  const lines: string[] = [];
  const upstreamPort = stranger.address().port;
  const { relay, transceiver, client } = await start(context, { upstreamPort, log: (line) => lines.push(line) });
  await client.knock(relay.port);
  transceiver.answer(rtp(1));
  await client.received(rtp(1));
  assert.match(lines.join(), new RegExp(`udp port ${upstreamPort} is in use`));
});

test("a relay with Redis finds registered transceivers, and after a restart its clients, whatever happens to Redis", async (context) => {
  const redis = await startRedis(context);
  const redisClient = createClient({ url: redis.url });
  redisClient.on("error", () => undefined); // it is killed below
  await redisClient.connect();
  context.after(() => redisClient.destroy());
  const transceiver = await createTransceiver(context, serverId);
  const register = (draining = false) =>
    redisClient.hSet(
      "sluice:transceivers:1",
      formatServerId(serverId),
      formatRegistration(ring, {
        serverId,
        address: HOST,
        port: transceiver.port,
        load: 0,
        draining,
        quic: true,
        expiresAt: Math.ceil(performance.timeOrigin / 1000) + 600,
      }),
    );
  await register();
  const options = { keys: [key], host: HOST, redis: redis.url, directory: { cluster: 1 } } satisfies RelayOptions;
  let relay = await serveRelay({ ...options, port: 0 });
  context.after(() => relay.close());
  const { port } = relay;
  const client = await createUdpClient(context);
  await eventually(async () => client.knock(port));
  await eventually(async () => assert.equal(await redisClient.get(`sluice:flow:${HOST}:${client.port}`), "1.1"));

  await relay.close();
  relay = await serveRelay({ ...options, port });
  await eventually(async () => {
    client.send(rtp(1), port);
    await transceiver.received(rtp(1));
  });
  assert.equal((await relay.reports())[0]!.stats.recovered.redis, 1);

  const talks = async (ssrc: number) => {
    client.send(rtp(ssrc), port);
    await transceiver.received(rtp(ssrc));
  };
  await redisClient.set("sluice:transceivers:2", "wrong type");
  await redisClient.flushAll();
  await redisClient.set("sluice:transceivers:1", "wrong type");
  await redisClient.hSet(`sluice:flow:${HOST}:9`, "wrong", "type");
  await sleep(1200); // a poll sees it
  await talks(2);
  redis.process.kill("SIGSTOP");
  await talks(3);
  await sleep(1200);
  await talks(4);
  const stranger = await createUdpClient(context);
  await stranger.knock(port);
  redis.process.kill("SIGKILL");
  await sleep(200);
  await talks(5);
  await (await createUdpClient(context)).knock(port);
});

test("metrics, health and readiness are served, and a draining relay is not ready but forwards", async (context) => {
  const { relay, transceiver, client } = await start(context, { metrics: { host: HOST, port: 0 }, drainMs: 1500 });
  const ask = async (path: string) => {
    const response = await fetch(`http://${HOST}:${relay.metricsPort}${path}`);
    return { status: response.status, text: await response.text() };
  };
  await client.knock(relay.port);
  client.send(new Uint8Array(20).fill(5), relay.port);
  await eventually(async () =>
    assert.match((await ask("/metrics")).text, /relay_drop_packets\{reason="unclassified"\} 1/),
  );
  const { text } = await ask("/metrics");
  for (const line of [/relay_rx_packets\{direction="up"\} 2/, /relay_flow_confirmed 1/, /event_loop_lag_seconds /])
    assert.match(text, line);
  assert.deepEqual(
    [(await ask("/healthz")).status, (await ask("/readyz")).status, (await ask("/x")).status],
    [200, 200, 404],
  );
  const drained = relay.drain();
  assert.equal((await ask("/readyz")).status, 503);
  client.send(rtp(3), relay.port);
  await transceiver.received(rtp(3));
  await drained;
  await assert.rejects(ask("/healthz"));
});

test("a relay that knows nobody, because Redis was never read, says so once and is not ready until it was", async (context) => {
  const redis = await startRedis(context);
  const admin = await createClient({ url: redis.url }).connect();
  await admin.configSet("requirepass", "right-password");
  admin.destroy();
  const start = async (url: string, directory: RelayOptions["directory"]) => {
    const lines: string[] = [];
    const relay = await serveRelay({
      keys: [key],
      host: HOST,
      port: 0,
      redis: url,
      directory,
      metrics: { host: HOST, port: 0 },
      log: (line) => lines.push(line),
    });
    context.after(() => relay.close());
    const ready = async () => (await fetch(`http://${HOST}:${relay.metricsPort}/readyz`)).status;
    return { lines, ready };
  };
  const withPassword = (password: string) => redis.url.replace("://", `://:${password}@`);
  const well = await start(withPassword("right-password"), { cluster: 1 });
  assert.equal(await well.ready(), 200);
  const wrong = await start(withPassword("wrong-password"), { cluster: 1 });
  assert.equal(await wrong.ready(), 503);
  assert.equal(wrong.lines.length, 1);
  assert.match(wrong.lines[0]!, /^redis: not reached \(WRONGPASS/);
  assert.doesNotMatch(wrong.lines[0]!, /wrong-password/);
  const told = await start(withPassword("wrong-password"), {
    cluster: 1,
    transceivers: [{ serverId: createServerId(1, 1), address: HOST, port: 9 }],
  });
  assert.equal(await told.ready(), 200);
});

test("a port that is taken, and an aborted signal, end in an error or at once", async (context) => {
  const { relay } = await start(context);
  await assert.rejects(
    serveRelay({ keys: [key], host: HOST, port: relay.port, directory: { cluster: 1 } }),
    /EADDRINUSE/,
  );
  const again = await serveRelay({ keys: [key], host: HOST, port: 0, directory: { cluster: 1 } }, AbortSignal.abort());
  const socket = createSocket("udp4").bind(again.port, HOST);
  await once(socket, "listening");
  socket.close();
});

async function start(context: TestContext, options: Partial<RelayOptions> = {}) {
  const transceiver = await createTransceiver(context, serverId);
  const directory = { cluster: 1, transceivers: [{ serverId, address: HOST, port: transceiver.port }] };
  const relay = await serveRelay({ keys: [key], host: HOST, port: 0, directory, ...options });
  context.after(() => relay.close());
  return { relay, transceiver, client: await createUdpClient(context) };
}

/** A transceiver that answers checks and keeps what it got. */
async function createTransceiver(context: TestContext, id: ServerId) {
  const socket = await bind(context);
  const inbox = new Inbox();
  let last: { readonly hop: Uint8Array; readonly from: RemoteInfo } | undefined;
  const reply = (payload: Uint8Array, datagram: Uint8Array, from: RemoteInfo) => {
    const { address, port } = decodeHop(datagram)!;
    const hop = { address, port, unverified: false, entryRelay: 0 };
    socket.send(encodeHop(hop, payload), from.port, from.address);
  };
  socket.on("message", (datagram, from) => {
    const hop = decodeHop(datagram);
    if (!hop) return;
    last = { hop: datagram, from };
    inbox.push(hop.payload, hop);
    const request = parseStun(hop.payload);
    if (!request) return;
    const { transactionId, serverUfrag } = request;
    const address = [...hop.address].join(".");
    reply(
      formatBindingSuccess({ transactionId, address, port: hop.port, password: icePassword(ring, serverUfrag!) }),
      datagram,
      from,
    );
  });
  return {
    id,
    port: socket.address().port,
    received: (packet: Uint8Array) => inbox.take(packet),
    answer: (payload: Uint8Array) => reply(payload, last!.hop, last!.from),
  };
}

async function createUdpClient(context: TestContext) {
  const socket = await bind(context);
  const inbox = new Inbox();
  let onStun: (() => void) | undefined;
  socket.on("message", (packet) => {
    if (parseStun(packet)) onStun?.();
    else inbox.push(packet, undefined);
  });
  const ufrag = mintUfrag(ring, { serverId, expiresAt: 4_000_000_000, random: randomBytes });
  const send = (packet: Uint8Array, port: number) => socket.send(packet, port, HOST);
  return {
    port: socket.address().port,
    send,
    received: (packet: Uint8Array) => inbox.take(packet),
    async knock(port: number) {
      const answered = new Promise<void>((resolve) => {
        onStun = resolve;
      });
      const request = { transactionId: randomBytes(12), username: `${ufrag}:peer`, password: icePassword(ring, ufrag) };
      send(formatBindingRequest(request), port);
      await within(answered, "a check was not answered");
    },
  };
}

/** Packets by their bytes, for whoever waits for them. */
class Inbox {
  readonly #arrived = new Map<string, unknown[]>();
  readonly #waiting = new Map<string, () => void>();

  push(packet: Uint8Array, value: unknown): void {
    const name = Buffer.from(packet).toString("hex");
    this.#arrived.set(name, [...(this.#arrived.get(name) ?? []), value]);
    this.#waiting.get(name)?.();
  }

  // biome-ignore lint/suspicious/noExplicitAny: hop packets of the transceiver, nothing of a client
  async take(packet: Uint8Array): Promise<any[]> {
    const name = Buffer.from(packet).toString("hex");
    const arrived = new Promise<void>((resolve) => this.#waiting.set(name, resolve));
    if (!this.#arrived.has(name)) await within(arrived, `a packet did not come: ${name.slice(0, 40)}`);
    return this.#arrived.get(name)!;
  }
}

async function bind(context: TestContext): Promise<Socket> {
  const socket = createSocket("udp4");
  let closed = false;
  socket.once("close", () => {
    closed = true;
  });
  context.after(() => !closed && socket.close());
  socket.bind(0, HOST);
  await once(socket, "listening");
  return socket;
}

function rtp(ssrc: number): Uint8Array {
  const packet = new Uint8Array(60);
  packet.set([0x80, 111, 0, 1, 0, 0, 0, 0, ssrc >>> 24, ssrc >>> 16, ssrc >>> 8, ssrc]);
  return packet;
}

async function within<T>(promise: Promise<T>, message: string): Promise<T> {
  const ended = new AbortController();
  const late = sleep(1500, undefined, { signal: ended.signal }).then(() => assert.fail(message));
  late.catch(() => undefined);
  return Promise.race([promise, late]).finally(() => ended.abort());
}

async function eventually(attempt: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (tries === 5) throw error;
      await sleep(200);
    }
  }
}

/** A redis-server of our own on a free port. */
async function startRedis(context: TestContext) {
  if (spawnSync("redis-server", ["--version"]).error)
    assert.fail(
      "redis-server is missing: install it (Debian: apt-get install redis-server; macOS: brew install redis)",
    );
  const probe = createServer().listen(0, HOST);
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  const process = spawn("redis-server", ["--port", `${port}`, "--save", "", "--bind", HOST], {
    stdio: "ignore",
  });
  context.after(() => process.kill("SIGKILL"));
  const url = `redis://${HOST}:${port}`;
  await eventually(async () => {
    const client = createClient({ url, socket: { reconnectStrategy: false } });
    client.on("error", () => undefined);
    await client.connect();
    client.destroy();
  });
  return { url, process };
}
