/** The contract of `VadEngine`, as tests for any engine: `testVad("silero", createSileroVad, voice)`. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Vad, VadEngine } from "@sluice/conversation";
import { leavesNothing } from "./resources.ts";

/** Clear speech at `sampleRate`, from -1 to 1, at least a second of it. */
export type VoiceSource = (sampleRate: number) => Promise<Float32Array>;

/** Declares the tests of the engine that `create` makes. */
export function testVad(name: string, create: () => Promise<VadEngine>, voice: VoiceSource): void {
  const engine = create();
  after(async () => (await engine).close());
  const withVad = (sentence: string, run: (vad: Vad, engine: VadEngine) => Promise<void>) =>
    test(`${name}: ${sentence}`, async () => {
      const vad = (await engine).open();
      await run(vad, await engine);
      vad.close();
    });

  withVad("hears a voice in most of a sentence", async (vad) => {
    const answers = await detectAll(vad, await voice(vad.sampleRate));
    assert.ok(share(answers) > 0.6, `${share(answers)} of the windows`);
  });

  withVad("hears no voice in silence, noise or a tone", async (vad) => {
    const second = (sample: (at: number) => number) =>
      Float32Array.from({ length: vad.sampleRate }, (_, at) => sample(at));
    let seed = 1;
    const noise = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31; // repeatable
      return (seed / 2 ** 31 - 0.5) * 0.1;
    };
    for (const sound of [() => 0, noise, (at: number) => 0.2 * Math.sin((2 * Math.PI * 1000 * at) / vad.sampleRate)]) {
      vad.reset();
      assert.ok(share(await detectAll(vad, second(sound))) < 0.1);
    }
  });

  withVad("answers every window with a probability, in order", async (vad) => {
    const windows = windowsOf(vad, await voice(vad.sampleRate)).slice(0, 20);
    const order: number[] = [];
    const answers = await Promise.all(
      windows.map(async (window, at) => {
        const answer = await vad.detect(window);
        order.push(at);
        return answer;
      }),
    );
    assert.deepEqual(order, [...windows.keys()]);
    assert.ok(answers.every((answer) => answer >= 0 && answer <= 1));
  });

  withVad("keeps streams apart, and forgets all on reset", async (vad, engine) => {
    const windows = windowsOf(vad, await voice(vad.sampleRate)).slice(0, 30);
    const alone: number[] = [];
    for (const window of windows) alone.push(await vad.detect(window));
    vad.reset();
    const others = Array.from({ length: 20 }, () => engine.open());
    const together: number[] = [];
    for (const [at, window] of windows.entries()) {
      const noise = windows[(at * 7 + 3) % windows.length]!;
      const [answer] = await Promise.all([vad.detect(window), ...others.map((other) => other.detect(noise))]);
      together.push(answer);
    }
    for (const other of others) other.close();
    // Sums of a batch may be rounded in another order.
    for (const [at, answer] of together.entries()) assert.ok(Math.abs(answer - alone[at]!) < 1e-3);
  });

  withVad("lets the caller use its buffer again at once", async (vad) => {
    const window = windowsOf(vad, await voice(vad.sampleRate))[8]!;
    const answer = await vad.detect(window);
    vad.reset();
    const buffer = window.slice();
    const again = vad.detect(buffer);
    buffer.fill(0);
    assert.ok(Math.abs((await again) - answer) < 1e-3);
  });

  withVad("refuses a window of another size", async (vad) => {
    await assert.rejects(vad.detect(new Float32Array(vad.windowSize - 1)), RangeError);
  });

  withVad("stays bounded when windows come faster than answers", async (vad) => {
    const window = new Float32Array(vad.windowSize).fill(0.01);
    const answers = await Promise.all(Array.from({ length: 500 }, () => vad.detect(window)));
    assert.ok(answers.every((answer) => answer < 0.5));
  });

  test(`${name}: answers what is under way when it closes, and leaves nothing`, async () => {
    await leavesNothing(async () => {
      const own = await create();
      const vads = Array.from({ length: 12 }, () => own.open());
      const answers = vads.map((vad) => vad.detect(new Float32Array(vad.windowSize).fill(0.01)));
      vads[0]!.close();
      await own.close();
      assert.equal((await Promise.all(answers)).length, 12);
      await own.close(); // twice is once
      assert.throws(() => own.open());
    });
  });
}

function windowsOf(vad: Vad, sound: Float32Array): Float32Array[] {
  const count = Math.floor(sound.length / vad.windowSize);
  return Array.from({ length: count }, (_, at) => sound.slice(at * vad.windowSize, (at + 1) * vad.windowSize));
}

async function detectAll(vad: Vad, sound: Float32Array): Promise<number[]> {
  const answers: number[] = [];
  for (const window of windowsOf(vad, sound)) answers.push(await vad.detect(window));
  return answers;
}

function share(answers: readonly number[]): number {
  return answers.filter((answer) => answer > 0.5).length / answers.length;
}
