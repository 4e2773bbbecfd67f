import assert from "node:assert/strict";
import { test } from "node:test";
import type { LinkListener, Utterance } from "@sluice/conversation";
import {
  closeCodes,
  EventDecoder,
  encodeEvent,
  encodeEventsStart,
  encodeFrame,
  encodeFrameDatagram,
  encodeTalkspurtStart,
  streamCodes,
  UtteranceDecoder,
} from "@sluice/realtime";
import type { OpusDecoder, OpusEncoder } from "../media/opus.ts";
import { Http3Connection } from "./http3.ts";
import {
  createWebTransportLinkCounters,
  WebTransportLink,
  type WebTransportLinkLimits,
  webTransportLinkDefaults,
} from "./link.ts";
import type { QuicStream } from "./quic-engine.ts";
import type { Session } from "./session.ts";
import { type FakeEnd, FakeQuic, type FakeQuicOptions } from "./testing.ts";

const utterance: Utterance = { responseId: "resp_1", itemId: "item_1", outputIndex: 0, contentIndex: 0 };
const pcm = (ms: number) => new Int16Array(ms * 24);
const join = (...parts: readonly Uint8Array[]) => Uint8Array.from(Buffer.concat(parts));
const packet = Uint8Array.of(0xf8, 1);

interface Options extends FakeQuicOptions {
  readonly leadMs?: number;
  readonly limits?: Partial<WebTransportLinkLimits>;
  readonly opensEvents?: boolean;
}

