/**
 * How a window of voice sounds, apart from what it says: whether the vocal cords move, how high, and how bright it is. It
 * tells a hum and a cough from a word, and an end that falls from one that hangs. Pure arithmetic, about 15 us a window.
 */
import { powerSpectrum, SPECTRUM_SAMPLES } from "./spectrum.ts";

/** The sound of one window. */
export interface Prosody {
  /** How much it repeats itself in a period of a voice, 0 (noise) to 1 (a steady vowel). */
  readonly periodicity: number;
  /** Fundamental frequency where {@link Prosody.periodicity} means anything. */
  readonly pitchHz: number;
  /** Level of what lies between 450 and 1000 Hz against the whole, in dB: the first resonance of an open mouth, -1 to -9;
   * through closed lips -13 or less, as of "ee" and "oo", which may be brighter. */
  readonly vowelDb: number;
  /** The same above 1 kHz: of a hiss 0, of breath through an open throat -5 to -12, of a hum -10 or less. */
  readonly brightDb: number;
}

/** The rate at which periods are looked for: voices are below 400 Hz. */
const RATE = 4000;
const LOWEST_HZ = 70;
const HIGHEST_HZ = 400;
/** A peak at half the lag of the best one that is nearly as good is the true period. */
const OCTAVE_TOLERANCE = 0.85;
/** Spectra are taken at this rate: bins of 31 Hz. */
const SPECTRUM_RATE = 8000;
const VOWEL_FROM_HZ = 450;
const BRIGHT_HZ = 1000;

/** Measures the windows of one stream, one after another. */
export class ProsodyMeter {
  readonly #decimation: number;
  readonly #spectrumDecimation: number;
  readonly #bright: Highpass;
  #history: Float32Array = new Float32Array(0); // the window before, at RATE

  constructor(sampleRate: number) {
    this.#decimation = Math.round(sampleRate / RATE);
    this.#spectrumDecimation = Math.max(1, Math.round(sampleRate / SPECTRUM_RATE));
    this.#bright = new Highpass(BRIGHT_HZ / sampleRate);
  }

  /** Takes the next window, floats from -1 to 1. */
  measure(window: Float32Array): Prosody {
    const whole = energyOf(window);
    const share = (part: number) => (whole > 1e-9 ? Math.max(-60, 10 * Math.log10((part + 1e-12) / whole)) : 0);
    const low = decimate(window, this.#decimation);
    const samples = new Float32Array(this.#history.length + low.length);
    samples.set(this.#history);
    samples.set(low, this.#history.length);
    this.#history = low;
    const vowelDb = vowelLevel(decimate(window, this.#spectrumDecimation));
    return { ...findPeriod(samples), vowelDb, brightDb: share(this.#bright.energy(window)) };
  }
}

/** The lag at which `samples` resemble themselves most. */
function findPeriod(samples: Float32Array): { periodicity: number; pitchHz: number } {
  const shortest = Math.floor(RATE / HIGHEST_HZ);
  const longest = Math.min(Math.floor(RATE / LOWEST_HZ), samples.length >> 1);
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / Math.max(1, samples.length);
  const scores: number[] = [];
  let best = 0;
  for (let lag = shortest; lag <= longest; lag++) {
    let [product, a, b] = [0, 1e-9, 1e-9];
    for (let i = lag; i < samples.length; i++) {
      const [x, y] = [samples[i]! - mean, samples[i - lag]! - mean];
      product += x * y;
      a += x * x;
      b += y * y;
    }
    const score = product / Math.sqrt(a * b);
    scores.push(score);
    if (score > (scores[best] ?? 0)) best = scores.length - 1;
  }
  for (let lag = shortest + best; lag >= 2 * shortest; lag = Math.round(lag / 2)) {
    const half = Math.round(lag / 2) - shortest;
    if (half >= 0 && (scores[half] ?? 0) >= OCTAVE_TOLERANCE * (scores[best] ?? 0)) best = half;
    else break;
  }
  return { periodicity: Math.max(0, scores[best] ?? 0), pitchHz: RATE / (shortest + best) };
}

const power = new Float32Array(SPECTRUM_SAMPLES / 2);

function vowelLevel(samples: Float32Array): number {
  powerSpectrum(samples, power);
  let [whole, vowel] = [1e-12, 0];
  for (let bin = 1; bin < power.length; bin++) {
    whole += power[bin]!;
    const hz = (bin * SPECTRUM_RATE) / SPECTRUM_SAMPLES;
    if (hz >= VOWEL_FROM_HZ && hz < BRIGHT_HZ) vowel += power[bin]!;
  }
  return Math.max(-60, 10 * Math.log10((vowel + 1e-12) / whole));
}

function energyOf(window: Float32Array): number {
  return window.reduce((sum, sample) => sum + sample * sample, 0);
}

/** Means of `factor` samples: crude, but what folds back is well below the voice. */
function decimate(window: Float32Array, factor: number): Float32Array {
  return Float32Array.from({ length: Math.floor(window.length / factor) }, (_, index) => {
    let sum = 0;
    for (let i = index * factor; i < (index + 1) * factor; i++) sum += window[i]!;
    return sum / factor;
  });
}

/** A second-order Butterworth high-pass (RBJ's audio EQ cookbook). */
class Highpass {
  readonly #b: readonly [number, number, number];
  readonly #a: readonly [number, number];
  #x: [number, number] = [0, 0];
  #y: [number, number] = [0, 0];

  /** `frequency`: of the corner, in sample rates. */
  constructor(frequency: number) {
    const w = 2 * Math.PI * frequency;
    const alpha = Math.sin(w) / Math.SQRT2;
    const a0 = 1 + alpha;
    this.#b = [(1 + Math.cos(w)) / 2 / a0, -(1 + Math.cos(w)) / a0, (1 + Math.cos(w)) / 2 / a0];
    this.#a = [(-2 * Math.cos(w)) / a0, (1 - alpha) / a0];
  }

  /** Energy of what passes. */
  energy(window: Float32Array): number {
    const [b0, b1, b2] = this.#b;
    const [a1, a2] = this.#a;
    let [x1, x2] = this.#x;
    let [y1, y2] = this.#y;
    let passed = 0;
    for (const x of window) {
      const y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2;
      [x2, x1, y2, y1] = [x1, x, y1, y];
      passed += y * y;
    }
    this.#x = [x1, x2];
    this.#y = [y1, y2];
    return passed;
  }
}
