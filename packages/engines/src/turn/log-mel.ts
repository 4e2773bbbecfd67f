/**
 * The log-mel spectrogram that Whisper's encoder reads, as its feature extractor makes it: frames of 25 ms every 10, 80 mel
 * bands on Slaney's scale, log10, the top 8 decades, scaled by (x + 4) / 4. The audio is brought to mean 0 and variance 1 first.
 */

/** Samples per second of the audio. */
export const MEL_RATE = 16_000;
/** Bands of a frame. */
export const MEL_BANDS = 80;
/** Samples from one frame to the next. */
export const MEL_HOP = 160;

const FRAME = 400;
const BINS = FRAME / 2 + 1;
const FLOOR = 1e-10;

/** Band by band, `samples.length / MEL_HOP` frames each. */
export function logMel(samples: Float32Array): Float32Array {
  const frames = Math.floor(samples.length / MEL_HOP);
  const audio = normalise(samples);
  const mel = new Float32Array(MEL_BANDS * frames);
  const frame = new Float64Array(FRAME);
  let most = -Infinity;
  for (let index = 0; index < frames; index++) {
    // Centred on its place; what lies beyond the ends is mirrored.
    for (let i = 0; i < FRAME; i++)
      frame[i] = audio[mirror(index * MEL_HOP + i - FRAME / 2, audio.length)]! * WINDOW[i]!;
    const power = powerOf(frame);
    for (let band = 0; band < MEL_BANDS; band++) {
      const { first, weights } = FILTERS[band]!;
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i]! * power[first + i]!;
      const value = Math.log10(Math.max(FLOOR, sum));
      mel[band * frames + index] = value;
      most = Math.max(most, value);
    }
  }
  return mel.map((value) => (Math.max(value, most - 8) + 4) / 4);
}

const WINDOW = Float64Array.from({ length: FRAME }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FRAME));

function normalise(samples: Float32Array): Float64Array {
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / Math.max(1, samples.length);
  const variance = samples.reduce((sum, sample) => sum + (sample - mean) ** 2, 0) / Math.max(1, samples.length);
  const scale = 1 / Math.sqrt(variance + 1e-7);
  return Float64Array.from(samples, (sample) => (sample - mean) * scale);
}

function mirror(at: number, length: number): number {
  if (at < 0) return Math.min(length - 1, -at);
  return at < length ? at : Math.max(0, 2 * length - 2 - at);
}

function powerOf(frame: Float64Array): Float64Array {
  const real = new Float64Array(FRAME);
  const imaginary = new Float64Array(FRAME);
  transform(frame, 0, 1, FRAME, real, imaginary, 0);
  return Float64Array.from({ length: BINS }, (_, bin) => real[bin]! ** 2 + imaginary[bin]! ** 2);
}

const COS = Float64Array.from({ length: FRAME }, (_, i) => Math.cos((2 * Math.PI * i) / FRAME));
const SIN = Float64Array.from({ length: FRAME }, (_, i) => -Math.sin((2 * Math.PI * i) / FRAME));

/** Decimation in time by 2 and 5: `size` samples from `from` on, every `stride`th, to `re`/`im` from `to` on. */
function transform(
  x: Float64Array,
  from: number,
  stride: number,
  size: number,
  re: Float64Array,
  im: Float64Array,
  to: number,
): void {
  if (size === 1) {
    re[to] = x[from]!;
    im[to] = 0;
    return;
  }
  const radix = size % 2 === 0 ? 2 : 5;
  const part = size / radix;
  for (let r = 0; r < radix; r++) transform(x, from + r * stride, stride * radix, part, re, im, to + r * part);
  const [sumRe, sumIm] = [new Float64Array(radix), new Float64Array(radix)];
  for (let k = 0; k < part; k++) {
    for (let q = 0; q < radix; q++) {
      let [a, b] = [0, 0];
      for (let r = 0; r < radix; r++) {
        const turn = ((k + q * part) * r * stride) % FRAME;
        const [c, s] = [COS[turn]!, SIN[turn]!];
        const at = to + r * part + k;
        a += re[at]! * c - im[at]! * s;
        b += re[at]! * s + im[at]! * c;
      }
      sumRe[q] = a;
      sumIm[q] = b;
    }
    for (let q = 0; q < radix; q++) {
      re[to + q * part + k] = sumRe[q]!;
      im[to + q * part + k] = sumIm[q]!;
    }
  }
}

/** Slaney's mel scale: linear to 1 kHz, logarithmic above. */
const toMel = (hz: number) => (hz < 1000 ? (3 * hz) / 200 : 15 + (27 * Math.log(hz / 1000)) / Math.log(6.4));
const toHz = (mel: number) => (mel < 15 ? (200 * mel) / 3 : 1000 * Math.exp(((mel - 15) * Math.log(6.4)) / 27));

/** Triangles of equal area between the bands' neighbours. */
const FILTERS = Array.from({ length: MEL_BANDS }, (_, band) => {
  const top = toMel(MEL_RATE / 2);
  const [low, centre, high] = [0, 1, 2].map((step) => toHz(((band + step) * top) / (MEL_BANDS + 1))) as [
    number,
    number,
    number,
  ];
  const weights: number[] = [];
  let first = -1;
  for (let bin = 0; bin < BINS; bin++) {
    const hz = (bin * MEL_RATE) / FRAME;
    const weight = Math.max(0, Math.min((hz - low) / (centre - low), (high - hz) / (high - centre)));
    if (weight === 0) continue;
    if (first < 0) first = bin;
    weights.push((weight * 2) / (high - low));
  }
  return { first: Math.max(0, first), weights };
});
