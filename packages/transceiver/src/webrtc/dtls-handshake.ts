/** DTLS 1.2 handshake messages, as far as a WebRTC server meets them (RFC 5246 section 7.4, RFC 6347 section 4.2). */
import { createHash, createHmac } from "node:crypto";
import { DTLS_1_2 } from "./dtls-record.ts";

/** Handshake types (RFC 5246 section 7.4, RFC 6347 section 4.3.2). */
export const HANDSHAKE_TYPE = {
  clientHello: 1,
  serverHello: 2,
  helloVerifyRequest: 3,
  certificate: 11,
  serverKeyExchange: 12,
  certificateRequest: 13,
  serverHelloDone: 14,
  certificateVerify: 15,
  clientKeyExchange: 16,
  finished: 20,
} as const;

/** TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, which every WebRTC endpoint has (RFC 8827 section 6.5). */
export const CIPHER_SUITE = 0xc02b;
/** secp256r1, which every WebRTC endpoint has (RFC 8827 section 6.5). */
export const NAMED_GROUP = 23;
/** ecdsa_secp256r1_sha256. */
export const SIGNATURE_ALGORITHM = 0x0403;

const EXTENSION = {
  supportedGroups: 10,
  ecPointFormats: 11,
  signatureAlgorithms: 13,
  useSrtp: 14,
  extendedMasterSecret: 23,
  renegotiationInfo: 0xff01,
} as const;
const RENEGOTIATION_SCSV = 0x00ff; // RFC 5746 section 3.3

/** A piece of a handshake message. */
export interface HandshakeFragment {
  readonly type: number;
  /** Bytes of the whole message. */
  readonly length: number;
  readonly messageSeq: number;
  readonly offset: number;
  readonly body: Uint8Array;
}

const HANDSHAKE_HEADER_SIZE = 12;
const MAX_FRAGMENTS_PER_RECORD = 16;

/** Parses the fragments in one record. */
export function decodeHandshake(content: Uint8Array): HandshakeFragment[] | undefined {
  const fragments: HandshakeFragment[] = [];
  for (let at = 0; at < content.length; ) {
    if (content.length - at < HANDSHAKE_HEADER_SIZE || fragments.length === MAX_FRAGMENTS_PER_RECORD) return undefined;
    const length = uint24(content, at + 1);
    const offset = uint24(content, at + 6);
    const size = uint24(content, at + 9);
    const start = at + HANDSHAKE_HEADER_SIZE;
    if (start + size > content.length || offset + size > length) return undefined;
    fragments.push({
      type: content[at]!,
      length,
      messageSeq: uint16(content, at + 4),
      offset,
      body: content.subarray(start, start + size),
    });
    at = start + size;
  }
  return fragments;
}

/** Writes a whole message, unfragmented: on the wire, and as the transcript counts it (RFC 6347 section 4.2.6). */
export function encodeHandshake(type: number, messageSeq: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(HANDSHAKE_HEADER_SIZE);
  header[0] = type;
  header.writeUIntBE(body.length, 1, 3);
  header.writeUInt16BE(messageSeq, 4);
  header.writeUIntBE(body.length, 9, 3);
  return Buffer.concat([header, body]);
}

/** What a ClientHello offers, of that which we look at. */
export interface ClientHello {
  readonly version: number;
  /** 32 bytes. */
  readonly random: Uint8Array;
  readonly cookie: Uint8Array;
  readonly cipherSuites: readonly number[];
  /** `undefined`: not said. */
  readonly groups: readonly number[] | undefined;
  readonly signatureAlgorithms: readonly number[] | undefined;
  readonly srtpProfiles: readonly number[];
  readonly extendedMasterSecret: boolean;
  readonly secureRenegotiation: boolean;
  readonly pointFormats: boolean;
}

/** Parses a ClientHello (RFC 6347 section 4.2.1). */
export function decodeClientHello(body: Uint8Array): ClientHello | undefined {
  const reader = new Reader(body);
  const version = reader.uint16();
  const random = reader.bytes(32);
  reader.vector(1); // session ID: nothing is resumed
  const cookie = reader.vector(1);
  const cipherSuites = uint16s(reader.vector(2));
  reader.vector(1); // compression methods: null is always among them
  const extensions = new Map<number, Uint8Array>();
  if (reader.ok && !reader.done) {
    const list = new Reader(reader.vector(2));
    while (list.ok && !list.done && extensions.size < 64) extensions.set(list.uint16(), list.vector(2));
    if (!list.ok) return undefined;
  }
  if (!reader.ok || !cipherSuites) return undefined;
  const groups = extensions.get(EXTENSION.supportedGroups);
  const algorithms = extensions.get(EXTENSION.signatureAlgorithms);
  const srtp = extensions.get(EXTENSION.useSrtp);
  return {
    version,
    random,
    cookie,
    cipherSuites,
    groups: groups && uint16s(new Reader(groups).vector(2)),
    signatureAlgorithms: algorithms && uint16s(new Reader(algorithms).vector(2)),
    srtpProfiles: (srtp && uint16s(new Reader(srtp).vector(2))) ?? [],
    extendedMasterSecret: extensions.has(EXTENSION.extendedMasterSecret),
    secureRenegotiation: extensions.has(EXTENSION.renegotiationInfo) || cipherSuites.includes(RENEGOTIATION_SCSV),
    pointFormats: extensions.has(EXTENSION.ecPointFormats),
  };
}

