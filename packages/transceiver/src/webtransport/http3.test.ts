import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeVarint } from "@sluice/realtime";
import fc from "fast-check";
import { Http3Connection, type Http3Options } from "./http3.ts";
import { encodeControlStart, encodeFrame, errorCodes, frameTypes, ourSettings, toWireCode } from "./http3-frame.ts";
import { encodeFieldSection, type HeaderField } from "./qpack.ts";
import type { QuicStream } from "./quic-engine.ts";
import type { Session, SessionListener, SessionRequest } from "./session.ts";
import { type FakeEnd, FakeQuic, type FakeQuicOptions } from "./testing.ts";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
type Part = Uint8Array | string | readonly number[];
const bytes = (...parts: readonly Part[]) =>
  Uint8Array.from(
    Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Uint8Array.from(part)))),
  );

/** A listener that notes what it hears. */
function noting(heard: string[]): SessionListener {
  return {
    onStream: (stream, direction) => heard.push(`open ${stream} ${direction}`),
    onStreamData: (stream, data, isEnd) => heard.push(`data ${stream} ${text(data)}${isEnd ? " end" : ""}`),
    onStreamReset: (stream, code) => heard.push(`reset ${stream} ${code}`),
    onStreamStopped: (stream, code) => heard.push(`stopped ${stream} ${code}`),
    onStreamWritable: (stream) => heard.push(`writable ${stream}`),
    onStreamsAvailable: (direction) => heard.push(`available ${direction}`),
    onDatagram: (data) => heard.push(`datagram ${text(data)}`),
    onClosed: (code, reason) => heard.push(`closed ${code} ${reason}`),
  };
}

function drive(end: FakeEnd, connection: Http3Connection): void {
  end.events = {
    onReadable: (stream) => connection.handleReadable(stream),
    onWritable: (stream) => connection.handleWritable(stream),
    onStopped: (stream, code) => connection.handleStopped(stream, code),
    onDatagram: (data) => connection.handleDatagram(data),
    onClosed: (_code, reason) => connection.handleClosed(reason),
  };
}

/** A server's end, and the bare QUIC of a client that a test speaks for. */
function serve(options: Partial<Http3Options> & FakeQuicOptions = {}) {
  const quic = new FakeQuic(options);
  const requests: SessionRequest[] = [];
  let clock = 0;
  const server = new Http3Connection(quic.server, {
    role: "server",
    now: () => clock,
    onRequest: (request) => requests.push(request),
    ...options,
  });
  drive(quic.server, server);
  const { client } = quic;
  return {
    quic,
    client,
    server,
    requests,
    at: (ms: number) => {
      clock = ms;
      server.handleTimeout(ms);
    },
    /** Opens a stream with these bytes. */
    open: (direction: "unidirectional" | "bidirectional", ...parts: readonly Part[]) => {
      const stream = client.openStream(direction)!;
      client.write(stream, bytes(...parts));
      quic.settle();
      return stream;
    },
    settle: () => quic.settle(),
  };
}

const CONNECT: readonly HeaderField[] = [
  { name: ":method", value: "CONNECT" },
  { name: ":protocol", value: "webtransport" },
  { name: ":scheme", value: "https" },
  { name: ":authority", value: "localhost:4433" },
  { name: ":path", value: "/x?y" },
  { name: "origin", value: "http://localhost:8080" },
  { name: "wt-available-protocols", value: '"moq-lite-05", "a\\"b"; x=1' },
];
const connect = (fields = CONNECT) => encodeFrame(frameTypes.headers, encodeFieldSection(fields));
const control = () => encodeControlStart(ourSettings);
const uni = (session: number) => [0x40, 0x54, ...encodeVarint(session)];
const bidi = (session: number) => [0x40, 0x41, ...encodeVarint(session)];
const S0 = 0 as QuicStream;

/** Both ends, with a session between them. */
function meet(options: FakeQuicOptions = {}) {
  const quic = new FakeQuic(options);
  const heard: { server: string[]; client: string[] } = { server: [], client: [] };
  const sessions: { server?: Session; client?: Session } = {};
  let clock = 0;
  const now = () => clock;
  const server = new Http3Connection(quic.server, {
    role: "server",
    now,
    onRequest: (request) =>
      request.accept((session) => {
        sessions.server = session;
        return noting(heard.server);
      }),
  });
  const client = new Http3Connection(quic.client, { role: "client", now });
  drive(quic.server, server);
  drive(quic.client, client);
  client.connect({ authority: "localhost", path: "/" }, (status, session) => {
    assert.equal(status, 200);
    sessions.client = session!;
    return noting(heard.client);
  });
  quic.settle();
  return {
    quic,
    server: sessions.server!,
    client: sessions.client!,
    heard,
    connections: { server, client },
    at: (ms: number) => {
      clock = ms;
      server.handleTimeout(ms);
      client.handleTimeout(ms);
      quic.settle();
    },
  };
}

