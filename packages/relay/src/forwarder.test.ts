import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { createKeyRing, createServerId, formatBindingRequest, generateKey, icePassword } from "@sluice/routing";
import { Forwarder } from "./forwarder.ts";
import type { DropReason } from "./stats.ts";
import { answerTo, check, createRelay, mint, ring, rtp, START, serverA, serverB, serverC } from "./testing.ts";

const client = { address: "203.0.113.5", port: 40_000 };
const moved = { address: "203.0.113.5", port: 40_001 };
const toA = { to: "transceiver", address: "10.1.0.1", port: 5000 } as const;
const media = rtp(0xabcdef01);

function assertTo(actual: unknown, expected: object): void {
  assert.ok(actual, "nothing was forwarded");
  assert.partialDeepStrictEqual(actual as object, expected);
}

test("a check with a valid token and integrity goes to the transceiver it names, with the client's address", () => {
  const relay = createRelay();
  for (const [serverId, address] of [
    [serverA, "10.1.0.1"],
    [serverB, "10.1.0.2"],
  ] as const) {
    const packet = check(mint(serverId));
    const sent = relay.up(START, packet, { ...client, port: serverId });
    assertTo(sent, { to: "transceiver", address, port: 5000 });
    assert.deepEqual(new Uint8Array(sent!.hop!.payload), new Uint8Array(packet));
    assert.deepEqual(
      [...sent!.hop!.address, sent!.hop!.port, sent!.hop!.unverified],
      [203, 0, 113, 5, serverId & 0xffff, false],
    );
  }
});

test("an IPv6 client is carried the same way", () => {
  const relay = createRelay();
  const v6 = { address: "2001:db8::5", port: 40_000 };
  assertTo(relay.connect(START, v6, mint()), toA);
  assertTo(relay.up(START, media, v6), toA);
  assertTo(relay.down(START, media, v6), { to: "client", ...v6 });
});

test("nothing else opens a flow, and every refusal is counted by its reason", () => {
  const strangers = createKeyRing([generateKey(randomBytes, 1)]);
  const retired = createKeyRing([generateKey(randomBytes, 4)]);
  const good = mint();
  const noFingerprint = Buffer.from(check(good)).subarray(0, -8);
  noFingerprint.writeUInt16BE(noFingerprint.length - 20, 2);
  const cases: readonly (readonly [DropReason, Uint8Array])[] = [
    ["malformedToken", check("abcd", "x".repeat(24))],
    ["malformedToken", check(`${good}=`, "x".repeat(24))],
    ["forgedToken", check(mint(serverA, undefined, strangers), "x".repeat(24))],
    ["unknownKey", check(mint(serverA, undefined, retired), "x".repeat(24))],
    ["expiredToken", check(mint(serverA, START / 1000 - 1))],
    ["badIntegrity", check(good, "x".repeat(24))],
    ["badIntegrity", noFingerprint],
    ["unknownServer", check(mint(createServerId(1, 99)))],
    ["noRelay", check(mint(createServerId(9, 1)))],
    ["notARequest", answerTo(check(good), client, good)],
    ["unclassified", new Uint8Array(40).fill(5)],
    ["unclassified", new Uint8Array(0)],
    ["oversize", new Uint8Array(1429).fill(0x80)],
    ["unknownFlow", media],
    ["unknownFlow", new Uint8Array(40).fill(22)],
    ["unroutableCid", new Uint8Array(40).fill(0xff)],
    ["badHop", Uint8Array.of(0x08, 0, 1, 1, 1, 1, 1, 1, 1)],
  ];
  for (const [reason, packet] of cases) {
    const relay = createRelay();
    assert.equal(relay.up(START, packet, client), undefined, reason);
    const drops = Object.entries(relay.forwarder.stats.drops).filter(([, count]) => count > 0);
    assert.deepEqual(drops, [[reason, 1]]);
    assert.equal(relay.forwarder.flows.tentativeSize + relay.forwarder.flows.confirmedSize, 0, reason);
    assert.equal(relay.up(START, media, client), undefined);
  }
});

