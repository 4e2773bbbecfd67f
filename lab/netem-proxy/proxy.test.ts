import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { networkProfile } from "@sluice/netem";
import { NetemProxy, type NetemProxyOptions } from "./proxy.ts";

const HOST = "127.0.0.1";

test("packets pass both ways, each client from a port of its own", async (context) => {
  const { server, proxy, client } = await start(context);
  const [first, second] = [await client(), await client()];
  const ports = [];
  for (const each of [first, second]) {
    each.socket.send("ping", proxy.port, HOST);
    ports.push((await server.next()).port);
    assert.equal((await each.next()).text, "echo ping");
  }
  assert.notEqual(ports[0], ports[1]);
});

test("a rebound client comes from a new port, and what is sent to its old one is lost", async (context) => {
  const { server, proxy, client } = await start(context);
  const caller = await client();
  caller.socket.send("a", proxy.port, HOST);
  const old = await server.next();
  await caller.next();
  proxy.rebind();
  server.socket.send("late", old.port, HOST);
  caller.socket.send("b", proxy.port, HOST);
  assert.notEqual((await server.next()).port, old.port);
  assert.equal((await caller.next()).text, "echo b");
});

test("a changed path comes from another address, a new target gets the packets from the same port", async (context) => {
  const { server, proxy, client } = await start(context);
  const caller = await client();
  proxy.changePath("127.0.0.2");
  caller.socket.send("a", proxy.port, HOST);
  const seen = await server.next();
  assert.equal(seen.address, "127.0.0.2");
  const other = await bind(context);
  proxy.retarget({ address: HOST, port: other.socket.address().port });
  caller.socket.send("b", proxy.port, HOST);
  assert.deepEqual(await other.next(), { ...seen, text: "b" });
});

test("impairments act on each direction alone and may change on the way", async (context) => {
  const { server, proxy, client } = await start(context, { down: { blackhole: true } });
  const caller = await client();
  for (let i = 0; i < 20; i++) caller.socket.send(`${i}`, proxy.port, HOST);
  for (let i = 0; i < 20; i++) assert.equal((await server.next()).text, `${i}`);
  await sleep(50);
  assert.equal(proxy.stats.down.blackholed, 20);
  proxy.impair({ down: { delayMs: 30 } });
  const sentAt = performance.now();
  caller.socket.send("slow", proxy.port, HOST);
  assert.equal((await caller.next()).text, "echo slow");
  assert.ok(performance.now() - sentAt >= 29);
});

test("in a blackout nothing passes either way, and afterwards all does", async (context) => {
  const { server, proxy, client } = await start(context);
  const caller = await client();
  caller.socket.send("before", proxy.port, HOST);
  const { port } = await server.next();
  await caller.next();
  proxy.blackout(60);
  caller.socket.send("lost", proxy.port, HOST);
  server.socket.send("lost", port, HOST);
  await sleep(80);
  assert.deepEqual([proxy.stats.up.blackholed, proxy.stats.down.blackholed], [1, 1]);
  caller.socket.send("after", proxy.port, HOST);
  assert.equal((await server.next()).text, "after");
  assert.equal((await caller.next()).text, "echo after");
});

test("a profile makes the network that was measured, until another one does", async (context) => {
  const { server, proxy, client } = await start(context);
  const caller = await client();
  proxy.become({ ...networkProfile("lte"), up: { delayMs: 25 }, down: { delayMs: 25 }, rebindEveryMs: 40 });
  const sentAt = performance.now();
  caller.socket.send("a", proxy.port, HOST);
  const before = await server.next();
  assert.equal((await caller.next()).text, "echo a");
  assert.ok(performance.now() - sentAt >= 49);
  await sleep(60);
  proxy.become(networkProfile("clear"));
  caller.socket.send("b", proxy.port, HOST);
  assert.notEqual((await server.next()).port, before.port);
});

async function start(context: TestContext, options: Partial<NetemProxyOptions> = {}) {
  const server = await bind(context);
  server.socket.on("message", (packet, from) => server.socket.send(`echo ${packet}`, from.port, from.address));
  const target = { address: HOST, port: server.socket.address().port };
  const proxy = await NetemProxy.open({ listen: { address: HOST, port: 0 }, target, seed: 1, ...options });
  context.after(() => proxy.close());
  return { server, proxy, client: () => bind(context) };
}

async function bind(context: TestContext) {
  const socket: Socket = createSocket("udp4");
  context.after(() => socket.close());
  const arrived: { readonly text: string; readonly address: string; readonly port: number }[] = [];
  let wake: (() => void) | undefined;
  socket.on("message", (packet, { address, port }) => {
    arrived.push({ text: packet.toString(), address, port });
    wake?.();
  });
  socket.bind(0, HOST);
  await once(socket, "listening");
  const next = async () => {
    const late = AbortSignal.timeout(2000);
    while (arrived.length === 0) {
      late.throwIfAborted();
      await Promise.race([new Promise<void>((resolve) => (wake = resolve)), sleep(2000, undefined, { ref: false })]);
    }
    return arrived.shift()!;
  };
  return { socket, next };
}
