/**
 * Redundant audio (RFC 2198): the payload of one RTP packet carries earlier frames again before its own.
 *
 *     |1| block PT (7) | timestamp offset (14) | length (10) |  ...  |0| block PT (7) | blocks, oldest first ...
 */

/** An earlier frame; `timestampOffset` is how far before the packet's own timestamp it began. */
export interface RedBlock {
  readonly payloadType: number;
  readonly timestampOffset: number;
  readonly payload: Uint8Array;
}

/** The payload of one RED packet. */
export interface RedPayload {
  /** Oldest first, as sent. */
  readonly redundant: readonly RedBlock[];
  readonly primary: { readonly payloadType: number; readonly payload: Uint8Array };
}

/** Most that a 14-bit timestamp offset can say: 341 ms of Opus. */
export const RED_MAX_TIMESTAMP_OFFSET = 0x3fff;

/** Most that a 10-bit block length can say. */
export const RED_MAX_BLOCK_SIZE = 0x3ff;

/** More earlier frames than a sender of voice carries; a packet with more is refused. */
const MAX_REDUNDANT_BLOCKS = 9;

/** Reads a RED payload; `undefined` when malformed. */
export function decodeRed(payload: Uint8Array): RedPayload | undefined {
  const headers: { payloadType: number; timestampOffset: number; size: number }[] = [];
  let at = 0;
  for (; at < payload.length && payload[at]! >= 0x80; at += 4) {
    if (at + 4 > payload.length || headers.length === MAX_REDUNDANT_BLOCKS) return undefined;
    headers.push({
      payloadType: payload[at]! & 0x7f,
      timestampOffset: (payload[at + 1]! << 6) | (payload[at + 2]! >> 2),
      size: ((payload[at + 2]! & 0x03) << 8) | payload[at + 3]!,
    });
  }
  if (at === payload.length) return undefined;
  const payloadType = payload[at]!;
  at += 1;
  const redundant: RedBlock[] = [];
  for (const { payloadType, timestampOffset, size } of headers) {
    if (at + size > payload.length) return undefined;
    redundant.push({ payloadType, timestampOffset, payload: payload.subarray(at, at + size) });
    at += size;
  }
  return { redundant, primary: { payloadType, payload: payload.subarray(at) } };
}

/** Writes a RED payload; offsets and sizes must fit ({@link RED_MAX_TIMESTAMP_OFFSET}, {@link RED_MAX_BLOCK_SIZE}). */
export function encodeRed({ redundant, primary }: RedPayload): Buffer {
  let size = redundant.length * 4 + 1 + primary.payload.length;
  for (const block of redundant) size += block.payload.length;
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { payloadType, timestampOffset, payload } of redundant) {
    bytes.writeUInt32BE((((0x80 | payloadType) << 24) | (timestampOffset << 10) | payload.length) >>> 0, at);
    at += 4;
  }
  bytes[at++] = primary.payloadType;
  for (const { payload } of redundant) {
    bytes.set(payload, at);
    at += payload.length;
  }
  bytes.set(primary.payload, at);
  return bytes;
}
