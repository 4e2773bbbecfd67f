import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type AudioFrame,
  decodeFrameDatagram,
  EventDecoder,
  encodeEvent,
  encodeEventsStart,
  encodeFrame,
  encodeFrameDatagram,
  encodeTalkspurtStart,
  encodeUtteranceStart,
  FrameDecoder,
  KindDecoder,
  MAX_OPUS_SIZE,
  TalkspurtDecoder,
  UtteranceDecoder,
  type UtteranceHeader,
} from "./stream-format.ts";

const hex = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const join = (...parts: readonly Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

const header: UtteranceHeader = {
  response_id: "resp_1",
  item_id: "item_1",
  output_index: 0,
  content_index: 0,
  start: 0,
};
const frame: AudioFrame = { time: 960, packet: Uint8Array.of(0xf8, 1, 2) };

const frames = fc.array(fc.record({ time: fc.maxSafeNat(), packet: fc.uint8Array({ maxLength: MAX_OPUS_SIZE }) }), {
  maxLength: 8,
});

/** Cuts `bytes` at the places that `cuts` (0 to 1) name. */
function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [...cuts.map((share) => Math.floor(share * bytes.length)), 0, bytes.length].sort((a, b) => a - b);
  return at.slice(1).map((end, i) => bytes.slice(at[i], end));
}
const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });

test("writes what the document says", () => {
  assert.equal(hex(encodeEventsStart()), "00");
  assert.equal(hex(encodeEvent('{"type":"a"}')), `0c${hex(new TextEncoder().encode('{"type":"a"}'))}`);
  assert.equal(hex(encodeTalkspurtStart(3)), "0103");
  assert.equal(hex(encodeFrame(frame)), "0343c0f80102");
  assert.equal(hex(encodeFrame({ time: 0, packet: new Uint8Array(0) })), "0000");
  assert.equal(hex(encodeFrameDatagram(frame)), "43c0f80102");
  const start = encodeUtteranceStart(header);
  assert.equal(hex(start.subarray(0, 3)), "024058");
  assert.equal(new TextDecoder().decode(start.subarray(3)), JSON.stringify(header));
});

test("events come out as they went in, however the stream is cut", () => {
  fc.assert(
    fc.property(fc.array(fc.json(), { maxLength: 6 }), cuts, (events, at) => {
      const stream = join(...events.map((json) => encodeEvent(json)));
      const decoder = new EventDecoder();
      const seen = cut(stream, at).flatMap((piece) => decoder.push(piece) ?? assert.fail("broken"));
      assert.deepEqual(seen, events);
      assert.ok(decoder.isBetween);
    }),
  );
});

test("frames come out as they went in, however the stream is cut", () => {
  fc.assert(
    fc.property(frames, fc.nat(), cuts, (sent, sequence, at) => {
      const stream = join(encodeTalkspurtStart(sequence), ...sent.map(encodeFrame));
      const kind = new KindDecoder();
      const decoder = new TalkspurtDecoder();
      const seen: AudioFrame[] = [];
      let isOpen = false;
      for (const piece of cut(stream, at)) {
        const opened: { kind: number; rest: Uint8Array } | undefined = isOpen
          ? { kind: 1, rest: piece }
          : kind.push(piece);
        if (!opened) continue;
        isOpen = true;
        assert.equal(opened.kind, 1);
        seen.push(...(decoder.push(opened.rest) ?? assert.fail("broken")));
      }
      assert.deepEqual(
        seen.map(({ time, packet }) => [time, hex(packet)]),
        sent.map(({ time, packet }) => [time, hex(packet)]),
      );
      assert.equal(decoder.sequence, sequence);
      assert.ok(decoder.isBetween);
    }),
  );
});

test("an utterance gives its header once and its frames after", () => {
  fc.assert(
    fc.property(frames, fc.string({ maxLength: 20 }), cuts, (sent, name, at) => {
      const wanted = { ...header, item_id: name };
      const stream = join(encodeUtteranceStart(wanted), ...sent.map(encodeFrame));
      const decoder = new UtteranceDecoder();
      const headers: UtteranceHeader[] = [];
      const seen: AudioFrame[] = [];
      for (const piece of cut(stream.subarray(1), at)) {
        const got = decoder.push(piece) ?? assert.fail("broken");
        if (got.header) headers.push(got.header);
        assert.ok(headers.length > 0 || got.frames.length === 0, "no frame before the header");
        seen.push(...got.frames);
      }
      assert.deepEqual(headers, [{ ...wanted, item_id: name.toWellFormed() }]);
      assert.equal(seen.length, sent.length);
      assert.ok(decoder.isBetween);
    }),
  );
});

