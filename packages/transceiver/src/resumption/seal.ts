/**
 * Resumption tokens, and records that only their holders' transceivers can read: sealed by AES-256-GCM with a key made of a
 * key of the fleet and of the token, which the store never sees. Pure.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { KeyRing, RingKey } from "@sluice/routing";

const RANDOM_SIZE = 24;
const MARK_SIZE = 8;
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
const VERSION = 1;
const HEAD_SIZE = 2 + NONCE_SIZE;

/** Bytes of the longest record. */
export const MAX_RECORD_SIZE = 2 * 1024 * 1024;

/** Mints and reads resumption tokens, and seals what they open. */
export class Seal {
  readonly #ring: KeyRing;
  readonly #random: (size: number) => Uint8Array;

  constructor(ring: KeyRing, random: (size: number) => Uint8Array) {
    this.#ring = ring;
    this.#random = random;
  }

  /** 192 random bits and a mark of the fleet's, by which guesses are known without asking anybody. */
  mintToken(): string {
    const random = this.#random(RANDOM_SIZE);
    return Buffer.concat([random, markOf(this.#ring.minting, random)]).toString("base64url");
  }

  /** Whether a transceiver of this fleet made the token. */
  isToken(token: string): boolean {
    if (token.length !== Math.ceil(((RANDOM_SIZE + MARK_SIZE) * 4) / 3)) return false;
    const bytes = Buffer.from(token, "base64url");
    if (bytes.length !== RANDOM_SIZE + MARK_SIZE) return false;
    const [random, mark] = [bytes.subarray(0, RANDOM_SIZE), bytes.subarray(RANDOM_SIZE)];
    return this.#ring.keys.some((key) => timingSafeEqual(markOf(key, random), mark));
  }

  /** The name under which a store keeps the token's record: it tells nothing of the token. */
  nameOf(token: string): string {
    return createHash("sha256").update("sluice conversation").update(token).digest("base64url");
  }

  /** Seals a record for `token`. */
  seal(token: string, plain: Uint8Array): Uint8Array {
    const key = this.#ring.minting;
    const nonce = this.#random(NONCE_SIZE);
    const cipher = createCipheriv("aes-256-gcm", sealingKey(key, token), nonce);
    const head = Buffer.concat([Uint8Array.of(VERSION, key.rotation), nonce]);
    cipher.setAAD(head);
    return Buffer.concat([head, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  /** Opens it; `undefined` for what was not sealed for this token by this fleet. */
  open(token: string, record: Uint8Array): Uint8Array | undefined {
    if (record.length < HEAD_SIZE + TAG_SIZE || record.length > MAX_RECORD_SIZE || record[0] !== VERSION)
      return undefined;
    const key = this.#ring.keyAt(record[1]!);
    if (!key) return undefined;
    const nonce = record.subarray(2, HEAD_SIZE);
    const decipher = createDecipheriv("aes-256-gcm", sealingKey(key, token), nonce, { authTagLength: TAG_SIZE });
    decipher.setAAD(record.subarray(0, HEAD_SIZE));
    decipher.setAuthTag(record.subarray(-TAG_SIZE));
    try {
      return Buffer.concat([decipher.update(record.subarray(HEAD_SIZE, -TAG_SIZE)), decipher.final()]);
    } catch {
      return undefined;
    }
  }
}

function markOf(key: RingKey, random: Uint8Array): Uint8Array {
  return createHmac("sha256", key.conversationKey).update("token").update(random).digest().subarray(0, MARK_SIZE);
}

function sealingKey(key: RingKey, token: string): Uint8Array {
  return createHmac("sha256", key.conversationKey).update("record").update(token).digest();
}
