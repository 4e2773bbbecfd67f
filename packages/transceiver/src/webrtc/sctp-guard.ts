/**
 * What stands in front of SCTP (RFC 9260 section 3): the peer is authentic by now, but it may still be hostile. werift
 * trusts every length in a packet; a zero one would keep it busy for ever.
 */

const COMMON_HEADER_SIZE = 12;
const CHUNK = {
  data: 0,
  init: 1,
  sack: 3,
  heartbeat: 4,
  heartbeatAck: 5,
  cookieEcho: 10,
  reconfig: 130,
  forwardTsn: 192,
};
/** Chunk types that exist (RFC 9260, RFC 6525, RFC 3758). */
const KNOWN = new Set([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192]);
const MAX_CHUNKS = 64;
/** TSNs that one SACK may cover with gaps; our window is far smaller. */
const MAX_GAP_TSNS = 8_192;

/** Streams that we accept data on: one is used. */
export const MAX_SCTP_STREAMS = 1_024;

/** Whether `packet` is well-formed: every chunk and parameter inside its bounds, and none unknown. */
export function isSctpSafe(packet: Uint8Array): boolean {
  if (packet.length < COMMON_HEADER_SIZE + 4) return false;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  let count = 0;
  for (let at = COMMON_HEADER_SIZE; at < packet.length; count++) {
    if (packet.length - at < 4 || count === MAX_CHUNKS) return false;
    const type = view.getUint8(at);
    const size = view.getUint16(at + 2);
    if (!KNOWN.has(type) || size < 4 || at + size > packet.length) return false;
    if (!isChunkSafe(view, type, at + 4, at + size)) return false;
    at += (size + 3) & ~3;
  }
  return true;
}

function isChunkSafe(view: DataView, type: number, start: number, end: number): boolean {
  const size = end - start;
  switch (type) {
    case CHUNK.data:
      return size > 12 && view.getUint16(start + 4) < MAX_SCTP_STREAMS;
    case CHUNK.init:
    case CHUNK.init + 1:
      return size >= 16 && areParametersSafe(view, start + 16, end);
    case CHUNK.sack:
      return size >= 12 && isSackSafe(view, start, end);
    case CHUNK.heartbeat:
    case CHUNK.heartbeatAck:
    case CHUNK.reconfig:
      return areParametersSafe(view, start, end);
    case CHUNK.forwardTsn:
      return size >= 4 && size % 4 === 0;
    default:
      return true;
  }
}

function isSackSafe(view: DataView, start: number, end: number): boolean {
  const gaps = view.getUint16(start + 8);
  const duplicates = view.getUint16(start + 10);
  if (12 + 4 * (gaps + duplicates) > end - start) return false;
  let covered = 0;
  for (let i = 0; i < gaps; i++) {
    const first = view.getUint16(start + 12 + 4 * i);
    const last = view.getUint16(start + 14 + 4 * i);
    covered += last - first + 1;
    if (last < first || covered > MAX_GAP_TSNS) return false;
  }
  return true;
}

function areParametersSafe(view: DataView, start: number, end: number): boolean {
  for (let at = start; at < end; ) {
    if (end - at < 4) return false;
    const size = view.getUint16(at + 2);
    if (size < 4 || at + size > end) return false;
    at += (size + 3) & ~3;
  }
  return true;
}
