/** What a person hears in a recording, as numbers: where a voice begins, and whether and where words come back. */

/** Where `needle` lies in a recording, and how much alike the two are there: 1 is the same up to loudness, 0 is not at all. */
export interface Found {
  /** Index of the needle's first value in the haystack. */
  readonly lag: number;
  readonly score: number;
}

/** The place in `haystack` that resembles `needle` most (Pearson's correlation at every lag, by FFT); whole inside only. */
export function findIn(haystack: ArrayLike<number>, needle: ArrayLike<number>): Found {
  const lags = haystack.length - needle.length + 1;
  if (needle.length === 0 || lags <= 0) return { lag: 0, score: 0 };
  const centred = centre(needle);
  const needleEnergy = centred.reduce((sum, value) => sum + value * value, 0);
  const products = crossCorrelate(haystack, centred);
  let best: Found = { lag: 0, score: 0 };
  let [sum, squares] = [0, 0];
  for (let at = 0; at < needle.length - 1; at++) {
    sum += haystack[at]!;
    squares += haystack[at]! ** 2;
  }
  // Energy below this is rounding of the sums, not sound.
  const floor = Number.EPSILON * 1e3 * needle.length * peakOf(haystack) ** 2;
  for (let lag = 0; lag < lags; lag++) {
    const entering = haystack[lag + needle.length - 1]!;
    sum += entering;
    squares += entering ** 2;
    const energy = (squares - sum ** 2 / needle.length) * needleEnergy;
    const score = energy > floor * needleEnergy && needleEnergy > 0 ? products[lag]! / Math.sqrt(energy) : 0;
    if (score > best.score) best = { lag, score };
    sum -= haystack[lag]!;
    squares -= haystack[lag]! ** 2;
  }
  return best;
}

/** The loudness over time: root mean square of each window, of full scale. */
export function envelope(pcm: Int16Array, sampleRate: number, windowMs = 10): Float64Array {
  const size = Math.max(1, Math.round((sampleRate * windowMs) / 1000));
  return Float64Array.from({ length: Math.floor(pcm.length / size) }, (_, window) => {
    let squares = 0;
    for (let at = window * size; at < (window + 1) * size; at++) squares += (pcm[at]! / 32_768) ** 2;
    return Math.sqrt(squares / size);
  });
}

/** Settings of {@link voicedSpans}. */
export interface SpanOptions {
  readonly sampleRate: number;
  /** Loudness from which a window counts as sound, of full scale; default 0.01 (-40 dB). */
  readonly threshold?: number;
  /** Pauses up to this long belong to a span, in milliseconds; default 200. */
  readonly joinMs?: number;
  /** Shorter spans are clicks and are left out, in milliseconds; default 20. */
  readonly shortestMs?: number;
}

/** A stretch of sound in a recording. */
export interface Span {
  readonly startMs: number;
  readonly endMs: number;
}

/** Where there is sound, to 2 ms. */
export function voicedSpans(pcm: Int16Array, options: SpanOptions): Span[] {
  const { sampleRate, threshold = 0.01, joinMs = 200, shortestMs = 20 } = options;
  const windowMs = 2;
  const spans: { startMs: number; endMs: number }[] = [];
  for (const [window, level] of envelope(pcm, sampleRate, windowMs).entries()) {
    if (level < threshold) continue;
    const startMs = window * windowMs;
    const last = spans.at(-1);
    if (last && startMs - last.endMs <= joinMs) last.endMs = startMs + windowMs;
    else spans.push({ startMs, endMs: startMs + windowMs });
  }
  return spans.filter(({ startMs, endMs }) => endMs - startMs >= shortestMs);
}

/** When the first sound at or after `fromMs` begins, in milliseconds; `undefined` when all is quiet. */
export function onsetMs(pcm: Int16Array, options: SpanOptions, fromMs = 0): number | undefined {
  const span = voicedSpans(pcm, options).find(({ endMs }) => endMs > fromMs);
  return span && Math.max(fromMs, span.startMs);
}

function centre(values: ArrayLike<number>): Float64Array {
  const copy = Float64Array.from(values);
  const mean = copy.reduce((sum, value) => sum + value, 0) / copy.length;
  return copy.map((value) => value - mean);
}

function peakOf(values: ArrayLike<number>): number {
  let peak = 0;
  for (let at = 0; at < values.length; at++) peak = Math.max(peak, Math.abs(values[at]!));
  return peak;
}

/** Sum over i of haystack[lag + i] * needle[i] for every lag at which the needle is whole inside. */
function crossCorrelate(haystack: ArrayLike<number>, needle: ArrayLike<number>): Float64Array {
  // What wraps around are the lags beyond, which nobody asks for: the haystack's length is enough.
  const size = 2 ** Math.ceil(Math.log2(haystack.length));
  // Two real signals in one complex transform: the haystack as real part, the needle as imaginary part.
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  re.set(haystack);
  im.set(needle);
  transform(re, im);
  const productRe = new Float64Array(size);
  const productIm = new Float64Array(size);
  for (let k = 0; k < size; k++) {
    const m = (size - k) & (size - 1);
    const hRe = (re[k]! + re[m]!) / 2;
    const hIm = (im[k]! - im[m]!) / 2;
    const nRe = (im[k]! + im[m]!) / 2;
    const nIm = (re[m]! - re[k]!) / 2;
    productRe[k] = hRe * nRe + hIm * nIm;
    productIm[k] = -(hIm * nRe - hRe * nIm); // conjugated, so that a forward transform inverts it
  }
  transform(productRe, productIm);
  for (let at = 0; at < size; at++) productRe[at] = productRe[at]! / size;
  return productRe;
}

/** Sines and cosines of the fractions of a turn, for transforms of up to this size; grows by what is asked for. */
let turn = { size: 0, cos: new Float64Array(0), sin: new Float64Array(0) };

// By table, not by repeated rotation: that loses six digits over a million points.
function turnOf(size: number): typeof turn {
  if (turn.size < size) {
    const angle = (2 * Math.PI) / size;
    turn = {
      size,
      cos: Float64Array.from({ length: size / 2 }, (_, k) => Math.cos(angle * k)),
      sin: Float64Array.from({ length: size / 2 }, (_, k) => -Math.sin(angle * k)),
    };
  }
  return turn;
}

/** The discrete Fourier transform in place, radix 2. */
function transform(re: Float64Array, im: Float64Array): void {
  const size = re.length;
  for (let at = 1, reversed = 0; at < size; at++) {
    let bit = size >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed ^= bit;
    if (at >= reversed) continue;
    const [atRe, atIm] = [re[at]!, im[at]!];
    re[at] = re[reversed]!;
    im[at] = im[reversed]!;
    re[reversed] = atRe;
    im[reversed] = atIm;
  }
  const { size: fractions, cos, sin } = turnOf(size);
  for (let span = 2; span <= size; span *= 2) {
    const half = span / 2;
    const step = fractions / span;
    for (let start = 0; start < size; start += span) {
      for (let k = 0, low = start, high = start + half; k < half; k++, low++, high++) {
        const c = cos[k * step]!;
        const s = sin[k * step]!;
        const tRe = re[high]! * c - im[high]! * s;
        const tIm = re[high]! * s + im[high]! * c;
        re[high] = re[low]! - tRe;
        im[high] = im[low]! - tIm;
        re[low] = re[low]! + tRe;
        im[low] = im[low]! + tIm;
      }
    }
  }
}
