/**
 * A streaming resampler between two fixed rates: a polyphase windowed sinc (Kaiser). Output is delayed by half the
 * filter; {@link Resampler.end} gives the rest.
 */

/** How wide the filter is: zero crossings on each side. 16 with this window is flat to 0.45 of the rate. */
const ZERO_CROSSINGS = 16;
/** Kaiser's beta: about 80 dB of stop band. */
const BETA = 8;

/** Resamples mono 16-bit audio of one stream. */
export class Resampler {
  readonly #up: number;
  readonly #down: number;
  readonly #taps: number;
  readonly #phases: readonly Float32Array[];
  /** Input not yet used up, beginning with the first sample that the next output needs. */
  #held: Float32Array;
  /** Phase of the next output, in input samples times `up`. */
  #phase = 0;
  #consumed = 0;
  #produced = 0;

  constructor(fromRate: number, toRate: number) {
    const divisor = greatestCommonDivisor(fromRate, toRate);
    this.#up = toRate / divisor;
    this.#down = fromRate / divisor;
    const cutoff = Math.min(1, toRate / fromRate) * 0.95; // of the input's Nyquist frequency; the rest is the slope
    const half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.#taps = 2 * half;
    this.#phases = Array.from({ length: this.#up }, (_, phase) => sincTaps(phase / this.#up, half, cutoff));
    // The filter looks `half` samples ahead, and as many back: before the first sample there was silence.
    this.#held = new Float32Array(half - 1);
  }

  /** Takes input, gives the output that is due. */
  process(input: Int16Array): Int16Array {
    this.#consumed += input.length;
    return this.#convolve(Float32Array.from(input));
  }

  /** The end of the stream: gives what the filter still holds. Nothing may follow. */
  end(): Int16Array {
    const due = Math.round((this.#consumed * this.#up) / this.#down) - this.#produced;
    const tail = this.#convolve(new Float32Array(this.#taps));
    return tail.subarray(0, Math.max(0, due));
  }

  #convolve(input: Float32Array): Int16Array {
    const samples = new Float32Array(this.#held.length + input.length);
    samples.set(this.#held);
    samples.set(input, this.#held.length);
    const output = new Int16Array(Math.ceil(((samples.length + 1) * this.#up) / this.#down));
    let count = 0;
    let at = 0;
    while (at + this.#taps <= samples.length) {
      const taps = this.#phases[this.#phase]!;
      let sum = 0;
      for (let tap = 0; tap < taps.length; tap++) sum += taps[tap]! * samples[at + tap]!;
      output[count++] = Math.max(-32_768, Math.min(32_767, Math.round(sum)));
      this.#phase += this.#down;
      at += Math.floor(this.#phase / this.#up);
      this.#phase %= this.#up;
    }
    // Steeply downwards `at` may pass the end: what is missing comes with the next input.
    this.#held = samples.slice(Math.min(at, samples.length));
    this.#produced += count;
    return output.subarray(0, count);
  }
}

/** The filter for an output that lies `offset` input samples after tap `half - 1`. */
function sincTaps(offset: number, half: number, cutoff: number): Float32Array {
  const taps = new Float32Array(2 * half);
  let sum = 0;
  for (let tap = 0; tap < taps.length; tap++) {
    const x = tap - (half - 1) - offset;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x);
    taps[tap] = sinc * kaiser(x / half);
    sum += taps[tap]!;
  }
  return taps.map((tap) => tap / sum); // every phase passes a constant unchanged
}

function kaiser(x: number): number {
  return Math.abs(x) > 1 ? 0 : bessel(BETA * Math.sqrt(1 - x * x)) / bessel(BETA);
}

/** The modified Bessel function of the first kind, order zero. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-12; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