test("a flow is tentative until the transceiver answers, then told to the other workers and the cache", () => {
  const relay = createRelay(1, { lookups: {} });
  const ufrag = mint();
  const request = check(ufrag);
  relay.up(START, request, client);
  assert.deepEqual([relay.forwarder.flows.tentativeSize, relay.forwarder.flows.confirmedSize], [1, 0]);
  assert.deepEqual(relay.commands(), []);
  relay.down(START, answerTo(request, client, ufrag), client, serverB);
  assert.equal(relay.forwarder.flows.confirmedSize, 0, "another transceiver's answer proves nothing");
  relay.down(START, answerTo(request, client, ufrag), client);
  assert.deepEqual([relay.forwarder.flows.tentativeSize, relay.forwarder.flows.confirmedSize], [0, 1]);
  assert.deepEqual(
    relay.commands().map(({ kind }) => kind),
    ["replicate", "remember"],
  );
});

test("an unanswered flow ends after 5 s, an idle one after 60 s, and then there is no timer", () => {
  const relay = createRelay();
  const at = (ms: number) => {
    for (
      let due = relay.forwarder.pollTimeout();
      due !== undefined && due <= START + ms;
      due = relay.forwarder.pollTimeout()
    )
      relay.forwarder.handleTimeout(due);
    return [relay.forwarder.flows.tentativeSize, relay.forwarder.flows.confirmedSize];
  };
  relay.up(START, check(mint()), moved);
  relay.connect(START, client, mint());
  assert.deepEqual(at(4900), [1, 1]);
  assert.deepEqual(at(7000), [0, 1]);
  relay.up(START + 30_000, media, client);
  assert.deepEqual(at(89_000), [0, 1]);
  assert.deepEqual(at(92_000), [0, 0]);
  assert.equal(relay.forwarder.pollTimeout(), undefined);
});

test("what a transceiver sends reaches the client without any state", () => {
  const relay = createRelay();
  const sent = relay.down(START, media, client);
  assertTo(sent, { to: "client", ...client });
  assert.deepEqual(sent!.packet, media);
});

test("a relay that forgot a call learns it from the transceiver's own packets, and no live call is overridden so", () => {
  const relay = createRelay(1, { lookups: {} });
  relay.down(START, media, client, serverB);
  const back = relay.up(START + 20, media, client);
  assertTo(back, { to: "transceiver", address: "10.1.0.2" });
  assert.equal(back!.hop!.unverified, false);
  assert.equal(relay.forwarder.stats.recovered.transceiver, 1);
  assert.deepEqual(
    relay.commands().map(({ kind }) => kind),
    ["replicate", "remember", "replicate", "remember"],
    "by the flow, then by its SSRC",
  );
  relay.down(START + 40, media, client, serverA);
  assertTo(relay.up(START + 60, media, client), { to: "transceiver", address: "10.1.0.2" });
});

test("a client's later checks are the transceiver's to verify, those for another call are not", () => {
  const relay = createRelay();
  const [own, other] = [mint(serverA), mint(serverB)];
  relay.connect(START, client, own);
  assertTo(relay.up(START, check(own, "x".repeat(24)), client), toA);
  assert.equal(relay.up(START, check(other, "x".repeat(24)), client), undefined);
});

test("a valid token from a live call's address does not take the address away, but finds its own transceiver", () => {
  const relay = createRelay();
  relay.connect(START, client, mint(serverA));
  assertTo(relay.up(START + 1000, check(mint(serverB)), client), { to: "transceiver", address: "10.1.0.2" });
  assertTo(relay.up(START + 1000, media, client), toA);
  relay.up(START + 7000, check(mint(serverB)), client);
  assertTo(relay.up(START + 7000, media, client), { to: "transceiver", address: "10.1.0.2" });
});