/** A link, and the session of its client, over QUIC in memory and on a clock that is moved by hand. */
function connect({ leadMs = 10_000, limits = {}, opensEvents, ...quicOptions }: Options = {}) {
  const quic = new FakeQuic(quicOptions);
  let clock = 0;
  let isDraining = false;
  let freed = 0;
  const bitrates: (number | undefined)[] = [];
  let roundTripMs: number | undefined;
  let pings = 0;
  const now = () => clock;
  const heard: string[] = [];
  const ended: string[] = [];
  const counters = createWebTransportLinkCounters();
  const encoder: OpusEncoder = {
    lookaheadMs: 2.5,
    encode: () => Uint8Array.of(0xf8, 7, 7),
    setPacketLossPercent: () => {},
    setBitrate: (bitrate) => void bitrates.push(bitrate),
    free: () => void freed++,
  };
  const decoder = (): OpusDecoder => ({
    decode: () => new Int16Array(480),
    decodeFec: () => undefined,
    conceal: () => new Int16Array(480),
    free: () => void freed++,
  });
  const listener: LinkListener = {
    onOpen: (at) => heard.push(`open ${at}`),
    onMessage: (_at, text) => heard.push(`message ${text}`),
    onEarlyAudio: (_at, { mediaMs }) => heard.push(`early ${mediaMs}`),
    onOrderedAudio: (_at, { mediaMs }) => heard.push(`ordered ${mediaMs}`),
    onSent: (_at, { itemId }, sentMs) => heard.push(`sent ${itemId} ${sentMs}`),
    onUtteranceEnded: (at, { itemId }) => heard.push(`ended ${itemId} ${at}`),
    onClosed: (_at, reason) => heard.push(`closed ${reason}`),
  };
  let link!: WebTransportLink;
  const server = new Http3Connection(quic.server, {
    role: "server",
    now,
    onRequest: (request) =>
      request.accept((session) => {
        link = new WebTransportLink(session, {
          encoder,
          decoder: decoder(),
          earlyDecoder: decoder(),
          leadMs,
          opensEvents,
          limits: { ...webTransportLinkDefaults, ...limits },
          counters,
          ping: () => pings++,
          takeRoundTrip: () => {
            const taken = roundTripMs;
            roundTripMs = undefined;
            return taken;
          },
          now,
          createEventId: () => "event_1",
          isDraining: () => isDraining,
          onInput: () => {},
          onEnded: (reason) => {
            ended.push(reason);
          },
        });
        link.attach(listener);
        return link;
      }),
  });
  const client = new Http3Connection(quic.client, { role: "client", now });
  const received = new Map<QuicStream, Uint8Array[]>();
  const told: string[] = [];
  let session!: Session;
  const drive = (end: FakeEnd, connection: Http3Connection) => {
    end.events = {
      onReadable: (stream) => connection.handleReadable(stream),
      onWritable: (stream) => connection.handleWritable(stream),
      onStopped: (stream, code) => connection.handleStopped(stream, code),
      onDatagram: (data) => connection.handleDatagram(data),
      onClosed: (_code, reason) => connection.handleClosed(reason),
    };
  };
  drive(quic.server, server);
  drive(quic.client, client);
  client.connect({ authority: "localhost", path: "/" }, (_status, opened) => {
    session = opened!;
    return {
      onStream: (stream) => received.set(stream, []),
      onStreamData: (stream, data, isEnd) => {
        received.set(stream, [...(received.get(stream) ?? []), data]);
        if (isEnd) told.push(`end ${stream}`);
      },
      onStreamReset: (stream, code) => told.push(`reset ${stream} ${code}`),
      onStreamStopped: (stream, code) => told.push(`stopped ${stream} ${code}`),
      onStreamWritable: () => {},
      onStreamsAvailable: () => {},
      onDatagram: () => told.push("datagram"),
      onClosed: (code, reason) => told.push(`closed ${code} ${reason}`),
    };
  });
  quic.settle();
  const open = (direction: "unidirectional" | "bidirectional", ...parts: readonly Uint8Array[]) => {
    const stream = session.openStream(direction)!;
    session.write(stream, join(...parts));
    quic.settle();
    return stream;
  };
  return {
    quic,
    link,
    session,
    received,
    heard,
    told,
    ended,
    counters,
    bitrates,
    pings: () => pings,
    takesThereAndBack: (ms: number) => {
      roundTripMs = ms;
    },
    open,
    freed: () => freed,
    drain: () => {
      isDraining = true;
    },
    /** Opens the event stream. */
    begin: () => open("bidirectional", encodeEventsStart()),
    /** Events that the client has got on `stream`. */
    events: (stream: QuicStream) => new EventDecoder().push(join(...(received.get(stream) ?? []))) ?? [],
    /** What the client has got of utterances: header, frames, in the order of streams. */
    utterances: () =>
      [...received]
        .filter(([stream]) => stream % 4 === 3)
        .map(([stream, parts]) => {
          const all = join(...parts);
          const piece = new UtteranceDecoder().push(all.subarray(1));
          return { stream, kind: all[0], header: piece?.header, times: piece?.frames.map(({ time }) => time) ?? [] };
        }),
    at: (ms: number) => {
      for (let due = link.pollTimeout(); due !== undefined && due <= ms; due = link.pollTimeout()) {
        clock = Math.max(clock, due);
        link.handleTimeout(clock);
        quic.settle();
      }
      clock = ms;
      quic.settle();
    },
  };
}

test("is open once the client has opened the event stream; what was said before waits", () => {
  const { link, heard, begin, events, quic } = connect();
  link.sendEvent({ type: "session.created" });
  quic.settle();
  assert.equal(heard.length, 0);
  const stream = begin();
  assert.deepEqual(heard, ["open 0"]);
  assert.deepEqual(events(stream), ['{"type":"session.created"}']);
  link.sendEvent({ type: "response.created" });
  quic.settle();
  assert.deepEqual(events(stream), ['{"type":"session.created"}', '{"type":"response.created"}']);
});

test("opens the event stream itself for a client that asked for it: events come with the session", () => {
  const { link, heard, received, session, open, counters, quic } = connect({ opensEvents: true });
  assert.deepEqual(heard, ["open 0"]);
  link.sendEvent({ type: "session.created" });
  quic.settle();
  const [stream] = [...received.keys()];
  const bytes = join(...received.get(stream!)!);
  assert.equal(bytes[0], 0, "its kind");
  assert.deepEqual(new EventDecoder().push(bytes.subarray(1)), ['{"type":"session.created"}']);
  session.write(stream!, encodeEvent('{"type":"a"}'));
  quic.settle();
  assert.deepEqual(heard, ["open 0", 'message {"type":"a"}']);
  open("bidirectional", encodeEventsStart());
  assert.equal(counters.unknownStreams, 1, "there is one event stream");
});

