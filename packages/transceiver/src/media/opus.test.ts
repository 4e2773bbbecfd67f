import assert from "node:assert/strict";
import { before, test } from "node:test";
import { durationMs, SAMPLES_PER_MS } from "@sluice/conversation";
import fc from "fast-check";
import { Application, createEncoder, getPacketInfo } from "libopus-wasm";
import { FRAME_SAMPLES, loadOpus, type OpusCodec } from "./opus.ts";
import { isOpusDtx, opusPacketHasFec, opusPacketTicks } from "./opus-packet.ts";

let opus: OpusCodec;

before(async () => {
  opus = await loadOpus();
});

for (const mode of ["lowDelay", "voip"] as const) {
  test(`${mode}: what goes in comes out, a look-ahead later`, async () => {
    const encoder = await opus.createEncoder({ mode });
    const decoder = await opus.createDecoder();
    const input = Array.from({ length: 20 }, (_, index) => voice(index));
    const output = input.map((frame) => decoder.decode(encoder.encode(frame))!);
    assert.ok(output.every((pcm) => pcm.length === FRAME_SAMPLES));
    const delay = mode === "voip" ? 156 : 60;
    assert.equal(encoder.lookaheadMs * SAMPLES_PER_MS, delay);
    const [before, after] = [input, output].map((frames) => Int16Array.from(frames.flatMap((pcm) => [...pcm])));
    const similarity = correlation(before!.subarray(4800, 9000), after!.subarray(4800 + delay, 9000 + delay));
    assert.ok(similarity > 0.85, `${similarity}`);
    encoder.free();
    decoder.free();
  });
}

test("the voip mode's in-band FEC brings a lost frame back, concealment does not", async () => {
  const encoder = await opus.createEncoder({ mode: "voip" });
  encoder.setPacketLossPercent(30);
  const packets = Array.from({ length: 30 }, (_, index) => encoder.encode(voice(index)));
  const [whole, repaired, concealed] = await Promise.all([1, 2, 3].map(() => opus.createDecoder()));
  for (const packet of packets.slice(0, 20)) for (const each of [whole!, repaired!, concealed!]) each.decode(packet);
  assert.ok(opusPacketHasFec(packets[21]!));
  const expected = whole!.decode(packets[20]!)!;
  const byFec = correlation(expected, repaired!.decodeFec(packets[21]!, 20)!);
  const byGuess = correlation(expected, concealed!.conceal(20));
  assert.ok(byFec > 0.8 && byFec > byGuess, `${byFec} ${byGuess}`);
  for (const each of [encoder, whole!, repaired!, concealed!]) each.free();
});

test("the low-delay mode has no FEC and says so", async () => {
  const encoder = await opus.createEncoder();
  for (let index = 0; index < 20; index++) assert.equal(opusPacketHasFec(encoder.encode(voice(index))), false);
  encoder.free();
});

test("DTX packets are recognised", async () => {
  const encoder = await opus.createEncoder({ mode: "voip", dtx: true });
  const silent = Array.from({ length: 60 }, () => encoder.encode(new Int16Array(FRAME_SAMPLES)));
  assert.ok(silent.slice(30).some(isOpusDtx));
  assert.ok(!isOpusDtx(encoder.encode(voice(1))));
  encoder.free();
});

test("packets that libopus refuses come back as undefined", async () => {
  const decoder = await opus.createDecoder();
  assert.equal(decoder.decode(Uint8Array.of(0xff, 0x00)), undefined);
  assert.equal(decoder.decodeFec(Uint8Array.of(0xff, 0x00), 20), undefined);
  assert.equal(durationMs(decoder.conceal(2.5)), 2.5);
  decoder.free();
});

test("reads the length of every kind of packet as libopus does", async () => {
  for (const application of [Application.Voip, Application.RestrictedLowDelay]) {
    for (const channels of [1, 2] as const) {
      for (const ms of [2.5, 5, 10, 20, 40, 60]) {
        const encoder = await createEncoder({ sampleRate: 48_000, channels, application, bitrate: 24_000 });
        const packet = encoder.encode(new Int16Array(ms * 48 * channels).fill(99), { frameSize: ms * 48 });
        assert.equal(opusPacketTicks(packet), ms * 48);
        encoder.free();
      }
    }
  }
});

test("framing agrees with libopus on random packets", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 60 }), async (packet) => {
      const libopus = await getPacketInfo(packet, { sampleRate: 48_000 }).then(
        ({ samples }) => samples,
        () => undefined,
      );
      const ours = opusPacketTicks(packet);
      // libopus also refuses frames over 1,275 octets and runs the decoder's own checks.
      if (libopus !== undefined) assert.equal(ours, libopus);
      assert.doesNotThrow(() => opusPacketHasFec(packet));
    }),
    { numRuns: 3000, seed: 7 },
  );
});

test("truncated framing is refused", () => {
  assert.equal(opusPacketTicks(new Uint8Array(0)), undefined);
  for (const packet of [
    [0x01, 0],
    [0x02],
    [0x02, 5, 1],
    [0x03],
    [0x03, 0],
    [0x03, 0x41],
    [0x03, 0x82, 9],
    [0x03, 0x3f],
  ]) {
    assert.equal(opusPacketTicks(Uint8Array.from(packet)), undefined, `${packet}`);
  }
});

test("a thousand codecs opened and freed leave the heap of libopus as it was", async () => {
  const cycle = async () => {
    const codecs = await Promise.all([opus.createDecoder(), opus.createEncoder()]);
    codecs[0].decode(codecs[1].encode(new Int16Array(FRAME_SAMPLES)));
    for (const codec of codecs) codec.free();
  };
  for (let index = 0; index < 50; index++) await cycle();
  const before = process.memoryUsage().arrayBuffers;
  for (let index = 0; index < 1000; index++) await cycle();
  assert.ok(process.memoryUsage().arrayBuffers - before < 4 * 2 ** 20);
});

function voice(index: number): Int16Array {
  return Int16Array.from({ length: FRAME_SAMPLES }, (_, at) => {
    const time = (index * FRAME_SAMPLES + at) / 24_000;
    const phase = 2 * Math.PI * (140 * time + 4 * Math.sin(3 * time));
    let sum = 0;
    for (let harmonic = 1; harmonic < 12; harmonic++) sum += Math.sin(phase * harmonic) / harmonic;
    return 6000 * sum;
  });
}

function correlation(a: Int16Array, b: Int16Array): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let at = 0; at < a.length; at++) {
    ab += a[at]! * b[at]!;
    aa += a[at]! ** 2;
    bb += b[at]! ** 2;
  }
  return ab / Math.sqrt(aa * bb);
}