test("media from a new address finds its call by SSRC, marked unverified, and the call's speech goes to both", () => {
  const relay = createRelay();
  const ufrag = mint();
  relay.connect(START, client, ufrag);
  relay.up(START, media, client);
  const sent = relay.up(START + 20, media, moved);
  assertTo(sent, toA);
  assert.equal(sent!.hop!.unverified, true);
  assert.equal(sent!.hop!.port, moved.port);
  assert.deepEqual(relay.down(START + 40, media, client)!.copy, moved);
  relay.up(START + 60, check(ufrag), moved);
  assert.equal(relay.down(START + 80, media, client)!.copy, undefined, "a check settled it");
  const verified = relay.up(START + 80, media, moved);
  assert.equal(verified!.hop!.unverified, false);
});

test("RTCP finds its call by the sender's SSRC; DTLS has nothing to be found by", () => {
  const relay = createRelay();
  relay.connect(START, client, mint());
  relay.up(START, media, client);
  const receiverReport = Uint8Array.of(0x80, 201, 0, 1, 0xab, 0xcd, 0xef, 0x01);
  assertTo(relay.up(START, receiverReport, moved), toA);
  assert.equal(relay.up(START, new Uint8Array(40).fill(22), { ...moved, port: 9 }), undefined);
});

test("probation ends after 3 s, carries 64 kbit/s at most, and comes once in 30 s", () => {
  const relay = createRelay();
  const ufrag = mint();
  relay.connect(START, client, ufrag);
  relay.up(START, media, client);
  relay.up(START, media, moved);
  let [bytes, last] = [0, 0];
  for (let ms = 0; ms < 5000; ms += 2) {
    relay.up(START + ms, media, client);
    if (!relay.down(START + ms, rtp(7, 1000), client)!.copy) continue;
    bytes += 1000;
    last = ms;
  }
  assert.ok(bytes > 20_000 && bytes <= 24_000 + 1600, `${bytes} bytes`);
  assert.ok(last < 3000);
  const thief = { address: "192.0.2.66", port: 6 };
  assertTo(relay.up(START + 10_000, media, thief), toA);
  assert.equal(relay.down(START + 10_020, media, client)!.copy, undefined);
  relay.connect(START + 29_000, client, ufrag);
  relay.up(START + 31_000, media, { ...thief, port: 7 });
  assert.deepEqual(relay.down(START + 31_020, media, client)!.copy, { ...thief, port: 7 });
});

test("an SSRC stays with the call that sends with it, and moves with its own call at once", () => {
  const relay = createRelay();
  const ufrag = mint(serverA);
  const rival = { address: "192.0.2.66", port: 6 };
  relay.connect(START, client, ufrag);
  relay.connect(START, rival, mint(serverB), serverB);
  relay.up(START + 1000, media, client);
  relay.up(START + 1000, media, rival);
  assertTo(relay.up(START + 1010, media, moved), toA);
  relay.connect(START + 1020, moved, ufrag);
  relay.up(START + 1040, media, moved);
  relay.up(START + 2500, media, rival);
  assertTo(relay.up(START + 2510, media, { ...moved, port: 40_002 }), toA);
  relay.up(START + 6000, media, rival);
  assertTo(relay.up(START + 6010, media, { ...moved, port: 40_003 }), { address: "10.1.0.2" });
});

test("one token replayed from ever new addresses holds eight flows", () => {
  const relay = createRelay();
  const ufrag = mint();
  for (let port = 1; port <= 1000; port++) relay.connect(START + port, { address: "192.0.2.9", port }, ufrag);
  assert.equal(relay.forwarder.flows.confirmedSize, 8);
});

test("a source that asks too much is refused, its calls and other sources are not", () => {
  const relay = createRelay(1, { admission: { seed: 1, packetsPerSecond: 10, burst: 20 } });
  const ufrag = mint();
  relay.connect(START, client, ufrag);
  for (let i = 0; i < 100; i++) relay.up(START, check(mint(), "x".repeat(24)), { ...client, port: 1 + i });
  assert.ok(relay.forwarder.stats.drops.rate > 75);
  assertTo(relay.up(START, media, client), toA);
  assertTo(relay.up(START, check(ufrag), client), toA);
  assertTo(relay.up(START, check(mint()), { address: "192.0.2.1", port: 1 }), toA);
  const v6 = (host: number) => ({ address: `2001:db8::${host.toString(16)}`, port: 1 });
  const admitted = Array.from({ length: 100 }, (_, host) => relay.up(START, check(mint()), v6(host))).filter(Boolean);
  assert.ok(admitted.length <= 20, "hosts of one /64 share a bucket");
});

