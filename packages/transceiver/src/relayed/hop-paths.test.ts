import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeHop, encodeHop, parseIp } from "@sluice/routing";
import fc from "fast-check";
import { HopPaths } from "./hop-paths.ts";

const relay = { address: "10.0.0.1", port: 40_000 };
const other = { address: "10.0.0.2", port: 40_000 };
const client = { address: "198.51.100.7", port: 5000 };
const payload = Buffer.from("hello");
const hop = (overrides: { unverified?: boolean; entryRelay?: number } = {}, tagKey?: Uint8Array) => {
  const header = {
    address: parseIp(client.address)!,
    port: client.port,
    unverified: false,
    entryRelay: 0,
    ...overrides,
  };
  return Buffer.from(encodeHop(header, payload, tagKey));
};
const paths = (options = {}) => new HopPaths({ relays: [relay.address, other.address], ...options });

test("a relayed datagram is the client's own, and the answer goes back behind the same header", () => {
  const hops = paths();
  const arrival = hops.handlePacket(hop(), relay);
  assert.deepEqual(arrival?.from, client);
  assert.deepEqual(arrival?.packet, payload);
  const answer = hops.wrap(Buffer.from("hi"), client);
  assert.deepEqual(answer?.to, relay);
  const back = decodeHop(answer!.packet);
  assert.deepEqual([back?.port, Buffer.from(back!.payload).toString()], [client.port, "hi"]);
});

test("the answer follows the client to another relay that has checked its token", () => {
  const hops = paths();
  hops.handlePacket(hop(), relay);
  hops.handlePacket(hop({ entryRelay: 9 }), other);
  const answer = hops.wrap(payload, client);
  assert.deepEqual(answer?.to, other);
  assert.equal(decodeHop(answer!.packet)?.entryRelay, 9);
});

test("a relay that could not check moves nothing until the datagram has proved authentic", () => {
  const hops = paths();
  hops.handlePacket(hop(), relay);
  const arrival = hops.handlePacket(hop({ unverified: true }), other);
  assert.deepEqual(hops.wrap(payload, client)?.to, relay);
  arrival?.confirm?.();
  assert.deepEqual(hops.wrap(payload, client)?.to, other);
});

test("relays must have headers, others must have none, and each refusal is counted", () => {
  const hops = paths();
  assert.equal(hops.handlePacket(payload, relay), undefined);
  assert.equal(hops.handlePacket(hop(), client), undefined);
  assert.equal(hops.handlePacket(payload, client), undefined);
  assert.deepEqual(hops.counts, { badHop: 1, forgedHop: 1, notRelayed: 1 });
  assert.equal(hops.wrap(payload, client), undefined);
});

test("relays may be named by their network, for fleets whose relays come and go", () => {
  const hops = paths({ relays: ["10.0.0.0/24"] });
  assert.ok(hops.handlePacket(hop(), { address: "10.0.0.77", port: 1 }));
  assert.equal(hops.handlePacket(hop(), { address: "10.0.1.1", port: 1 }), undefined);
  assert.equal(hops.counts.forgedHop, 1);
});

test("direct clients are taken beside relays only where that is configured", () => {
  const hops = paths({ direct: true });
  assert.deepEqual(hops.handlePacket(payload, client)?.from, client);
  assert.deepEqual(hops.wrap(payload, client), { packet: payload, to: client });
});

test("with a tag, an untagged or wrongly tagged datagram is dropped", () => {
  const key = Buffer.alloc(32, 1);
  const hops = paths({ tagKeys: [key] });
  assert.equal(hops.handlePacket(hop(), relay), undefined);
  assert.equal(hops.handlePacket(hop({}, Buffer.alloc(32, 2)), relay), undefined);
  assert.ok(hops.handlePacket(hop({}, key), relay));
  assert.ok(decodeHop(hops.wrap(payload, client)!.packet, [key]));
});

test("memory of clients is bounded, and the one longest silent goes first", () => {
  const hops = paths({ maxClients: 2 });
  const from = (port: number) =>
    hops.handlePacket(
      Buffer.from(encodeHop({ address: parseIp(client.address)!, port, unverified: false, entryRelay: 0 }, payload)),
      relay,
    );
  for (const port of [1, 2, 1, 3]) from(port);
  assert.equal(hops.size, 2);
  assert.equal(hops.wrap(payload, { ...client, port: 2 }), undefined);
  assert.ok(hops.wrap(payload, { ...client, port: 1 }));
});

test("no datagram makes it throw", () => {
  const hops = paths({ direct: true });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, relayed) => {
      hops.handlePacket(Buffer.from(bytes), relayed ? relay : client);
    }),
  );
});
