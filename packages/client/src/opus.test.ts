import assert from "node:assert/strict";
import { test } from "node:test";
import { loadOpus, OPUS_FRAME, OPUS_RATE } from "./opus.ts";

const tone = (from: number) =>
  Float32Array.from({ length: OPUS_FRAME }, (_, i) => 0.5 * Math.sin(((from + i) / OPUS_RATE) * 2 * Math.PI * 300));
const energy = (pcm: Float32Array) => pcm.reduce((sum, sample) => sum + sample * sample, 0) / pcm.length;

test("where there are no WebCodecs, libopus codes speech: in order, in its place, as loud as it was", async () => {
  const codec = await loadOpus();
  assert.equal(codec.name, "libopus");
  const packets: { at: number; packet: Uint8Array }[] = [];
  const done = Promise.withResolvers<void>();
  const encoder = codec.createEncoder((at, packet) => {
    packets.push({ at, packet });
    if (packets.length === 25) done.resolve();
  });
  for (let frame = 0; frame < 25; frame++) encoder.encode(frame * OPUS_FRAME, tone(frame * OPUS_FRAME)); // before it is made
  await done.promise;
  encoder.close();
  assert.deepEqual(
    packets.map(({ at }) => at),
    Array.from({ length: 25 }, (_, frame) => frame * OPUS_FRAME),
  );
  assert(packets.every(({ packet }) => packet.length > 10 && packet.length < 400));

  const heard: { at: number; pcm: Float32Array }[] = [];
  const decoder = codec.createDecoder((at, pcm) => heard.push({ at, pcm }));
  for (const { at, packet } of packets) decoder.decode(at, packet);
  await new Promise<void>((resolve) => decoder.flush(resolve));
  assert.deepEqual(
    heard.map(({ at, pcm }) => [at, pcm.length]),
    packets.map(({ at }) => [at, OPUS_FRAME]),
  );
  assert(Math.abs(energy(heard.at(-1)!.pcm) / energy(tone(0)) - 1) < 0.2);
});

test("a packet that is none costs itself and nothing more", async (t) => {
  t.mock.method(console, "warn", () => {});
  const codec = await loadOpus();
  const heard: number[] = [];
  const decoder = codec.createDecoder((at) => heard.push(at));
  decoder.decode(0, Uint8Array.of(255, 255, 255));
  decoder.decode(OPUS_FRAME, new Uint8Array(0)); // left out by its encoder: concealed
  await new Promise<void>((resolve) => decoder.flush(resolve));
  assert.deepEqual(heard, [OPUS_FRAME]);
});

test("a coder that is closed codes nothing more, whenever it was made", async () => {
  const codec = await loadOpus();
  const heard: number[] = [];
  const decoder = codec.createDecoder((at) => heard.push(at));
  decoder.decode(0, new Uint8Array(0));
  decoder.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(heard, []);
});
