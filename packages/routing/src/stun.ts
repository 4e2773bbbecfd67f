/**
 * The part of STUN (RFC 8489) that ICE connectivity checks use (RFC 8445): Binding over UDP with short-term
 * credentials. Parsing allocates views, never copies; what is not well-formed STUN is `undefined`.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { crc32 } from "./crc32.ts";
import { formatIp, type IpAddress, parseIp } from "./ip.ts";

/** Second word of every STUN message (section 5). */
export const MAGIC_COOKIE = 0x2112a442;

/** Bytes of a STUN header (section 5). */
export const STUN_HEADER_SIZE = 20;

/** Binding (section 3). */
export const BINDING_METHOD = 0x001;

const ATTRIBUTE = {
  mappedAddress: 0x0001,
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  unknownAttributes: 0x000a,
  realm: 0x0014,
  nonce: 0x0015,
  messageIntegritySha256: 0x001c,
  passwordAlgorithm: 0x001d,
  userhash: 0x001e,
  xorMappedAddress: 0x0020,
  priority: 0x0024,
  useCandidate: 0x0025,
  software: 0x8022,
  fingerprint: 0x8028,
  iceControlled: 0x8029,
  iceControlling: 0x802a,
} as const;

const KNOWN = new Set<number>(Object.values(ATTRIBUTE));
const FINGERPRINT_XOR = 0x5354554e; // section 14.7
const INTEGRITY_SIZE = 20;
const MAX_ATTRIBUTES = 32;
const MAX_USERNAME_SIZE = 508; // section 14.3: fewer than 509 bytes

/** The four classes of section 5. */
export type StunClass = "request" | "indication" | "success" | "error";

/** A parsed message; its byte fields are views into `packet`. */
export interface StunMessage {
  readonly packet: Uint8Array;
  readonly class: StunClass;
  /** {@link BINDING_METHOD} or another. */
  readonly method: number;
  /** 12 bytes. */
  readonly transactionId: Uint8Array;
  readonly username: string | undefined;
  /** The username before its first colon: the ufrag of the side that the request goes to. */
  readonly serverUfrag: string | undefined;
  /** The username after its first colon. */
  readonly clientUfrag: string | undefined;
  /** PRIORITY (RFC 8445 section 16.1). */
  readonly priority: number | undefined;
  readonly useCandidate: boolean;
  /** Tie-breaker of an agent in the controlling role. */
  readonly controlling: bigint | undefined;
  /** Tie-breaker of an agent in the controlled role. */
  readonly controlled: bigint | undefined;
  /** XOR-MAPPED-ADDRESS of a response. */
  readonly mappedAddress: { readonly address: string; readonly port: number } | undefined;
  /** ERROR-CODE of an error response. */
  readonly errorCode: number | undefined;
  /** Comprehension-required attributes (below 0x8000) that this parser does not know (section 6.3.1). */
  readonly unknownRequired: readonly number[];
  /** Where MESSAGE-INTEGRITY begins, `undefined` without it. */
  readonly integrityOffset: number | undefined;
  /** Where FINGERPRINT begins, `undefined` without it. */
  readonly fingerprintOffset: number | undefined;
}

/** Whether `packet` has the marks of STUN (section 5); costs no more than a few comparisons. */
export function looksLikeStun(packet: Uint8Array): boolean {
  return (
    packet.length >= STUN_HEADER_SIZE &&
    packet[0]! < 0x40 &&
    packet[4] === 0x21 &&
    packet[5] === 0x12 &&
    packet[6] === 0xa4 &&
    packet[7] === 0x42 &&
    readUint16(packet, 2) % 4 === 0 &&
    readUint16(packet, 2) + STUN_HEADER_SIZE === packet.length
  );
}

