import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DtlsClient, RTCDtlsTransport } from "werift";
import type { SrtpKeys } from "./dtls.ts";
import { createDtlsIdentity, fingerprintOf } from "./dtls-certificate.ts";
import { decodeHandshake, encodeHandshake, HANDSHAKE_TYPE } from "./dtls-handshake.ts";
import { Reassembly } from "./dtls-reassembly.ts";
import { decodeRecords, encodeRecord, RECORD_HEADER_SIZE } from "./dtls-record.ts";
import { createDtlsFactory } from "./dtls-server.ts";
import type { Fingerprint } from "./sdp.ts";

const identity = createDtlsIdentity(Date.UTC(2026, 0, 1));
const factory = createDtlsFactory(identity, randomBytes);
const peer = await RTCDtlsTransport.SetupCertificate();
const [fingerprint] = peer.getFingerprints();
const offered: Fingerprint = { algorithm: "sha-256", digest: fingerprint!.value.toUpperCase() };

const clients: DtlsClient[] = [];
after(() => {
  // werift resends for half a minute unless it believes that it got an answer.
  for (const client of clients) client.dtls.flight = Number.MAX_SAFE_INTEGER;
});

interface PairOptions {
  readonly fingerprints?: readonly Fingerprint[];
  readonly privateKey?: string;
  readonly extendedMasterSecret?: boolean;
  /** What becomes of a datagram of the client: none, one or several. */
  readonly toServer?: (datagram: Buffer, index: number) => readonly Buffer[];
  readonly toClient?: (datagram: Uint8Array, index: number) => readonly Uint8Array[];
}

/** werift's client against our server, in memory. */
function pair(options: PairOptions = {}) {
  let toServer = 0;
  let toClient = 0;
  const seen = { keys: undefined as SrtpKeys | undefined, connected: false, closed: "", data: [] as string[] };
  const sizes: number[] = [];
  const transport = {
    type: "udp",
    address: ["127.0.0.1", 1] as [string, number],
    onData: (_data: Buffer) => {},
    closed: false,
    send: async (datagram: Buffer) => {
      for (const each of options.toServer?.(datagram, toServer++) ?? [datagram]) deliver(each);
    },
    close: async () => {},
  };
  const server = factory.open(0, options.fingerprints ?? [offered], {
    onPacket: (packet) => {
      sizes.push(packet.length);
      for (const each of options.toClient?.(packet, toClient++) ?? [packet]) {
        queueMicrotask(() => transport.onData(Buffer.from(each)));
      }
    },
    onConnected: (keys) => Object.assign(seen, { keys, connected: true }),
    onData: (data) => seen.data.push(Buffer.from(data).toString()),
    onClosed: (reason) => Object.assign(seen, { closed: reason }),
  });
  const deliver = (datagram: Uint8Array) => {
    for (const record of decodeRecords(datagram) ?? []) server.handleRecord(performance.now(), record);
  };
  const client = new DtlsClient({
    transport: transport as unknown as ConstructorParameters<typeof DtlsClient>[0]["transport"],
    cert: peer.certPem,
    key: options.privateKey ?? peer.privateKey,
    signatureHash: peer.signatureHash,
    srtpProfiles: [7, 1],
    extendedMasterSecret: options.extendedMasterSecret ?? true,
  });
  client.onError.subscribe(() => {});
  clients.push(client);
  return { client, server, seen, sizes, deliver };
}

/** Waits until `done`, for ten seconds at most. */
async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000 && !done(); i++) await sleep(5);
  assert(done(), "it did not happen");
}

test("connects with werift in one flight each, and both have the same keys", async () => {
  const { client, seen, sizes } = pair();
  let connected = false;
  client.onConnect.subscribe(() => {
    connected = true;
  });
  await client.connect();
  await until(() => seen.connected && connected);
  assert.equal(sizes.length, 2, "a datagram for each of our flights");
  assert(sizes.every((size) => size <= 1_200));
  const theirs = client.extractSessionKeys(16, 12);
  assert.equal(seen.keys?.profile, "AEAD_AES_128_GCM");
  assert.deepEqual(Buffer.from(seen.keys.localKey), theirs.remoteKey);
  assert.deepEqual(Buffer.from(seen.keys.remoteKey), theirs.localKey);
  assert.deepEqual(Buffer.from(seen.keys.localSalt), theirs.remoteSalt);
  assert.deepEqual(Buffer.from(seen.keys.remoteSalt), theirs.localSalt);
  assert.deepEqual(fingerprintOf(client.remoteCertificate!, "sha-256"), identity.fingerprint);
});