test("an unknown address is looked up once; 8 of its packets wait, 50 ms at most", () => {
  const relay = createRelay(1, { lookups: {} });
  for (let i = 0; i < 10; i++) assert.equal(relay.up(START, media, client), undefined);
  const [lookUp, ...rest] = relay.commands();
  assert.deepEqual(lookUp, { kind: "lookUp", ...client, entryRelay: 0 });
  assert.deepEqual(rest, []);
  assert.equal(relay.forwarder.stats.drops.lookupQueueFull, 2);
  relay.forwarder.handleLookup(START + 5, { ...client, entryRelay: 0 }, serverA);
  const released = relay.commands();
  assert.equal(released.length, 8);
  for (const command of released) assertTo(command, { kind: "forward", forward: toA });
  assertTo(relay.up(START + 10, media, client), toA);
  assert.equal(relay.forwarder.stats.recovered.redis, 1);

  relay.up(START, media, moved);
  relay.commands();
  assert.equal(relay.forwarder.pollTimeout(), START + 50);
  relay.forwarder.handleTimeout(START + 50);
  relay.forwarder.handleLookup(START + 51, { ...moved, entryRelay: 0 }, serverA);
  assert.deepEqual(relay.commands(), [], "too late");
  relay.up(START + 60, media, moved);
  assert.deepEqual(relay.commands(), [], "not asked again within a second");
  relay.up(START + 1100, media, moved);
  assert.equal(relay.commands()[0]?.kind, "lookUp");
});

test("a cached server that the directory does not know, or nothing, drops what waited", () => {
  const relay = createRelay(1, { lookups: {} });
  for (const [port, serverId] of [
    [1, undefined],
    [2, createServerId(1, 77)],
    [3, createServerId(7, 1)],
  ] as const) {
    relay.up(START, media, { ...client, port });
    relay.commands();
    relay.forwarder.handleLookup(START, { ...client, port, entryRelay: 0 }, serverId);
    assert.deepEqual(relay.commands(), []);
    assert.equal(relay.up(START, media, { ...client, port }), undefined);
  }
});

test("a valid token beats what the cache said of its address", () => {
  const relay = createRelay(1, { lookups: {} });
  relay.up(START, media, client);
  relay.forwarder.handleLookup(START, { ...client, entryRelay: 0 }, serverB);
  assertTo(relay.up(START, media, client), { address: "10.1.0.2" });
  relay.up(START, check(mint(serverA)), client);
  assertTo(relay.up(START, media, client), toA);
});

test("another worker carries a flow on, SSRC and probation included", () => {
  const [first, second] = [createRelay(), createRelay()];
  const share = () => {
    for (const command of first.commands())
      if (command.kind === "replicate") second.forwarder.handleReplica(START, structuredClone(command.record));
  };
  first.connect(START, client, mint());
  first.up(START, media, client);
  share();
  assertTo(second.up(START, media, client), toA);
  assertTo(second.up(START, media, moved), toA);
  const third = createRelay();
  for (const record of second.forwarder.records()) third.forwarder.handleReplica(START, record);
  assert.deepEqual(third.down(START + 20, media, client)!.copy, moved);
});

test("a flow is announced again while it is used, so that no copy of it idles out", () => {
  const relay = createRelay(1, { lookups: {} });
  relay.connect(START, client, mint());
  relay.up(START, media, client);
  relay.commands();
  for (let ms = 0; ms < 60_000; ms += 20) relay.up(START + ms, media, client);
  const kinds = relay.commands().map(({ kind }) => kind);
  assert.ok(kinds.length >= 6 && kinds.length <= 10, `${kinds}`);
});

