/**
 * Band-limited conversion between two sample rates: a polyphase FIR filter (Crochiere and Rabiner, "Multirate Digital
 * Signal Processing", chapter 3) with a Kaiser window. A stream keeps its state, so block borders are inaudible.
 */

/** Settings of a resampler. */
export interface ResamplerOptions {
  /**
   * Half-length of the filter in samples of the lower rate; default 16: 62 dB against aliases, flat up to 0.80 of the
   * lower Nyquist frequency. Doubling it halves what lies between, and doubles the cost and the delay.
   */
  readonly halfLength?: number;
}

/** One stream's conversion. */
export interface Resampler {
  /** How far the output lags behind the input, in samples of the input. */
  readonly delay: number;
  /** Samples from -32768 to 32767 to the same, rounded and clipped. */
  resample(input: Int16Array): Int16Array;
  /** Samples to floats from -1 to 1; floats keep their scale. */
  resampleToFloat(input: Int16Array | Float32Array): Float32Array;
  /** The end of the stream, which the delay held back; then starts anew. */
  flush(): Int16Array;
  /** Forgets the stream so far. */
  reset(): void;
}

// Kaiser's beta for 62 dB.
const BETA = 5.6;
// Width of the transition band for that beta, in cycles a sample, times the number of taps.
const TRANSITION = 3.75;

/** Creates the resampler of one stream. The rates are whole numbers; cost grows with neither. */
export function createResampler(fromRate: number, toRate: number, options: ResamplerOptions = {}): Resampler {
  const divisor = gcd(fromRate, toRate);
  const up = toRate / divisor;
  const down = fromRate / divisor;
  const { taps, phases } = designPhases(up, down, options.halfLength ?? 16);
  const delay = fromRate === toRate ? 0 : taps / 2;

  // The newest taps - 1 samples of the past, then this block.
  let line = new Float32Array(taps - 1);
  // Where the next output lies: whole input samples into the next block, and 1/up parts.
  let whole = 0;
  let part = 0;

  const reset = () => {
    line = new Float32Array(taps - 1);
    whole = 0;
    part = 0;
  };

  /** Calls nothing back and allocates twice a block: this runs for every 20 ms of every caller. */
  const run = (input: Int16Array | Float32Array, scale: number): Float32Array => {
    const past = taps - 1;
    const samples = new Float32Array(past + input.length);
    samples.set(line.subarray(0, past));
    samples.set(input, past);
    const count = Math.max(0, Math.ceil(((input.length - whole) * up - part) / down));
    const output = new Float32Array(count);
    for (let n = 0; n < count; n++) {
      const filter = phases[part]!;
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      for (let k = 0, at = whole; k < taps; k += 4, at += 4) {
        a += filter[k]! * samples[at]!;
        b += filter[k + 1]! * samples[at + 1]!;
        c += filter[k + 2]! * samples[at + 2]!;
        d += filter[k + 3]! * samples[at + 3]!;
      }
      output[n] = (a + b + c + d) * scale;
      part += down;
      whole += Math.floor(part / up);
      part %= up;
    }
    whole -= input.length;
    line = samples.subarray(samples.length - past);
    return output;
  };

  const resample = (input: Int16Array) => (fromRate === toRate ? input.slice() : round(run(input, 1)));
  return {
    delay,
    resample,
    resampleToFloat(input) {
      const scale = input instanceof Int16Array ? 1 / 32768 : 1;
      if (fromRate === toRate) return Float32Array.from(input, (sample) => sample * scale);
      return run(input, scale);
    },
    flush() {
      const tail = resample(new Int16Array(delay));
      reset();
      return tail;
    },
    reset,
  };
}

/** One filter per place of an output between two inputs, each a multiple of four long, oldest sample first. */
function designPhases(up: number, down: number, halfLength: number): { taps: number; phases: Float32Array[] } {
  const ratio = Math.max(1, down / up); // inputs in a sample of the lower rate
  const taps = Math.ceil((2 * halfLength * ratio) / 4) * 4;
  // In cycles an input sample. The transition band ends at the lower Nyquist frequency: nothing folds back.
  const cutoff = 0.5 / ratio - TRANSITION / 2 / taps;
  const phases: Float32Array[] = [];
  for (let phase = 0; phase < up; phase++) {
    const filter = Float64Array.from({ length: taps }, (_, k) => {
      const distance = k - taps / 2 + 1 - phase / up;
      return 2 * cutoff * sinc(2 * cutoff * distance) * kaiser((2 * distance) / taps);
    });
    // Each phase alone has to pass a constant as it is, or the output hums at the input's rate.
    const sum = filter.reduce((total, tap) => total + tap, 0);
    phases.push(Float32Array.from(filter, (tap) => tap / sum));
  }
  return { taps, phases };
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** The window at `x`, 0 in the middle and 1 at the edge. */
function kaiser(x: number): number {
  return Math.abs(x) > 1 ? 0 : bessel(BETA * Math.sqrt(1 - x * x)) / bessel(BETA);
}

/** Modified Bessel function of the first kind, order zero. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; k < 32; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function round(floats: Float32Array): Int16Array {
  const samples = new Int16Array(floats.length);
  for (let i = 0; i < floats.length; i++) {
    samples[i] = Math.max(-32768, Math.min(32767, Math.round(floats[i]!)));
  }
  return samples;
}
