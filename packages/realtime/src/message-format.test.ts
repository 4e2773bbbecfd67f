import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type AudioMessage,
  decodeAudioMessage,
  decodeTalkMessage,
  encodeAudioMessage,
  encodeTalkMessage,
} from "./message-format.ts";

const frame = fc.record(
  { time: fc.maxSafeNat(), packet: fc.uint8Array({ maxLength: 1276 }) },
  { noNullPrototype: true },
);
const header = { response_id: "resp_1", item_id: "item_1", output_index: 0, content_index: 0, start: 960 };

test("the caller's frames come back as they were sent, several in a message", () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), (frames) => {
      assert.deepEqual(decodeTalkMessage(encodeTalkMessage(frames)), frames);
    }),
  );
});

test("every message of a server comes back as it was sent", () => {
  const messages: AudioMessage[] = [
    { kind: "utterance", header },
    { kind: "more", frames: [{ time: 0, packet: Uint8Array.of(1, 2) }] },
    { kind: "finished" },
    { kind: "reset" },
  ];
  for (const message of messages) assert.deepEqual(decodeAudioMessage(encodeAudioMessage(message)), message);
});

test("a message cut anywhere within a frame or a header is none", () => {
  const frames = [{ time: 100_000, packet: new Uint8Array(40) }];
  const talk = encodeTalkMessage(frames);
  for (let size = 2; size < talk.length; size++) assert.equal(decodeTalkMessage(talk.subarray(0, size)), undefined);
  const begin = encodeAudioMessage({ kind: "utterance", header });
  for (let size = 0; size < begin.length; size++) {
    assert.equal(decodeAudioMessage(begin.subarray(0, size)), undefined);
  }
});

test("whatever else comes is refused without a throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      decodeTalkMessage(bytes);
      decodeAudioMessage(bytes);
    }),
  );
  assert.equal(decodeTalkMessage(encodeAudioMessage({ kind: "finished" })), undefined);
});
