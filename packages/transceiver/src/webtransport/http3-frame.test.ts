import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CapsuleDecoder, encodeClose, encodeDrain } from "./capsule.ts";
import {
  decodeSettings,
  encodeControlStart,
  encodeFrame,
  FrameDecoder,
  type FramePiece,
  frameTypes,
  fromWireCode,
  ourSettings,
  toWireCode,
} from "./http3-frame.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
const limits = new Map<number, number>([
  [frameTypes.headers, 1000],
  [frameTypes.settings, 100],
]);

test("the control stream begins with what Chromium was seen to accept", () => {
  assert.equal(
    hex(encodeControlStart(ourSettings)),
    "00041708013301" + "80ffd27701" + "ab60374201" + "c0000000c671706a01",
  );
});

test("reads Chromium's settings, GREASE and all", () => {
  const settings = decodeSettings(bytes("0180010000 064000 0740 64 3301 80ffd27701 ab60374201 c0000000ffffffff05"));
  assert.equal(settings?.get(0x2b603742), 1);
  assert.equal(settings?.get(7), 100);
});

test("refuses settings that repeat themselves, end too soon, or are HTTP/2's", () => {
  for (const payload of ["3301 3300", "33", "0200", "04 05"])
    assert.equal(decodeSettings(bytes(payload)), undefined, payload);
});

test("application codes go to the wire and back, around the reserved ones", () => {
  assert.equal(toWireCode(0), 0x52e4a40fa8db);
  assert.equal(toWireCode(42), 0x52e4a40fa906, "as seen from Chromium");
  assert.equal(toWireCode(0xffffffff), 0x52e5ac983162);
  fc.assert(
    fc.property(fc.nat(0xffffffff), (code) => {
      const wire = toWireCode(code);
      assert.notEqual((wire - 0x21) % 0x1f, 0);
      assert.equal(fromWireCode(wire), code);
    }),
  );
  for (const wire of [0, 0x100, 0x52e4a40fa8da, 0x52e5ac983163]) assert.equal(fromWireCode(wire), undefined);
  assert.equal(fromWireCode(0x52e4a40fa8f9), undefined, "reserved");
});

test("frames come out as they went in, however the stream is cut", () => {
  const sent: FramePiece[] = [
    { kind: "frame", type: frameTypes.settings, payload: bytes("3301") },
    { kind: "frame", type: frameTypes.headers, payload: new Uint8Array(500).fill(7) },
    { kind: "frame", type: frameTypes.headers, payload: new Uint8Array(0) },
  ];
  const data = new Uint8Array(300).map((_, i) => i);
  const stream = Buffer.concat([
    encodeFrame(frameTypes.settings, bytes("3301")),
    encodeFrame(0x1f * 77 + 0x21, new Uint8Array(40)), // GREASE
    encodeFrame(frameTypes.headers, new Uint8Array(500).fill(7)),
    encodeFrame(frameTypes.data, data),
    encodeFrame(frameTypes.headers, new Uint8Array(0)),
  ]);
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 12 }), (cuts) => {
      const decoder = new FrameDecoder(limits);
      const at = [0, ...cuts, stream.length].sort((a, b) => a - b);
      const pieces = at.slice(1).flatMap((end, i) => decoder.push(Uint8Array.from(stream.subarray(at[i], end))));
      const frames = pieces.filter(({ kind }) => kind === "frame");
      assert.deepEqual(frames, sent);
      const passed = pieces.flatMap((piece) => (piece.kind === "data" ? [...piece.data] : []));
      assert.deepEqual(passed, [...data]);
      assert.ok(decoder.isBetween);
    }),
  );
});

test("a frame that is too long is refused by its header alone", () => {
  const decoder = new FrameDecoder(limits);
  assert.deepEqual(decoder.push(bytes("01 43e9")), [{ kind: "tooLong", type: frameTypes.headers }]);
});

test("a close says code and reason, and unknown capsules are passed over", () => {
  const decoder = new CapsuleDecoder();
  const frames = new FrameDecoder(limits);
  const read = (frame: Uint8Array) =>
    frames.push(frame).flatMap((piece) => (piece.kind === "data" ? decoder.push(piece.data) : []));
  assert.deepEqual(
    read(encodeFrame(frameTypes.data, bytes("8f2b3a 4a 03 aabbcc"))),
    [],
    "GREASE, as Chromium sends it",
  );
  assert.deepEqual(read(encodeDrain()), [{ kind: "drain" }]);
  assert.deepEqual(read(encodeClose(5, "draining")), [{ kind: "close", code: 5, reason: "draining" }]);
  assert.deepEqual(read(encodeFrame(frameTypes.data, bytes("6843 02 0000"))), [{ kind: "malformed" }]);
});

test("a long reason is cut between two characters", () => {
  const decoder = new CapsuleDecoder();
  const data = new FrameDecoder(limits).push(encodeClose(0, "ü".repeat(1000)))[0] as { data: Uint8Array };
  assert.deepEqual(decoder.push(data.data), [{ kind: "close", code: 0, reason: "ü".repeat(512) }]);
});
