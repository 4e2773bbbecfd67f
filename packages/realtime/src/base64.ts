/**
 * Base64 (RFC 4648, section 4) between strings and bytes. Our own, because `Buffer` skips what is not base64 where a
 * client should be told, and because `Uint8Array.fromBase64` is not in every runtime that this package meets.
 */
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const INVALID = 255;
const values = new Uint8Array(128).fill(INVALID);
for (let value = 0; value < 64; value++) values[ALPHABET.charCodeAt(value)] = value;
const codes = Uint8Array.from(ALPHABET, (char) => char.charCodeAt(0));
const PADDING = 61;

/** The bytes of `text`, or `undefined` if it is not base64. Padding may be absent. */
export function decodeBase64(text: string): Uint8Array | undefined {
  let length = text.length;
  if (length % 4 === 0 && length > 0 && text.charCodeAt(length - 1) === PADDING) {
    length -= text.charCodeAt(length - 2) === PADDING ? 2 : 1;
  }
  const rest = length % 4;
  if (rest === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((length * 3) / 4));
  const whole = length - rest;
  let at = 0;
  // Any invalid character, or one beyond ASCII, leaves a bit above the sixth in `seen`.
  let seen = 0;
  for (let i = 0; i < whole; i += 4) {
    const a = text.charCodeAt(i);
    const b = text.charCodeAt(i + 1);
    const c = text.charCodeAt(i + 2);
    const d = text.charCodeAt(i + 3);
    if ((a | b | c | d) > 127) return undefined;
    const va = values[a]!;
    const vb = values[b]!;
    const vc = values[c]!;
    const vd = values[d]!;
    seen |= va | vb | vc | vd;
    bytes[at++] = (va << 2) | (vb >> 4);
    bytes[at++] = (vb << 4) | (vc >> 2);
    bytes[at++] = (vc << 6) | vd;
  }
  if (rest > 0) {
    const va = values[text.charCodeAt(whole)] ?? INVALID;
    const vb = values[text.charCodeAt(whole + 1)] ?? INVALID;
    const vc = rest === 3 ? (values[text.charCodeAt(whole + 2)] ?? INVALID) : 0;
    seen |= va | vb | vc;
    bytes[at++] = (va << 2) | (vb >> 4);
    if (rest === 3) bytes[at++] = (vb << 4) | (vc >> 2);
  }
  return seen > 63 ? undefined : bytes;
}

// Function.apply takes its arguments on the stack: some thousands are safe everywhere.
const PIECE = 4096;

/** The runtime's own encoder, where it has one (ECMAScript 2026): a second of speech takes it 9 us, ours 330. */
interface Encoding {
  readonly toBase64?: () => string;
}

/** `bytes` as base64, padded. */
export function encodeBase64(bytes: Uint8Array): string {
  return (bytes as Encoding).toBase64?.() ?? encodePortably(bytes);
}

/** {@link encodeBase64} of runtimes that have none. */
export function encodePortably(bytes: Uint8Array): string {
  const text = new Uint8Array(Math.ceil(bytes.length / 3) * 4);
  const whole = bytes.length - (bytes.length % 3);
  let at = 0;
  for (let i = 0; i < whole; i += 3) {
    const three = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!;
    text[at++] = codes[three >> 18]!;
    text[at++] = codes[(three >> 12) & 63]!;
    text[at++] = codes[(three >> 6) & 63]!;
    text[at++] = codes[three & 63]!;
  }
  if (whole < bytes.length) {
    const first = bytes[whole]!;
    const second = bytes[whole + 1] ?? 0;
    text[at++] = codes[first >> 2]!;
    text[at++] = codes[((first & 3) << 4) | (second >> 4)]!;
    text[at++] = whole + 1 < bytes.length ? codes[(second & 15) << 2]! : PADDING;
    text[at++] = PADDING;
  }
  let out = "";
  for (let i = 0; i < text.length; i += PIECE)
    out += String.fromCharCode.apply(null, text.subarray(i, i + PIECE) as unknown as number[]);
  return out;
}
