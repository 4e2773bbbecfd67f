import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { LinkListener, Utterance } from "@sluice/conversation";
import type { OpusDecoder, OpusEncoder } from "../media/opus.ts";
import { loadMoqNet } from "../node/moq-net.ts";
import { EVENTS_TRACK } from "./catalog.ts";
import { decodeMediaFrame, encodeLegacy } from "./container.ts";
import { AGENT_BROADCAST, MAX_SEATS, MoqLink } from "./link.ts";
import { connectTransports } from "./testing.ts";

// The other end is the package's own client, over QUIC in memory.
const loaded = await loadMoqNet();
const skip = loaded.net ? false : loaded.reason;
const Moq = skip ? undefined : await import(["@moq", "net"].join("/"));

const utterance: Utterance = { responseId: "resp_1", itemId: "item_1", outputIndex: 0, contentIndex: 0 };
const packet = (n: number) => Uint8Array.of(0xf8, n);
const PROTOCOLS = ["moq-lite-05", "moq-lite-04", "moq-lite-03", "moqt-19", "moqt-16"];

/** A call, on a clock that is moved by hand. */
function begin() {
  let clock = 1000;
  const heard: string[] = [];
  const decoder = (): OpusDecoder => ({
    decode: (bytes) => new Int16Array(480).fill(bytes[1]!),
    decodeFec: () => undefined,
    conceal: () => new Int16Array(480),
    free: () => {},
  });
  let encoded = 0;
  const encoder: OpusEncoder = {
    lookaheadMs: 2.5,
    encode: () => packet(encoded++),
    setPacketLossPercent: () => {},
    setBitrate: () => {},
    free: () => {},
  };
  const link: MoqLink = new MoqLink({
    encoder,
    decoder: decoder(),
    earlyDecoder: decoder(),
    now: () => clock,
    onInput: () => {},
    onEnded: () => {},
  });
  const listener: LinkListener = {
    onOpen: () => heard.push("open"),
    onMessage: () => assert.fail(),
    onEarlyAudio: (_at, { pcm }) => heard.push(`early ${pcm[0]}`),
    onOrderedAudio: (_at, { pcm, mediaMs }) => heard.push(`ordered ${pcm[0]} ${mediaMs}`),
    onSent: (_at, { itemId }, sentMs) => heard.push(`sent ${itemId} ${sentMs}`),
    onUtteranceEnded: (_at, { itemId }) => heard.push(`ended ${itemId}`),
    onClosed: (_at, reason, lost) => heard.push(`closed ${reason} ${lost}`),
  };
  link.attach(listener);
  /** One more page's element joins. */
  const join = async (protocol = "moq-lite-05") => {
    const pair = connectTransports({ protocol, now: () => clock, onClosed: (reason) => seat.leave(reason) });
    const seat = link.take({ close: (reason) => pair.server.close({ reason }), drain: () => {} });
    const [, connection] = await Promise.all([
      loaded.net!.accept(pair.server).then(seat.join),
      Moq.Connection.connect(new URL("https://localhost/moq"), { transport: pair.client }),
    ]);
    return { ...pair, connection, leave: () => pair.client.close({ reason: "bye" }) };
  };
  /** Time passes in steps of `stepMs`. */
  const pass = async (ms: number, stepMs = 5) => {
    for (const end = clock + ms; clock < end; ) {
      clock += stepMs;
      const due = link.pollTimeout();
      if (due !== undefined && due <= clock) link.handleTimeout(clock);
      await turn();
    }
  };
  return { link, heard, join, pass };
}

async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !isSo(); i++) await turn();
  assert.ok(isSo());
}

/** A caller's broadcast of one track. */
function publish(connection: typeof Moq, name = "caller.hang") {
  const broadcast = new Moq.Broadcast.Producer();
  const catalog = broadcast.createTrack("catalog.json");
  catalog.writeJson({ audio: { renditions: { "audio/data": { codec: "opus", container: { kind: "legacy" } } } } });
  const audio = broadcast.createTrack("audio/data");
  connection.publish(name, broadcast);
  const say = (n: number) => {
    const payload = encodeLegacy({ micros: 9_000_000 + n * 20_000, packet: packet(n) });
    audio.writeFrame({ payload, timestamp: Moq.Time.Timestamp.fromMicros(n * 20_000) });
  };
  return { broadcast, say };
}

/** What a player gets of one of the agent's tracks. */
function follow(connection: typeof Moq, name: string): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const track = connection.consume(AGENT_BROADCAST).track(name).subscribe({ priority: 80 });
  void (async () => {
    for (let group = await track.recvGroup(); group; group = await track.recvGroup()) {
      for (let frame = await group.readFrame(); frame; frame = await group.readFrame()) frames.push(frame.payload);
    }
  })();
  return frames;
}