test("says its settings before anybody has asked", () => {
  const { client } = serve();
  assert.deepEqual(client.take(3 as QuicStream), control());
});

test("hands a CONNECT over with what decides about it, and answers as Chromium expects", () => {
  const { client, requests, open, settle } = serve();
  open("unidirectional", control());
  open("bidirectional", connect());
  const [request] = requests;
  assert.equal(request?.path, "/x?y");
  assert.equal(request?.origin, "http://localhost:8080");
  assert.deepEqual(request?.protocols, ["moq-lite-05", 'a"b']);
  assert.ok(request?.accept(() => noting([]), "moq-lite-05"));
  settle();
  const answer = client.take(S0);
  assert.deepEqual(answer.subarray(0, 1), Uint8Array.of(1));
  assert.ok(text(answer).includes("wt-protocol") && text(answer).includes('"moq-lite-05"'));
});

test("refuses with a status, and the connection ends soon after", () => {
  const { client, requests, open, settle, at, quic } = serve();
  open("bidirectional", connect());
  requests[0]?.reject(403);
  settle();
  assert.deepEqual(client.take(S0), bytes(encodeFrame(1, encodeFieldSection([{ name: ":status", value: "403" }]))));
  assert.equal(
    requests[0]?.accept(() => noting([])),
    false,
    "too late",
  );
  at(1999);
  assert.equal(quic.server.isClosed, false);
  at(2000);
  assert.deepEqual(quic.server.log.at(-1), `close ${errorCodes.noError}`);
});

test("other requests are not found, and do no harm", () => {
  const { client, open, requests } = serve();
  const get = [
    { name: ":method", value: "GET" },
    { name: ":scheme", value: "https" },
    { name: ":authority", value: "localhost" },
    { name: ":path", value: "/" },
  ];
  const stream = open("bidirectional", connect(get));
  assert.deepEqual(client.take(stream), bytes(encodeFrame(1, encodeFieldSection([{ name: ":status", value: "404" }]))));
  open("bidirectional", connect());
  assert.equal(requests.length, 1);
});

test("one session to a connection", () => {
  const { open, requests, quic } = serve();
  open("bidirectional", connect());
  open("bidirectional", connect());
  assert.equal(requests.length, 1);
  assert.ok(quic.server.log.includes(`reset 4 ${errorCodes.requestRejected}`));
});

test("carries streams both ways, with codes of the application's own", () => {
  const { quic, server, client, heard } = meet();
  const up = client.openStream("unidirectional")!;
  client.write(up, bytes("hello"));
  quic.settle();
  client.write(up, bytes(" there"));
  client.finish(up);
  quic.settle();
  assert.deepEqual(heard.server, [`open ${up} unidirectional`, `data ${up} hello`, `data ${up}  there end`]);

  const down = server.openStream("unidirectional")!;
  server.write(down, bytes("long"));
  quic.settle();
  server.reset(down, 1);
  quic.settle();
  assert.deepEqual(heard.client, [`open ${down} unidirectional`, `data ${down} long`, `reset ${down} 1`]);

  const both = client.openStream("bidirectional")!;
  client.write(both, bytes("ask"));
  quic.settle();
  server.write(both, bytes("answer"));
  server.stop(both, 3);
  quic.settle();
  assert.deepEqual(heard.server.slice(3), [`open ${both} bidirectional`, `data ${both} ask`]);
  assert.deepEqual(heard.client.slice(3), [`data ${both} answer`, `stopped ${both} 3`]);
});

test("a stream that was not taken whole goes on when there is room", () => {
  const { quic, server, client, heard } = meet({ window: 64 });
  const stream = server.openStream("unidirectional")!;
  assert.equal(server.write(stream, new Uint8Array(100).fill(97)), 61, "three bytes name the session");
  assert.equal(server.write(stream, bytes("b")), 0);
  quic.settle();
  assert.deepEqual(heard.server, [`writable ${stream}`]);
  assert.equal(server.write(stream, bytes("b")), 1);
  assert.equal(client.sendDatagram(bytes("x")), "queued");
  quic.settle();
  assert.equal(heard.server.at(-1), "datagram x");
});

