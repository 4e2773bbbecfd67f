/**
 * How a window of voice sounds, apart from what it says: whether the vocal cords move, how high, and how bright it is. It
 * tells a hum and a cough from a word, and an end that falls from one that hangs. Pure arithmetic, about 50 us a window that is asked for.
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

/** Of the window before, for the filter to settle. */
const SETTLING = 64;

/** Measures the windows of one stream, one after another. */
export class ProsodyMeter {
  readonly #sampleRate: number;
  #before: Float32Array = new Float32Array(0);

  constructor(sampleRate: number) {
    this.#sampleRate = sampleRate;
  }

  /** Takes the next window, floats from -1 to 1. It is measured when it is asked for, which most windows never are. */
  measure(window: Float32Array): Prosody {
    const before = this.#before;
    this.#before = window;
    return new Measured(() => measure(before, window, this.#sampleRate));
  }
}

class Measured implements Prosody {
  readonly #measure: () => Prosody;
  #is: Prosody | undefined;

  constructor(measure: () => Prosody) {
    this.#measure = measure;
  }

  get periodicity(): number {
    return this.#known.periodicity;
  }

  get pitchHz(): number {
    return this.#known.pitchHz;
  }

  get vowelDb(): number {
    return this.#known.vowelDb;
  }

  get brightDb(): number {
    return this.#known.brightDb;
  }

  get #known(): Prosody {
    return (this.#is ??= this.#measure());
  }
}

function measure(before: Float32Array, window: Float32Array, sampleRate: number): Prosody {
  const whole = energyOf(window);
  const bright = new Highpass(BRIGHT_HZ / sampleRate);
  bright.energy(before.subarray(Math.max(0, before.length - SETTLING)));
  const share = bright.energy(window);
  const factor = Math.round(sampleRate / RATE);
  const [old, low] = [decimate(before, factor), decimate(window, factor)];
  const samples = new Float32Array(old.length + low.length);
  samples.set(old);
  samples.set(low, old.length);
  const vowelDb = vowelLevel(decimate(window, Math.max(1, Math.round(sampleRate / SPECTRUM_RATE))));
  const brightDb = whole > 1e-9 ? Math.max(-60, 10 * Math.log10((share + 1e-12) / whole)) : 0;
  return { ...findPeriod(samples), vowelDb, brightDb };
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
  let sum = 0;
  for (const sample of window) sum += sample * sample;
  return sum;
}

/** Means of `factor` samples: crude, but what folds back is well below the voice. */
function decimate(window: Float32Array, factor: number): Float32Array {
  const out = new Float32Array(Math.floor(window.length / factor));
  for (let at = 0, from = 0; at < out.length; at++) {
    let sum = 0;
    for (const end = from + factor; from < end; from++) sum += window[from]!;
    out[at] = sum / factor;
  }
  return out;
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
