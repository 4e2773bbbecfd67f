/** HTTP/3 on the wire (RFC 9114): frames, SETTINGS and the codes that streams and connections are ended with. */
import { decodeVarint, encodeVarint, type Varint } from "@sluice/realtime";

/** Frame types (section 7.2). */
export const frameTypes = { data: 0x0, headers: 0x1, settings: 0x4, goaway: 0x7 } as const;

/** What HTTP/2 had and HTTP/3 forbids (section 7.2.8). */
export const forbiddenFrameTypes: readonly number[] = [0x2, 0x6, 0x8, 0x9];

/** Types of unidirectional streams (section 6.2; RFC 9204 section 4.2; draft-ietf-webtrans-http3 section 4.2). */
export const uniStreamTypes = {
  control: 0x0,
  push: 0x1,
  qpackEncoder: 0x2,
  qpackDecoder: 0x3,
  webTransport: 0x54,
} as const;

/** What a bidirectional stream of a WebTransport session begins with, where a frame type would be. */
export const BIDI_WEBTRANSPORT = 0x41;

/** Error codes (RFC 9114 section 8.1; RFC 9204 section 6; draft-ietf-webtrans-http3). */
export const errorCodes = {
  noError: 0x100,
  generalProtocolError: 0x101,
  streamCreationError: 0x103,
  closedCriticalStream: 0x104,
  frameUnexpected: 0x105,
  frameError: 0x106,
  excessiveLoad: 0x107,
  idError: 0x108,
  settingsError: 0x109,
  missingSettings: 0x10a,
  requestRejected: 0x10b,
  requestIncomplete: 0x10d,
  messageError: 0x10e,
  qpackDecompressionFailed: 0x200,
  sessionGone: 0x170d7b68,
  bufferedStreamRejected: 0x3994bd84,
} as const;

const WEBTRANSPORT_CODES_FIRST = 0x52e4a40fa8db;
const WEBTRANSPORT_CODES_LAST = 0x52e5ac983162;

/** The code on the wire of a WebTransport application's 32-bit `code`: leaps over the reserved ones. */
export function toWireCode(code: number): number {
  return WEBTRANSPORT_CODES_FIRST + code + Math.floor(code / 0x1e);
}

/** The application's code of one on the wire; `undefined` when it is none of an application. */
export function fromWireCode(code: number): number | undefined {
  if (code < WEBTRANSPORT_CODES_FIRST || code > WEBTRANSPORT_CODES_LAST) return undefined;
  if ((code - 0x21) % 0x1f === 0) return undefined; // reserved (RFC 9114 section 8.1)
  const shifted = code - WEBTRANSPORT_CODES_FIRST;
  return shifted - Math.floor(shifted / 0x1f);
}

/** Settings by identifier. */
export type Settings = ReadonlyMap<number, number>;

/** Identifiers of settings that matter here. */
export const settingIds = {
  enableConnectProtocol: 0x08, // RFC 9220
  h3Datagram: 0x33, // RFC 9297
  h3DatagramDraft04: 0xffd277,
  enableWebTransport: 0x2b603742, // draft-02 to -06: Chromium, Firefox
  maxSessionsDraft07: 0xc671706a, // draft-07 to -12: Safari
} as const;

/** What we say of ourselves: enough for Chromium, Firefox and Safari, and no flow control of WebTransport's own. */
export const ourSettings: Settings = new Map([
  [settingIds.enableConnectProtocol, 1],
  [settingIds.h3Datagram, 1],
  [settingIds.h3DatagramDraft04, 1],
  [settingIds.enableWebTransport, 1],
  [settingIds.maxSessionsDraft07, 1],
]);

/** Whether these settings let us send datagrams. */
export function allowsDatagrams(settings: Settings): boolean {
  return settings.get(settingIds.h3Datagram) === 1 || settings.get(settingIds.h3DatagramDraft04) === 1;
}

