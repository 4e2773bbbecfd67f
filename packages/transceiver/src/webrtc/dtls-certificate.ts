/**
 * A self-signed certificate for DTLS: ECDSA P-256 and SHA-256 (RFC 8827 section 6.5), in just enough DER (RFC 5280
 * section 4.1). Peers look only at its hash.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { Fingerprint } from "./sdp.ts";

/** Our side of every handshake. Holds the private key: never log it. */
export interface DtlsIdentity {
  readonly privateKey: KeyObject;
  /** DER. */
  readonly certificate: Uint8Array;
  readonly fingerprint: Fingerprint;
}

const DAY_MS = 86_400_000;

/** Makes a key and its certificate, valid from a day before `wallclockMs` (Unix time) for ten years. */
export function createDtlsIdentity(wallclockMs: number): DtlsIdentity {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const certificate = createCertificate({
    publicKey: publicKey.export({ type: "spki", format: "der" }),
    notBefore: wallclockMs - DAY_MS,
    notAfter: wallclockMs + 3650 * DAY_MS,
    sign: (content) => sign("sha256", content, privateKey),
  });
  return { privateKey, certificate, fingerprint: fingerprintOf(certificate, "sha-256") };
}

/** What a {@link createCertificate} says. */
export interface CertificateContent {
  /** P-256, as SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
  /** Unix milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** ECDSA with SHA-256, as DER. */
  readonly sign: (content: Uint8Array) => Uint8Array;
}

/** A self-signed certificate in DER; the same for the same content. */
export function createCertificate({ publicKey, notBefore, notAfter, sign }: CertificateContent): Uint8Array {
  const algorithm = sequence(oid("2a8648ce3d040302")); // ecdsa-with-SHA256
  const name = sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from("sluice"))))); // CN
  const serial = createHash("sha256").update(publicKey).digest().subarray(0, 8);
  serial[0] = (serial[0]! & 0x7f) | 0x40; // positive, and no leading zero
  const content = sequence(
    der(0xa0, der(0x02, Uint8Array.of(2))), // version 3
    der(0x02, serial),
    algorithm,
    name,
    sequence(utcTime(notBefore), utcTime(notAfter)),
    name,
    publicKey,
    // Chromium's QUIC takes no certificate without extensions. Basic constraints, critical: this is no authority.
    der(0xa3, sequence(sequence(oid("551d13"), der(0x01, Uint8Array.of(0xff)), der(0x04, sequence())))),
  );
  return sequence(content, algorithm, der(0x03, Uint8Array.of(0), sign(content)));
}

/** The fingerprint of a certificate in DER (RFC 8122 section 5). */
export function fingerprintOf(certificate: Uint8Array, algorithm: Fingerprint["algorithm"]): Fingerprint {
  const hex = createHash(algorithm.replace("-", "")).update(certificate).digest("hex").toUpperCase();
  return { algorithm, digest: hex.match(/../g)!.join(":") };
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length;
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Uint8Array.of(tag, ...length), content]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(0x30, ...parts);
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function utcTime(wallclockMs: number): Buffer {
  const digits = new Date(wallclockMs).toISOString().replace(/[-:T]/g, "").slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}
