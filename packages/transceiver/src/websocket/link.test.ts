import assert from "node:assert/strict";
import { test } from "node:test";
import type { LinkListener, Utterance } from "@sluice/conversation";
import { type AudioMessage, decodeAudioMessage, encodeTalkMessage } from "@sluice/realtime";
import { createWebSocketCounters, type Socket, WebSocketLink, webSocketLinkDefaults } from "./link.ts";

const utterance: Utterance = { responseId: "r", itemId: "a", outputIndex: 0, contentIndex: 0 };

/** A link over a socket that notes what is done with it, and a listener that notes what it hears. */
function connect(limits = {}) {
  const done: string[] = [];
  const heard: string[] = [];
  let buffered = 0;
  const socket: Socket = {
    get bufferedAmount() {
      return buffered;
    },
    send: (data) => done.push(typeof data === "string" ? data : `binary ${data[0]}`),
    flush: () => {},
    ping: () => done.push("ping"),
    close: (code, reason) => done.push(`close ${code} ${reason}`),
    terminate: () => done.push("terminate"),
  };
  const counters = createWebSocketCounters();
  const link = new WebSocketLink(0, socket, {
    limits: { ...webSocketLinkDefaults, ...limits },
    counters,
    createEventId: () => "event_1",
  });
  const listener: LinkListener = {
    onOpen: (now) => heard.push(`open ${now}`),
    onMessage: (now, text) => heard.push(`message ${now} ${text}`),
    onEarlyAudio: () => assert.fail(),
    onOrderedAudio: () => assert.fail(),
    onSent: () => assert.fail(),
    onUtteranceEnded: () => assert.fail(),
    onClosed: (now, reason) => heard.push(`closed ${now} ${reason}`),
  };
  link.start(0, listener);
  return {
    link,
    done,
    heard,
    counters,
    fill: (bytes: number) => {
      buffered = bytes;
    },
  };
}

test("carries events as text both ways, in order", () => {
  const { link, done, heard } = connect();
  link.sendEvent({ type: "session.created" });
  link.handleText(5, '{"type":"response.create"}');
  link.sendEvent({ type: "response.created" });
  assert.deepEqual(done, ['{"type":"session.created"}', '{"type":"response.created"}']);
  assert.deepEqual(heard, ["open 0", 'message 5 {"type":"response.create"}']);
});

test("leaves the audio to events and to the client", () => {
  const { link, done } = connect();
  assert.deepEqual(link.capabilities, {
    playout: "client",
    leadMs: Infinity,
    audioInEvents: true,
    reset: false,
    playoutReports: false,
  });
  link.play(utterance, new Int16Array(480));
  link.endUtterance(utterance);
  link.flush();
  assert.deepEqual(done, []);
});

test("asks the client, which holds the audio, to make it softer", () => {
  const { link, done } = connect();
  link.duck(0.25, 40);
  assert.deepEqual(done, ['{"type":"sluice.duck","event_id":"event_1","gain":0.25,"ramp_ms":40}']);
});

test("answers a binary message with an error and goes on", () => {
  const { link, done, heard, counters } = connect();
  link.handleBinary(1, new Uint8Array(100));
  const event = JSON.parse(done[0]!) as { type: string; event_id: string; error: { code: string } };
  assert.deepEqual([event.type, event.event_id, event.error.code], ["error", "event_1", "invalid_event"]);
  link.handleText(2, "x");
  assert.deepEqual(heard.slice(1), ["message 2 x"]);
  assert.equal(counters.binary, 1);
});

test("gives a client up that reads too slowly, once", () => {
  const { link, done, heard, counters, fill } = connect({ maxBuffered: 1000 });
  fill(1000);
  link.sendEvent({ type: "a" });
  assert.equal(done.length, 1);
  fill(1001);
  link.sendEvent({ type: "b" });
  link.sendEvent({ type: "c" });
  assert.deepEqual(done.slice(2), ["close 1013 the client reads too slowly", "terminate"]);
  assert.equal(counters.overflowed, 1);
  link.handleClosed(9, 1006);
  assert.deepEqual(heard.at(-1), "closed 9 the client reads too slowly");
});