test("connects with a peer that does not know the extended master secret", async () => {
  const { client, seen } = pair({ extendedMasterSecret: false });
  await client.connect();
  await until(() => seen.connected);
});

test("carries data both ways, takes a replayed record once, and says goodbye", async () => {
  const sent: Buffer[] = [];
  const { client, server, seen, deliver } = pair({
    toServer: (datagram) => {
      sent.push(datagram);
      return [datagram];
    },
  });
  await client.connect();
  await until(() => seen.connected);
  await client.send(Buffer.from("up"));
  deliver(sent.at(-1)!);
  deliver(sent.at(-1)!);
  assert.deepEqual(seen.data, ["up"]);
  const received: string[] = [];
  let closed = false;
  client.onData.subscribe((data) => received.push(data.toString()));
  client.onClose.subscribe(() => {
    closed = true;
  });
  server.send(Buffer.from("down"));
  await until(() => received.length === 1);
  assert.deepEqual(received, ["down"]);
  server.close();
  await until(() => closed);
});

test("refuses a certificate that was not offered, and gives no keys", async () => {
  const wrong = { ...offered, digest: offered.digest.replace(/^../, (byte) => (byte === "00" ? "01" : "00")) };
  const { client, seen } = pair({ fingerprints: [wrong] });
  await client.connect();
  await until(() => seen.closed !== "");
  assert.match(seen.closed, /not the one of its offer/);
  assert(!seen.connected);
});

test("refuses the right certificate from one who does not hold its key", async () => {
  const stranger = createDtlsIdentity(0).privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const { client, seen } = pair({ privateKey: stranger });
  await client.connect();
  await until(() => seen.closed !== "");
  assert.match(seen.closed, /does not hold the key/);
  assert(!seen.connected);
});

for (const [side, index] of [
  ["client", 0],
  ["client", 1],
  ["server", 0],
] as const) {
  test(`survives the loss of datagram ${index} of the ${side}`, async (t) => {
    const { client, server, seen } = pair({
      toServer: (datagram, at) => (side === "client" && at === index ? [] : [datagram]),
      toClient: (datagram, at) => (side === "server" && at === index ? [] : [datagram]),
    });
    const timer = setInterval(() => server.handleTimeout(performance.now()), 10);
    t.after(() => clearInterval(timer));
    let connected = false;
    client.onConnect.subscribe(() => {
      connected = true;
    });
    client.connect().catch(() => {}); // its sends cannot fail
    await until(() => connected && seen.connected);
  });
}

test("our last flight goes again without being asked for, until the peer shows that it has it", async () => {
  let flights = 0;
  let isDeaf = false;
  const { client, server, seen, sizes } = pair({
    // From our last flight on the client cannot ask for anything.
    toServer: (datagram) => (isDeaf ? [] : [datagram]),
    toClient: (datagram) => {
      isDeaf = seen.connected || datagram[0] === 20; // ChangeCipherSpec
      if (isDeaf) flights += 1;
      return flights === 1 ? [] : [datagram];
    },
  });
  let connected = false;
  client.onConnect.subscribe(() => {
    connected = true;
  });
  client.connect().catch(() => {});
  await until(() => seen.connected);
  const establishedAt = performance.now();
  assert.equal(flights, 1);
  server.handleTimeout(server.pollTimeout()!);
  await until(() => connected);
  assert.equal(flights, 2);
  // Nothing of it comes back: it ends.
  for (let due = server.pollTimeout(); due !== undefined; due = server.pollTimeout()) {
    assert(due - establishedAt < 6_000);
    server.handleTimeout(due);
  }
  assert.equal(flights, 7);
  assert(sizes.every((size) => size <= 1_200));
});

test("a peer that sends data or media gets our last flight once", async () => {
  for (const proof of ["data", "media"]) {
    const { client, server, seen } = pair();
    let connected = false;
    client.onConnect.subscribe(() => {
      connected = true;
    });
    await client.connect();
    await until(() => seen.connected && connected);
    assert.notEqual(server.pollTimeout(), undefined);
    if (proof === "data") await client.send(Buffer.from("up"));
    else server.handleMedia();
    assert.equal(server.pollTimeout(), undefined);
  }
});