test("hears the client's events in order, with what came in the stream's first bytes", () => {
  const { open, heard, session, quic } = connect();
  const stream = open("bidirectional", encodeEventsStart(), encodeEvent('{"type":"a"}'));
  session.write(stream, join(encodeEvent('{"type":"b"}'), encodeEvent('{"type":"c"}')));
  quic.settle();
  assert.deepEqual(heard, ["open 0", 'message {"type":"a"}', 'message {"type":"b"}', 'message {"type":"c"}']);
});

test("hears the caller by talkspurt streams and datagrams, each frame once", () => {
  const { open, heard, session, quic } = connect();
  open("unidirectional", encodeTalkspurtStart(0), encodeFrame({ time: 0, packet }), encodeFrame({ time: 960, packet }));
  session.sendDatagram(encodeFrameDatagram({ time: 1920, packet }));
  session.sendDatagram(encodeFrameDatagram({ time: 960, packet }));
  quic.settle();
  assert.deepEqual(
    heard.filter((line) => line.startsWith("ordered")),
    ["ordered 0", "ordered 20", "ordered 40"],
  );
  assert.equal(heard.filter((line) => line.startsWith("early")).length, 3);
});

test("an utterance goes out on a stream of its own as fast as it is made, below the events", () => {
  const { link, begin, utterances, told, heard, quic, at } = connect();
  const eventStream = begin();
  link.play(utterance, pcm(60));
  link.play(utterance, pcm(30));
  quic.settle();
  link.endUtterance(utterance);
  quic.settle();
  const [spoken] = utterances();
  assert.equal(spoken?.kind, 2);
  assert.deepEqual(spoken?.header, {
    response_id: "resp_1",
    item_id: "item_1",
    output_index: 0,
    content_index: 0,
    start: 0,
  });
  assert.deepEqual(spoken?.times, [0, 960, 1920, 2880, 3840]);
  assert.deepEqual(told, [`end ${spoken?.stream}`]);
  assert.ok(heard.includes("sent item_1 90"));
  const { priorities } = quic.server;
  assert.ok(priorities.get(eventStream)! > priorities.get(spoken!.stream)!);
  at(200);
  assert.equal(heard.at(-1), "ended item_1 90", "heard to its end");
});

test("speech keeps to the lead that the client granted, beyond what it says it has played", () => {
  const { link, begin, utterances, at } = connect({ leadMs: 400 });
  begin();
  link.play(utterance, pcm(5000));
  at(0);
  assert.equal(utterances()[0]?.times.length, 20);
  link.heard("item_1", 0);
  at(100);
  link.heard("item_1", 0); // it has stalled
  assert.ok(utterances()[0]!.times.length <= 25);
  link.heard("item_1", 400);
  at(101);
  assert.equal(utterances()[0]?.times.length, 40);
});

test("a flush resets what was begun, finished or not, and the next utterance has a stream of its own", () => {
  const { link, begin, told, utterances, quic } = connect();
  begin();
  link.play(utterance, pcm(1000));
  link.endUtterance(utterance);
  quic.settle();
  const [first] = utterances();
  link.flush();
  quic.settle();
  assert.ok(quic.server.log.some((line) => line.startsWith(`reset ${first?.stream} `)));
  link.play({ ...utterance, itemId: "item_2" }, pcm(100));
  quic.settle();
  link.flush();
  quic.settle();
  const [, second] = utterances();
  assert.equal(second?.header?.item_id, "item_2");
  assert.equal(told.at(-1), `reset ${second?.stream} ${streamCodes.cancelled}`);
});