test("the commands that nobody drains are bounded", () => {
  const relay = createRelay(1, {
    lookups: { addresses: 100_000 },
    admission: { seed: 1, packetsPerSecond: 1e9, burst: 1e9 },
  });
  for (let i = 0; i < 20_000; i++) relay.up(START, media, { address: `192.0.${i >> 8}.${i & 255}`, port: 1 });
  assert.ok(relay.forwarder.backlog <= 4096);
  assert.ok(relay.forwarder.stats.drops.backlog > 0);
});

test("QUIC is routed by connection ID on every packet, without state", () => {
  const relay = createRelay();
  const cid = ring.mintCid(serverB, randomBytes(12));
  const short = Uint8Array.of(0x41, ...cid, ...randomBytes(20));
  const long = Uint8Array.of(0xe0, 0, 0, 0, 1, cid.length, ...cid, 0, ...randomBytes(40));
  for (const packet of [short, long]) {
    const sent = relay.up(START, packet, { ...client, port: packet.length });
    assertTo(sent, { to: "transceiver", address: "10.1.0.2" });
    assert.equal(sent!.hop!.unverified, true);
  }
  assert.equal(relay.forwarder.flows.tentativeSize + relay.forwarder.flows.confirmedSize, 0);
});

test("QUIC Initials are spread alike by every relay, moved only by their own transceiver's end, and kept by the address", () => {
  const [first, second] = [createRelay(), createRelay()];
  const initial = Uint8Array.of(0xc3, 0, 0, 0, 1, 8, ...randomBytes(8), 0, ...new Uint8Array(1185));
  const chosen = new Map<string, number>();
  for (let port = 1; port <= 400; port++) {
    const from = { address: "192.0.2.1", port };
    const { address } = first.up(START, initial, from)!;
    assert.equal(second.up(START, initial, from)!.address, address);
    chosen.set(address, (chosen.get(address) ?? 0) + 1);
  }
  assert.deepEqual([...chosen.keys()].sort(), ["10.1.0.1", "10.1.0.2"]);
  for (const count of chosen.values()) assert.ok(count > 120, `${count} of 400`);
  const handshake = Uint8Array.of(0xe0, 0, 0, 0, 1, 8, ...randomBytes(8), 0, ...new Uint8Array(40));
  assertTo(first.up(START, handshake, { address: "192.0.2.1", port: 1 }), { to: "transceiver" });
  assert.equal(first.up(START, handshake, { address: "192.0.2.1", port: 401 }), undefined);
  assert.equal(first.up(START, initial.subarray(0, 1199), { address: "192.0.2.1", port: 402 }), undefined);
  assert.equal(first.forwarder.stats.drops.shortInitial, 1);
});

test("a client of another cluster's call enters here, is handed over once, and is answered from here", () => {
  const [near, far] = [createRelay(1), createRelay(2)];
  const ufrag = mint(serverC);
  const request = check(ufrag);
  const over = near.up(START, request, client)!;
  assertTo(over, { to: "relay", address: "198.51.100.2", port: 3478 });
  assert.ok(over.packet.length - request.length <= 24);
  const arrived = far.up(START, over.packet, { address: "198.51.100.1", port: 3478 })!;
  assertTo(arrived, { to: "transceiver", address: "10.2.0.1" });
  assert.equal(arrived.hop!.entryRelay, 1);
  const back = far.down(START, answerTo(request, client, ufrag), client, serverC, 1)!;
  assertTo(back, { to: "relay", address: "198.51.100.1", port: 3478 });
  assertTo(near.up(START, back.packet, { address: "198.51.100.2", port: 3478 }), { to: "client", ...client });
  const relayed = near.up(START, media, client)!;
  assertTo(relayed, { to: "relay", address: "198.51.100.2" });
  assertTo(far.up(START, relayed.packet, { address: "198.51.100.1", port: 3478 }), {
    to: "transceiver",
    address: "10.2.0.1",
  });
});