for (const protocol of PROTOCOLS)
  test(`over ${protocol} a publisher and a player of two sessions have one call`, { skip }, async () => {
    const { link, heard, join, pass } = begin();
    link.sendEvent({ type: "session.created" });
    const [publisher, player] = [await join(protocol), await join(protocol)];
    const { say } = publish(publisher.connection);
    const speech = follow(player.connection, "audio");
    const events = follow(player.connection, EVENTS_TRACK);
    for (let n = 0; n < 5; n++) {
      say(n);
      await until(() => heard.includes(`ordered ${n} ${n * 20}`) && heard.includes(`early ${n}`));
    }
    link.play(utterance, new Int16Array(24 * 100));
    link.endUtterance(utterance);
    await pass(150);
    await until(() => heard.includes("ended item_1") && speech.length >= 5);
    assert.deepEqual(heard.slice(0, 1), ["open"]);
    assert.ok(heard.includes("sent item_1 100"));
    const frames = speech.map((frame) => decodeMediaFrame("legacy", frame)!);
    assert.deepEqual(
      frames.slice(0, 5).map(({ micros, packet: [, n] }) => [micros, n]),
      [0, 1, 2, 3, 4].map((n) => [n * 20_000, n]),
    );
    await until(() => events.length === 1);
    link.sendEvent({ type: "response.done" });
    await until(() => events.length === 2);
    assert.deepEqual(
      events.map((event) => JSON.parse(Buffer.from(event).toString()).type),
      ["session.created", "response.done"],
    );
    link.close("the test is over");
  });

test("speech leaves at the pace of speaking, and stops at once when it is cut", { skip }, async () => {
  const { link, join, pass, heard } = begin();
  const { connection } = await join();
  const speech = follow(connection, "audio");
  await pass(50);
  link.play(utterance, new Int16Array(24 * 10_000));
  await pass(200);
  assert.ok(speech.length >= 9 && speech.length <= 11, `${speech.length} frames in 200 ms`);
  link.flush();
  await pass(500);
  assert.ok(speech.length <= 15, `${speech.length} frames: the fade and what ends a jitter buffer`);
  assert.ok(!heard.includes("ended item_1"));
  link.close("the test is over");
});

test("the call outlives its sessions by a moment, in which another may come", { skip }, async () => {
  const { link, heard, join, pass } = begin();
  await pass(4000, 100);
  const first = await join();
  first.leave();
  await pass(4900, 100);
  const second = await join();
  await pass(10_000, 100);
  assert.deepEqual(heard, ["open"]);
  second.leave();
  await pass(5200, 100);
  assert.deepEqual(heard, ["open", "closed bye false"]);
  assert.equal(link.hasSeat, false);
});

test("a call that no session joins ends", { skip }, async () => {
  const { heard, pass } = begin();
  await pass(5100, 100);
  assert.deepEqual(heard, ["closed no session came false"]);
});

test("a call has a few seats, and ends for all of them", { skip }, async () => {
  const { link, heard, join } = begin();
  const pages: Awaited<ReturnType<typeof join>>[] = [];
  for (let n = 0; n < MAX_SEATS; n++) pages.push(await join());
  assert.equal(link.hasSeat, false);
  link.close("that was all");
  await until(() => pages.every(({ clientClosed }) => clientClosed() === "that was all"));
  assert.deepEqual(heard, ["open", "closed that was all false"]);
});

test("who was announced first is heard; when it goes, the next one is", { skip }, async () => {
  const { link, heard, join } = begin();
  const [one, other] = [await join(), await join()];
  const first = publish(one.connection, "alice");
  await until(() => link.stats().sessions === 2);
  first.say(1);
  await until(() => heard.includes("early 1"));
  const second = publish(other.connection, "bob");
  for (let i = 0; i < 50; i++) await turn();
  second.say(2);
  first.say(3);
  await until(() => heard.includes("early 3"));
  assert.ok(!heard.includes("early 2"));
  first.broadcast.close();
  for (let i = 0; i < 200; i++) await turn();
  second.say(4);
  await until(() => heard.some((line) => line.startsWith("ordered 4")));
  link.close("the test is over");
});

test("a client that announces more than anybody has is sent away", { skip }, async () => {
  const { link, heard, join } = begin();
  const { connection, clientClosed } = await join();
  for (let n = 0; n < 70; n++) connection.publish(`x${n}`, new Moq.Broadcast.Producer());
  await until(() => clientClosed() === "too many broadcasts");
  assert.deepEqual(heard, ["open"]);
  link.close("the test is over");
});

test("whatever a stranger writes on its streams costs its session at most", { skip }, async () => {
  const { link, join } = begin();
  let seed = 1;
  const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (let round = 0; round < 60; round++) {
    const { client } = await join(PROTOCOLS[round % 5]);
    for (let n = 0; n < 5; n++) {
      const size = 1 + random(40);
      const garbage = Uint8Array.from({ length: size }, (_, at) => (at === 0 ? random(8) : random(256)));
      const stream = random(2) ? await client.createUnidirectionalStream() : await client.createBidirectionalStream();
      const writer = ("writable" in stream ? stream.writable : stream).getWriter();
      writer.write(garbage).catch(() => {});
      (random(2) ? writer.close() : writer.abort()).catch(() => {});
    }
    for (let i = 0; i < 20; i++) await turn();
    client.close();
    for (let i = 0; i < 5; i++) await turn();
  }
  assert.equal(link.hasSeat, true);
  link.close("the test is over");
});