test("when the client allows no more streams, utterances wait for one", () => {
  const { link, begin, utterances, quic } = connect({ maxStreams: 2 }); // the control stream is one
  begin();
  for (const itemId of ["item_1", "item_2"]) {
    link.play({ ...utterance, itemId }, pcm(100));
    link.endUtterance({ ...utterance, itemId });
  }
  quic.settle();
  assert.deepEqual(
    utterances().map(({ header }) => header?.item_id),
    ["item_1"],
  );
});

test("asks the client, which holds the speech, to make it softer", () => {
  const { link, begin, events, quic } = connect();
  const stream = begin();
  link.duck(0.25, 40);
  quic.settle();
  assert.deepEqual(events(stream), ['{"type":"sluice.duck","event_id":"event_1","gain":0.25,"ramp_ms":40}']);
});

test("gives a client up that reads too slowly", () => {
  const { link, begin, heard, counters, told, quic } = connect({ window: 1000, limits: { maxBuffered: 5000 } });
  begin();
  quic.client.events = undefined; // reads no more
  for (let n = 0; n < 5; n++) link.sendEvent({ type: "x".repeat(1000) });
  assert.equal(heard.length, 1);
  for (let n = 0; n < 5; n++) link.sendEvent({ type: "x".repeat(1000) });
  assert.equal(heard.at(-1), "closed the client reads too slowly");
  assert.equal(counters.overflowed, 1);
  assert.deepEqual(told, []);
});

test("a stream of an unknown kind is refused and does no harm", () => {
  const { open, told, heard, counters, begin } = connect();
  const uni = open("unidirectional", Uint8Array.of(9, 9));
  const bidi = open("bidirectional", Uint8Array.of(1, 0));
  begin();
  const second = open("bidirectional", encodeEventsStart());
  assert.deepEqual(
    told.filter((line) => line.startsWith("stopped")),
    [uni, bidi, second].map((stream) => `stopped ${stream} ${streamCodes.unknownKind}`),
  );
  assert.equal(counters.unknownStreams, 3);
  assert.deepEqual(heard, ["open 0"]);
});

test("breaking the format ends the session and says so", () => {
  const cases = [
    [encodeEventsStart(), Uint8Array.of(0)],
    [encodeEventsStart(), Uint8Array.of(0xff, 255, 255, 255, 255, 255, 255, 255)],
  ];
  for (const parts of cases) {
    const { open, told, heard, counters } = connect();
    open("bidirectional", ...parts);
    assert.equal(told.at(-1), `closed ${closeCodes.broken} the event stream broke its format`);
    assert.equal(heard.at(-1), "closed the event stream broke its format");
    assert.equal(counters.broken, 1);
  }
  const { open, told } = connect();
  open("unidirectional", encodeTalkspurtStart(0), Uint8Array.of(0x7f, 0xff));
  assert.equal(told.at(-1), `closed ${closeCodes.broken} a talkspurt broke its format`);
});

test("too many events, or streams, end the session", () => {
  const events = connect({ limits: { eventsPerSecond: 10, burst: 20 } });
  events.open("bidirectional", encodeEventsStart(), ...Array.from({ length: 20 }, () => encodeEvent("{}")));
  assert.equal(events.told.at(-1), `closed ${closeCodes.broken} too many events`);
  const streams = connect({ limits: { eventsPerSecond: 10, burst: 20 } });
  for (let n = 0; n < 20; n++) streams.open("unidirectional", Uint8Array.of(9));
  assert.equal(streams.heard.length, 0);
  streams.open("unidirectional", Uint8Array.of(9));
  assert.deepEqual(streams.heard, ["closed too many events"]);
  assert.equal(streams.counters.rateLimited, 1);
});

test("a session whose event stream never comes is closed", () => {
  const { at, heard, counters, ended } = connect();
  at(9999);
  assert.equal(heard.length, 0);
  at(10_000);
  assert.deepEqual(heard, ["closed the event stream was not opened in time"]);
  assert.deepEqual([counters.unopened, ended.length], [1, 1]);
});

