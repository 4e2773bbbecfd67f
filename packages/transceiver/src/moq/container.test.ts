import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeVarint } from "@sluice/realtime";
import fc from "fast-check";
import { decodeMediaFrame, encodeLegacy } from "./container.ts";

const packet = Uint8Array.of(0xf8, 1, 2);
const join = (...parts: readonly (Uint8Array | number)[]) =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "number" ? [...encodeVarint(part)] : [...part])));
const loc = (properties: Uint8Array) => join(properties.length, properties, packet);

test("a legacy frame is its time in microseconds and the packet", () => {
  for (const micros of [0, 63, 64, 20_000, 2 ** 30, 2 ** 52]) {
    const frame = encodeLegacy({ micros, packet });
    assert.deepEqual(frame, join(micros, packet));
    assert.deepEqual(decodeMediaFrame("legacy", frame), { micros, packet });
  }
  assert.deepEqual(decodeMediaFrame("legacy", join(7)), { micros: 7, packet: new Uint8Array(0) }, "a marker");
  assert.equal(decodeMediaFrame("legacy", new Uint8Array(0)), undefined);
  assert.equal(decodeMediaFrame("legacy", Uint8Array.of(0xc0, 1)), undefined);
});

test("a loc frame has its time among its properties, in the unit that they name", () => {
  assert.deepEqual(decodeMediaFrame("loc", loc(join(0x10, 20_000))), { micros: 20_000, packet });
  assert.deepEqual(decodeMediaFrame("loc", loc(join(0x06, 20_000))), { micros: 20_000, packet }, "draft 03");
  // timescale 48,000 (type 8), then the time (type 8 + 8), then something odd (type 16 + 5) with bytes
  const all = loc(join(0x08, 48_000, 8, 960, 5, 2, Uint8Array.of(9, 9)));
  assert.deepEqual(decodeMediaFrame("loc", all), { micros: 20_000, packet });
});

test("a loc frame without a time, or that says more than it has, is none", () => {
  const broken = [
    loc(new Uint8Array(0)),
    loc(join(0x12, 5)),
    loc(join(0x08, 0, 8, 960)), // a timescale of 0
    loc(join(0x10)),
    loc(join(0x10, 5, 5, 9, Uint8Array.of(1))), // a property longer than the properties
    join(9, 0x10, 5),
    new Uint8Array(0),
  ];
  for (const frame of broken)
    assert.equal(decodeMediaFrame("loc", frame), undefined, Buffer.from(frame).toString("hex"));
});

test("whatever comes is a frame or none", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.constantFrom("legacy" as const, "loc" as const), (frame, kind) => {
      const media = decodeMediaFrame(kind, frame);
      assert.ok(media === undefined || (media.micros >= 0 && media.packet.length <= frame.length));
    }),
  );
});
