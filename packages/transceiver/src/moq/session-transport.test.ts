import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { connectTransports } from "./testing.ts";

async function read(stream: ReadableStream<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

async function accept<T>(incoming: ReadableStream<T>): Promise<T> {
  const reader = incoming.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  return value!;
}

const ignore = (promise: Promise<unknown>) => void promise.catch(() => {});
const bytes = (text: string) => new TextEncoder().encode(text);

test("streams of both kinds and datagrams go both ways", async () => {
  const { server, client } = connectTransports({ protocol: "moq-lite-05" });
  assert.equal(server.protocol, "moq-lite-05");
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    const writer = (await from.createUnidirectionalStream()).getWriter();
    void writer.write(bytes("one way"));
    void writer.close();
    assert.equal(await read(await accept(to.incomingUnidirectionalStreams)), "one way");
    const pair = await from.createBidirectionalStream();
    const asking = pair.writable.getWriter();
    void asking.write(bytes("how"));
    void asking.close();
    const other = await accept(to.incomingBidirectionalStreams);
    assert.equal(await read(other.readable), "how");
    const answering = other.writable.getWriter();
    void answering.write(bytes("so"));
    void answering.close();
    assert.equal(await read(pair.readable), "so");
    void from.datagrams.writable.getWriter().write(bytes("now"));
    assert.equal(Buffer.from(await accept(to.datagrams.readable)).toString(), "now");
  }
});

test("a write waits until QUIC takes it, and a stream that nobody reads is not read off QUIC", async () => {
  const { client, server } = connectTransports({
    window: 10_000,
    limits: { maxGroup: Infinity, mediaBurst: Infinity },
  });
  const writer = (await client.createUnidirectionalStream()).getWriter();
  let written = 0;
  void (async () => {
    for (let piece = 0; piece < 40; piece++) {
      await writer.write(new Uint8Array(5000));
      written += 5000;
    }
    await writer.close();
  })();
  for (let i = 0; i < 200; i++) await turn();
  assert.ok(written >= 10_000 && written <= 60_000, `${written} bytes were written`);
  const text = await read(await accept(server.incomingUnidirectionalStreams));
  assert.equal(text.length, 200_000);
});

test("resets and stops carry their codes", async () => {
  const { client, server } = connectTransports();
  const writable = await client.createUnidirectionalStream();
  const writer = writable.getWriter();
  await writer.write(bytes("x"));
  const readable = await accept(server.incomingUnidirectionalStreams);
  await writer.abort(Object.assign(new Error("no more"), { code: 7 }));
  await assert.rejects(read(readable), { source: "stream", streamErrorCode: 7 });
  const other = (await client.createUnidirectionalStream()).getWriter();
  await other.write(bytes("x"));
  const stopped = await accept(server.incomingUnidirectionalStreams);
  await stopped.cancel(new Error("enough"));
  await assert.rejects(other.closed, { source: "stream", streamErrorCode: 0 });
});

test("streams wait for a client that allows none, and fail with the session", async () => {
  const { client, server, quic } = connectTransports({ maxStreams: 3, limits: { maxWaiting: 2 } });
  const opened = [await server.createUnidirectionalStream(), await server.createUnidirectionalStream()];
  const waiting = [server.createUnidirectionalStream(), server.createUnidirectionalStream()];
  await assert.rejects(server.createUnidirectionalStream(), /no more streams/);
  const failing = waiting.map((one) => assert.rejects(one, /the session is over/));
  client.close({ closeCode: 9, reason: "enough" });
  quic.settle();
  await Promise.all(failing);
  assert.deepEqual(await server.closed, { closeCode: 9, reason: "enough" });
  await assert.rejects(opened[0]!.getWriter().closed, /the session is over/);
  await assert.rejects(server.createBidirectionalStream(), /the session is over/);
  assert.equal((await server.incomingUnidirectionalStreams.getReader().read()).done, true);
});

test("a client that sends too much, or opens too much, loses its session", async () => {
  const flood = async (limits: object, attack: (client: ReturnType<typeof connectTransports>) => unknown) => {
    const pair = connectTransports({ limits });
    await attack(pair);
    for (let i = 0; i < 50 && pair.clientClosed() === undefined; i++) await turn();
    return pair.clientClosed();
  };
  const uni = async ({ client }: ReturnType<typeof connectTransports>, size: number) => {
    ignore((await client.createUnidirectionalStream()).getWriter().write(new Uint8Array(size)));
  };
  assert.equal(await flood({ maxGroup: 1000 }, (pair) => uni(pair, 1001)), "too much data");
  assert.equal(await flood({ mediaBurst: 1000 }, (pair) => uni(pair, 1001)), "too much data");
  assert.equal(await flood({ maxGroup: 1000 }, (pair) => uni(pair, 1000)), undefined);
  const bidi = async ({ client }: ReturnType<typeof connectTransports>) =>
    ignore((await client.createBidirectionalStream()).writable.getWriter().write(new Uint8Array(1001)));
  assert.equal(await flood({ controlBurst: 1000 }, bidi), "too much data");
  const many = async (pair: ReturnType<typeof connectTransports>) => {
    for (let i = 0; i < 21; i++) await uni(pair, 1);
  };
  assert.equal(await flood({ streamBurst: 20 }, many), "too many streams");
});

test("a send order of @moq/net becomes a priority of QUIC in the same order", async () => {
  const { server, quic } = connectTransports();
  const order = (priority: number, position: number) => -((255 - priority) * 2 ** 44 + position + 1);
  const ranks: number[] = [];
  for (const sendOrder of [
    0,
    order(255, 0),
    order(100, 0),
    order(80, 0),
    order(80, 1),
    order(80, 2 ** 30),
    order(0, 5),
  ]) {
    const before = new Set(quic.server.priorities.keys());
    const writable = await server.createUnidirectionalStream();
    (writable as { sendOrder?: number }).sendOrder = sendOrder;
    const stream = [...quic.server.priorities.keys()].find((one) => !before.has(one))!;
    ranks.push(quic.server.priorities.get(stream)!);
  }
  assert.deepEqual(
    ranks,
    [...new Set(ranks)].sort((a, b) => b - a),
  );
  assert.ok(ranks.every((rank) => rank <= 0 && rank >= -(2 ** 31)));
});
