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

  const past = taps - 1;
  // The newest samples of the past, then this block. Kept from block to block: allocating it costs half of the filter.
  let line = new Float64Array(past);
  // Where the next output lies: whole input samples into the next block, and 1/up parts.
  let whole = 0;
  let part = 0;

  const reset = () => {
    line.fill(0);
    whole = 0;
    part = 0;
  };

  const run = (input: Int16Array | Float32Array, scale: number): Float32Array => {
    if (line.length < past + input.length) {
      const longer = new Float64Array(past + input.length);
      longer.set(line.subarray(0, past));
      line = longer;
    }
    for (let i = 0; i < input.length; i++) line[past + i] = input[i]!;
    const output = new Float32Array(Math.max(0, Math.ceil(((input.length - whole) * up - part) / down)));
    // Every up-th output uses the same filter, `down` inputs further on.
    for (let n = 0; n < Math.min(up, output.length); n++) {
      const place = part + n * down;
      filterInto(output, n, up, line, whole + Math.floor(place / up), down, phases[place % up]!, scale);
    }
    const end = part + output.length * down;
    whole += Math.floor(end / up) - input.length;
    part = end % up;
    line.copyWithin(0, input.length, input.length + past);
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
function designPhases(up: number, down: number, halfLength: number): { taps: number; phases: Float64Array[] } {
  const ratio = Math.max(1, down / up); // inputs in a sample of the lower rate
  const taps = Math.ceil((2 * halfLength * ratio) / 4) * 4;
  // In cycles an input sample. The transition band ends at the lower Nyquist frequency: nothing folds back.
  const cutoff = 0.5 / ratio - TRANSITION / 2 / taps;
  const phases: Float64Array[] = [];
  for (let phase = 0; phase < up; phase++) {
    const filter = Float64Array.from({ length: taps }, (_, k) => {
      const distance = k - taps / 2 + 1 - phase / up;
      return 2 * cutoff * sinc(2 * cutoff * distance) * kaiser((2 * distance) / taps);
    });
    // Each phase alone has to pass a constant as it is, or the output hums at the input's rate.
    const sum = filter.reduce((total, tap) => total + tap, 0);
    phases.push(filter.map((tap) => tap / sum));
  }
  return { taps, phases };
}

/** Filters `samples` from `first` on in steps of `down` into every `up`-th output from `n` on. */
function filterInto(
  output: Float32Array,
  n: number,
  up: number,
  samples: Float64Array,
  first: number,
  down: number,
  filter: Float64Array,
  scale: number,
): void {
  let at = first;
  let to = n;
  // Four outputs at once: one load of a tap serves four, and no sum waits for another. Twice as fast as one by one.
  for (; to + 3 * up < output.length; to += 4 * up, at += 4 * down) {
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let k = 0; k < filter.length; k++) {
      const tap = filter[k]!;
      a += tap * samples[at + k]!;
      b += tap * samples[at + down + k]!;
      c += tap * samples[at + 2 * down + k]!;
      d += tap * samples[at + 3 * down + k]!;
    }
    output[to] = a * scale;
    output[to + up] = b * scale;
    output[to + 2 * up] = c * scale;
    output[to + 3 * up] = d * scale;
  }
  for (; to < output.length; to += up, at += down) {
    let sum = 0;
    for (let k = 0; k < filter.length; k++) sum += filter[k]! * samples[at + k]!;
    output[to] = sum * scale;
  }
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