test("lets a burst pass and gives a client up that keeps sending too much", () => {
  const { link, done, heard, counters } = connect({ eventsPerSecond: 10, burst: 20 });
  for (let i = 0; i < 20; i++) link.handleText(0, "x");
  assert.equal(heard.length, 21);
  for (let i = 0; i < 50; i++) link.handleText(100 * (i + 1), "x"); // ten a second for five seconds
  assert.equal(heard.length, 71);
  link.handleText(5000, "x");
  assert.deepEqual(done, ["close 1008 too many events"]);
  link.handleText(60_000, "x"); // too late: it is closing
  assert.equal(heard.length, 71);
  assert.equal(counters.rateLimited, 1);
});

test("counts a long event for many", () => {
  const { link, done } = connect({ eventsPerSecond: 10, burst: 20 });
  link.handleText(0, "x".repeat(16 * 1024 * 15));
  assert.deepEqual(done, []);
  link.handleText(0, "x".repeat(16 * 1024 * 15));
  assert.deepEqual(done, ["close 1008 too many events"]);
});

test("takes a minute of audio at once, as a client replaying a file sends it", () => {
  const { link, done, heard } = connect();
  for (let i = 0; i < 3000; i++) link.handleText(0, "x".repeat(1300));
  assert.equal(heard.length, 3001);
  assert.deepEqual(done, []);
});

test("pings a quiet client and gives it up when nothing comes back", () => {
  const { link, done, heard, counters } = connect();
  for (let now = 1000; now <= 44_000; now += 1000) link.handleTick(now);
  assert.deepEqual(done, ["ping", "ping"]);
  link.handleSign(44_500);
  for (let now = 45_000; now <= 89_000; now += 1000) link.handleTick(now);
  assert.deepEqual(done, ["ping", "ping", "ping", "ping", "ping"]);
  link.handleTick(89_500);
  assert.equal(done.at(-1), "terminate");
  link.handleClosed(89_500, 1006);
  assert.equal(heard.at(-1), "closed 89500 the client fell silent");
  assert.equal(counters.timedOut, 1);
});

test("tells its listener once why it ended, and sends nothing after", () => {
  for (const [code, reason] of [
    [1000, "the client hung up"],
    [1005, "the client hung up"],
    [1006, "the connection was lost (1006)"],
  ] as const) {
    const { link, done, heard } = connect();
    link.handleClosed(7, code);
    link.handleClosed(8, code);
    link.sendEvent({ type: "late" });
    assert.deepEqual(heard.slice(1), [`closed 7 ${reason}`]);
    assert.deepEqual(done, []);
  }
});

test("closes for the conversation with its reason", () => {
  const { link, done, heard } = connect();
  link.close("the session expired");
  link.close("again");
  link.sendEvent({ type: "late" });
  link.handleClosed(3, 1001);
  assert.deepEqual(done, ["close 1001 the session expired"]);
  assert.equal(heard.at(-1), "closed 3 the session expired");
});