test("what comes before its session waits for it, in order, and not without end", () => {
  const { open, requests, quic, server, client } = serve();
  const heard: string[] = [];
  const first = open("unidirectional", uni(0), "early");
  client.write(first, bytes(" bird"));
  client.sendDatagram(bytes([0], "before"));
  const others = Array.from({ length: 16 }, () => open("unidirectional", uni(0), "x"));
  assert.ok(quic.server.log.includes(`stop ${others[15]} ${errorCodes.bufferedStreamRejected}`));
  open("bidirectional", connect());
  assert.equal(heard.length, 0);
  requests[0]?.accept(() => noting(heard));
  quic.settle();
  assert.deepEqual(heard.slice(0, 3), [`open ${first} unidirectional`, `data ${first} early`, `data ${first}  bird`]);
  assert.equal(heard.filter((line) => line.startsWith("open")).length, 16);
  assert.equal(heard.at(-1), "datagram before");
  assert.equal(server.rejectedStreams, 1);
});

test("streams and datagrams of another session are nobody's", () => {
  const { open, requests, quic, server, client } = serve();
  const heard: string[] = [];
  open("bidirectional", connect());
  requests[0]?.accept(() => noting(heard));
  const stray = open("unidirectional", uni(8), "x");
  client.sendDatagram(bytes([2], "x"));
  quic.settle();
  assert.deepEqual(heard, []);
  assert.ok(quic.server.log.includes(`stop ${stray} ${errorCodes.bufferedStreamRejected}`));
  assert.equal(server.droppedDatagrams, 1);
});

test("a close tells the other side code and reason, and its streams are gone", () => {
  const { quic, server, client, heard, at } = meet();
  const up = client.openStream("unidirectional")!;
  client.write(up, bytes("x"));
  quic.settle();
  server.close(5, "draining");
  assert.equal(heard.server.at(-1), "closed 5 draining");
  quic.settle();
  assert.equal(heard.client.at(-1), "closed 5 draining");
  assert.equal(client.openStream("unidirectional"), undefined);
  assert.equal(server.write(up, bytes("y")), undefined);
  assert.ok(quic.server.log.includes(`stop ${up} ${errorCodes.sessionGone}`));
  at(2000);
  assert.ok(quic.server.isClosed, "nothing is left to say");
});

test("a session ends with its stream, with its connection, and only once", () => {
  const ended = meet();
  ended.quic.client.finish(S0);
  ended.quic.settle();
  assert.deepEqual(ended.heard.server, ["closed 0 "]);
  const reset = meet();
  reset.quic.client.reset(S0, errorCodes.noError);
  reset.quic.settle();
  assert.deepEqual(reset.heard.server, ["closed 0 the session's stream was reset"]);
  const lost = meet();
  lost.connections.server.handleClosed("timed out");
  lost.connections.server.handleClosed("again");
  assert.deepEqual(lost.heard.server, ["closed 0 timed out"]);
});

test("a client that asks for nothing is not kept", () => {
  const { at, quic, open } = serve();
  open("unidirectional", control());
  at(9999);
  assert.equal(quic.server.isClosed, false);
  at(10_000);
  assert.deepEqual(quic.server.log, [`close ${errorCodes.requestIncomplete}`]);
});

test("breaking the protocol ends the connection with the code of the RFC", () => {
  const get = encodeFrame(frameTypes.headers, Uint8Array.of(2, 0));
  const broken: readonly (readonly [string, number, "unidirectional" | "bidirectional", Uint8Array])[] = [
    ["no SETTINGS first", errorCodes.missingSettings, "unidirectional", bytes([0], encodeFrame(7, Uint8Array.of(0)))],
    ["SETTINGS twice", errorCodes.frameUnexpected, "unidirectional", bytes(control(), control().subarray(1))],
    ["HTTP/2's settings", errorCodes.settingsError, "unidirectional", bytes([0, 4, 2, 2, 0])],
    ["DATA on control", errorCodes.frameUnexpected, "unidirectional", bytes(control(), [0, 1, 0])],
    ["HEADERS on control", errorCodes.frameUnexpected, "unidirectional", bytes(control(), [1, 1, 0])],
    ["a push", errorCodes.streamCreationError, "unidirectional", bytes([1, 0])],
    ["DATA before HEADERS", errorCodes.frameUnexpected, "bidirectional", bytes([0, 1, 0])],
    ["SETTINGS in a request", errorCodes.frameUnexpected, "bidirectional", bytes([4, 1, 0])],
    ["HTTP/2's PING", errorCodes.frameUnexpected, "bidirectional", bytes([6, 1, 0])],
    ["a dynamic table", errorCodes.qpackDecompressionFailed, "bidirectional", get],
    ["an impossible session", errorCodes.idError, "unidirectional", bytes(uni(3), "x")],
    ["endless QPACK", errorCodes.excessiveLoad, "unidirectional", bytes([2], new Uint8Array(5000))],
  ];
  for (const [what, code, direction, stream] of broken) {
    const { open, quic } = serve();
    open(direction, stream);
    assert.deepEqual(quic.server.log, [`close ${code}`], what);
  }
  const twice = serve();
  twice.open("unidirectional", control());
  twice.open("unidirectional", control());
  assert.deepEqual(twice.quic.server.log, [`close ${errorCodes.streamCreationError}`]);
  const ended = serve();
  const stream = ended.open("unidirectional", control());
  ended.client.finish(stream);
  ended.settle();
  assert.deepEqual(ended.quic.server.log, [`close ${errorCodes.closedCriticalStream}`]);
});

