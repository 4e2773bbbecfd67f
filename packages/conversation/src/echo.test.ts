import assert from "node:assert/strict";
import { test } from "node:test";
import { type Pcm, SAMPLES_PER_MS } from "./audio.ts";
import { EchoDetector } from "./echo.ts";
import { windowLevels } from "./endpointer.ts";

/** A voice whose pitch wanders: harmonics up to 3 kHz, for `ms`. `seed` makes it another one. */
function voice(ms: number, seed: number): Float32Array {
  let phase = 0;
  return Float32Array.from({ length: ms * SAMPLES_PER_MS }, (_, at) => {
    const seconds = at / 24_000;
    const hz = 90 + 50 * seed + 30 * Math.sin(5 * seconds + seed) + 14 * Math.sin(13 * seconds + 2 * seed);
    phase += hz / 24_000;
    let sum = 0;
    for (let harmonic = 1; harmonic * hz < 3000; harmonic++) sum += Math.sin(2 * Math.PI * harmonic * phase) / harmonic;
    return 0.15 * sum;
  });
}

const toPcm = (sound: Float32Array): Pcm => Int16Array.from(sound, (one) => one * 32_767);

/** What the microphone hears from `at` ms on: `sounds`, each of them after its delay and with its gain. */
function microphone(ms: number, sounds: readonly (readonly [sound: Float32Array, delayMs: number, gain: number])[]) {
  const heard = new Float32Array(ms * 16);
  for (const [sound, delayMs, gain] of sounds) {
    for (let at = 0; at < heard.length; at++) {
      const place = Math.round((at * 3) / 2 - delayMs * SAMPLES_PER_MS);
      if (place >= 0) heard[at] = heard[at]! + gain * (sound[place] ?? 0);
    }
  }
  return heard;
}

/** Which windows are taken for the agent, while it says `agent` to an ear that is `heardMs` into it at each moment. */
function judge(agent: Float32Array, heard: Float32Array, heardMs = (at: number) => at): boolean[] {
  const detector = new EchoDetector();
  for (let at = 0; at < agent.length; at += 4801) detector.handleSpeech("item", toPcm(agent.subarray(at, at + 4801)));
  const windows: boolean[] = [];
  for (let at = 0; at + 512 <= heard.length; at += 512) {
    const samples = heard.subarray(at, at + 512);
    const mediaMs = at / 16;
    const positionMs = heardMs(mediaMs + 36);
    const window = { mediaMs, durationMs: 32, probability: 1, levels: windowLevels(samples, 4), samples };
    const ear =
      positionMs > 0 && positionMs < agent.length / SAMPLES_PER_MS ? { itemId: "item", positionMs } : undefined;
    windows.push(detector.handleWindow(5000 + mediaMs + 36, window, ear));
  }
  return windows;
}

const share = (windows: readonly boolean[]) => windows.filter(Boolean).length / windows.length;

test("the agent's voice is known when it comes back, whatever the delay and the loudness", () => {
  const agent = voice(1600, 1);
  for (const [delayMs, gain] of [
    [20, 1],
    [170, 0.3],
    [430, 0.1],
  ] as const) {
    const windows = judge(agent, microphone(1600, [[agent, delayMs, gain]])).slice(Math.ceil(delayMs / 32) + 1);
    assert.ok(share(windows) > 0.97, `${delayMs} ms: ${share(windows)}`);
  }
});

test("another voice is not the agent's, be it in the first second or over the echo", () => {
  const [agent, caller] = [voice(1600, 1), voice(1600, 3)];
  assert.ok(share(judge(agent, microphone(1600, [[caller, 100, 0.5]]))) < 0.05);
  const over = judge(
    agent,
    microphone(1600, [
      [agent, 100, 0.3],
      [caller, 800, 0.6],
    ]),
  );
  assert.ok(share(over.slice(5, 24)) > 0.97);
  assert.ok(share(over.slice(27)) < 0.2, `${share(over.slice(27))}`);
});

test("what comes back too loud for all that came back before is the caller's, without a comparison", () => {
  const agent = voice(2000, 1);
  const windows = judge(
    agent,
    microphone(2000, [
      [agent, 100, 0.002],
      [agent, 1300, 1],
    ]),
  );
  assert.equal(share(windows.slice(41)), 0);
});

test("the ear's place may turn out to be another, and speech may run dry", () => {
  const agent = voice(2000, 2);
  // The client says after 500 ms that it began 120 ms later than it was thought to.
  const corrected = judge(agent, microphone(1600, [[agent, 200, 0.5]]), (at) => (at < 500 ? at : at - 120));
  assert.ok(share(corrected.slice(8)) > 0.95, `${share(corrected.slice(8))}`);
  const [first, rest] = [agent.subarray(0, 700 * SAMPLES_PER_MS), agent.subarray(700 * SAMPLES_PER_MS)];
  const heard = microphone(2000, [
    [first, 100, 0.5],
    [rest, 1200, 0.5],
  ]);
  const dry = judge(agent, heard, (at) => (at < 700 ? at : Math.max(700, at - 400)));
  assert.ok(share(dry.slice(5, 25)) > 0.95 && share(dry.slice(39)) > 0.95, dry.map(Number).join(""));
});

test("windows without a sound of their own are nobody's echo", () => {
  const detector = new EchoDetector();
  detector.handleSpeech("item", toPcm(voice(500, 1)));
  const window = { mediaMs: 0, durationMs: 32, probability: 1, levels: [-20, -20, -20, -20] };
  assert.equal(detector.handleWindow(300, window, { itemId: "item", positionMs: 250 }), false);
});
