/**
 * QUIC-LB connection IDs (draft-ietf-quic-load-balancers-21): a server id and a nonce, in clear or sealed with AES.
 *
 *     octet 0: config rotation (3 bits) | length of the rest (5 bits)     octets 1..: server id || nonce, or their ciphertext
 */
import { createCipheriv, createDecipheriv } from "node:crypto";

/** Rotation codepoint of an ID that no load balancer may route (section 3.1). */
export const UNROUTABLE_ROTATION = 7;

/** Longest connection ID of QUIC versions 1 and 2. */
export const MAX_CID_LENGTH = 20;

const BLOCK_SIZE = 16;

/** One configuration of a load balancer and its servers (section 3). */
export interface CidConfig {
  /** Codepoint 0 to 6. */
  readonly rotation: number;
  /** Bytes, at least 1. */
  readonly serverIdSize: number;
  /** Bytes, at least 4; together with the server id at most 19. */
  readonly nonceSize: number;
  /** AES-128 key; without it server id and nonce travel in clear. */
  readonly key?: Uint8Array | undefined;
}

/** What a connection ID says. */
export interface DecodedCid {
  readonly serverId: Uint8Array;
  readonly nonce: Uint8Array;
}

/** Writes and reads the connection IDs of one configuration. */
export interface CidCodec {
  /** Length in bytes of every ID of this configuration. */
  readonly length: number;
  /** Seals server id and nonce; sizes must be the configured ones. */
  encode(serverId: Uint8Array, nonce: Uint8Array): Uint8Array;
  /** Opens an ID of this configuration; extra bytes at the end are ignored (section 3). */
  decode(cid: Uint8Array): DecodedCid | undefined;
}

/** The rotation codepoint in the first octet, `undefined` for an empty ID. */
export function cidRotation(cid: Uint8Array): number | undefined {
  return cid.length === 0 ? undefined : cid[0]! >> 5;
}

/** Creates the codec of `config`: in clear, single-pass (16 bytes) or four-pass, as the draft chooses by size. */
export function createCidCodec(config: CidConfig): CidCodec {
  const { rotation, serverIdSize, nonceSize, key } = config;
  const size = serverIdSize + nonceSize;
  if (!Number.isInteger(rotation) || rotation < 0 || rotation >= UNROUTABLE_ROTATION)
    throw new RangeError(`rotation codepoint must be 0 to 6: ${rotation}`);
  if (!(serverIdSize >= 1) || !(nonceSize >= 4) || size > MAX_CID_LENGTH - 1)
    throw new RangeError(`connection ID sizes out of range: server id ${serverIdSize}, nonce ${nonceSize}`);
  const seal = key === undefined ? CLEAR : size === BLOCK_SIZE ? createSinglePass(key) : createFourPass(key, size);
  const length = 1 + size;
  return {
    length,
    encode(serverId, nonce) {
      if (serverId.length !== serverIdSize || nonce.length !== nonceSize)
        throw new RangeError(`connection ID parts of ${serverId.length} and ${nonce.length} bytes`);
      const plain = new Uint8Array(size);
      plain.set(serverId);
      plain.set(nonce, serverIdSize);
      const cid = new Uint8Array(length);
      cid[0] = (rotation << 5) | size;
      cid.set(seal.encrypt(plain), 1);
      return cid;
    },
    decode(cid) {
      if (cid.length < length || cid[0]! >> 5 !== rotation) return undefined;
      const plain = seal.decrypt(cid.subarray(1, length));
      return { serverId: plain.subarray(0, serverIdSize), nonce: plain.subarray(serverIdSize, size) };
    },
  };
}

interface Seal {
  encrypt(plain: Uint8Array): Uint8Array;
  decrypt(sealed: Uint8Array): Uint8Array;
}

const CLEAR: Seal = { encrypt: (plain) => plain, decrypt: (sealed) => sealed };

/** Section 5.4.1: the whole body is one AES block. */
function createSinglePass(key: Uint8Array): Seal {
  // ECB keeps no state between blocks, so one cipher serves every packet.
  const cipher = createCipheriv("aes-128-ecb", key, null).setAutoPadding(false);
  const decipher = createDecipheriv("aes-128-ecb", key, null).setAutoPadding(false);
  return { encrypt: (plain) => cipher.update(plain), decrypt: (sealed) => decipher.update(sealed) };
}

/** Section 5.4.2: a four-pass Feistel network whose halves share the middle octet when the body's length is odd. */
function createFourPass(key: Uint8Array, size: number): Seal {
  const cipher = createCipheriv("aes-128-ecb", key, null).setAutoPadding(false);
  const half = Math.ceil(size / 2);
  const odd = size % 2 === 1;
  const block = new Uint8Array(BLOCK_SIZE);
  block[14] = size;

  /** XORs the encrypted expansion of `from` into `into`: one pass. */
  const mix = (into: Uint8Array, from: Uint8Array, pass: number, intoRight: boolean): void => {
    block.fill(0, 0, 14);
    block.set(from);
    block[15] = pass;
    const stream = cipher.update(block);
    for (let i = 0; i < half; i++) into[i]! ^= stream[i]!;
    if (odd && intoRight) into[0]! &= 0x0f;
    else if (odd) into[half - 1]! &= 0xf0;
  };
  const split = (body: Uint8Array): [Uint8Array, Uint8Array] => {
    const left = new Uint8Array(body.subarray(0, half)); // a Buffer's slice would be a view
    const right = new Uint8Array(body.subarray(size - half, size));
    if (odd) {
      left[half - 1]! &= 0xf0;
      right[0]! &= 0x0f;
    }
    return [left, right];
  };
  const join = (left: Uint8Array, right: Uint8Array): Uint8Array => {
    const body = new Uint8Array(size);
    body.set(left);
    for (let i = 0; i < half; i++) body[size - half + i]! |= right[i]!;
    return body;
  };
  return {
    encrypt(plain) {
      const [left, right] = split(plain);
      mix(right, left, 1, true);
      mix(left, right, 2, false);
      mix(right, left, 3, true);
      mix(left, right, 4, false);
      return join(left, right);
    },
    decrypt(sealed) {
      const [left, right] = split(sealed);
      mix(left, right, 4, false);
      mix(right, left, 3, true);
      mix(left, right, 2, false);
      mix(right, left, 1, true);
      return join(left, right);
    },
  };
}