/** The first bytes of a control stream (section 6.2.1). */
export function encodeControlStart(settings: Settings): Uint8Array {
  const payload = [...settings].flatMap(([id, value]) => [...encodeVarint(id), ...encodeVarint(value)]);
  return Uint8Array.of(uniStreamTypes.control, ...encodeFrame(frameTypes.settings, Uint8Array.from(payload)));
}

/** Reads a SETTINGS payload (section 7.2.4): `undefined` when it is cut, repeats an identifier, or has one of HTTP/2. */
export function decodeSettings(payload: Uint8Array): Settings | undefined {
  const settings = new Map<number, number>();
  for (let at = 0; at < payload.length; ) {
    const id = decodeVarint(payload, at);
    const value = id && decodeVarint(payload, id.end);
    if (!id || !value || settings.has(id.value) || FORBIDDEN_SETTINGS.includes(id.value)) return undefined;
    settings.set(id.value, value.value);
    at = value.end;
  }
  return settings;
}

const FORBIDDEN_SETTINGS = [0x2, 0x3, 0x4, 0x5];

/** A frame. */
export function encodeFrame(type: number, payload: Uint8Array): Uint8Array {
  const [kind, length] = [encodeVarint(type), encodeVarint(payload.length)];
  const bytes = new Uint8Array(kind.length + length.length + payload.length);
  bytes.set(kind);
  bytes.set(length, kind.length);
  bytes.set(payload, kind.length + length.length);
  return bytes;
}

/** What a {@link FrameDecoder} met. */
export type FramePiece =
  /** A whole frame of a type that is kept. */
  | { readonly kind: "frame"; readonly type: number; readonly payload: Uint8Array }
  /** A piece of a DATA frame, as it came. */
  | { readonly kind: "data"; readonly data: Uint8Array }
  /** A frame longer than is taken. */
  | { readonly kind: "tooLong"; readonly type: number };

/** Reads the frames of a stream in whatever pieces it comes. DATA is passed through, types that nobody keeps are skipped. */
export class FrameDecoder {
  readonly #limits: ReadonlyMap<number, number>;
  #kept: Uint8Array = new Uint8Array(0);
  #frame: { readonly type: number; readonly keep: boolean; left: number } | undefined;

  /** `limits`: the longest payload by each type that is kept. */
  constructor(limits: ReadonlyMap<number, number>) {
    this.#limits = limits;
  }

  /** Whether the stream may end here. */
  get isBetween(): boolean {
    return this.#frame === undefined && this.#kept.length === 0;
  }

  /** What is complete now. After "tooLong" nothing follows. */
  push(bytes: Uint8Array): FramePiece[] {
    let rest = this.#kept.length === 0 ? bytes : concat(this.#kept, bytes);
    this.#kept = new Uint8Array(0);
    const pieces: FramePiece[] = [];
    for (;;) {
      if (!this.#frame) {
        const header = readHeader(rest);
        if (!header) break;
        const limit = this.#limits.get(header.type);
        if (limit !== undefined && header.length > limit) return [...pieces, { kind: "tooLong", type: header.type }];
        this.#frame = { type: header.type, keep: limit !== undefined, left: header.length };
        rest = rest.subarray(header.end);
      }
      const { type, keep, left } = this.#frame;
      if (keep && rest.length < left) break;
      const payload = rest.subarray(0, left);
      if (keep) pieces.push({ kind: "frame", type, payload });
      else if (type === frameTypes.data && payload.length > 0) pieces.push({ kind: "data", data: payload });
      rest = rest.subarray(payload.length);
      this.#frame.left -= payload.length;
      if (!keep && this.#frame.left > 0) break;
      this.#frame = undefined;
    }
    this.#kept = rest.slice();
    return pieces;
  }
}

function readHeader(bytes: Uint8Array): { type: number; length: number; end: number } | undefined {
  const type = decodeVarint(bytes);
  const length: Varint | undefined = type && decodeVarint(bytes, type.end);
  return type && length && { type: type.value, length: length.value, end: length.end };
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
