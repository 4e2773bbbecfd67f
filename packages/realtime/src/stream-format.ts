/**
 * The wire format of a conversation over WebTransport (docs/webtransport.md): what client and transceiver write into
 * streams and datagrams. For browsers and servers alike. Decoders take a stream in whatever pieces it comes, keep a
 * bounded part of it, and never throw: they answer `undefined` for what breaks the format, and then for good.
 */
import { decodeVarint, encodeVarint, type Varint, varintSize, writeVarint } from "./varint.ts";

/** What a stream begins with. */
export const streamKinds = { events: 0, talkspurt: 1, utterance: 2 } as const;

/** Codes by which a session is closed. */
export const closeCodes = { ended: 0, broken: 2, tooSlow: 4, draining: 5 } as const;

/** Codes by which a stream is reset or refused (`STOP_SENDING`). */
export const streamCodes = { cancelled: 1, broken: 2, unknownKind: 3 } as const;

/** Samples per second of every `time` (RFC 7587, section 4.1). */
export const STREAM_CLOCK_RATE = 48_000;

/** Bytes of the longest event. */
export const MAX_EVENT_SIZE = 16 * 1024 * 1024;

/** Bytes of the longest Opus packet: one frame of 1,275 and its first byte (RFC 6716, section 3.4). */
export const MAX_OPUS_SIZE = 1276;

/** Bytes of the longest utterance header. */
export const MAX_HEADER_SIZE = 4096;

/** One Opus packet and its place. */
export interface AudioFrame {
  /** Its first sample, on the stream's 48 kHz clock. */
  readonly time: number;
  /** Empty: a frame that the encoder left out (DTX). */
  readonly packet: Uint8Array;
}

/** What an utterance's stream says before its frames. */
export interface UtteranceHeader {
  readonly response_id: string;
  readonly item_id: string;
  readonly output_index: number;
  readonly content_index: number;
  /** Where in the utterance the stream begins, at 48 kHz: 0, but for what is resumed. */
  readonly start: number;
}

/** Client: the first bytes of the event stream. */
export function encodeEventsStart(): Uint8Array {
  return encodeVarint(streamKinds.events);
}

/** Client: the first bytes of talkspurt `sequence`, counted from 0 without gaps. */
export function encodeTalkspurtStart(sequence: number): Uint8Array {
  return concat([encodeVarint(streamKinds.talkspurt), encodeVarint(sequence)]);
}

/** Server: the first bytes of an utterance. */
export function encodeUtteranceStart(header: UtteranceHeader): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header));
  return concat([encodeVarint(streamKinds.utterance), encodeVarint(json.length), json]);
}

/** One event, from its JSON. */
export function encodeEvent(json: string): Uint8Array {
  // At most three bytes of UTF-8 for a UTF-16 unit: written in place, then moved behind its length.
  const text = new TextEncoder().encode(json);
  const bytes = new Uint8Array(varintSize(text.length) + text.length);
  bytes.set(text, writeVarint(bytes, 0, text.length));
  return bytes;
}

/** One frame of a talkspurt or an utterance. */
export function encodeFrame({ time, packet }: AudioFrame): Uint8Array {
  const bytes = new Uint8Array(varintSize(packet.length) + varintSize(time) + packet.length);
  bytes.set(packet, writeVarint(bytes, writeVarint(bytes, 0, packet.length), time));
  return bytes;
}

/** Client: the newest frame as a datagram. */
export function encodeFrameDatagram({ time, packet }: AudioFrame): Uint8Array {
  const bytes = new Uint8Array(varintSize(time) + packet.length);
  bytes.set(packet, writeVarint(bytes, 0, time));
  return bytes;
}

/** Server: the frame in a datagram; `undefined` if there is none. Its packet is a view. */
export function decodeFrameDatagram(datagram: Uint8Array): AudioFrame | undefined {
  const time = decodeVarint(datagram);
  if (!time || !Number.isSafeInteger(time.value)) return undefined;
  const packet = datagram.subarray(time.end);
  return packet.length === 0 || packet.length > MAX_OPUS_SIZE ? undefined : { time: time.value, packet };
}