/** A link whose audio rides in binary messages, with codecs that mark what they made. */
function connectAudio() {
  const sent: (AudioMessage | string)[] = [];
  const heard: string[] = [];
  const freed: string[] = [];
  let now = 0;
  const socket: Socket = {
    bufferedAmount: 0,
    send: (data) => sent.push(typeof data === "string" ? data : decodeAudioMessage(data)!),
    flush: () => {},
    ping: () => {},
    close: () => {},
    terminate: () => {},
  };
  const link = new WebSocketLink(0, socket, {
    limits: webSocketLinkDefaults,
    counters: createWebSocketCounters(),
    createEventId: () => "event_1",
    codecs: {
      encoder: {
        lookaheadMs: 2.5,
        encode: () => Uint8Array.of(7),
        setPacketLossPercent: () => {},
        setBitrate: () => {},
        free: () => freed.push("encoder"),
      },
      decoder: {
        decode: (packet) => (packet[0] === 255 ? undefined : new Int16Array(480).fill(packet[0]!)),
        decodeFec: () => undefined,
        conceal: () => new Int16Array(480),
        free: () => freed.push("decoder"),
      },
      now: () => now,
      onInput: () => {},
    },
  });
  link.start(0, {
    onOpen: () => {},
    onMessage: () => {},
    onEarlyAudio: () => {},
    onOrderedAudio: (_, { pcm, mediaMs }) => heard.push(`${pcm[0]} at ${mediaMs}`),
    onSent: (_, { itemId }, ms) => heard.push(`sent ${itemId} ${ms}`),
    onUtteranceEnded: (_, { itemId }) => heard.push(`ended ${itemId}`),
    onClosed: () => {},
  });
  return { link, sent, heard, freed, at: (ms: number) => (now = ms) };
}

const talk = (...frames: [time: number, byte: number][]) =>
  encodeTalkMessage(frames.map(([time, byte]) => ({ time, packet: Uint8Array.of(byte) })));

test("speech goes out as Opus in binary messages, in order with the events, and is void once it is flushed", () => {
  const { link, sent, heard } = connectAudio();
  assert.deepEqual(
    [link.capabilities.playout, link.capabilities.reset, link.capabilities.audioInEvents],
    ["client", true, false],
  );
  link.play(utterance, new Int16Array(960));
  link.sendEvent({ type: "between" });
  link.flush();
  const header = { response_id: "r", item_id: "a", output_index: 0, content_index: 0, start: 0 };
  const frames = [0, 960].map((time) => ({ time, packet: Uint8Array.of(7) }));
  assert.deepEqual(sent, [
    { kind: "utterance", header },
    { kind: "more", frames },
    '{"type":"between"}',
    { kind: "reset" },
  ]);
  assert.deepEqual(heard, ["sent a 40"]);
});

test("an utterance ends for the conversation when its client has heard it", () => {
  const { link, heard, at } = connectAudio();
  link.play(utterance, new Int16Array(4800));
  link.endUtterance(utterance);
  at(100);
  link.heard("a", 200);
  assert.deepEqual(heard, ["sent a 200", "ended a"]);
});

test("what was said before the connection was up comes at once and is heard in its place", () => {
  const { link, heard } = connectAudio();
  link.handleBinary(0, talk([0, 1], [960, 2], [1920, 3]));
  link.handleBinary(5, talk([2880, 4]));
  assert.deepEqual(heard, ["1 at 0", "2 at 20", "3 at 40", "4 at 60"]);
});

test("frames that come twice are heard once, and one that does not decode costs only itself", () => {
  const { link, heard } = connectAudio();
  link.handleBinary(0, talk([0, 1], [960, 255]));
  link.handleBinary(0, talk([0, 1], [1920, 2]));
  assert.deepEqual(heard, ["1 at 0", "2 at 40"]);
});

test("a binary message that is no audio is an error, and a flood of frames ends the connection", () => {
  const { link, sent, heard } = connectAudio();
  link.handleBinary(0, Uint8Array.of(9, 9));
  assert.match(String(sent[0]), /expected audio/);
  const minute = Array.from({ length: 3000 }, (_, i): [number, number] => [i * 960, 1]);
  link.handleBinary(0, talk(...minute));
  assert.equal(heard.length, 3000);
  link.handleBinary(0, talk(...minute));
  link.handleBinary(0, talk([9_000_000, 1]));
  assert.equal(heard.length, 3000);
});

test("the codecs are given back when the socket is closed", () => {
  const { link, freed } = connectAudio();
  link.handleClosed(0, 1000);
  link.play(utterance, new Int16Array(960));
  assert.deepEqual(freed, ["encoder", "decoder"]);
});
