import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeWav } from "../stt/wav.ts";
import { BadAudio, createOggOpusDecoder, createPcmDecoder, createWavDecoder } from "./openai-formats.ts";
import { OggOpusReader } from "./openai-ogg.ts";

test("gives the same samples of a WAV however it is cut", () => {
  fc.assert(
    fc.property(fc.int16Array({ maxLength: 200 }), fc.array(fc.nat(500)), (pcm, cuts) => {
      const wav = encodeWav(pcm);
      const decoder = createWavDecoder();
      const edges = [0, ...cuts.map((cut) => Math.min(cut, wav.length)).sort((a, b) => a - b), wav.length];
      const given = edges.slice(1).flatMap((end, at) => [...decoder.push(wav.subarray(edges[at], end))]);
      assert.deepEqual([...given, ...decoder.end()], [...pcm]);
    }),
  );
});

test("refuses every truncated WAV header, and formats that it does not know", () => {
  const wav = encodeWav(new Int16Array(10).fill(1));
  for (let size = 1; size < 44; size++) {
    const decoder = createWavDecoder();
    assert.equal(decoder.push(wav.subarray(0, size)).length, 0);
    assert.throws(() => decoder.end(), BadAudio);
  }
  for (const [at, value] of [
    [20, 3],
    [22, 0],
    [24, 7],
    [34, 24],
  ] as const) {
    const bad = Buffer.from(wav);
    bad.writeUInt16LE(value, at);
    assert.throws(() => createWavDecoder().push(bad), BadAudio);
  }
});

test("never fails otherwise, at whatever bytes", async () => {
  const bytes = fc.uint8Array({ maxLength: 300 });
  const opus = await createOggOpusDecoder();
  fc.assert(
    fc.property(bytes, fc.constantFrom("", "RIFF\0\0\0\0WAVEfmt ", "OggS\0"), (random, magic) => {
      const input = Buffer.concat([Buffer.from(magic, "latin1"), random]);
      for (const decoder of [createPcmDecoder(24_000), createPcmDecoder(44_100), createWavDecoder(), opus]) {
        try {
          decoder.push(input);
          decoder.end();
        } catch (error) {
          assert.ok(error instanceof BadAudio, String(error));
        }
      }
      const ogg = new OggOpusReader();
      for (let at = 0; at < input.length; at += 7) ogg.push(input.subarray(at, at + 7));
    }),
  );
  opus.close();
});

test("puts packets together that go over pages, and leaves out those of which the beginning was never seen", () => {
  const page = (flags: number, lacing: readonly number[], body: string) =>
    Buffer.concat([
      Buffer.from("OggS\0", "latin1"),
      Buffer.from([flags]),
      Buffer.alloc(20),
      Buffer.from([lacing.length, ...lacing]),
      Buffer.from(body, "latin1"),
    ]);
  const ogg = new OggOpusReader();
  const stream = Buffer.concat([
    page(2, [19], "OpusHead\x01\x01\x38\x01".padEnd(19, "\0")),
    page(0, [8], "OpusTags"),
    page(0, [3, 255], `abc${"x".repeat(255)}`),
    page(1, [1, 2], "yde"),
  ]);
  const packets = [...stream].flatMap((byte) =>
    ogg.push(Buffer.from([byte])).map((packet) => Buffer.from(packet).toString()),
  );
  assert.deepEqual(packets, ["abc", `${"x".repeat(255)}y`, "de"]);
  assert.equal(ogg.preSkip, 312);
});