/** The kind of a stream, read from its first bytes; or how it goes on. */
export class KindDecoder {
  readonly #start = new Start();

  /** The kind, and the bytes behind it; `undefined` while more are needed. */
  push(bytes: Uint8Array): { readonly kind: number; readonly rest: Uint8Array } | undefined {
    const start = this.#start.push(bytes);
    return start && { kind: start.value, rest: start.rest };
  }
}

/** Events of one direction of the event stream, its kind taken off before. */
export class EventDecoder {
  readonly #maxSize: number;
  #length: Start | undefined = new Start();
  #body: Gathering | undefined;
  #isBroken = false;

  /** `maxSize`: bytes of the longest event, default {@link MAX_EVENT_SIZE}. */
  constructor(maxSize = MAX_EVENT_SIZE) {
    this.#maxSize = maxSize;
  }

  /** Whether an event is under way: a stream that ends then is broken. */
  get isBetween(): boolean {
    return this.#body === undefined && this.#length?.isEmpty === true;
  }

  /** The events, as JSON, that are complete now. */
  push(bytes: Uint8Array): string[] | undefined {
    const events: string[] = [];
    for (let rest = bytes; !this.#isBroken; ) {
      if (this.#length) {
        const start = this.#length.push(rest);
        if (!start) return events;
        if (start.value === 0 || start.value > this.#maxSize) break;
        rest = start.rest;
        this.#length = undefined;
        this.#body = new Gathering(start.value);
      }
      rest = this.#body!.push(rest);
      if (!this.#body!.isComplete) return events;
      const text = decodeText(this.#body!.bytes);
      if (text === undefined) break;
      events.push(text);
      this.#body = undefined;
      this.#length = new Start();
      if (rest.length === 0) return events;
    }
    this.#isBroken = true;
    return undefined;
  }
}

/** Frames of a talkspurt (its kind and sequence taken off) or of an utterance (its header taken off). */
export class FrameDecoder {
  #kept: Uint8Array = EMPTY;
  #isBroken = false;

  /** Whether a frame is under way: a stream that ends then is broken. */
  get isBetween(): boolean {
    return this.#kept.length === 0;
  }

  /** The frames that are complete now; packets may be views of `bytes`. */
  push(bytes: Uint8Array): AudioFrame[] | undefined {
    if (this.#isBroken) return undefined;
    const all = this.#kept.length === 0 ? bytes : concat([this.#kept, bytes]);
    const frames: AudioFrame[] = [];
    let at = 0;
    while (at < all.length) {
      const size = decodeVarint(all, at);
      if (size && size.value > MAX_OPUS_SIZE) return this.#break();
      const time: Varint | undefined = size && decodeVarint(all, size.end);
      if (!size || !time || time.end + size.value > all.length) break;
      if (!Number.isSafeInteger(time.value)) return this.#break();
      at = time.end + size.value;
      frames.push({ time: time.value, packet: all.subarray(time.end, at) });
    }
    this.#kept = all.slice(at);
    return frames;
  }

  #break(): undefined {
    this.#isBroken = true;
    this.#kept = EMPTY;
    return undefined;
  }
}

/** Server: a talkspurt, its kind taken off. */
export class TalkspurtDecoder {
  readonly #start = new Start();
  readonly #frames = new FrameDecoder();
  #sequence: number | undefined;

  /** Its place among the talkspurts, once it is known. */
  get sequence(): number | undefined {
    return this.#sequence;
  }

  /** Whether the stream may end here. */
  get isBetween(): boolean {
    return this.#sequence !== undefined && this.#frames.isBetween;
  }

  /** The frames that are complete now; packets may be views of `bytes`. */
  push(bytes: Uint8Array): AudioFrame[] | undefined {
    if (this.#sequence !== undefined) return this.#frames.push(bytes);
    const start = this.#start.push(bytes);
    if (!start) return [];
    if (!Number.isSafeInteger(start.value)) return undefined;
    this.#sequence = start.value;
    return this.#frames.push(start.rest);
  }
}

/** What came of an utterance with one piece of its stream. */
export interface UtterancePiece {
  /** Given once, as soon as it is complete. */
  readonly header: UtteranceHeader | undefined;
  readonly frames: readonly AudioFrame[];
}

/** Client: an utterance, its kind taken off. */
export class UtteranceDecoder {
  readonly #frames = new FrameDecoder();
  #size: Start | undefined = new Start();
  #json: Gathering | undefined;
  #isBroken = false;

  /** Whether the stream may end here. */
  get isBetween(): boolean {
    return this.#size === undefined && this.#json === undefined && this.#frames.isBetween;
  }

  /** The header when it is complete, and frames; packets may be views of `bytes`. */
  push(bytes: Uint8Array): UtterancePiece | undefined {
    if (this.#isBroken) return undefined;
    const piece = this.#push(bytes);
    if (!piece) this.#isBroken = true;
    return piece;
  }

  #push(bytes: Uint8Array): UtterancePiece | undefined {
    let rest = bytes;
    if (this.#size) {
      const start = this.#size.push(rest);
      if (!start) return NOTHING;
      if (start.value > MAX_HEADER_SIZE) return undefined;
      this.#size = undefined;
      this.#json = new Gathering(start.value);
      rest = start.rest;
    }
    let header: UtteranceHeader | undefined;
    if (this.#json) {
      rest = this.#json.push(rest);
      if (!this.#json.isComplete) return NOTHING;
      header = parseUtteranceHeader(decodeText(this.#json.bytes));
      if (!header) return undefined;
      this.#json = undefined;
    }
    const frames = this.#frames.push(rest);
    return frames && { header, frames };
  }
}

function parseUtteranceHeader(text: string | undefined): UtteranceHeader | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { response_id, item_id, output_index, content_index, start } = value as Record<string, unknown>;
  if (typeof response_id !== "string" || typeof item_id !== "string") return undefined;
  if (!isIndex(output_index) || !isIndex(content_index) || !isIndex(start)) return undefined;
  return { response_id, item_id, output_index, content_index, start };
}

function isIndex(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** One integer at the start of a stream, however it is cut. */
class Start {
  #kept: Uint8Array = EMPTY;

  get isEmpty(): boolean {
    return this.#kept.length === 0;
  }

  push(bytes: Uint8Array): { readonly value: number; readonly rest: Uint8Array } | undefined {
    const kept = this.#kept.length;
    // Eight bytes are enough for any.
    const head = kept === 0 ? bytes : concat([this.#kept, bytes.subarray(0, 8)]);
    const read = decodeVarint(head);
    if (!read) {
      this.#kept = head.slice();
      return undefined;
    }
    this.#kept = EMPTY;
    return { value: read.value, rest: bytes.subarray(read.end - kept) };
  }
}

const FIRST_CAPACITY = 4096;

/** Gathers a known number of bytes; memory follows what has come, not what was announced. */
class Gathering {
  readonly #size: number;
  #buffer: Uint8Array;
  #length = 0;

  constructor(size: number) {
    this.#size = size;
    this.#buffer = new Uint8Array(Math.min(size, FIRST_CAPACITY));
  }

  get isComplete(): boolean {
    return this.#length === this.#size;
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Takes what is missing; returns what is beyond it. */
  push(bytes: Uint8Array): Uint8Array {
    const taken = bytes.subarray(0, this.#size - this.#length);
    const needed = this.#length + taken.length;
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(Math.min(this.#size, Math.max(needed, this.#buffer.length * 2)));
      grown.set(this.bytes);
      this.#buffer = grown;
    }
    this.#buffer.set(taken, this.#length);
    this.#length = needed;
    return bytes.subarray(taken.length);
  }
}

const EMPTY = new Uint8Array(0);
const NOTHING: UtterancePiece = { header: undefined, frames: [] };

function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
