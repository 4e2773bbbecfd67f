/** The same behaviour with and without the addon. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { hasBatches, openUdp, type Peer, type UdpMode, type UdpOptions, type UdpSocket } from "./index.ts";

const HOST = "127.0.0.1";

for (const mode of ["dgram", "auto"] as const) {
  const missing = mode === "auto" && !hasBatches() && "the native addon is not built: batches are not tested";
  const name = mode === "auto" ? "in batches" : "one by one";
  const check = (sentence: string, run: (context: TestContext) => Promise<void>) =>
    test(`${name}: ${sentence}`, { skip: missing }, run);

  check(
    "datagrams of any size arrive whole, in order, with their sender, and answers go back to it",
    async (context) => {
      const server = await open(context, { mode });
      assert.equal(server.socket.batches, mode === "auto");
      const client = await open(context, { mode, peer: { address: HOST, port: server.socket.port } });
      const sizes = [1, 1200, 120, 120, 120, 60, 1200, 1400, 0, 120, 121, 119, ...new Array<number>(200).fill(120)];
      const packets = sizes.map((size, index) => Buffer.alloc(size, index));
      for (const packet of packets) client.socket.send(packet);
      await until(() => server.received.length === packets.length);
      for (const [index, { packet, from }] of server.received.entries()) {
        assert.deepEqual(packet, packets[index]);
        assert.deepEqual(from, { address: HOST, port: client.socket.port });
      }
      for (const { packet, from } of server.received) server.socket.send(packet, from);
      await until(() => client.received.length === packets.length);
      assert.deepEqual(
        client.received.map(({ packet }) => packet),
        packets,
      );
    },
  );

  check("many peers each get their own, a header before it", async (context) => {
    const server = await open(context, { mode });
    const clients = await Promise.all(Array.from({ length: 20 }, () => open(context, { mode })));
    for (let round = 0; round < 5; round++)
      for (const [index, { socket }] of clients.entries())
        server.socket.send(Buffer.of(index, round), { address: HOST, port: socket.port }, Buffer.of(7, 7, 7));
    for (const [index, { received }] of clients.entries()) {
      await until(() => received.length === 5);
      assert.deepEqual(
        received.map(({ packet }) => [...packet]),
        [0, 1, 2, 3, 4].map((round) => [7, 7, 7, index, round]),
      );
    }
  });

  check("what came may be sent on while more comes", async (context) => {
    const far = await open(context, { mode });
    const relay: { socket: UdpSocket } = await open(context, {
      mode,
      onDatagram: (packet) => relay.socket.send(packet, { address: HOST, port: far.socket.port }),
    });
    const near = await open(context, { mode, peer: { address: HOST, port: relay.socket.port } });
    for (let index = 0; index < 300; index++) near.socket.send(Buffer.alloc(100, index));
    await until(() => far.received.length === 300);
    for (const [index, { packet }] of far.received.entries()) assert.deepEqual(packet, Buffer.alloc(100, index));
  });

  check("a connected socket hears nobody else", async (context) => {
    const [server, stranger] = [await open(context, { mode }), await open(context, { mode })];
    const client = await open(context, { mode, peer: { address: HOST, port: server.socket.port } });
    stranger.socket.send(Buffer.of(1), { address: HOST, port: client.socket.port });
    await sleep(20);
    server.socket.send(Buffer.of(2), { address: HOST, port: client.socket.port });
    await until(() => client.received.length > 0);
    assert.deepEqual(
      client.received.map(({ packet }) => [...packet]),
      [[2]],
    );
  });

  check("IPv6 works, and IPv4 through it", async (context) => {
    const server = await open(context, { mode, address: "::" });
    const six = await open(context, { mode, address: "::1", peer: { address: "::1", port: server.socket.port } });
    six.socket.send(Buffer.of(6));
    six.socket.send(Buffer.of(6));
    await until(() => server.received.length === 2);
    for (const { from } of server.received) assert.deepEqual(from, { address: "::1", port: six.socket.port });
    const four = await open(context, { mode, peer: { address: HOST, port: server.socket.port } });
    four.socket.send(Buffer.of(4));
    await until(() => server.received.length === 3);
    const { from } = server.received[2]!;
    assert.equal(from.address, "::ffff:127.0.0.1");
    server.socket.send(Buffer.of(5), from);
    await until(() => four.received.length === 1);
  });

  check("sockets share a port when they ask to, and a port that is taken is an error with a code", async (context) => {
    const first = await open(context, { mode, reusePort: true });
    const second = await open(context, { mode, reusePort: true, port: first.socket.port });
    assert.equal(first.socket.port, second.socket.port);
    await assert.rejects(open(context, { mode, port: first.socket.port }), { code: "EADDRINUSE" });
  });

  check("a closed socket leaves the port, and what it was sent before has left", async (context) => {
    const server = await open(context, { mode });
    const client = await open(context, { mode });
    client.socket.send(Buffer.of(1), { address: HOST, port: server.socket.port });
    await client.socket.close();
    await until(() => server.received.length === 1);
    const again = await open(context, { mode, port: client.socket.port });
    assert.equal(again.socket.port, client.socket.port);
  });

  check("sends that the system refuses are counted, and the next ones go out", async (context) => {
    const server = await open(context, { mode });
    const client = await open(context, { mode });
    client.socket.send(Buffer.alloc(70_000), { address: HOST, port: server.socket.port });
    client.socket.send(Buffer.of(1), { address: HOST, port: server.socket.port });
    await until(() => server.received.length === 1 && client.refused() > 0);
    assert.equal(client.refused(), 1);
  });
}

async function open(context: TestContext, options: Partial<UdpOptions> & { readonly mode: UdpMode }) {
  const received: { readonly packet: Buffer; readonly from: Peer }[] = [];
  let refused = 0;
  const socket = await openUdp({
    address: HOST,
    port: 0,
    bufferSize: 1 << 20,
    onDatagram: (packet, { address, port }) => received.push({ packet: Buffer.from(packet), from: { address, port } }),
    onRefused: (count) => {
      refused += count;
    },
    ...options,
  });
  context.after(() => socket.close());
  return { socket, received, refused: () => refused };
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 400) assert.fail("it did not happen within two seconds");
    await sleep(5);
  }
}
