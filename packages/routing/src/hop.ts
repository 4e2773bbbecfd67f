/**
 * The header of a datagram between relay and transceiver, and between relays (docs/hop.md). It carries the client's real
 * address, because MESSAGE-INTEGRITY covers it, and because the way back then needs no state.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |0 0 0 0 1|6|T|U|  entry relay  |          client port          |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |              client address, 4 bytes, or 16 with 6            |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *     |                    tag, 4 bytes, only with T                  |
 *     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { IpAddress } from "./ip.ts";

/** Bytes of the longest hop header: IPv6 with a tag. */
export const MAX_HOP_HEADER_SIZE = 24;

/** Bytes of the optional tag. */
export const HOP_TAG_SIZE = 4;

/** The version that this codec speaks, in the upper five bits of the first byte: a value that RFC 9443 gives to nobody. */
const VERSION = 0b00001;
const IPV6 = 0b100;
const TAGGED = 0b010;
const UNVERIFIED = 0b001;

/** What the header says of the datagram behind it. */
export interface HopHeader {
  /** The client's numeric address: 4 or 16 bytes. */
  readonly address: IpAddress;
  readonly port: number;
  /** Towards the transceiver: the client's address was matched by SSRC or cache only; SRTP or STUN has yet to prove it. */
  readonly unverified: boolean;
  /**
   * Number, 1 to 255, of the relay that the client talks to, when that is not the sender or receiver of this hop; else 0.
   * It is the hop count too: what carries a number is never handed to another relay again.
   */
  readonly entryRelay: number;
}

/** A received hop datagram; all bytes are views into it. */
export interface HopPacket extends HopHeader {
  /** The client's own datagram. */
  readonly payload: Uint8Array;
}

/** Bytes that the header of a client with this address takes. */
export function hopHeaderSize(address: IpAddress, tagged: boolean): number {
  return 4 + address.length + (tagged ? HOP_TAG_SIZE : 0);
}

/** Writes header and payload as one datagram; `tagKey` signs both. */
export function encodeHop(header: HopHeader, payload: Uint8Array, tagKey?: Uint8Array): Uint8Array {
  const packet = Buffer.allocUnsafe(hopHeaderSize(header.address, tagKey !== undefined) + payload.length);
  const size = writeHopHeader(packet, header, tagKey !== undefined);
  packet.set(payload, size);
  if (tagKey) packet.set(tagOf(packet.subarray(0, size - HOP_TAG_SIZE), payload, tagKey), size - HOP_TAG_SIZE);
  return packet;
}

/** Writes an untagged header alone, to put before many datagrams of one client. */
export function encodeHopHeader(header: HopHeader): Uint8Array {
  const bytes = new Uint8Array(hopHeaderSize(header.address, false));
  writeHopHeader(bytes, header, false);
  return bytes;
}

/** Whether `packet` begins like a hop datagram of this version. */
export function looksLikeHop(packet: Uint8Array): boolean {
  return packet.length > 0 && packet[0]! >> 3 === VERSION;
}

/**
 * Reads a hop datagram. With `tagKeys` only a tag that one of them made is accepted; without, only untagged datagrams,
 * so that a mistaken configuration fails at once and on both sides.
 */
export function decodeHop(packet: Uint8Array, tagKeys?: readonly Uint8Array[]): HopPacket | undefined {
  if (packet.length < 8 || packet[0]! >> 3 !== VERSION) return undefined;
  const flags = packet[0]!;
  const addressEnd = 4 + (flags & IPV6 ? 16 : 4);
  const size = addressEnd + (flags & TAGGED ? HOP_TAG_SIZE : 0);
  const port = (packet[2]! << 8) | packet[3]!;
  if (packet.length <= size || port === 0 || ((flags & TAGGED) !== 0) !== (tagKeys !== undefined)) return undefined;
  const payload = packet.subarray(size);
  if (tagKeys) {
    const [head, tag] = [packet.subarray(0, addressEnd), packet.subarray(addressEnd, size)];
    if (!tagKeys.some((key) => timingSafeEqual(tag, tagOf(head, payload, key)))) return undefined;
  }
  return {
    address: packet.subarray(4, addressEnd),
    port,
    unverified: (flags & UNVERIFIED) !== 0,
    entryRelay: packet[1]!,
    payload,
  };
}

function writeHopHeader(packet: Uint8Array, header: HopHeader, tagged: boolean): number {
  const { address, port, unverified, entryRelay } = header;
  packet[0] =
    (VERSION << 3) | (address.length === 16 ? IPV6 : 0) | (tagged ? TAGGED : 0) | (unverified ? UNVERIFIED : 0);
  packet[1] = entryRelay;
  packet[2] = port >> 8;
  packet[3] = port;
  packet.set(address, 4);
  return hopHeaderSize(address, tagged);
}

function tagOf(head: Uint8Array, payload: Uint8Array, key: Uint8Array): Uint8Array {
  return createHmac("sha256", key).update(head).update(payload).digest().subarray(0, HOP_TAG_SIZE);
}