/** Writes the ServerHello that answers `hello`. */
export function encodeServerHello(hello: ClientHello, random: Uint8Array, srtpProfile: number | undefined): Buffer {
  const extensions = [
    ...(hello.secureRenegotiation ? [extension(EXTENSION.renegotiationInfo, Uint8Array.of(0))] : []),
    ...(hello.extendedMasterSecret ? [extension(EXTENSION.extendedMasterSecret, new Uint8Array())] : []),
    ...(hello.pointFormats ? [extension(EXTENSION.ecPointFormats, Uint8Array.of(1, 0))] : []),
    // One profile and an empty MKI (RFC 5764 section 4.1.1).
    ...(srtpProfile === undefined
      ? []
      : [extension(EXTENSION.useSrtp, Buffer.concat([vector(2, uint16Bytes(srtpProfile)), Uint8Array.of(0)]))]),
  ];
  return Buffer.concat([
    uint16Bytes(DTLS_1_2),
    random,
    Uint8Array.of(0), // no session ID
    uint16Bytes(CIPHER_SUITE),
    Uint8Array.of(0), // no compression
    vector(2, Buffer.concat(extensions)),
  ]);
}

/** Writes a HelloVerifyRequest (RFC 6347 section 4.2.1). */
export function encodeHelloVerifyRequest(cookie: Uint8Array): Buffer {
  return Buffer.concat([uint16Bytes(DTLS_1_2), vector(1, cookie)]);
}

/** Writes a Certificate message of one certificate. */
export function encodeCertificate(der: Uint8Array): Buffer {
  return vector(3, vector(3, der));
}

/** The first certificate of a Certificate message; the fingerprint is of that one, and no chain is looked at. */
export function decodeCertificate(body: Uint8Array): Uint8Array | undefined {
  const reader = new Reader(body);
  const list = new Reader(reader.vector(3));
  const first = list.vector(3);
  return reader.ok && list.ok && first.length > 0 ? first : undefined;
}

/** What ServerKeyExchange signs after both randoms: our public key (RFC 8422 section 5.4). */
export function encodeEcdhParameters(publicKey: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(3), uint16Bytes(NAMED_GROUP), vector(1, publicKey)]);
}

/** Writes a ServerKeyExchange. */
export function encodeServerKeyExchange(parameters: Uint8Array, signature: Uint8Array): Buffer {
  return Buffer.concat([parameters, uint16Bytes(SIGNATURE_ALGORITHM), vector(2, signature)]);
}

/** Writes a CertificateRequest for the key kinds that WebRTC peers use: ECDSA and RSA. */
export function encodeCertificateRequest(algorithms: readonly number[]): Buffer {
  const ECDSA_SIGN = 64;
  const RSA_SIGN = 1;
  return Buffer.concat([
    vector(1, Uint8Array.of(ECDSA_SIGN, RSA_SIGN)),
    vector(2, Buffer.concat(algorithms.map(uint16Bytes))),
    vector(2, new Uint8Array()),
  ]);
}

/** The peer's public key out of a ClientKeyExchange. */
export function decodeClientKeyExchange(body: Uint8Array): Uint8Array | undefined {
  const reader = new Reader(body);
  const key = reader.vector(1);
  return reader.ok && reader.done ? key : undefined;
}

/** A CertificateVerify. */
export function decodeCertificateVerify(
  body: Uint8Array,
): { readonly algorithm: number; readonly signature: Uint8Array } | undefined {
  const reader = new Reader(body);
  const algorithm = reader.uint16();
  const signature = reader.vector(2);
  return reader.ok && reader.done ? { algorithm, signature } : undefined;
}

/** The TLS 1.2 PRF with SHA-256 (RFC 5246 section 5). */
export function prf(secret: Uint8Array, label: string, seed: Uint8Array, size: number): Buffer {
  const labelled = Buffer.concat([Buffer.from(label, "ascii"), seed]);
  const blocks: Buffer[] = [];
  let a: Buffer = labelled;
  for (let made = 0; made < size; made += 32) {
    a = createHmac("sha256", secret).update(a).digest();
    blocks.push(createHmac("sha256", secret).update(a).update(labelled).digest());
  }
  return Buffer.concat(blocks).subarray(0, size);
}

/** SHA-256 of the messages so far. */
export function transcriptHash(messages: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const message of messages) hash.update(message);
  return hash.digest();
}

/** Reads in order; once something is missing `ok` is false and all that follows is empty. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  ok = true;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  bytes(size: number): Uint8Array {
    if (!this.ok || this.#bytes.length - this.#at < size) {
      this.ok = false;
      return new Uint8Array(0);
    }
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }

  uint16(): number {
    const bytes = this.bytes(2);
    return this.ok ? uint16(bytes, 0) : 0;
  }

  /** A vector behind a length of `lengthSize` bytes (RFC 5246 section 4.3). */
  vector(lengthSize: number): Uint8Array {
    let size = 0;
    for (const byte of this.bytes(lengthSize)) size = size * 256 + byte;
    return this.bytes(this.ok ? size : 0);
  }
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function uint24(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
}

function uint16s(bytes: Uint8Array): number[] | undefined {
  if (bytes.length % 2 !== 0) return undefined;
  return Array.from({ length: bytes.length / 2 }, (_, index) => uint16(bytes, index * 2));
}

function uint16Bytes(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function vector(lengthSize: number, content: Uint8Array): Buffer {
  const length = Buffer.alloc(lengthSize);
  length.writeUIntBE(content.length, 0, lengthSize);
  return Buffer.concat([length, content]);
}

function extension(type: number, content: Uint8Array): Buffer {
  return Buffer.concat([uint16Bytes(type), vector(2, content)]);
}
