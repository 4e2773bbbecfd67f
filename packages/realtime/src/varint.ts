/** QUIC's variable-length integers (RFC 9000, section 16): the two highest bits say whether it has 1, 2, 4 or 8 bytes. */

/** A decoded integer and where the bytes after it begin. */
export interface Varint {
  /** Exact up to 2^53 - 1; above, as near as a number comes. */
  readonly value: number;
  readonly end: number;
}

/** Bytes that `value` takes. */
export function varintSize(value: number): 1 | 2 | 4 | 8 {
  if (value < 0x40) return 1;
  if (value < 0x4000) return 2;
  return value < 0x40000000 ? 4 : 8;
}

/** Writes `value`, an integer from 0 to 2^53 - 1, at `at`; returns where the next byte goes. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not a variable-length integer: ${value}`);
  const size = varintSize(value);
  let rest = value;
  for (let i = at + size - 1; i >= at; i--) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  bytes[at]! |= PREFIX[size];
  return at + size;
}

/** `value`, an integer from 0 to 2^53 - 1, in as few bytes as it takes. */
export function encodeVarint(value: number): Uint8Array {
  const bytes = new Uint8Array(varintSize(value));
  writeVarint(bytes, 0, value);
  return bytes;
}

/** Reads the integer at `at`; `undefined` when `bytes` ends before it does. */
export function decodeVarint(bytes: Uint8Array, at = 0): Varint | undefined {
  const first = bytes[at];
  if (first === undefined) return undefined;
  const end = at + (1 << (first >> 6));
  if (end > bytes.length) return undefined;
  let value = first & 0x3f;
  for (let i = at + 1; i < end; i++) value = value * 256 + bytes[i]!;
  return { value, end };
}

const PREFIX = { 1: 0x00, 2: 0x40, 4: 0x80, 8: 0xc0 } as const;
