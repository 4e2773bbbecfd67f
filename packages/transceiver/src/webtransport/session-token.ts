/**
 * The token in the URL of a WebTransport session: sealed (AES-256-GCM) by the fleet's keys, so that whichever transceiver
 * the first packet reaches can take the session, and knows its settings. Good for one session per transceiver and 30 s.
 *
 *     base64url: rotation of the key (1) || nonce (12) || ciphertext of JSON || tag (16)
 */
import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";
import type { EventsOpener, SessionPatch } from "@sluice/realtime";
import type { KeyRing, RingKey } from "@sluice/routing";

/** What a token says. */
export interface SessionClaims {
  /** The call's name, `wt_…` or `moq_…`; spent with the token. */
  readonly id: string;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** What the session starts with, each over the one before. */
  readonly settings: readonly SessionPatch[];
  readonly model: string | undefined;
  readonly leadMs: number;
  /** Who opens the event stream; default the client. */
  readonly events?: EventsOpener | undefined;
  /** The page that asked, whose `Origin` alone may open the session; `undefined`: a server asked. */
  readonly origin: string | undefined;
  /** The token of a conversation that goes on over this session (docs/resumption.md). */
  readonly resume?: string | undefined;
  /** What is spoken inside the session, where it is not docs/webtransport.md. */
  readonly pipe?: "moq" | undefined;
}

/** What became of a token. */
export type TokenReading =
  | { readonly ok: true; readonly claims: SessionClaims }
  | { readonly ok: false; readonly reason: "malformed" | "expired" | "spent" };

/** Bytes of the longest settings, as JSON: they travel in a URL. */
export const MAX_TOKEN_SETTINGS = 16 * 1024;
/** How long a token is good for, seconds. */
export const TOKEN_SECONDS = 30;
const MAX_LENGTH = 28 * 1024;
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
/** Spent tokens remembered until they expire. */
const MAX_SPENT = 65_536;

/** Mints and opens tokens. */
export class SessionTokens {
  readonly #ring: KeyRing;
  readonly #random: (size: number) => Uint8Array;
  readonly #spent = new Map<string, number>();

  constructor(ring: KeyRing, random: (size: number) => Uint8Array) {
    this.#ring = ring;
    this.#random = random;
  }

  /** A token; `undefined` when the settings are too long for a URL. */
  mint(claims: SessionClaims): string | undefined {
    const json = Buffer.from(JSON.stringify(claims));
    if (json.length > MAX_TOKEN_SETTINGS + 1024) return undefined;
    const key = this.#ring.minting;
    const nonce = this.#random(NONCE_SIZE);
    const cipher = createCipheriv("aes-256-gcm", sealingKey(key), nonce);
    const sealed = Buffer.concat([cipher.update(json), cipher.final()]);
    return Buffer.concat([Uint8Array.of(key.rotation), nonce, sealed, cipher.getAuthTag()]).toString("base64url");
  }

  /** Opens a token, which uses it up. `now`: Unix seconds. */
  spend(now: number, token: string): TokenReading {
    const claims = this.#open(token);
    if (!claims) return { ok: false, reason: "malformed" };
    if (now > claims.expiresAt) return { ok: false, reason: "expired" };
    if (this.#spent.size >= MAX_SPENT) this.#forget(now);
    if (this.#spent.has(claims.id) || this.#spent.size >= MAX_SPENT) return { ok: false, reason: "spent" };
    this.#spent.set(claims.id, claims.expiresAt);
    return { ok: true, claims };
  }

  /** What a token says, used up or not, in its time or not; `undefined`: it is none of ours. */
  read(token: string): SessionClaims | undefined {
    return this.#open(token);
  }

  #open(token: string): SessionClaims | undefined {
    if (token.length > MAX_LENGTH) return undefined;
    const bytes = Buffer.from(token, "base64url");
    const key = bytes.length > 1 + NONCE_SIZE + TAG_SIZE ? this.#ring.keyAt(bytes[0]!) : undefined;
    if (!key) return undefined;
    const nonce = bytes.subarray(1, 1 + NONCE_SIZE);
    const decipher = createDecipheriv("aes-256-gcm", sealingKey(key), nonce, { authTagLength: TAG_SIZE });
    decipher.setAuthTag(bytes.subarray(-TAG_SIZE));
    try {
      const json = Buffer.concat([decipher.update(bytes.subarray(1 + NONCE_SIZE, -TAG_SIZE)), decipher.final()]);
      return JSON.parse(json.toString()) as SessionClaims;
    } catch {
      return undefined; // not sealed by us
    }
  }

  #forget(now: number): void {
    for (const [id, expiresAt] of this.#spent) if (now > expiresAt) this.#spent.delete(id);
  }
}

function sealingKey(key: RingKey): Uint8Array {
  return createHmac("sha256", key.quicKey).update("session token").digest();
}
