import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type SseEvent, SseOverflow, SseParser } from "./sse.ts";

function parse(bytes: Uint8Array, cuts: readonly number[] = []): SseEvent[] {
  const parser = new SseParser();
  const edges = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
  const events = edges.slice(1).flatMap((end, at) => parser.push(bytes.subarray(edges[at], end)));
  return [...events, ...parser.end()];
}

test("reads the examples of the specification", () => {
  assert.deepEqual(
    parse(Buffer.from(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n")),
    [
      { event: "message", data: "first event" },
      { event: "message", data: "second event" },
      { event: "message", data: " third event" },
    ],
  );
  assert.deepEqual(parse(Buffer.from("data: YHOO\ndata: +2\ndata: 10\n\n")), [
    { event: "message", data: "YHOO\n+2\n10" },
  ]);
  assert.deepEqual(parse(Buffer.from("event: add\r\ndata: 7\r\n\r\ndata\n\nretry: 5\n\n")), [
    { event: "add", data: "7" },
    { event: "message", data: "" },
  ]);
});

test("reads the last event without its empty line, and a byte order mark away", () => {
  assert.deepEqual(parse(Buffer.from("\uFEFFdata: a\n\ndata: b")), [
    { event: "message", data: "a" },
    { event: "message", data: "b" },
  ]);
});

test("gives the same events however the stream is cut, and whatever its line ends", () => {
  const data = fc.array(
    fc.string({ unit: "grapheme", maxLength: 8 }).map((text) => text.replace(/[\r\n\uFEFF]/g, "")),
    {
      minLength: 1,
      maxLength: 3,
    },
  );
  fc.assert(
    fc.property(
      fc.array(data, { maxLength: 4 }),
      fc.constantFrom("\n", "\r", "\r\n"),
      fc.array(fc.nat(200), { maxLength: 20 }),
      (events, end, cuts) => {
        const text = events.map((lines) => lines.map((line) => `data: ${line}${end}`).join("") + end).join("");
        assert.deepEqual(
          parse(Buffer.from(text), cuts).map((event) => event.data),
          events.map((lines) => lines.join("\n")),
        );
      },
    ),
  );
});

test("gives an event as soon as its empty line is here", () => {
  const parser = new SseParser();
  assert.deepEqual(parser.push(Buffer.from("data: a\r\n\r")), [{ event: "message", data: "a" }]);
  assert.deepEqual(parser.push(Buffer.from("\ndata: b\n\n")), [{ event: "message", data: "b" }]);
  // A line end that is cut in two is one line end.
  assert.deepEqual(parser.push(Buffer.from("data: c\r")), []);
  assert.deepEqual(parser.push(Buffer.from("\ndata: d\r\n\r\n")), [{ event: "message", data: "c\nd" }]);
});

test("holds no more than one event may have", () => {
  const line = new SseParser(1000);
  assert.throws(() => line.push(Buffer.from("x".repeat(1001))), SseOverflow);
  const lines = new SseParser(1000);
  assert.throws(() => {
    for (let at = 0; at < 300; at++) lines.push(Buffer.from("data: 1234\n"));
  }, SseOverflow);
});

test("never fails at bytes within its bounds", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(300)), (bytes, cuts) => {
      parse(bytes, cuts);
    }),
  );
});
