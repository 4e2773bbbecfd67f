/** An SCTP packet: common header and chunks (RFC 9260 section 3), and the parameters inside chunks. */
import { crc32c } from "./crc32c.ts";

/** Bytes of the common header. */
export const COMMON_HEADER_SIZE = 12;
const CHUNK_HEADER_SIZE = 4;
const CHECKSUM_AT = 8;

/** Chunk types (RFC 9260 section 3.2, RFC 6525 section 3.1, RFC 3758 section 3.2). */
export const CHUNK = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  heartbeat: 4,
  heartbeatAck: 5,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  error: 9,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
  reconfig: 130,
  forwardTsn: 192,
} as const;

/** A chunk, or (with `flags` 0) nothing but its type and value. */
export interface Chunk {
  readonly type: number;
  readonly flags: number;
  readonly value: Uint8Array;
}

/** A packet; chunks are views into it. */
export interface SctpPacket {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly verificationTag: number;
  readonly chunks: readonly Chunk[];
}

/** A type, length, value triple. */
export interface Parameter {
  readonly type: number;
  readonly value: Uint8Array;
}

/** Parses a packet: its checksum is right and every chunk inside it; else `undefined`. */
export function decodeSctpPacket(packet: Uint8Array): SctpPacket | undefined {
  if (packet.length < COMMON_HEADER_SIZE + CHUNK_HEADER_SIZE) return undefined;
  const view = viewOf(packet);
  if (view.getUint32(CHECKSUM_AT, true) !== crc32c(packet, CHECKSUM_AT)) return undefined;
  const chunks: Chunk[] = [];
  for (let at = COMMON_HEADER_SIZE; at < packet.length; ) {
    if (packet.length - at < CHUNK_HEADER_SIZE) return undefined;
    const size = view.getUint16(at + 2);
    if (size < CHUNK_HEADER_SIZE || at + size > packet.length) return undefined;
    const value = packet.subarray(at + CHUNK_HEADER_SIZE, at + size);
    chunks.push({ type: packet[at]!, flags: packet[at + 1]!, value });
    at += padded(size);
  }
  return {
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    verificationTag: view.getUint32(4),
    chunks,
  };
}

/** Formats a packet out of chunks that {@link encodeChunk} has made. */
export function encodeSctpPacket(
  header: Pick<SctpPacket, "sourcePort" | "destinationPort" | "verificationTag">,
  chunks: readonly Uint8Array[],
): Uint8Array {
  const packet = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.length, COMMON_HEADER_SIZE));
  const view = viewOf(packet);
  view.setUint16(0, header.sourcePort);
  view.setUint16(2, header.destinationPort);
  view.setUint32(4, header.verificationTag);
  let at = COMMON_HEADER_SIZE;
  for (const chunk of chunks) {
    packet.set(chunk, at);
    at += chunk.length;
  }
  view.setUint32(CHECKSUM_AT, crc32c(packet, CHECKSUM_AT), true);
  return packet;
}

/** A chunk of `parts`, with its padding. */
export function encodeChunk(type: number, flags: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, part) => sum + part.length, CHUNK_HEADER_SIZE);
  const chunk = new Uint8Array(padded(size));
  chunk[0] = type;
  chunk[1] = flags;
  viewOf(chunk).setUint16(2, size);
  let at = CHUNK_HEADER_SIZE;
  for (const part of parts) {
    chunk.set(part, at);
    at += part.length;
  }
  return chunk;
}

/** Parses the parameters that `bytes` consist of; `undefined` when one is not inside. */
export function decodeParameters(bytes: Uint8Array): Parameter[] | undefined {
  const parameters: Parameter[] = [];
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length - at < 4) return undefined;
    const size = view.getUint16(at + 2);
    if (size < 4 || at + size > bytes.length) return undefined;
    parameters.push({ type: view.getUint16(at), value: bytes.subarray(at + 4, at + size) });
    at += padded(size);
  }
  return parameters;
}

/** Formats a parameter, or an error cause, which looks the same; padded. */
export function encodeParameter(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(padded(4 + value.length));
  const view = viewOf(bytes);
  view.setUint16(0, type);
  view.setUint16(2, 4 + value.length);
  bytes.set(value, 4);
  return bytes;
}

/** A view of the bytes of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** `size` up to a whole number of words. */
export function padded(size: number): number {
  return (size + 3) & ~3;
}
