import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeDataChannelOpen } from "./data-channel.ts";
import { isSctpSafe } from "./sctp-guard.ts";

const HEADER = Buffer.alloc(12);
const chunk = (type: number, body: readonly number[], length = body.length + 4) =>
  Buffer.from([type, 0, length >> 8, length & 0xff, ...body]);
const packet = (...chunks: readonly Buffer[]) => Buffer.concat([HEADER, ...chunks]);
const DATA = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 51, 65, 66, 67, 68];

test("lets well-formed packets through", () => {
  assert(isSctpSafe(packet(chunk(0, DATA))));
  assert(isSctpSafe(packet(chunk(3, [0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 0, 0, 2, 0, 3]))));
  assert(isSctpSafe(packet(chunk(10, [1, 2, 3, 4]), chunk(0, DATA))));
  assert(isSctpSafe(packet(chunk(4, [0, 1, 0, 8, 1, 2, 3, 4]))));
});

test("refuses what would keep an SCTP stack busy for ever: zero lengths of chunks and of parameters", () => {
  assert(!isSctpSafe(packet(chunk(0, DATA, 0))));
  assert(!isSctpSafe(packet(chunk(4, [0, 1, 0, 0]))));
  assert(!isSctpSafe(packet(chunk(130, [0, 13, 0, 3]))));
});

test("refuses lengths beyond the packet, unknown chunks, streams beyond ours and SACKs over too much", () => {
  assert(!isSctpSafe(packet(chunk(0, DATA, 21))));
  assert(!isSctpSafe(packet(chunk(99, [0, 0, 0, 0]))));
  assert(!isSctpSafe(packet(chunk(0, DATA.with(4, 0xff)))));
  assert(!isSctpSafe(packet(chunk(3, [0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff]))));
  assert(!isSctpSafe(packet(chunk(3, [0, 0, 0, 1, 0, 0, 16, 0, 0, 9, 0, 0]))));
  assert(!isSctpSafe(packet(...Array.from({ length: 65 }, () => chunk(11, [])))));
});

test("never throws", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0, 1, 2, 3, 4, 130, 192), (bytes, type) => {
      isSctpSafe(packet(chunk(type, [...bytes])));
      isSctpSafe(bytes);
      decodeDataChannelOpen(bytes);
      decodeDataChannelOpen(Uint8Array.of(3, ...bytes));
    }),
    { seed: 3, numRuns: 3_000 },
  );
});

test("reads a DATA_CHANNEL_OPEN and whether it is ordered and reliable", () => {
  const open = (type: number, label: string) =>
    Buffer.concat([Buffer.from([3, type, 0, 0, 0, 0, 0, 0, 0, label.length, 0, 0]), Buffer.from(label)]);
  assert.deepEqual(decodeDataChannelOpen(open(0, "oai-events")), { isOrderedReliable: true, label: "oai-events" });
  assert.equal(decodeDataChannelOpen(open(0x80, "x"))?.isOrderedReliable, false);
  const whole = open(0, "oai-events");
  for (let size = 0; size < whole.length; size++)
    assert.equal(decodeDataChannelOpen(whole.subarray(0, size)), undefined);
});