test("between relays nothing passes without their tag and address, and nothing is handed over twice", () => {
  const [near, far] = [createRelay(1), createRelay(2)];
  const over = near.up(START, check(mint(serverC)), client)!;
  assert.equal(far.up(START, over.packet, { address: "198.51.100.1", port: 9 }), undefined, "another address");
  const forged = Uint8Array.from(over.packet);
  forged[forged.length - 1]! ^= 1;
  assert.equal(far.up(START, forged, { address: "198.51.100.1", port: 3478 }), undefined, "another byte");
  assert.equal(far.forwarder.stats.drops.badHop, 2);
  // A packet that relay 1 handed over names a call of cluster 1 itself: relay 2 must not send it back.
  const loop = createRelay(1);
  const wrong = Uint8Array.from(over.packet);
  assert.equal(
    loop.up(START, wrong, { address: "198.51.100.2", port: 3478 })?.to,
    "client",
    "it would only ever go down",
  );
});

test("a registered transceiver lives until its time is up, longer while it sends or the registry is lost", () => {
  const { directory } = createRelay();
  const serverId = createServerId(1, 50);
  const registered = { serverId, address: "10.1.0.50", port: 5000, draining: false, expiresAt: START + 10_000 };
  const alive = (ms: number) => directory.transceiver(START + ms, serverId) !== undefined;
  directory.handleRegistrations(START, [registered, { ...registered, serverId: serverA, address: "6.6.6.6" }]);
  assert.equal(directory.transceiver(START, serverA)!.address, "10.1.0.1", "configuration is not overridden");
  assert.deepEqual([alive(9999), alive(10_000)], [true, false]);
  directory.handleRegistryLost(START + 9000);
  assert.deepEqual([alive(38_000), alive(39_001)], [true, false]);
  directory.noteAlive(START + 38_000, directory.transceiver(START + 38_000, serverId)!);
  assert.equal(alive(60_000), true);
  directory.handleRegistrations(START + 70_000, []);
  assert.equal(alive(70_000), false);
  directory.handleRegistrations(START, [{ ...registered, serverId: createServerId(2, 50) }]);
  assert.equal(directory.transceiver(START, createServerId(2, 50)), undefined, "another cluster's");
});

test("a draining transceiver keeps its calls and gets no new QUIC client", () => {
  const relay = createRelay();
  const serverId = createServerId(1, 50);
  relay.directory.handleRegistrations(START, [
    { serverId, address: "10.1.0.50", port: 5000, draining: true, expiresAt: START + 10_000 },
  ]);
  const initial = Uint8Array.of(0xc3, 0, 0, 0, 1, 8, ...randomBytes(8), 0, ...new Uint8Array(1185));
  for (let port = 1; port < 200; port++)
    assert.notEqual(relay.up(START, initial, { address: "192.0.2.1", port })!.address, "10.1.0.50");
  assertTo(relay.up(START, check(mint(serverId)), client), { address: "10.1.0.50" });
});

test("a transceiver that speaks no QUIC gets no QUIC client, and every other packet", () => {
  const relay = createRelay();
  const serverId = createServerId(1, 50);
  const registered = { serverId, address: "10.1.0.50", port: 5000, draining: false, expiresAt: START + 10_000 };
  const initial = Uint8Array.of(0xc3, 0, 0, 0, 1, 8, ...randomBytes(8), 0, ...new Uint8Array(1185));
  const clients = (from: number) => {
    const ports = Array.from({ length: 199 }, (_, at) => from + at);
    const chosen = ports.map((port) => relay.up(START, initial, { address: "192.0.2.1", port })!.address);
    return chosen.filter((address) => address === "10.1.0.50").length;
  };
  relay.directory.handleRegistrations(START, [{ ...registered, quic: false }]);
  assert.equal(clients(1), 0);
  assertTo(relay.up(START, check(mint(serverId)), client), { address: "10.1.0.50" });
  // It came back with the engine, or is of a version that does not say.
  relay.directory.handleRegistrations(START, [{ ...registered, expiresAt: START + 11_000 }]);
  assert(clients(1000) > 20);
});

