/** The version-independent and the routable part of QUIC headers (RFC 8999, RFC 9000 section 17, RFC 9369). */
import { MAX_CID_LENGTH } from "./cid.ts";

/** QUIC version 1 (RFC 9000). */
export const QUIC_V1 = 0x00000001;

/** QUIC version 2 (RFC 9369). */
export const QUIC_V2 = 0x6b3343cf;

/** Packet types of a long header, in the order of version 1's codes. */
export type QuicLongType = "initial" | "zeroRtt" | "handshake" | "retry";

/** What a relay may know of a QUIC packet. The IDs are views into the packet. */
export type QuicHeader =
  | {
      readonly form: "long";
      readonly version: number;
      readonly type: QuicLongType;
      readonly destinationCid: Uint8Array;
      readonly sourceCid: Uint8Array;
    }
  | { readonly form: "short"; readonly destinationCid: Uint8Array };

/**
 * Parses the header of the first QUIC packet in `packet`. Short headers do not say how long their ID is: it has
 * `cidLength` bytes. Versions other than 1 and 2, version negotiation among them, are not routed: `undefined`.
 */
export function parseQuicHeader(packet: Uint8Array, cidLength: number): QuicHeader | undefined {
  const first = packet[0];
  if (first === undefined || (first & 0x40) === 0) return undefined; // the fixed bit (RFC 9000 section 17)
  if ((first & 0x80) === 0) {
    // Section 10.3: nothing shorter than 21 bytes can be a packet, not even a stateless reset.
    if (packet.length < 1 + cidLength || packet.length < 21) return undefined;
    return { form: "short", destinationCid: packet.subarray(1, 1 + cidLength) };
  }
  if (packet.length < 7) return undefined;
  const version = ((packet[1]! << 24) | (packet[2]! << 16) | (packet[3]! << 8) | packet[4]!) >>> 0;
  if (version !== QUIC_V1 && version !== QUIC_V2) return undefined;
  const code = (first >> 4) & 3;
  // Version 2 shifts the codes by one (RFC 9369 section 3.2).
  const type = LONG_TYPES[version === QUIC_V1 ? code : (code + 3) & 3]!;
  const destinationEnd = 6 + packet[5]!;
  if (packet[5]! > MAX_CID_LENGTH || destinationEnd >= packet.length) return undefined;
  const sourceStart = destinationEnd + 1;
  const sourceEnd = sourceStart + packet[destinationEnd]!;
  if (packet[destinationEnd]! > MAX_CID_LENGTH || sourceEnd > packet.length) return undefined;
  return {
    form: "long",
    version,
    type,
    destinationCid: packet.subarray(6, destinationEnd),
    sourceCid: packet.subarray(sourceStart, sourceEnd),
  };
}

const LONG_TYPES = ["initial", "zeroRtt", "handshake", "retry"] as const;