test("takes the fragments of a ClientHello in any order, twice over", async () => {
  const { client, seen } = pair({
    toServer: (datagram, index) => {
      if (index > 0) return [datagram];
      const [record] = decodeRecords(datagram)!;
      const [hello] = decodeHandshake(record!.fragment)!;
      const pieces = [100, 0, 50].map((offset) => {
        const body = hello!.body.subarray(offset, offset === 100 ? undefined : offset + 50);
        const fragment = encodeHandshake(1, hello!.messageSeq, body);
        fragment.writeUIntBE(hello!.length, 1, 3);
        fragment.writeUIntBE(offset, 6, 3);
        return encodeRecord({ ...record!, fragment });
      });
      return [pieces[0]!, pieces[0]!, pieces[1]!, pieces[2]!];
    },
  });
  await client.connect();
  await until(() => seen.connected);
});

test("spoofed ClientHellos after the real one get a cookie each, smaller than they are, and change nothing", async () => {
  const cookies: Uint8Array[] = [];
  const { client, seen } = pair({
    toServer: (datagram, index) => {
      if (index > 0) return [datagram];
      const spoofs = Array.from({ length: 5 }, () => {
        const copy = Buffer.from(datagram);
        randomBytes(32).copy(copy, RECORD_HEADER_SIZE + 12 + 2); // the client's random
        return copy;
      });
      return [datagram, ...spoofs];
    },
    toClient: (datagram) => {
      const isCookie = datagram[RECORD_HEADER_SIZE] === HANDSHAKE_TYPE.helloVerifyRequest;
      if (isCookie) cookies.push(datagram);
      return isCookie ? [] : [datagram]; // it goes to the spoofer
    },
  });
  await client.connect();
  await until(() => seen.connected);
  assert.equal(cookies.length, 5);
  assert(cookies.every(({ length }) => length < 70));
});

test("a peer that comes back with its cookie replaces the one that was first", async () => {
  const { client, seen } = pair({
    toServer: (datagram, index) => {
      if (index > 0) return [datagram];
      const spoof = Buffer.from(datagram);
      randomBytes(32).copy(spoof, RECORD_HEADER_SIZE + 12 + 2);
      return [spoof, datagram];
    },
    // What answers the spoofed ClientHello goes to the spoofer.
    toClient: (datagram, index) => (index === 0 ? [] : [datagram]),
  });
  await client.connect();
  await until(() => seen.connected);
});

test("plaintext alerts, random handshake messages and early data do not end a handshake", async () => {
  const junk = [
    encodeRecord({ type: 21, epoch: 0, sequenceNumber: 9, fragment: Buffer.of(2, 40) }),
    encodeRecord({ type: 21, epoch: 0, sequenceNumber: 10, fragment: Buffer.of(1, 0) }),
    encodeRecord({ type: 23, epoch: 1, sequenceNumber: 1, fragment: randomBytes(60) }),
    encodeRecord({ type: 22, epoch: 0, sequenceNumber: 11, fragment: randomBytes(60) }),
  ];
  const { client, seen } = pair({ toServer: (datagram) => [...junk, datagram, ...junk] });
  await client.connect();
  await until(() => seen.connected);
});

test("keeps little of fragments that never complete, and spends little on empty ones", () => {
  const reassembly = new Reassembly(1);
  for (let i = 0; i < 100_000; i++) {
    const body = Buffer.alloc(i % 3 === 0 ? 0 : 10);
    reassembly.add({ type: 11, length: 16_000, messageSeq: i % 65_536, offset: (i * 7) % 15_000, body }, 0);
    assert.equal(reassembly.next(), undefined);
  }
  assert.equal(reassembly.nextSeq, 1);
});

test("a message that is too long to be honest is not begun", () => {
  const reassembly = new Reassembly(0);
  reassembly.add({ type: 11, length: 16 * 1024 + 1, messageSeq: 0, offset: 0, body: Buffer.alloc(100) }, 0);
  reassembly.add({ type: 11, length: 0, messageSeq: 0, offset: 0, body: Buffer.alloc(0) }, 0);
  assert.equal(reassembly.next()?.body.length, 0);
});