test("closes with the conversation's reason, and with another code when the server drains", () => {
  const one = connect();
  one.begin();
  one.link.close("the call was hung up");
  one.link.close("again");
  one.quic.settle();
  assert.equal(one.told.at(-1), `closed ${closeCodes.ended} the call was hung up`);
  assert.deepEqual(one.heard, ["open 0", "closed the call was hung up"]);
  const other = connect();
  other.drain();
  other.link.close("the server is shutting down");
  other.quic.settle();
  assert.equal(other.told.at(-1), `closed ${closeCodes.draining} the server is shutting down`);
});

test("tells its listener once why it ended, and frees what it holds when it is told to", () => {
  const { session, heard, ended, link, freed, begin, quic } = connect();
  const stream = begin();
  session.finish(stream);
  quic.settle();
  assert.equal(heard.at(-1), "closed the client hung up");
  session.close(0, "");
  quic.settle();
  link.sendEvent({ type: "late" });
  link.play(utterance, pcm(100));
  assert.deepEqual(ended, ["the client hung up"]);
  assert.equal(link.pollTimeout(), undefined);
  link.free();
  assert.equal(freed(), 3);
});

test("a caller's voice that comes later and later is more than the path carries: the client is told, and the agent's shrinks", () => {
  const { link, bitrates, begin, events, open, quic, session, at, pings, takesThereAndBack } = connect();
  const stream = begin();
  const talkspurt = open("unidirectional", encodeTalkspurtStart(0));
  for (let n = 0; n < 100; n++) {
    at(n * 20 + n * 8); // a queue that grows
    takesThereAndBack(100 + n * 8);
    session.write(talkspurt, encodeFrame({ time: n * 960, packet }));
    quic.settle();
  }
  const told = '{"type":"sluice.uplink","event_id":"event_1","narrow":true,"datagrams":false}';
  assert.deepEqual(events(stream), [told]);
  assert.deepEqual(bitrates, [24_000]);
  assert(pings() <= 1, "round trips are seen anyway");
  link.play(utterance, pcm(200));
  const priorities = [...quic.server.priorities];
  const [speech, rank] = priorities.at(-1)!;
  assert(rank > quic.server.priorities.get(stream)!, "its beginning goes before events");
  assert.equal(quic.server.firstPriorities.get(speech), rank);
  at(4400);
  link.play(utterance, pcm(200));
  assert.equal(quic.server.priorities.get(speech), quic.server.priorities.get(stream), "then they take turns");
});

test("where the path is narrow, no speech goes before the word that ducks it", () => {
  const { link, begin, open, quic, session, at, takesThereAndBack } = connect();
  const stream = begin();
  const talkspurt = open("unidirectional", encodeTalkspurtStart(0));
  for (let n = 0; n < 100; n++) {
    at(n * 28);
    takesThereAndBack(100 + n * 8);
    session.write(talkspurt, encodeFrame({ time: n * 960, packet }));
    quic.settle();
  }
  link.play(utterance, pcm(200));
  const [speech] = [...quic.server.priorities].at(-1)!;
  link.duck(0.2, 50);
  assert(quic.server.priorities.get(speech)! <= quic.server.priorities.get(stream)!);
});

test("frames that are late by a clock that lost time change nothing: the round trip is asked for, and is as short as ever", () => {
  const { begin, events, open, quic, session, at, pings, takesThereAndBack, bitrates } = connect();
  const stream = begin();
  let answered = 0;
  const talkspurt = open("unidirectional", encodeTalkspurtStart(0));
  for (let n = 0; n < 200; n++) {
    at(n * 20 + (n > 150 ? 400 : 0));
    if (pings() > answered) takesThereAndBack(100);
    answered = pings();
    session.write(talkspurt, encodeFrame({ time: n * 960, packet }));
    quic.settle();
  }
  assert(answered > 5, `${answered} pings`);
  assert.deepEqual(events(stream), ['{"type":"sluice.uplink","event_id":"event_1","narrow":false,"datagrams":true}']);
  assert.deepEqual(bitrates, []);
});