test("a malformed or endless request costs its stream only", () => {
  const without = (name: string) => CONNECT.filter((field) => field.name !== name);
  for (const fields of [without(":authority"), without(":path"), without(":scheme"), [...CONNECT, CONNECT[0]!]]) {
    const { open, quic, requests } = serve();
    open("bidirectional", connect(fields));
    assert.equal(requests.length, 0);
    assert.ok(quic.server.log.includes(`reset 0 ${errorCodes.messageError}`));
    assert.equal(quic.server.isClosed, false);
  }
  const { open, quic } = serve();
  open("bidirectional", [1, 0x80, 0x01, 0, 0]);
  assert.ok(quic.server.log.includes(`reset 0 ${errorCodes.excessiveLoad}`));
});

test("unknown streams, frames and capsules are passed over", () => {
  const { quic, heard, client } = meet();
  const grease = quic.client.openStream("unidirectional")!;
  quic.client.write(grease, bytes(encodeVarint(0x1f * 5 + 0x21), "hello"));
  quic.client.write(S0, bytes(encodeFrame(0x1f * 9 + 0x21, new Uint8Array(5))));
  quic.client.write(S0, encodeFrame(frameTypes.data, bytes(encodeVarint(0x1f * 7 + 0x17), [2], "ab")));
  quic.settle();
  client.sendDatagram(bytes("still here"));
  quic.settle();
  assert.deepEqual(heard.server, ["datagram still here"]);
  assert.ok(quic.server.log.includes(`stop ${grease} ${errorCodes.streamCreationError}`));
});

test("a code beyond an application's is no code", () => {
  const { quic, heard } = meet();
  const stream = quic.client.openStream("unidirectional")!;
  quic.client.write(stream, bytes(uni(0), "x"));
  quic.settle();
  quic.client.reset(stream, errorCodes.noError);
  const other = quic.client.openStream("unidirectional")!;
  quic.client.write(other, bytes(uni(0), "x"));
  quic.settle();
  quic.client.reset(other, toWireCode(7));
  quic.settle();
  assert.deepEqual(
    heard.server.filter((line) => line.startsWith("reset")),
    [`reset ${stream} undefined`, `reset ${other} 7`],
  );
});

test("a server bidirectional stream reaches the client as one of the session", () => {
  const { quic, server, heard } = meet();
  const stream = server.openStream("bidirectional")!;
  server.write(stream, bytes("hi"));
  quic.settle();
  assert.deepEqual(heard.client, [`open ${stream} bidirectional`, `data ${stream} hi`]);
  assert.deepEqual(bidi(0).length, 3);
});

test("no bytes on any stream make it throw", () => {
  const valid = [
    control(),
    connect(),
    bytes(uni(0), "x"),
    bytes(bidi(0), "y"),
    encodeFrame(0, Uint8Array.of(0x68, 0x43, 4, 0, 0, 0, 1)),
  ];
  const piece = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constantFrom(...valid));
  const stream = fc.record({
    isUni: fc.boolean(),
    pieces: fc.array(piece, { maxLength: 4 }),
    end: fc.constantFrom("finish", "reset", ""),
  });
  fc.assert(
    fc.property(
      fc.array(stream, { maxLength: 8 }),
      fc.array(fc.uint8Array({ maxLength: 12 }), { maxLength: 4 }),
      (streams, datagrams) => {
        const { client, requests, settle } = serve();
        for (const { isUni, pieces, end } of streams) {
          const id = client.openStream(isUni ? "unidirectional" : "bidirectional");
          if (id === undefined) continue;
          for (const each of pieces) {
            client.write(id, each);
            settle();
          }
          if (end === "finish") client.finish(id);
          else if (end === "reset") client.reset(id, 5);
          settle();
          requests
            .splice(0)
            .forEach((request, i) => void (i % 2 === 0 ? request.accept(() => noting([])) : request.reject(401)));
        }
        for (const datagram of datagrams) client.sendDatagram(datagram);
        settle();
      },
    ),
  );
});