test("a stream cut short is seen to be, at every place but between two things", () => {
  const events = join(encodeEvent("{}"), encodeEvent('{"type":"x"}'));
  for (let size = 0; size < events.length; size++) {
    const decoder = new EventDecoder();
    const got = decoder.push(events.subarray(0, size)) ?? assert.fail("broken");
    assert.equal(decoder.isBetween, size === 0 || size === 3, `${size} bytes`);
    assert.equal(got.length, size < 3 ? 0 : 1);
  }
  const speech = join(encodeTalkspurtStart(0), encodeFrame(frame), encodeFrame(frame)).subarray(1);
  for (let size = 0; size < speech.length; size++) {
    const decoder = new TalkspurtDecoder();
    assert.ok(decoder.push(speech.subarray(0, size)));
    assert.equal(decoder.isBetween, size === 1 || size === 7, `${size} bytes`);
  }
  const spoken = join(encodeUtteranceStart(header), encodeFrame(frame)).subarray(1);
  for (let size = 0; size < spoken.length; size++) {
    const decoder = new UtteranceDecoder();
    assert.ok(decoder.push(spoken.subarray(0, size)));
    assert.equal(decoder.isBetween, size === spoken.length - 6, `${size} bytes`);
  }
});

test("a decoder that met nonsense stays shut", () => {
  const events = new EventDecoder(100);
  assert.equal(events.push(Uint8Array.of(0x40, 101)), undefined, "longer than allowed");
  assert.equal(events.push(encodeEvent("{}")), undefined);
  assert.equal(new EventDecoder().push(Uint8Array.of(0)), undefined, "an event of no length");
  assert.equal(new EventDecoder().push(Uint8Array.of(1, 0xff)), undefined, "not UTF-8");
  const tooLong = new FrameDecoder();
  assert.equal(tooLong.push(join(encodeFrame(frame), Uint8Array.of(0x44, 0xfd))), undefined);
  assert.equal(tooLong.push(encodeFrame(frame)), undefined);
  assert.equal(
    new FrameDecoder().push(Uint8Array.of(0, 0xff, 255, 255, 255, 255, 255, 255, 255)),
    undefined,
    "a time beyond 2^53",
  );
  for (const json of ["", "[]", "null", '{"response_id":1}', JSON.stringify({ ...header, start: -1 })]) {
    const decoder = new UtteranceDecoder();
    const text = new TextEncoder().encode(json);
    assert.equal(decoder.push(join(Uint8Array.of(text.length), text)), undefined, json);
    assert.equal(decoder.push(encodeFrame(frame)), undefined);
  }
});

test("a datagram holds one frame, or nothing that is used", () => {
  assert.deepEqual(decodeFrameDatagram(encodeFrameDatagram(frame)), frame);
  for (const bytes of [[], [0x43], [5], [0xff, 255, 255, 255, 255, 255, 255, 255, 1]]) {
    assert.equal(decodeFrameDatagram(Uint8Array.from(bytes)), undefined);
  }
  assert.equal(decodeFrameDatagram(new Uint8Array(MAX_OPUS_SIZE + 2)), undefined);
});

test("an announced length alone costs no memory", () => {
  const before = process.memoryUsage().arrayBuffers;
  const waiting = Array.from({ length: 64 }, () => new EventDecoder());
  for (const decoder of waiting) assert.deepEqual(decoder.push(Uint8Array.of(0x80, 0xff, 0xff, 0xff, 0x7b)), []);
  assert.ok(process.memoryUsage().arrayBuffers - before < 4 * 1024 * 1024);
  assert.ok(waiting.every((decoder) => !decoder.isBetween));
});

test("no bytes make a decoder throw", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 8 }), (pieces) => {
      for (const decoder of [
        new EventDecoder(),
        new FrameDecoder(),
        new TalkspurtDecoder(),
        new UtteranceDecoder(),
        new KindDecoder(),
      ]) {
        for (const piece of pieces) decoder.push(piece);
      }
      for (const piece of pieces) decodeFrameDatagram(piece);
    }),
  );
});