/** Parses a whole datagram. */
export function parseStun(packet: Uint8Array): StunMessage | undefined {
  if (!looksLikeStun(packet)) return undefined;
  const type = readUint16(packet, 0);
  const message: Mutable<StunMessage> = {
    packet,
    class: CLASSES[((type >> 7) & 2) | ((type >> 4) & 1)]!,
    method: (type & 0xf) | ((type >> 1) & 0x70) | ((type >> 2) & 0xf80),
    transactionId: packet.subarray(8, STUN_HEADER_SIZE),
    username: undefined,
    serverUfrag: undefined,
    clientUfrag: undefined,
    priority: undefined,
    useCandidate: false,
    controlling: undefined,
    controlled: undefined,
    mappedAddress: undefined,
    errorCode: undefined,
    unknownRequired: NONE,
    integrityOffset: undefined,
    fingerprintOffset: undefined,
  };
  let count = 0;
  for (let offset = STUN_HEADER_SIZE; offset < packet.length; ) {
    if (offset + 4 > packet.length || ++count > MAX_ATTRIBUTES) return undefined;
    const attribute = readUint16(packet, offset);
    const size = readUint16(packet, offset + 2);
    const end = offset + 4 + size;
    if (end > packet.length) return undefined;
    if (!readAttribute(message, attribute, offset, size)) return undefined;
    offset = (end + 3) & ~3;
  }
  return message;
}

/** Whether the message ends in a FINGERPRINT that fits (section 14.7). */
export function hasValidFingerprint(message: StunMessage): boolean {
  const { packet, fingerprintOffset } = message;
  if (fingerprintOffset === undefined) return false;
  return (crc32(packet, fingerprintOffset) ^ FINGERPRINT_XOR) >>> 0 === readUint32(packet, fingerprintOffset + 4);
}

/** Whether MESSAGE-INTEGRITY fits `password`, a short-term password or a long-term key (section 14.5). Timing-safe. */
export function hasValidIntegrity(message: StunMessage, password: string | Uint8Array): boolean {
  const { packet, integrityOffset } = message;
  if (integrityOffset === undefined) return false;
  const tag = packet.subarray(integrityOffset + 4, integrityOffset + 4 + INTEGRITY_SIZE);
  return timingSafeEqual(tag, integrityOf(packet, integrityOffset, password));
}

/** What a connectivity check says. */
export interface BindingRequest {
  /** 12 random bytes. */
  readonly transactionId: Uint8Array;
  /** `<ufrag of the receiver>:<ufrag of the sender>`. */
  readonly username: string;
  /** The receiver's ICE password. */
  readonly password: string;
  /** Default 1853824767 (RFC 8445 section 5.1.2, a peer-reflexive host address). */
  readonly priority?: number;
  /** Tie-breaker; default 1. */
  readonly tieBreaker?: bigint;
  /** Default controlling, as every peer of an ICE-lite agent is. */
  readonly role?: "controlling" | "controlled";
  /** Nominates the pair. Default false. */
  readonly useCandidate?: boolean;
}

/** Writes a connectivity check (RFC 8445 section 7.1). */
export function formatBindingRequest(request: BindingRequest): Uint8Array {
  const writer = new MessageWriter(0x0001, request.transactionId);
  writer.attribute(ATTRIBUTE.username, Buffer.from(request.username, "utf8"));
  const role = request.role === "controlled" ? ATTRIBUTE.iceControlled : ATTRIBUTE.iceControlling;
  const tieBreaker = Buffer.alloc(8);
  tieBreaker.writeBigUInt64BE(request.tieBreaker ?? 1n);
  writer.attribute(role, tieBreaker);
  if (request.useCandidate) writer.attribute(ATTRIBUTE.useCandidate, new Uint8Array(0));
  writer.attribute(ATTRIBUTE.priority, uint32(request.priority ?? 1853824767));
  return writer.finish(request.password);
}

/** What a success response says. */
export interface BindingSuccess {
  readonly transactionId: Uint8Array;
  /** Source of the request, numeric IPv4 or IPv6. */
  readonly address: string;
  readonly port: number;
  /** The responder's own ICE password. */
  readonly password: string;
}

