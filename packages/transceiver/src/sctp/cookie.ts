/** The state cookie of an INIT ACK (RFC 9260 section 5.1.3): what COOKIE ECHO begins an association with, sealed. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Milli } from "@sluice/conversation";
import type { Init } from "./chunks.ts";
import { viewOf } from "./packet.ts";

/** Valid.Cookie.Life (RFC 9260 section 16). */
const LIFETIME_MS = 60_000;
const BODY_SIZE = 36;
const SEAL_SIZE = 32;

/** What a cookie holds. */
export interface CookieState {
  /** When it was sealed; whole milliseconds, modulo 2^32. */
  readonly sealedAt: Milli;
  /** Our tag in the INIT ACK. */
  readonly localTag: number;
  /** Tags of the association that there was when INIT came (RFC 9260 section 5.2.2); 0: none. */
  readonly tieTags: readonly [local: number, peer: number];
  readonly peer: Init;
}

/** Seals a cookie with `key`. */
export function sealCookie(
  key: Uint8Array,
  now: Milli,
  { localTag, tieTags, peer }: Omit<CookieState, "sealedAt">,
): Uint8Array {
  const cookie = new Uint8Array(BODY_SIZE + SEAL_SIZE);
  const view = viewOf(cookie);
  const words = [Math.floor(now), localTag, ...tieTags, peer.tag, peer.initialTsn, peer.receiveWindow];
  words.forEach((word, i) => {
    view.setUint32(4 * i, word);
  });
  view.setUint16(28, peer.outboundStreams);
  view.setUint16(30, peer.inboundStreams);
  view.setUint8(32, (peer.forwardTsn ? 1 : 0) | (peer.reconfig ? 2 : 0));
  cookie.set(sealOf(key, cookie), BODY_SIZE);
  return cookie;
}

/** Opens a cookie; `undefined`: it is not ours; `"stale"`: it is too old. */
export function openCookie(key: Uint8Array, now: Milli, cookie: Uint8Array): CookieState | "stale" | undefined {
  if (cookie.length !== BODY_SIZE + SEAL_SIZE) return undefined;
  if (!timingSafeEqual(cookie.subarray(BODY_SIZE), sealOf(key, cookie))) return undefined;
  const view = viewOf(cookie);
  if ((Math.floor(now) - view.getUint32(0)) >>> 0 > LIFETIME_MS) return "stale";
  return {
    sealedAt: view.getUint32(0),
    localTag: view.getUint32(4),
    tieTags: [view.getUint32(8), view.getUint32(12)],
    peer: {
      tag: view.getUint32(16),
      initialTsn: view.getUint32(20),
      receiveWindow: view.getUint32(24),
      outboundStreams: view.getUint16(28),
      inboundStreams: view.getUint16(30),
      forwardTsn: (view.getUint8(32) & 1) !== 0,
      reconfig: (view.getUint8(32) & 2) !== 0,
    },
  };
}

function sealOf(key: Uint8Array, cookie: Uint8Array): Uint8Array {
  return createHmac("sha256", key).update(cookie.subarray(0, BODY_SIZE)).digest();
}
