import assert from "node:assert/strict";
import { test } from "node:test";
import { testVad } from "../contract/index.ts";
import { createEspeak } from "../tts/espeak.ts";
import { Resampler } from "../tts/resampler.ts";
import { createSileroVad } from "./silero.ts";

async function voice(sampleRate: number): Promise<Float32Array> {
  const espeak = await createEspeak();
  assert.ok(espeak);
  async function* text() {
    yield "Good morning, I would like to book a table for two.";
  }
  const resampler = new Resampler(24_000, sampleRate);
  const samples: number[] = [];
  for await (const event of espeak.speak(text(), {}, new AbortController().signal))
    if (event.kind === "audio") samples.push(...resampler.process(event.pcm));
  await espeak.close();
  return Float32Array.from(samples, (sample) => sample / 32_768);
}

const spoken = new Map<number, Promise<Float32Array>>();
testVad("silero", createSileroVad, (sampleRate) => {
  const known = spoken.get(sampleRate) ?? voice(sampleRate);
  spoken.set(sampleRate, known);
  return known;
});

test("a reset while a window is under way is not undone by its answer", async () => {
  const engine = await createSileroVad();
  const [vad, fresh] = [engine.open(), engine.open()];
  const sound = await voice(vad.sampleRate);
  const window = (at: number) => sound.subarray(at * vad.windowSize, (at + 1) * vad.windowSize);
  const before = vad.detect(window(10));
  vad.reset();
  const [, afterReset, expected] = await Promise.all([before, vad.detect(window(5)), fresh.detect(window(5))]);
  assert.ok(Math.abs(afterReset - expected) < 1e-3);
  await engine.close();
});

test("is not asked about lasting silence, and judges what follows as it would have anyway", async () => {
  const [frugal, thorough] = [await createSileroVad(), await createSileroVad({ quiet: 0 })];
  const sound = await voice(16_000);
  const pause = new Float32Array(16_000);
  const hiss = pause.map((_, at) => 0.003 * Math.sin(at * at));
  const [a, b] = [frugal.open(), thorough.open()];
  let [asked, answered, differing] = [0, 0, 0];
  for (const part of [pause, sound, pause, hiss, pause, sound, pause])
    for (let at = 0; at + 512 <= part.length; at += 512) {
      const window = part.subarray(at, at + 512);
      const [own, other] = await Promise.all([a.detect(window), b.detect(window)]);
      answered += 1;
      if (own !== 0) asked += 1;
      if (own > 0.5 !== other > 0.5) differing += 1;
    }
  assert.ok(asked < answered * 0.7, `asked ${asked} of ${answered}`);
  assert.ok(differing <= 2, `${differing} of ${answered} windows differ`);
  await Promise.all([frugal.close(), thorough.close()]);
});
