/** The DTLS 1.2 record layer (RFC 6347 section 4.1) with AEAD_AES_128_GCM (RFC 5288). */
import { createCipheriv, createDecipheriv } from "node:crypto";

/** Content types (RFC 5246 section 6.2.1). */
export const CONTENT_TYPE = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const;

/** DTLS 1.2 on the wire. */
export const DTLS_1_2 = 0xfefd;

/** Bytes before a record's fragment. */
export const RECORD_HEADER_SIZE = 13;

/** Bytes that a protected record adds to its content: header, explicit nonce, tag. */
export const PROTECTION_OVERHEAD = RECORD_HEADER_SIZE + 8 + 16;

/** One record; `fragment` is a view into its datagram. */
export interface DtlsRecord {
  readonly type: number;
  readonly epoch: number;
  /** 48 bits. */
  readonly sequenceNumber: number;
  readonly fragment: Uint8Array;
}

const MAX_RECORDS = 16;
const MAX_FRAGMENT_SIZE = 2 ** 14 + 2048; // RFC 5246 section 6.2.3
const NONCE_SIZE = 8;
const TAG_SIZE = 16;

/** Parses a datagram's records: all of them well-formed, of a version and type that DTLS 1.2 has, or `undefined`. */
export function decodeRecords(datagram: Uint8Array): DtlsRecord[] | undefined {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const records: DtlsRecord[] = [];
  for (let offset = 0; offset < datagram.length; ) {
    if (datagram.length - offset < RECORD_HEADER_SIZE || records.length === MAX_RECORDS) return undefined;
    const type = view.getUint8(offset);
    const version = view.getUint16(offset + 1);
    const size = view.getUint16(offset + 11);
    // A ClientHello may come in a record that says DTLS 1.0 (RFC 6347 section 4.2.1).
    if (type < 20 || type > 23 || (version !== DTLS_1_2 && version !== 0xfeff)) return undefined;
    const start = offset + RECORD_HEADER_SIZE;
    if (size === 0 || size > MAX_FRAGMENT_SIZE || start + size > datagram.length) return undefined;
    records.push({
      type,
      epoch: view.getUint16(offset + 3),
      sequenceNumber: view.getUint16(offset + 5) * 2 ** 32 + view.getUint32(offset + 7),
      fragment: datagram.subarray(start, start + size),
    });
    offset = start + size;
  }
  return records.length > 0 ? records : undefined;
}

/** Writes one record. */
export function encodeRecord({ type, epoch, sequenceNumber, fragment }: DtlsRecord): Buffer {
  const record = Buffer.allocUnsafe(RECORD_HEADER_SIZE + fragment.length);
  writeHeader(record, type, epoch, sequenceNumber, fragment.length);
  record.set(fragment, RECORD_HEADER_SIZE);
  return record;
}

/** One direction's key and the four bytes of nonce that are not sent (RFC 5288 section 3). */
export interface RecordKey {
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
}

/** Protects `content` as one record. The nonce is epoch and sequence number: it repeats only if they do. */
export function protectRecord(
  { key, iv }: RecordKey,
  { type, epoch, sequenceNumber, fragment: content }: DtlsRecord,
): Buffer {
  const record = Buffer.allocUnsafe(PROTECTION_OVERHEAD + content.length);
  writeHeader(record, type, epoch, sequenceNumber, NONCE_SIZE + content.length + TAG_SIZE);
  record.copy(record, RECORD_HEADER_SIZE, 3, 11);
  const nonce = Buffer.concat([iv, record.subarray(3, 11)]);
  const cipher = createCipheriv("aes-128-gcm", key, nonce).setAAD(additionalData(record, content.length));
  record.set(cipher.update(content), RECORD_HEADER_SIZE + NONCE_SIZE);
  cipher.final();
  record.set(cipher.getAuthTag(), record.length - TAG_SIZE);
  return record;
}

/** The content of a protected record, `undefined` where it is not authentic. */
export function unprotectRecord({ key, iv }: RecordKey, record: DtlsRecord): Buffer | undefined {
  const { type, epoch, sequenceNumber, fragment } = record;
  const size = fragment.length - NONCE_SIZE - TAG_SIZE;
  if (size < 0) return undefined;
  const header = Buffer.allocUnsafe(RECORD_HEADER_SIZE);
  writeHeader(header, type, epoch, sequenceNumber, size);
  const nonce = Buffer.concat([iv, fragment.subarray(0, NONCE_SIZE)]);
  const decipher = createDecipheriv("aes-128-gcm", key, nonce)
    .setAAD(additionalData(header, size))
    .setAuthTag(fragment.subarray(-TAG_SIZE));
  const content = decipher.update(fragment.subarray(NONCE_SIZE, -TAG_SIZE));
  try {
    decipher.final();
  } catch {
    return undefined; // Node tells a wrong tag by throwing.
  }
  return content;
}

/** The last 64 record numbers (RFC 6347 section 4.1.2.6). */
export class RecordWindow {
  #top = -1;
  #seen = 0n;

  /** Whether `sequenceNumber` is new; asks only. */
  isFresh(sequenceNumber: number): boolean {
    const age = this.#top - sequenceNumber;
    return age < 0 || (age < 64 && !((this.#seen >> BigInt(age)) & 1n));
  }

  /** Marks `sequenceNumber` as seen; to be called for authentic records only. */
  accept(sequenceNumber: number): void {
    const ahead = sequenceNumber - this.#top;
    if (ahead > 0) {
      this.#seen = ahead >= 64 ? 1n : BigInt.asUintN(64, this.#seen << BigInt(ahead)) | 1n;
      this.#top = sequenceNumber;
    } else this.#seen |= 1n << BigInt(-ahead);
  }
}

function writeHeader(record: Buffer, type: number, epoch: number, sequenceNumber: number, size: number): void {
  record[0] = type;
  record.writeUInt16BE(DTLS_1_2, 1);
  record.writeUInt16BE(epoch, 3);
  record.writeUIntBE(sequenceNumber, 5, 6);
  record.writeUInt16BE(size, 11);
}

/** RFC 5246 section 6.2.3.3: number, type, version, length of the content. */
function additionalData(header: Buffer, size: number): Buffer {
  const data = Buffer.allocUnsafe(RECORD_HEADER_SIZE);
  header.copy(data, 0, 3, 11);
  header.copy(data, 8, 0, 3);
  data.writeUInt16BE(size, 11);
  return data;
}