/** Writes the success response to a connectivity check; throws on an address that is not numeric. */
export function formatBindingSuccess({ transactionId, address, port, password }: BindingSuccess): Uint8Array {
  const ip = parseIp(address);
  if (!ip) throw new RangeError(`not a numeric address: ${address}`);
  const writer = new MessageWriter(0x0101, transactionId);
  writer.attribute(ATTRIBUTE.xorMappedAddress, xorAddress(ip, port, transactionId));
  return writer.finish(password);
}

/** What an error response says. */
export interface BindingError {
  readonly transactionId: Uint8Array;
  /** 300 to 699 (section 14.8). */
  readonly code: number;
  readonly reason: string;
  /** Signs the response; a request without valid credentials is answered unsigned. */
  readonly password?: string | undefined;
  /** Attributes that a 420 complains about. */
  readonly unknownRequired?: readonly number[];
}

/** Writes an error response. */
export function formatBindingError({
  transactionId,
  code,
  reason,
  password,
  unknownRequired,
}: BindingError): Uint8Array {
  const writer = new MessageWriter(0x0111, transactionId);
  const head = Uint8Array.of(0, 0, Math.floor(code / 100), code % 100);
  writer.attribute(ATTRIBUTE.errorCode, Buffer.concat([head, Buffer.from(reason, "utf8")]));
  if (unknownRequired?.length)
    writer.attribute(
      ATTRIBUTE.unknownAttributes,
      Uint8Array.from(unknownRequired.flatMap((type) => [type >> 8, type & 0xff])),
    );
  return writer.finish(password);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const CLASSES = ["request", "indication", "success", "error"] as const;
const NONE: readonly number[] = [];

/** Takes one attribute into `message`; false when it makes the message malformed. First occurrence counts (section 14). */
function readAttribute(message: Mutable<StunMessage>, type: number, offset: number, size: number): boolean {
  const { packet } = message;
  const start = offset + 4;
  if (message.fingerprintOffset !== undefined) return false; // FINGERPRINT is last (section 14.7)
  if (type === ATTRIBUTE.fingerprint) {
    message.fingerprintOffset = offset;
    return size === 4;
  }
  if (message.integrityOffset !== undefined) return true; // what follows is not authenticated (section 14.5)
  switch (type) {
    case ATTRIBUTE.messageIntegrity:
      message.integrityOffset = offset;
      return size === INTEGRITY_SIZE;
    case ATTRIBUTE.username:
      return message.username !== undefined || readUsername(message, packet.subarray(start, start + size));
    case ATTRIBUTE.priority:
      message.priority ??= readUint32(packet, start);
      return size === 4;
    case ATTRIBUTE.useCandidate:
      message.useCandidate = true;
      return size === 0;
    case ATTRIBUTE.iceControlling:
      if (size !== 8) return false;
      message.controlling ??= readUint64(packet, start);
      return true;
    case ATTRIBUTE.iceControlled:
      if (size !== 8) return false;
      message.controlled ??= readUint64(packet, start);
      return true;
    case ATTRIBUTE.xorMappedAddress:
      message.mappedAddress ??= readXorAddress(packet, start, size);
      return message.mappedAddress !== undefined;
    case ATTRIBUTE.errorCode:
      if (size < 4) return false;
      message.errorCode ??= (packet[start + 2]! & 7) * 100 + packet[start + 3]!;
      return true;
    default:
      if (type < 0x8000 && !KNOWN.has(type)) message.unknownRequired = [...message.unknownRequired, type];
      return true;
  }
}

function readUsername(message: Mutable<StunMessage>, bytes: Uint8Array): boolean {
  if (bytes.length > MAX_USERNAME_SIZE) return false;
  const username = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
  const colon = username.indexOf(":");
  message.username = username;
  message.serverUfrag = colon < 0 ? username : username.slice(0, colon);
  message.clientUfrag = colon < 0 ? undefined : username.slice(colon + 1);
  return true;
}

/** HMAC-SHA1 over the message up to `end`, its length field counting MESSAGE-INTEGRITY as the last attribute. */
function integrityOf(packet: Uint8Array, end: number, password: string | Uint8Array): Buffer {
  const head = Uint8Array.of(packet[0]!, packet[1]!, 0, 0);
  const size = end + 4 + INTEGRITY_SIZE - STUN_HEADER_SIZE;
  head[2] = size >> 8;
  head[3] = size & 0xff;
  return createHmac("sha1", password).update(head).update(packet.subarray(4, end)).digest();
}

/** Section 14.2: family, port and address, both XORed with the cookie and the transaction ID. */
function xorAddress(ip: IpAddress, port: number, transactionId: Uint8Array): Uint8Array {
  const mask = Buffer.concat([uint32(MAGIC_COOKIE), transactionId]);
  const value = new Uint8Array(4 + ip.length);
  value[1] = ip.length === 4 ? 1 : 2;
  value[2] = (port >> 8) ^ mask[0]!;
  value[3] = (port & 0xff) ^ mask[1]!;
  for (let i = 0; i < ip.length; i++) value[4 + i] = ip[i]! ^ mask[i]!;
  return value;
}

function readXorAddress(packet: Uint8Array, start: number, size: number): StunMessage["mappedAddress"] {
  const family = packet[start + 1];
  if (!(family === 1 && size === 8) && !(family === 2 && size === 20)) return undefined;
  const ip = new Uint8Array(packet.subarray(start + 4, start + size)); // a Buffer's slice would be a view
  for (let i = 0; i < ip.length; i++) ip[i]! ^= packet[4 + i]!;
  return { address: formatIp(ip), port: readUint16(packet, start + 2) ^ (MAGIC_COOKIE >>> 16) };
}

/** Builds a message attribute by attribute. */
class MessageWriter {
  readonly #parts: Uint8Array[] = [];
  readonly #header: Uint8Array;
  #size = 0;

  constructor(type: number, transactionId: Uint8Array) {
    this.#header = Buffer.concat([Uint8Array.of(type >> 8, type & 0xff, 0, 0), uint32(MAGIC_COOKIE), transactionId]);
  }

  attribute(type: number, value: Uint8Array): void {
    const part = new Uint8Array(4 + ((value.length + 3) & ~3));
    part.set([type >> 8, type & 0xff, value.length >> 8, value.length & 0xff]);
    part.set(value, 4);
    this.#parts.push(part);
    this.#size += part.length;
  }

  /** Signs (with a password) and fingerprints the message. */
  finish(password: string | undefined): Uint8Array {
    if (password !== undefined) {
      const end = STUN_HEADER_SIZE + this.#size;
      this.attribute(ATTRIBUTE.messageIntegrity, integrityOf(this.#bytes(0), end, password));
    }
    const covered = this.#bytes(8); // the fingerprint covers its own length too
    this.attribute(ATTRIBUTE.fingerprint, uint32((crc32(covered, covered.length) ^ FINGERPRINT_XOR) >>> 0));
    return this.#bytes(0);
  }

  #bytes(reserved: number): Uint8Array {
    const size = this.#size + reserved;
    this.#header[2] = size >> 8;
    this.#header[3] = size & 0xff;
    return Buffer.concat([this.#header, ...this.#parts]);
  }
}

function uint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

function readUint16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

function readUint32(bytes: Uint8Array, offset: number): number {
  return ((readUint16(bytes, offset) << 16) | readUint16(bytes, offset + 2)) >>> 0;
}

function readUint64(bytes: Uint8Array, offset: number): bigint {
  return (BigInt(readUint32(bytes, offset)) << 32n) | BigInt(readUint32(bytes, offset + 4));
}
