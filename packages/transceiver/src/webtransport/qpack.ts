/**
 * QPACK (RFC 9204) without a dynamic table: our SETTINGS allow none, so that a peer's field sections refer to the static
 * table only and no section ever waits for another stream.
 */
import { decodeHuffman } from "./huffman.ts";
import { type HeaderField, staticTable } from "./qpack-static.ts";

export type { HeaderField } from "./qpack-static.ts";

/** Fields in one section, at most. */
const MAX_FIELDS = 128;

/** Writes a field section: static entries where they fit, literals without Huffman elsewhere. */
export function encodeFieldSection(fields: readonly HeaderField[]): Uint8Array {
  const out: number[] = [0, 0]; // required insert count and base (section 4.5.1)
  for (const { name, value } of fields) {
    const exact = staticTable.findIndex((entry) => entry.name === name && entry.value === value);
    const named = staticTable.findIndex((entry) => entry.name === name);
    if (exact >= 0) {
      pushInteger(out, 0b1100_0000, 6, exact); // indexed, static
      continue;
    }
    if (named >= 0)
      pushInteger(out, 0b0101_0000, 4, named); // literal with static name reference
    else {
      const bytes = new TextEncoder().encode(name);
      pushInteger(out, 0b0010_0000, 3, bytes.length);
      out.push(...bytes);
    }
    const bytes = new TextEncoder().encode(value);
    pushInteger(out, 0, 7, bytes.length);
    for (const byte of bytes) out.push(byte);
  }
  return Uint8Array.from(out);
}

/** Reads a field section; `undefined` when it is malformed or refers to a dynamic table. */
export function decodeFieldSection(bytes: Uint8Array): HeaderField[] | undefined {
  const required = readInteger(bytes, 0, 8);
  const base = required && readInteger(bytes, required.end, 7);
  if (!base || required?.value !== 0) return undefined;
  const fields: HeaderField[] = [];
  for (let at = base.end; at < bytes.length; ) {
    const field = readField(bytes, at);
    if (!field || fields.length >= MAX_FIELDS) return undefined;
    fields.push(field.value);
    at = field.end;
  }
  return fields;
}

interface Read<T> {
  readonly value: T;
  readonly end: number;
}

/** Section 4.5: one line; those of the dynamic table are refused. */
function readField(bytes: Uint8Array, at: number): Read<HeaderField> | undefined {
  const first = bytes[at]!;
  if (first & 0x80) {
    const index = first & 0x40 ? readInteger(bytes, at, 6) : undefined;
    const entry = index && staticTable[index.value];
    return entry && { value: entry, end: index.end };
  }
  const name = first & 0x40 ? readNameReference(bytes, at) : readLiteralName(bytes, at);
  const value = name && readString(bytes, name.end, 7);
  return value && { value: { name: name.value, value: value.value }, end: value.end };
}

function readNameReference(bytes: Uint8Array, at: number): Read<string> | undefined {
  const index = bytes[at]! & 0x10 ? readInteger(bytes, at, 4) : undefined;
  const entry = index && staticTable[index.value];
  return entry && { value: entry.name, end: index.end };
}

function readLiteralName(bytes: Uint8Array, at: number): Read<string> | undefined {
  if ((bytes[at]! & 0x20) === 0) return undefined; // post-base: dynamic
  const name = readString(bytes, at, 3);
  // RFC 9114, section 4.2: upper case makes a message malformed.
  return name && name.value !== "" && !/[A-Z]/.test(name.value) ? name : undefined;
}

/** Section 4.1.2: a flag for Huffman above a length of `prefix` bits. Octets become characters one by one. */
function readString(bytes: Uint8Array, at: number, prefix: number): Read<string> | undefined {
  const length = readInteger(bytes, at, prefix);
  if (!length || length.end + length.value > bytes.length) return undefined;
  const end = length.end + length.value;
  const raw = bytes.subarray(length.end, end);
  const octets = bytes[at]! & (1 << prefix) ? decodeHuffman(raw) : raw;
  if (!octets) return undefined;
  let value = "";
  for (const octet of octets) value += String.fromCharCode(octet);
  return { value, end };
}

/** Section 4.1.1 (RFC 7541, section 5.1): an integer behind `prefix` bits, bounded to what any length may be. */
function readInteger(bytes: Uint8Array, at: number, prefix: number): Read<number> | undefined {
  const first = bytes[at];
  if (first === undefined) return undefined;
  const limit = (1 << prefix) - 1;
  let value = first & limit;
  if (value < limit) return { value, end: at + 1 };
  for (let shift = 0, i = at + 1; shift <= 21; shift += 7, i++) {
    const byte = bytes[i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) << shift;
    if (byte < 0x80) return { value, end: i + 1 };
  }
  return undefined;
}

function pushInteger(out: number[], pattern: number, prefix: number, value: number): void {
  const limit = (1 << prefix) - 1;
  if (value < limit) {
    out.push(pattern | value);
    return;
  }
  out.push(pattern | limit);
  let rest = value - limit;
  for (; rest >= 0x80; rest >>= 7) out.push((rest & 0x7f) | 0x80);
  out.push(rest);
}
