/**
 * What strangers may send to a live call, from their own address and from the client's (spoofed): the call goes on, with
 * 50 messages and 50 packets of audio before and after, and nobody without credentials gets a reply. Rows A1 to A11 and
 * A21 of the attack table in docs/security.md.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatBindingRequest, parseStun } from "@sluice/routing";
import { SdpError } from "@sluice/transceiver";
import { Call, endClients, hashOf, openServer, openSocket, until } from "./webrtc/call.ts";

const server = await openServer();
after(async () => {
  await server.close();
  endClients();
});

const isStun = (datagram: Uint8Array) => datagram[0]! < 4;
const isDtls = (datagram: Uint8Array) => datagram[0]! >= 20 && datagram[0]! < 64;
const isRtp = (datagram: Uint8Array) => datagram[0]! >= 128 && (datagram[1]! & 0x7f) === 111;

/** A DTLS record in plaintext. */
function plaintext(type: number, content: Uint8Array): Buffer {
  const header = Buffer.from([type, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  randomBytes(4).copy(header, 7);
  header.writeUInt16BE(content.length, 11);
  return Buffer.concat([header, content]);
}

/** A fragment of a handshake message that never completes. */
function fragment(index: number): Buffer {
  const size = index % 2 === 0 ? 0 : 100;
  const header = Buffer.alloc(12);
  header[0] = 11;
  header.writeUIntBE(15_000, 1, 3);
  header.writeUInt16BE(index % 8, 4);
  header.writeUIntBE((index * 50) % 14_000, 6, 3);
  header.writeUIntBE(size, 9, 3);
  return plaintext(22, Buffer.concat([header, Buffer.alloc(size)]));
}

function random(firsts: readonly [number, number], index: number): Buffer {
  const datagram = randomBytes(1 + ((index * 37) % 1_400));
  datagram[0] = firsts[0] + (index % (firsts[1] - firsts[0]));
  return datagram;
}

const repeat = (count: number, make: (index: number) => Buffer) => Array.from({ length: count }, (_, i) => make(i));

/** What is sent, given the call that it is aimed at. */
const FLOODS: Record<string, (call: Call) => Buffer[]> = {
  "A2: plaintext close_notify alerts": () => repeat(30, () => plaintext(21, Buffer.of(1, 0))),
  "A2: plaintext fatal alerts": () => repeat(30, () => plaintext(21, Buffer.of(2, 40))),
  "random datagrams in DTLS's range": () => repeat(300, (i) => random([20, 64], i)),
  "random datagrams in STUN's range": () => repeat(300, (i) => random([0, 4], i)),
  "random datagrams in RTP's range": () => repeat(300, (i) => random([128, 192], i)),
  "random datagrams in QUIC's and no range": () => repeat(300, (i) => random([192, 256], i)),
  "empty datagrams": () => repeat(100, () => Buffer.alloc(0)),
  "A1: its own ClientHello again, and others": ({ proxy }) => {
    const hellos = proxy.toServer.filter((datagram) => isDtls(datagram) && datagram[13] === 1);
    assert(hellos.length > 0);
    return repeat(200, (i) => {
      const hello = Buffer.from(hellos[i % hellos.length]!);
      if (i % 2 === 0) randomBytes(32).copy(hello, 27);
      return hello;
    });
  },
  "A11: fragments that never complete, and empty ones": () => repeat(5_000, fragment),
  "A5: the last 64 SRTP packets again": ({ proxy }) => proxy.toServer.filter(isRtp).slice(-64),
  "A5: SRTP with a zero tag": ({ proxy }) =>
    proxy.toServer
      .filter(isRtp)
      .slice(-20)
      .map((datagram) => {
        const copy = Buffer.from(datagram);
        copy.writeUInt16BE((copy.readUInt16BE(2) + 1_000) & 0xffff, 2);
        return copy.fill(0, copy.length - 16);
      }),
  "A5: SRTP of other streams": ({ proxy }) =>
    repeat(1_000, (i) => {
      const copy = Buffer.from(proxy.toServer.filter(isRtp)[0]!);
      copy.writeUInt32BE(i * 7_919, 8);
      return copy;
    }),
  "every protected record of DTLS again": ({ proxy }) => proxy.toServer.filter((each) => isDtls(each) && each[4] === 1),
  "A3: checks without integrity, with a wrong one and for another session": ({ ice }) =>
    repeat(90, (i) => {
      const username = i % 3 === 0 ? `${ice.ufrag.slice(0, -1)}A:peer` : `${ice.ufrag}:peer`;
      const packet = formatBindingRequest({
        transactionId: randomBytes(12),
        username,
        password: i % 3 === 1 ? "guessed-guessed-guessed!" : i % 3 === 0 ? ice.password : "",
        useCandidate: true,
      });
      return Buffer.from(packet);
    }),
};

for (const [name, make] of Object.entries(FLOODS)) {
  test(`${name}: the call goes on`, async (t) => {
    const call = await Call.open(server);
    const stranger = await openSocket();
    t.after(async () => {
      await call.close();
      stranger.close();
    });
    let replies = 0;
    stranger.on("message", () => {
      replies += 1;
    });
    await call.exchange();
    const heard = call.heard;
    const flood = make(call);
    assert(flood.length > 0);
    for (const [index, datagram] of flood.entries()) {
      stranger.send(datagram, server.udpPort, "127.0.0.1", () => {});
      call.proxy.inject(datagram);
      if (index % 100 === 99) await sleep(1); // the socket's buffer is not what is tested
    }
    await sleep(50);
    assert.equal(call.heard, heard, "nothing of it is heard");
    assert.equal(replies, 0, "nobody without credentials gets a reply");
    assert.equal(call.server.closed, undefined);
    await call.exchange();
    assert.equal(call.server.closed, undefined);
  });
}

test("A1: calls connect while a stranger floods the port with ClientHellos", async (t) => {
  const first = await Call.open(server);
  const hello = first.proxy.toServer.find((datagram) => isDtls(datagram) && datagram[13] === 1)!;
  const stranger = await openSocket();
  const timer = setInterval(() => {
    for (let i = 0; i < 5; i++) stranger.send(hello, server.udpPort, "127.0.0.1", () => {});
  }, 1);
  t.after(async () => {
    clearInterval(timer);
    stranger.close();
    await first.close();
  });
  for (let i = 0; i < 10; i++) {
    const call = await Call.open(server);
    await call.exchange();
    await call.close();
  }
});

test("A4: a certificate that is not the offered one ends the session within a second, without keys", async (t) => {
  const editOffer = (sdp: string) =>
    sdp.replace(/(a=fingerprint:sha-256 )(..)/, (_all, name, byte) => `${name}${byte === "00" ? "01" : "00"}`);
  const call = await Call.open(server, { editOffer, impatient: true });
  t.after(() => call.close());
  await until("the client's certificate came", () => call.proxy.toServer.some(isDtls));
  await until("the session ends", () => call.server.closed !== undefined, 1_000);
  assert.match(call.server.closed!, /not the one of its offer/);
  assert(!call.server.opened);
  assert(!server.has(call.callId));
});

test("A4: an offer without a fingerprint is refused", async () => {
  const editOffer = (sdp: string) => sdp.replaceAll(/a=fingerprint:.*\r\n/g, "");
  await assert.rejects(Call.open(server, { editOffer, impatient: true }), SdpError);
});

test("A6: no kind of packet makes us send a stranger more than it sent", async (t) => {
  const call = await Call.open(server);
  const stranger = await openSocket();
  t.after(async () => {
    await call.close();
    stranger.close();
  });
  await call.exchange();
  let sent = 0;
  let received = 0;
  stranger.on("message", (datagram) => {
    received += datagram.length;
  });
  const kinds = [isStun, isDtls, isRtp].flatMap((is) => call.proxy.toServer.filter(is).slice(0, 20));
  for (const datagram of kinds) {
    sent += datagram.length;
    stranger.send(datagram, server.udpPort, "127.0.0.1", () => {});
  }
  await sleep(50);
  // Its own checks, heard on the wire and sent again, are authentic: they are answered, each with less.
  assert(received <= sent, `${received} bytes for ${sent}`);
  await call.exchange();
});

test("A10: a client that points its call at a victim makes us send it three packets at most", async (t) => {
  const call = await Call.open(server);
  const victim = await openSocket();
  t.after(async () => {
    await call.close();
    victim.close();
  });
  await call.exchange();
  const { ufrag, password } = call.ice;
  const own = call.proxy.toServer.filter(isStun).map((datagram) => parseStun(datagram));
  const username = own.find((message) => message?.serverUfrag === ufrag)!.username!;
  const received: Buffer[] = [];
  victim.on("message", (datagram) => received.push(datagram));
  const check = formatBindingRequest({ transactionId: randomBytes(12), username, password, useCandidate: true });
  victim.send(check, server.udpPort, "127.0.0.1", () => {});
  const utterance = { responseId: "r", itemId: "i", outputIndex: 0, contentIndex: 0 };
  call.server.link!.play(utterance, new Int16Array(24_000));
  await sleep(1_000);
  assert(received.length >= 1 && received.length <= 3, `${received.length} packets`);
  assert(received.every(isStun));
  assert(call.received >= 40, "the speech went where it belongs");
  await call.exchange();
});

test("A21: 256 KiB of events each way travel in datagrams of at most 1,200 bytes of ours", async (t) => {
  const call = await Call.open(server);
  t.after(() => call.close());
  const text = randomBytes(131_000).toString("hex");
  call.send(text);
  await until("it is echoed", () => call.events.some(({ hash }) => hash === hashOf(text)));
  call.server.link!.sendEvent({ type: "large", text } as { type: string });
  await until("the large event is there", () => call.events.some(({ type }) => type === "large"));
  const largest = Math.max(...call.proxy.toClient.map(({ length }) => length));
  assert(largest <= 1_200, `${largest} bytes`);
});

test("SRTP from elsewhere moves nothing unless it is authentic and newer than all that came", async (t) => {
  const call = await Call.open(server);
  const stranger = await openSocket();
  t.after(async () => {
    await call.close();
    stranger.close();
  });
  await call.exchange();
  let replies = 0;
  stranger.on("message", () => {
    replies += 1;
  });
  const seen = call.proxy.toServer.filter(isRtp);
  const forged = seen.slice(-20).map((datagram) => {
    const copy = Buffer.from(datagram);
    copy.writeUInt16BE((copy.readUInt16BE(2) + 100) & 0xffff, 2);
    return copy;
  });
  const unknown = seen.slice(-20).map((datagram) => {
    const copy = Buffer.from(datagram);
    copy.writeUInt32BE(0x0badcafe, 8);
    return copy;
  });
  const [dropped, before] = [server.stats().drops.srtp, server.callStats(call.callId)!];
  const [{ authFailed, replayed }, { pathChanges, mediaTrials }] = [{ ...before.srtp }, { ...before.ice }];
  for (const datagram of [...seen.slice(-20), ...forged, ...unknown])
    stranger.send(datagram, server.udpPort, "127.0.0.1", () => {});
  call.server.link!.play({ responseId: "r", itemId: "i", outputIndex: 0, contentIndex: 0 }, new Int16Array(4_800));
  await until("all are counted", () => server.stats().drops.srtp >= dropped + 60);
  await sleep(100);
  const after = server.callStats(call.callId)!;
  assert.equal(after.srtp.replayed, replayed + 20);
  assert.equal(after.srtp.authFailed, authFailed + 20, "an unknown SSRC costs no cipher");
  assert.equal(after.ice.mediaTrials, mediaTrials);
  assert.equal(after.ice.pathChanges, pathChanges);
  assert.equal(replies, 0);
  await call.exchange();
});

test("a NAT that forgets the client: its speech is heard at once, and ours is there before its next check", async (t) => {
  const call = await Call.open(server);
  t.after(() => call.close());
  await call.exchange();
  await call.proxy.rebind();
  const isCheck = (datagram: Buffer) => isStun(datagram) && parseStun(datagram)?.class === "request";
  call.proxy.passes = (datagram) => !isCheck(datagram);
  const heard = call.heard;
  call.speak(50);
  await until("what came from the new address is heard", () => call.heard >= heard + 50);
  await until("the path follows", () => server.callStats(call.callId)!.ice.pathChanges === 1);
  const received = call.received;
  call.server.link!.play({ responseId: "r", itemId: "i", outputIndex: 0, contentIndex: 0 }, new Int16Array(4_800));
  await until("our speech is there", () => call.received > received);
  call.proxy.passes = () => true;
  await call.exchange();
});
