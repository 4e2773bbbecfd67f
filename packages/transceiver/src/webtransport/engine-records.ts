/**
 * How datagrams and events cross between JavaScript and the native engine: little-endian records, many to one call
 * (native/quic/src/records.rs is the other side).
 *
 *     address:  family u8 (4 or 6) | address, 4 or 16 | port u16
 *     datagram: address | size u16 | payload
 *     event:    kind u8 | fields          connection u32, stream and code f64, text and data: size u16 | bytes
 */
import { formatIp, parseIp } from "@sluice/routing";
import type { Address, Transmit } from "../webrtc/ice-lite.ts";
import type { QuicClose, QuicConnection, QuicEvent, QuicIncoming, QuicStream } from "./quic-engine.ts";

/** Bytes that a datagram's record takes beside its payload, at most. */
export const RECORD_OVERHEAD = 21;

/** A first Initial that waits for a decision; the number names it to the engine. */
export interface IncomingRecord {
  readonly kind: "incoming";
  readonly number: number;
  readonly incoming: QuicIncoming;
}

/** Addresses remembered, so that those of live connections are parsed once. */
const MAX_ADDRESSES = 4096;

/** Turns addresses into bytes and back, with a bounded memory. */
export class AddressBook {
  readonly #bytes = new Map<string, Uint8Array>();
  readonly #texts = new Map<string, Address>();

  /** The record of `address` without its port; `undefined` when it is not numeric. */
  encode(address: string): Uint8Array | undefined {
    const known = this.#bytes.get(address);
    if (known) return known;
    const ip = parseIp(address);
    if (!ip) return undefined;
    const record = Uint8Array.of(ip.length === 4 ? 4 : 6, ...ip);
    if (this.#bytes.size >= MAX_ADDRESSES) this.#bytes.clear();
    this.#bytes.set(address, record);
    return record;
  }

  /** The address whose record is at `offset`. */
  decode(record: Buffer, offset: number): Address {
    const end = offset + addressSize(record, offset);
    const key = record.toString("latin1", offset, end);
    const known = this.#texts.get(key);
    if (known) return known;
    const address = { address: formatIp(record.subarray(offset + 1, end - 2)), port: record.readUInt16LE(end - 2) };
    if (this.#texts.size >= MAX_ADDRESSES) this.#texts.clear();
    this.#texts.set(key, address);
    return address;
  }
}

/** Writes a datagram's record at `offset` and gives the offset behind it; `undefined`: no address to answer, or too long. */
export function encodeDatagram(
  output: Buffer,
  offset: number,
  packet: Uint8Array,
  from: Address,
  book: AddressBook,
): number | undefined {
  const address = book.encode(from.address);
  if (!address || packet.length > 0xffff) return undefined;
  output.set(address, offset);
  offset += address.length;
  output[offset] = from.port;
  output[offset + 1] = from.port >> 8;
  output[offset + 2] = packet.length;
  output[offset + 3] = packet.length >> 8;
  output.set(packet, offset + 4);
  return offset + 4 + packet.length;
}

/** Reads the datagrams between two offsets; their packets are views. */
export function decodeTransmits(input: Buffer, offset: number, end: number, book: AddressBook, into: Transmit[]): void {
  while (offset < end) {
    const start = offset + addressSize(input, offset) + 2;
    const size = input[start - 2]! | (input[start - 1]! << 8);
    into.push({ packet: input.subarray(start, start + size), to: book.decode(input, offset) });
    offset = start + size;
  }
}

/** Reads the events in `input`; what they hold is copied. */
export function decodeEvents(input: Buffer, end: number, book: AddressBook): (QuicEvent | IncomingRecord)[] {
  const events: (QuicEvent | IncomingRecord)[] = [];
  const reader = new Reader(input, book);
  while (reader.offset < end) events.push(decodeEvent(reader));
  return events;
}

/** By the numbers of `ClosedBy`. */
const CLOSED_BY = [
  "us",
  "peer",
  "peerTransport",
  "protocol",
  "timeout",
  "reset",
  "bug",
] as const satisfies QuicClose["by"][];

function decodeEvent(reader: Reader): QuicEvent | IncomingRecord {
  const kind = reader.u8();
  if (kind === 3) return { kind: "handshakeFailed", remote: reader.address(), reason: reader.text() };
  const number = reader.u32();
  const connection = number as QuicConnection;
  switch (kind) {
    case 1:
      return { kind: "opening", connection, remote: reader.address() };
    case 2:
      return { kind: "connected", connection, remote: reader.address() };
    case 4:
      return { kind: "streamOpened", connection, stream: reader.stream() };
    case 5:
      return { kind: "streamReadable", connection, stream: reader.stream() };
    case 6:
      return { kind: "streamWritable", connection, stream: reader.stream() };
    case 7:
      return { kind: "streamStopped", connection, stream: reader.stream(), code: reader.f64() };
    case 8:
      return { kind: "streamFinished", connection, stream: reader.stream() };
    case 9:
      return {
        kind: "streamsAvailable",
        connection,
        direction: reader.u8() === 1 ? "bidirectional" : "unidirectional",
      };
    case 10:
      return { kind: "datagram", connection, data: reader.bytes() };
    case 11:
      return { kind: "pathChanged", connection, remote: reader.address() };
    case 12: {
      const close = { by: CLOSED_BY[reader.u8()]!, code: reader.f64(), reason: reader.text() };
      return { kind: "closed", connection, close };
    }
    case 13: {
      const [from, validated, originalCid] = [reader.address(), reader.u8() === 1, reader.bytes()];
      return { kind: "incoming", number, incoming: { from, validated, originalCid } };
    }
    default:
      throw new Error(`the engine told of an event of kind ${kind}`);
  }
}

class Reader {
  offset = 0;
  readonly #input: Buffer;
  readonly #book: AddressBook;

  constructor(input: Buffer, book: AddressBook) {
    this.#input = input;
    this.#book = book;
  }

  u8(): number {
    return this.#input[this.offset++]!;
  }

  u32(): number {
    return this.#input.readUInt32LE((this.offset += 4) - 4);
  }

  f64(): number {
    return this.#input.readDoubleLE((this.offset += 8) - 8);
  }

  stream(): QuicStream {
    return this.f64() as QuicStream;
  }

  address(): Address {
    const at = this.offset;
    this.offset += addressSize(this.#input, at);
    return this.#book.decode(this.#input, at);
  }

  bytes(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#input, ...this.#range());
  }

  text(): string {
    return this.#input.toString("utf8", ...this.#range());
  }

  #range(): [start: number, end: number] {
    const start = this.offset + 2;
    this.offset = start + this.#input.readUInt16LE(this.offset);
    return [start, this.offset];
  }
}

/** Bytes of the address record at `offset`, port included. */
function addressSize(record: Buffer, offset: number): number {
  return record[offset] === 4 ? 7 : 19;
}
