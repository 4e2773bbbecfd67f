import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { logMel, MEL_BANDS } from "./log-mel.ts";
import { createSmartTurn } from "./smart-turn.ts";

const folder = await mkdtemp(join(tmpdir(), "sluice-turn-"));
after(() => rm(folder, { recursive: true }));

test("the spectrogram has a tone in its band and scales as Whisper's does", () => {
  const tone = (hz: number) =>
    Float32Array.from({ length: 16_000 }, (_, i) => 0.3 * Math.sin((2 * Math.PI * hz * i) / 16_000));
  const frames = 100;
  const loudest = (mel: Float32Array) => {
    const at50 = Array.from({ length: MEL_BANDS }, (_, band) => mel[band * frames + 50]!);
    return at50.indexOf(Math.max(...at50));
  };
  // Slaney's scale: 200/3 Hz a mel to 1 kHz; 80 bands over 45.245 mels.
  assert.equal(loudest(logMel(tone(520))), Math.round((7.8 * 81) / 45.2455) - 1);
  assert.equal(loudest(logMel(tone(3000))), Math.round(((15 + (27 * Math.log(3)) / Math.log(6.4)) * 81) / 45.2455) - 1);
  const mel = logMel(tone(500));
  assert.equal(mel.length, MEL_BANDS * frames);
  // A sine of variance 1 through a Hann window: (sqrt(2) * 100)^2 in its bin; the rest is clipped 8 decades below the top.
  assert.ok(Math.max(...mel) > 1.4 && Math.max(...mel) < 1.9, `${Math.max(...mel)}`);
  assert.ok(Math.abs(Math.max(...mel) - Math.min(...mel) - 2) < 1e-5);
});

test("a click is as strong in every band, by what mean, variance and area make of it", () => {
  const click = new Float32Array(1600);
  click[800] = 0.5;
  const mel = logMel(click);
  // Variance 1 makes the click 40 high; a band's triangle has the area 1 over bins of 40 Hz: 40 ** 2 / 40.
  for (let band = 30; band < MEL_BANDS; band++) {
    assert.ok(Math.abs(mel[band * 10 + 5]! - (Math.log10(40) + 4) / 4) < 0.02, `band ${band}: ${mel[band * 10 + 5]}`);
  }
});

test("a model of Smart Turn's shapes judges the newest 8 seconds, off this thread", async () => {
  const path = join(folder, "mean.onnx");
  await writeFile(path, meanModel(800));
  const detector = await createSmartTurn(path);
  const { signal } = new AbortController();
  const noise = Int16Array.from({ length: 24_000 * 12 }, (_, i) => 8000 * Math.sin(i * i * 0.001));
  const judge = (audio: Int16Array) => detector.detect({ audio, transcript: undefined, silenceMs: 200 }, signal);
  const [loud, short] = [await judge(noise), await judge(noise.subarray(0, 2400))];
  // The tiny model is sigmoid(mean of the features): eight seconds of sound have a higher mean than a moment of it.
  assert.ok(loud > short, `${loud} ${short}`);
  assert.ok(short > 0 && loud < 1);
  assert.equal(await judge(noise), loud);
  const aborted = new AbortController();
  const pending = detector.detect({ audio: noise, transcript: undefined, silenceMs: 200 }, aborted.signal);
  aborted.abort();
  await assert.rejects(pending, { name: "AbortError" });
  await detector.close();
});

test("a file that is no such model is refused with its name", async () => {
  const broken = join(folder, "broken.onnx");
  await writeFile(broken, "not a model");
  await assert.rejects(createSmartTurn(broken), /broken\.onnx is no end-of-turn model/);
  const other = join(folder, "other.onnx");
  await writeFile(other, meanModel(3000)); // Whisper's own 30 s
  await assert.rejects(createSmartTurn(other), /other\.onnx is no end-of-turn model/);
  await assert.rejects(createSmartTurn(join(folder, "absent.onnx")), /absent\.onnx/);
});

/** ONNX by hand (onnx.proto3): probability = Sigmoid(ReduceMean(input_features)), of `frames` frames. */
function meanModel(frames: number): Uint8Array {
  const bytes = (field: number, ...parts: Uint8Array[]) => {
    const body = Buffer.concat(parts);
    return Buffer.concat([varint((field << 3) | 2), varint(body.length), body]);
  };
  const text = (field: number, value: string) => bytes(field, Buffer.from(value));
  const int = (field: number, value: number) => Buffer.concat([varint(field << 3), varint(value)]);
  const attribute = (name: string, ...value: Uint8Array[]) => bytes(5, text(1, name), ...value);
  const node = (input: string, output: string, type: string, ...attributes: Uint8Array[]) =>
    bytes(1, text(1, input), text(2, output), text(4, type), ...attributes);
  const value = (field: number, name: string, shape: readonly number[]) => {
    const dimensions = shape.map((size) => bytes(1, int(1, size)));
    return bytes(field, text(1, name), bytes(2, bytes(1, int(1, 1), bytes(2, ...dimensions))));
  };
  const graph = bytes(
    7,
    node(
      "input_features",
      "mean",
      "ReduceMean",
      attribute("axes", int(8, 1), int(8, 2), int(20, 7)),
      attribute("keepdims", int(3, 0), int(20, 2)),
    ),
    node("mean", "probability", "Sigmoid"),
    text(2, "mean"),
    value(11, "input_features", [1, 80, frames]),
    value(12, "probability", [1]),
  );
  return Buffer.concat([int(1, 8), graph, bytes(8, int(2, 13))]);
}

function varint(value: number): Buffer {
  const out: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return Buffer.from([...out, rest]);
    out.push((rest & 0x7f) | 0x80);
  }
}
