/** RTP packets (RFC 3550 section 5.1), with their header extensions skipped (RFC 8285), and 16- and 32-bit unwrapping. */

const HEADER_SIZE = 12;

/** One RTP packet without what Sluice has no use for: contributing sources, header extensions, padding. */
export interface RtpPacket {
  readonly marker: boolean;
  readonly payloadType: number;
  readonly sequenceNumber: number;
  readonly timestamp: number;
  readonly ssrc: number;
  /** A view of the packet's own bytes. */
  readonly payload: Uint8Array;
}

/** Size of the header with sources and extensions, `undefined` when `packet` is not RTP (RFC 3550 sections 5.1, 5.3.1). */
export function rtpHeaderSize(packet: Uint8Array): number | undefined {
  if (packet.length < HEADER_SIZE || packet[0]! >> 6 !== 2) return undefined;
  let size = HEADER_SIZE + (packet[0]! & 0x0f) * 4;
  if (packet[0]! & 0x10) {
    if (packet.length < size + 4) return undefined;
    size += 4 + ((packet[size + 2]! << 8) | packet[size + 3]!) * 4;
  }
  return packet.length < size ? undefined : size;
}

/** Reads an RTP packet; `undefined` when malformed. */
export function decodeRtp(packet: Uint8Array): RtpPacket | undefined {
  const headerSize = rtpHeaderSize(packet);
  if (headerSize === undefined) return undefined;
  let end = packet.length;
  if (packet[0]! & 0x20) {
    const padding = packet[end - 1]!;
    if (padding === 0 || padding > end - headerSize) return undefined;
    end -= padding;
  }
  return {
    marker: packet[1]! >= 0x80,
    payloadType: packet[1]! & 0x7f,
    sequenceNumber: (packet[2]! << 8) | packet[3]!,
    timestamp: readUint32(packet, 4),
    ssrc: readUint32(packet, 8),
    payload: packet.subarray(headerSize, end),
  };
}

/** Writes an RTP packet with the shortest header. */
export function encodeRtp(packet: RtpPacket): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_SIZE + packet.payload.length);
  bytes[0] = 0x80;
  bytes[1] = (packet.marker ? 0x80 : 0) | packet.payloadType;
  bytes.writeUInt16BE(packet.sequenceNumber, 2);
  bytes.writeUInt32BE(packet.timestamp, 4);
  bytes.writeUInt32BE(packet.ssrc, 8);
  bytes.set(packet.payload, HEADER_SIZE);
  return bytes;
}

/** The sequence number nearest to `reference` (already unwrapped) whose low 16 bits are `sequenceNumber`. */
export function unwrapSequenceNumber(reference: number, sequenceNumber: number): number {
  return reference + (((sequenceNumber - reference) << 16) >> 16);
}

/** The timestamp nearest to `reference` (already unwrapped) whose low 32 bits are `timestamp`. */
export function unwrapTimestamp(reference: number, timestamp: number): number {
  return reference + ((timestamp - reference) | 0);
}

function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
