/** ITU-T G.711: the two 8-bit companding laws of telephony, to and from 16-bit linear samples. */

/** Which of the two laws: North America and Japan, or the rest of the world. */
export type G711Law = "pcmu" | "pcma";

// Tables 2a and 2b of G.711, scaled to 16 bits.
const BIAS = 0x84;
const CLIP = 32635;

function decodeMu(code: number): number {
  const bits = ~code;
  const magnitude = ((((bits & 0x0f) << 3) + BIAS) << ((bits & 0x70) >> 4)) - BIAS;
  return bits & 0x80 ? -magnitude : magnitude;
}

function encodeMu(sample: number): number {
  const magnitude = Math.min(Math.abs(sample), CLIP) + BIAS;
  const exponent = 24 - Math.clz32(magnitude); // BIAS sets bit 7 at least
  const mantissa = (magnitude >> (exponent + 3)) & 0x0f;
  return ~((sample < 0 ? 0x80 : 0) | (exponent << 4) | mantissa) & 0xff;
}

function decodeA(code: number): number {
  const bits = code ^ 0x55; // even bits are inverted on the line
  const exponent = (bits & 0x70) >> 4;
  const mantissa = ((bits & 0x0f) << 4) + 8;
  const magnitude = exponent === 0 ? mantissa : (mantissa + 0x100) << (exponent - 1);
  return bits & 0x80 ? magnitude : -magnitude;
}

function encodeA(sample: number): number {
  const magnitude = (sample < 0 ? ~sample : sample) >> 4;
  const exponent = magnitude < 32 ? (magnitude >> 4 ? 1 : 0) : 28 - Math.clz32(magnitude);
  const mantissa = (exponent > 1 ? magnitude >> (exponent - 1) : magnitude) & 0x0f;
  return ((sample < 0 ? 0 : 0x80) | (exponent << 4) | mantissa) ^ 0x55;
}

const linear = {
  pcmu: Int16Array.from({ length: 256 }, (_, code) => decodeMu(code)),
  pcma: Int16Array.from({ length: 256 }, (_, code) => decodeA(code)),
};

/** Linear samples of G.711 codes, at the same rate. */
export function decodeG711(law: G711Law, codes: Uint8Array): Int16Array {
  const table = linear[law];
  const samples = new Int16Array(codes.length);
  for (let i = 0; i < codes.length; i++) samples[i] = table[codes[i]!]!;
  return samples;
}

/** G.711 codes of linear samples, at the same rate. */
export function encodeG711(law: G711Law, samples: Int16Array): Uint8Array {
  const encode = law === "pcmu" ? encodeMu : encodeA;
  const codes = new Uint8Array(samples.length);
  for (let i = 0; i < samples.length; i++) codes[i] = encode(samples[i]!);
  return codes;
}
