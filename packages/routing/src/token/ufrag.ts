/**
 * The ICE ufrag that routes a call: a QUIC-LB connection ID whose nonce carries an expiry, and a MAC, in base64 (whose
 * alphabet is RFC 8839's ice-char): 27 bytes, 36 characters.
 *
 *     connection ID (17): octet 0 || AES(server id (4) || expiry, unix seconds (4) || random (8))     MAC (10)
 */
import { timingSafeEqual } from "node:crypto";
import { CID_LENGTH, hmacSha256, type KeyRing, NONCE_SIZE, type RingKey } from "../key-ring.ts";
import { decodeServerId, encodeServerId, type ServerId } from "../server-id.ts";

/** Bytes of the truncated MAC. */
export const UFRAG_MAC_SIZE = 10;

/** Characters of every ufrag. */
export const UFRAG_LENGTH = ((CID_LENGTH + UFRAG_MAC_SIZE) / 3) * 4;

const PASSWORD_SIZE = 18; // 144 bits, 24 ice-chars without padding

/** What a new ufrag says. */
export interface UfragOptions {
  readonly serverId: ServerId;
  /** Unix seconds; after it no packet with this token is accepted, so it bounds the length of the call. */
  readonly expiresAt: number;
  /** Cryptographic generator of random bytes. */
  readonly random: (size: number) => Uint8Array;
}

/** A ufrag that this fleet minted, or why it counts as none. */
export type UfragReading =
  | { readonly ok: true; readonly serverId: ServerId; readonly expiresAt: number; readonly rotation: number }
  | { readonly ok: false; readonly reason: "malformed" | "unknownKey" | "forged" | "expired" };

/** Mints the ufrag of a call that `serverId` answers. */
export function mintUfrag(ring: KeyRing, { serverId, expiresAt, random }: UfragOptions): string {
  if (!Number.isInteger(expiresAt) || expiresAt < 0 || expiresAt > 0xffffffff)
    throw new RangeError(`expiry is not a time in unix seconds: ${expiresAt}`);
  const nonce = new Uint8Array(NONCE_SIZE);
  nonce.set(Uint8Array.of(expiresAt >>> 24, expiresAt >>> 16, expiresAt >>> 8, expiresAt));
  nonce.set(random(NONCE_SIZE - 4), 4);
  const cid = ring.minting.cid.encode(encodeServerId(serverId), nonce);
  return Buffer.concat([cid, macOf(ring.minting, cid)]).toString("base64");
}

/** Reads a ufrag, checking its MAC before its meaning; `nowSeconds` is unix time. */
export function readUfrag(ring: KeyRing, ufrag: string, nowSeconds: number): UfragReading {
  if (ufrag.length !== UFRAG_LENGTH) return MALFORMED;
  const token = Buffer.from(ufrag, "base64");
  // Buffer skips foreign characters, which would give one token many spellings.
  if (token.length !== CID_LENGTH + UFRAG_MAC_SIZE || !ICE_CHARS.test(ufrag)) return MALFORMED;
  const cid = token.subarray(0, CID_LENGTH);
  if ((cid[0]! & 0x1f) !== CID_LENGTH - 1) return MALFORMED;
  const key = ring.keyOf(cid);
  if (!key) return { ok: false, reason: "unknownKey" };
  if (!timingSafeEqual(token.subarray(CID_LENGTH), macOf(key, cid))) return { ok: false, reason: "forged" };
  const decoded = key.cid.decode(cid);
  const serverId = decoded && decodeServerId(decoded.serverId);
  if (serverId === undefined) return MALFORMED;
  const [a, b, c, d] = decoded!.nonce;
  const expiresAt = ((a! << 24) | (b! << 16) | (c! << 8) | d!) >>> 0;
  if (nowSeconds > expiresAt) return { ok: false, reason: "expired" };
  return { ok: true, serverId, expiresAt, rotation: key.rotation };
}

/** The ICE password that belongs to `ufrag`, 24 ice-chars. Throws on a ufrag of no live key: read it first. */
export function icePassword(ring: KeyRing, ufrag: string): string {
  const key = ring.keyOf(Buffer.from(ufrag.slice(0, 4), "base64"));
  if (!key) throw new RangeError("no live key minted this ufrag");
  return hmacSha256(key.icePasswordKey, ufrag).subarray(0, PASSWORD_SIZE).toString("base64");
}

const MALFORMED: UfragReading = { ok: false, reason: "malformed" };
const ICE_CHARS = /^[A-Za-z0-9+/]+$/;

/**
 * One AES block is a MAC of messages of exactly one block. Octet 0 needs none: its rotation selects the key and its
 * length bits have one valid value.
 */
function macOf(key: RingKey, cid: Uint8Array): Uint8Array {
  return key.ufragMac.update(cid.subarray(1)).subarray(0, UFRAG_MAC_SIZE);
}
