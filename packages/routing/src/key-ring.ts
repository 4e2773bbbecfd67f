/**
 * The fleet's shared secrets. One key mints, every key reads, told apart by the rotation codepoint of the connection ID;
 * each key yields separate sub-keys (HKDF-SHA256, RFC 5869) so that no two uses share one.
 */
import { type Cipheriv, createCipheriv, createHmac, hkdfSync } from "node:crypto";
import { type CidCodec, cidRotation, createCidCodec, UNROUTABLE_ROTATION } from "./cid.ts";
import { decodeServerId, encodeServerId, SERVER_ID_SIZE, type ServerId } from "./server-id.ts";

/** Bytes of the nonce in a connection ID; with the server id it fills one AES block. */
export const NONCE_SIZE = 12;

/** Length in bytes of every connection ID of a fleet: the relay needs one fixed length for short headers. */
export const CID_LENGTH = 1 + SERVER_ID_SIZE + NONCE_SIZE;

/** Bytes of a key's secret. */
export const SECRET_SIZE = 32;

/** One secret and the codepoint that names it on the wire. */
export interface KeyConfig {
  /** Codepoint 0 to 6, unique in a ring. */
  readonly rotation: number;
  /** {@link SECRET_SIZE} random bytes. */
  readonly secret: Uint8Array;
}

/** A key with its derived uses. */
export interface RingKey {
  readonly rotation: number;
  readonly cid: CidCodec;
  /** AES-128 under the ufrag's MAC key. */
  readonly ufragMac: Cipheriv;
  readonly icePasswordKey: Uint8Array;
  readonly hopTagKey: Uint8Array;
  readonly registrationKey: Uint8Array;
  /** For what is QUIC's own: session tokens, certificates, stateless resets. */
  readonly quicKey: Uint8Array;
  /** For conversations that another transceiver may take over: resumption tokens, and the records that they open. */
  readonly conversationKey: Uint8Array;
}

/** The live keys of a fleet. */
export class KeyRing {
  /** The key that new tokens are made with. */
  readonly minting: RingKey;
  /** Every live key, the minting one first. */
  readonly keys: readonly RingKey[];
  readonly #byRotation: readonly (RingKey | undefined)[];

  constructor(configs: readonly KeyConfig[]) {
    const keys = configs.map(deriveKey);
    const [minting] = keys;
    if (!minting) throw new RangeError("a key ring needs at least one key");
    const byRotation: (RingKey | undefined)[] = new Array(UNROUTABLE_ROTATION + 1).fill(undefined);
    for (const key of keys) {
      if (byRotation[key.rotation]) throw new RangeError(`two keys have the rotation codepoint ${key.rotation}`);
      byRotation[key.rotation] = key;
    }
    this.minting = minting;
    this.keys = keys;
    this.#byRotation = byRotation;
  }

  /** The key that made `cid`, by its first octet; `undefined` when it is retired or unroutable. */
  keyOf(cid: Uint8Array): RingKey | undefined {
    const rotation = cidRotation(cid);
    return rotation === undefined ? undefined : this.#byRotation[rotation];
  }

  /** The key with this codepoint; `undefined` when none is live. */
  keyAt(rotation: number): RingKey | undefined {
    return this.#byRotation[rotation];
  }

  /** Makes a connection ID that routes to `serverId`; `nonce` has {@link NONCE_SIZE} bytes and is never reused. */
  mintCid(serverId: ServerId, nonce: Uint8Array): Uint8Array {
    return this.minting.cid.encode(encodeServerId(serverId), nonce);
  }

  /** The server that `cid` routes to. Any bytes decode to some id: only the directory tells whether it lives. */
  readCid(cid: Uint8Array): ServerId | undefined {
    const decoded = this.keyOf(cid)?.cid.decode(cid);
    return decoded && decodeServerId(decoded.serverId);
  }
}

/** Creates a ring; the first key mints, all read. */
export function createKeyRing(configs: readonly KeyConfig[]): KeyRing {
  return new KeyRing(configs);
}

/** Makes a fresh key; `random` is a cryptographic generator. */
export function generateKey(random: (size: number) => Uint8Array, rotation = 0): KeyConfig {
  return { rotation, secret: random(SECRET_SIZE) };
}

/** Writes a key as `slk<rotation>_<secret, base64url>`. */
export function formatKey(key: KeyConfig): string {
  return `slk${key.rotation}_${Buffer.from(key.secret).toString("base64url")}`;
}

/** Reads what {@link formatKey} writes. */
export function parseKey(text: string): KeyConfig | undefined {
  const match = /^slk([0-6])_([A-Za-z0-9_-]{43})$/.exec(text);
  if (!match) return undefined;
  const secret = Buffer.from(match[2]!, "base64url");
  return secret.length === SECRET_SIZE ? { rotation: Number(match[1]), secret } : undefined;
}

/** Writes keys one a line, the minting one first. */
export function formatKeys(keys: readonly KeyConfig[]): string {
  return keys.map((key) => `${formatKey(key)}\n`).join("");
}

/** Reads keys separated by commas or white space; `#` starts a comment. Throws on a bad or doubled key, naming no secret. */
export function parseKeys(text: string): KeyConfig[] {
  const words = text
    .split("\n")
    .flatMap((line) => line.replace(/#.*/, "").split(/[\s,]+/))
    .filter((word) => word !== "");
  const keys = words.map((word, index) => {
    const key = parseKey(word);
    if (!key) throw new KeyFormatError(`key ${index + 1} is not of the form slk<0 to 6>_<43 base64url characters>`);
    return key;
  });
  if (new Set(keys.map((key) => key.rotation)).size !== keys.length)
    throw new KeyFormatError("two keys have the same rotation codepoint");
  return keys;
}

/** A key list that cannot be read; the message holds nothing secret. */
export class KeyFormatError extends Error {
  override readonly name = "KeyFormatError";
}

/** The codepoint to give the next key, so that `keys` stay readable; `undefined` when all seven are in use. */
export function nextRotation(keys: readonly KeyConfig[]): number | undefined {
  const used = new Set(keys.map((key) => key.rotation));
  const newest = keys[0]?.rotation ?? UNROUTABLE_ROTATION - 1;
  for (let step = 1; step <= UNROUTABLE_ROTATION; step++) {
    const rotation = (newest + step) % UNROUTABLE_ROTATION;
    if (!used.has(rotation)) return rotation;
  }
  return undefined;
}

function deriveKey(config: KeyConfig): RingKey {
  const { rotation, secret } = config;
  if (secret.length !== SECRET_SIZE)
    throw new RangeError(`a key's secret has ${SECRET_SIZE} bytes, not ${secret.length}`);
  const subKey = (use: string, size: number) =>
    new Uint8Array(hkdfSync("sha256", secret, new Uint8Array(0), `sluice ${use}`, size));
  return {
    rotation,
    cid: createCidCodec({ rotation, serverIdSize: SERVER_ID_SIZE, nonceSize: NONCE_SIZE, key: subKey("cid", 16) }),
    ufragMac: createCipheriv("aes-128-ecb", subKey("ufrag mac", 16), null).setAutoPadding(false),
    icePasswordKey: subKey("ice password", 32),
    hopTagKey: subKey("hop tag", 32),
    registrationKey: subKey("registration", 32),
    quicKey: subKey("quic", 32),
    conversationKey: subKey("conversation", 32),
  };
}

/** HMAC-SHA256 of `data`. */
export function hmacSha256(key: Uint8Array, data: string | Uint8Array): Buffer {
  return createHmac("sha256", key).update(data).digest();
}