test("hop tags towards transceivers are checked both ways once they are configured", () => {
  const relay = createRelay(1, { hopTag: true });
  const ufrag = mint();
  const sent = relay.up(START, check(ufrag), client)!;
  assert.equal(sent.hop!.payload.length, sent.packet.length - 12);
  assert.equal(relay.down(START, media, client), undefined, "untagged");
  assert.equal(relay.forwarder.stats.drops.badHop, 1);
});

test("the relay sends nothing on its own: never more packets than it got, nor larger ones than header and payload", () => {
  const relay = createRelay(1, { lookups: {} });
  const packets = [check(mint()), check(mint(), "x".repeat(24)), media, new Uint8Array(30).fill(20), randomBytes(50)];
  for (let i = 0; i < 1000; i++) {
    const packet = packets[i % packets.length]!;
    const sent = relay.up(START + i, packet, { address: "192.0.2.200", port: 1 + i });
    assert.notEqual(sent?.to, "client");
    if (sent) assert.ok(sent.packet.length <= packet.length + 24);
  }
  assert.ok(relay.commands().every(({ kind }) => kind !== "forward"));
});

test("random bytes from anywhere never throw", () => {
  const relay = createRelay(1, { lookups: {} });
  const { forwarder } = relay;
  assert.ok(forwarder instanceof Forwarder);
  for (let i = 0; i < 20_000; i++) {
    const packet = randomBytes(1 + (i % 90));
    relay.up(START + i, packet, { address: `192.0.2.${i % 250}`, port: 1 + (i % 60_000) });
    relay.up(START + i, packet, { address: "198.51.100.2", port: 3478 });
    forwarder.handleTransceiverPacket(START + i, packet, relay.directory.transceiver(START, serverA)!);
    forwarder.handleTimeout(START + i);
    relay.commands();
  }
  const request = formatBindingRequest({
    transactionId: randomBytes(12),
    username: "",
    password: icePassword(ring, mint()),
  });
  assert.equal(relay.up(START, request, client), undefined);
});

test("a transceiver that answers nothing gets no new QUIC client, and its unanswered ones go elsewhere, until it is heard", () => {
  const relay = createRelay();
  const initial = Uint8Array.of(0xc3, 0, 0, 0, 1, 8, ...randomBytes(8), 0, ...new Uint8Array(1185));
  const port = Array.from({ length: 50 }, (_, at) => 1000 + at).find(
    (one) => relay.up(START, initial, { address: "192.0.2.1", port: one })!.address === "10.1.0.1",
  )!;
  const from = { address: "192.0.2.1", port };
  assertTo(relay.up(START + 400, initial, from), { to: "transceiver", address: "10.1.0.1" });
  const request = check(mint(serverB));
  relay.up(START + 450, request, client);
  relay.down(START + 451, answerTo(request, client, mint(serverB)), client, serverB, 0);
  assertTo(relay.up(START + 600, initial, from), { to: "transceiver", address: "10.1.0.2" });
  for (let other = 2000; other < 2020; other++) {
    const sent = relay.up(START + 700, initial, { address: "192.0.2.1", port: other });
    assertTo(sent, { to: "transceiver", address: "10.1.0.2" });
  }
});

test("where all are suspect, a client's first flight tries one after the other", () => {
  const relay = createRelay();
  const initial = Uint8Array.of(0xc3, 0, 0, 0, 1, 8, ...randomBytes(8), 0, ...new Uint8Array(1185));
  for (let other = 2000; other < 2020; other++) relay.up(START, initial, { address: "192.0.2.1", port: other });
  const from = { address: "192.0.2.9", port: 1000 };
  const tried = [600, 1200, 1800].map((at) => relay.up(START + at, initial, from)!.address);
  assert.notEqual(tried[1], tried[0]);
  assert.equal(tried[2], tried[0]);
});
