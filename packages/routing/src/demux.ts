/** Tells the protocols on one UDP port apart by their first bytes (RFC 7983, RFC 9443; RTCP by RFC 5761 section 4). */
import { looksLikeStun } from "./stun.ts";

/** What a datagram is by its looks. */
export type PacketKind = "stun" | "dtls" | "srtp" | "srtcp" | "quic";

/** Classifies a datagram; `undefined` for what is none of them or too short to be one. No TURN channels are in use here. */
export function classify(packet: Uint8Array): PacketKind | undefined {
  const first = packet[0];
  if (first === undefined) return undefined;
  if (first < 4) return looksLikeStun(packet) ? "stun" : undefined;
  if (first < 20) return undefined;
  if (first < 64) return packet.length >= DTLS_RECORD_HEADER_SIZE ? "dtls" : undefined;
  if (first < 128) return packet.length >= MIN_QUIC_SIZE ? "quic" : undefined;
  if (first < 192) {
    const second = packet[1]!;
    if (second >= 192 && second <= 223) return packet.length >= RTCP_HEADER_SIZE ? "srtcp" : undefined;
    return packet.length >= RTP_HEADER_SIZE ? "srtp" : undefined;
  }
  return packet.length >= MIN_QUIC_SIZE ? "quic" : undefined;
}

const DTLS_RECORD_HEADER_SIZE = 13;
const MIN_QUIC_SIZE = 7;
const RTCP_HEADER_SIZE = 8;
const RTP_HEADER_SIZE = 12;
