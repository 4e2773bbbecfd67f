/**
 * P-256 keys out of a secret, and deterministic ECDSA (RFC 6979): the same key and message give the same signature, so
 * that every server of a fleet makes the same certificate without talking. For a few signatures in a process's life: it does
 * not run in constant time, and is not for messages that others choose.
 */
import { createECDH, createHash, createHmac, createPrivateKey } from "node:crypto";

/** Order of the group (FIPS 186-4, D.1.2.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const SIZE = 32;

/** A P-256 key in the forms that are needed. */
export interface P256Key {
  /** The scalar, {@link SIZE} bytes. */
  readonly scalar: Uint8Array;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** PKCS#8, DER. */
  readonly privateKey: Uint8Array;
}

/** The key that `secret` (32 bytes or more, uniformly random) and `label` stand for. */
export function deriveP256Key(secret: Uint8Array, label: string): P256Key {
  // 16 bytes more than the order has, so that the remainder is even (FIPS 186-4, B.4.1).
  const half = (n: number) => createHmac("sha256", secret).update(`${label} ${n}`).digest();
  const wide = Buffer.concat([half(0), half(1)]).subarray(0, SIZE + 16);
  return p256Key(toBytes((toInteger(wide) % (ORDER - 1n)) + 1n));
}

/** The key with this scalar. */
export function p256Key(scalar: Uint8Array): P256Key {
  const point = multiplyBase(scalar);
  const coordinate = (from: number) => Buffer.from(point.subarray(from, from + SIZE)).toString("base64url");
  const jwk = { kty: "EC", crv: "P-256", x: coordinate(1), y: coordinate(1 + SIZE) };
  const d = Buffer.from(scalar).toString("base64url");
  const key = createPrivateKey({ key: { ...jwk, d }, format: "jwk" });
  return {
    scalar,
    publicKey: Buffer.concat([SPKI_PREFIX, point]),
    privateKey: key.export({ type: "pkcs8", format: "der" }),
  };
}

/** The signature of `message`, SHA-256, as DER. */
export function signDeterministic({ scalar }: Pick<P256Key, "scalar">, message: Uint8Array): Uint8Array {
  const hash = createHash("sha256").update(message).digest();
  const z = toInteger(hash);
  for (const k of candidates(scalar, hash)) {
    const r = toInteger(multiplyBase(toBytes(k)).subarray(1, 1 + SIZE)) % ORDER;
    const s = (inverse(k) * (z + r * toInteger(scalar))) % ORDER;
    if (r !== 0n && s !== 0n) return formatSignature(r, s);
  }
  throw new Error("unreachable: candidates never end");
}

/** RFC 6979, section 3.2: the nonces to try. */
function* candidates(scalar: Uint8Array, hash: Uint8Array): Generator<bigint> {
  const mac = (key: Uint8Array, ...parts: readonly Uint8Array[]) =>
    createHmac("sha256", key).update(Buffer.concat(parts)).digest();
  const seed = Buffer.concat([scalar, toBytes(toInteger(hash) % ORDER)]);
  let key: Uint8Array = new Uint8Array(SIZE);
  let value: Uint8Array = new Uint8Array(SIZE).fill(1);
  for (const step of [0, 1]) {
    key = mac(key, value, Uint8Array.of(step), seed);
    value = mac(key, value);
  }
  for (;;) {
    value = mac(key, value);
    const k = toInteger(value);
    if (k > 0n && k < ORDER) yield k;
    key = mac(key, value, Uint8Array.of(0));
    value = mac(key, value);
  }
}

/** `scalar` times the base point, uncompressed. */
function multiplyBase(scalar: Uint8Array): Uint8Array {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(scalar);
  return ecdh.getPublicKey();
}

/** By Fermat: the order is a prime. */
function inverse(value: bigint): bigint {
  let [result, base] = [1n, value % ORDER];
  for (let exponent = ORDER - 2n; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * base) % ORDER;
    base = (base * base) % ORDER;
  }
  return result;
}

function formatSignature(r: bigint, s: bigint): Uint8Array {
  const integers = [r, s].map((value) => {
    const bytes = toBytes(value);
    let start = 0;
    while (start < SIZE - 1 && bytes[start] === 0) start += 1;
    const padded = bytes[start]! & 0x80 ? [0, ...bytes.subarray(start)] : [...bytes.subarray(start)];
    return [0x02, padded.length, ...padded];
  });
  const content = integers.flat();
  return Uint8Array.of(0x30, content.length, ...content);
}

const toInteger = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
const toBytes = (value: bigint) => Buffer.from(value.toString(16).padStart(2 * SIZE, "0"), "hex");
/** SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING } before an uncompressed point (RFC 5480). */
const SPKI_PREFIX = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex");
