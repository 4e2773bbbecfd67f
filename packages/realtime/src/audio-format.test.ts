import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bytesPerSecond, createAudioDecoder, createAudioEncoder } from "./audio-format.ts";
import type { AudioFormat } from "./session.ts";

const pcm: AudioFormat = { type: "audio/pcm", rate: 24000 };
const g711: AudioFormat[] = [{ type: "audio/pcmu" }, { type: "audio/pcma" }];

test("writes and reads little-endian PCM", () => {
  assert.equal(createAudioEncoder(pcm).encode(Int16Array.of(1, -2, 0x1234)), "AQD+/zQS");
  assert.deepEqual(createAudioDecoder(pcm).decode("AQD+/zQS"), Int16Array.of(1, -2, 0x1234));
});

test("carries half a sample to the next chunk, wherever PCM is cut", () => {
  const samples = fc.array(fc.integer({ min: -32768, max: 32767 }), { maxLength: 100 });
  fc.assert(
    fc.property(samples, fc.array(fc.nat(9)), (values, cuts) => {
      const bytes = createAudioEncoder(pcm).encodeBytes(Int16Array.from(values));
      const decoder = createAudioDecoder(pcm);
      const out: number[] = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        out.push(...decoder.decodeBytes(bytes.subarray(at, at + cut)));
        at += cut;
      }
      assert.deepEqual(out, values);
    }),
  );
});

test("answers undefined to bad base64 and goes on with the stream", () => {
  const decoder = createAudioDecoder(pcm);
  assert.deepEqual(decoder.decode("AQ=="), Int16Array.of()); // half of the sample 1
  assert.equal(decoder.decode("AQ*="), undefined);
  assert.deepEqual(decoder.decode("AA=="), Int16Array.of(1));
});

test("forgets half a sample on reset", () => {
  const decoder = createAudioDecoder(pcm);
  decoder.decode("AQ==");
  decoder.reset();
  assert.deepEqual(decoder.decode("AgA="), Int16Array.of(2));
});

test("carries speech over G.711 with the noise of eight bits and no more", () => {
  const speech = Int16Array.from({ length: 24_000 }, (_, i) => 8000 * Math.sin((2 * Math.PI * 700 * i) / 24_000));
  for (const format of g711) {
    const decoder = createAudioDecoder(format);
    const encoder = createAudioEncoder(format);
    const there = [...encoder.encodeBytes(speech)];
    assert.ok(Math.abs(there.length - 8000) <= 1, `${there.length} bytes of a second`);
    const back = decoder.decodeBytes(Uint8Array.from(there));
    // Find the delay by the phase of the tone, then what is not the tone.
    let re = 0;
    let im = 0;
    const middle = back.subarray(6000, 18_000);
    for (const [i, sample] of middle.entries()) {
      re += sample * Math.cos((2 * Math.PI * 700 * i) / 24_000);
      im += sample * Math.sin((2 * Math.PI * 700 * i) / 24_000);
    }
    const tone = (2 * (re ** 2 + im ** 2)) / middle.length ** 2;
    const noise = middle.reduce((sum, sample) => sum + sample ** 2, 0) / middle.length - tone;
    const snr = 10 * Math.log10(tone / noise);
    assert.ok(snr > 35, `${format.type}: ${snr} dB`);
    assert.ok(Math.abs(Math.sqrt(2 * tone) - 8000) < 100);
  }
});

test("gives the delay of G.711's resampling back at the end", () => {
  for (const format of g711) {
    const encoder = createAudioEncoder(format);
    encoder.encode(new Int16Array(480));
    assert.equal(Buffer.from(encoder.flush(), "base64").length, 16);
  }
  assert.equal(createAudioEncoder(pcm).flush(), "");
});

test("knows how many bytes a second takes", () => {
  assert.deepEqual([pcm, ...g711].map(bytesPerSecond), [48_000, 8000, 8000]);
});
