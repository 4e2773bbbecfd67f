/**
 * Frames of audio as the containers of hang wrap them, one to a MoQ frame. *legacy*: `time (varint, microseconds) | packet`.
 * *loc* (draft-ietf-moq-loc-04): `size (varint) | properties | packet`, each property `type (varint, as the difference to the
 * one before) | value`, an even type's value a varint, an odd one's `length | bytes`. Varints are QUIC's (RFC 9000 section 16).
 */
import { decodeVarint, encodeVarint } from "@sluice/realtime";

/** The containers that carry Opus as it is. */
export type ContainerKind = "legacy" | "loc";

/** One packet and its time, in microseconds of its publisher's clock. */
export interface MediaFrame {
  readonly micros: number;
  /** A view of the frame's own bytes. */
  readonly packet: Uint8Array;
}

const TIMESCALE = 0x08;
const TIMESTAMP = 0x10;
/** The timestamp of draft-ietf-moq-loc-03. */
const TIMESTAMP_03 = 0x06;
const MICROS_PER_SECOND = 1_000_000;
/** Properties of one frame that are looked at. */
const MAX_PROPERTIES = 32;

/** Reads one frame; `undefined` when it is malformed. A packet of no bytes says that nothing follows. */
export function decodeMediaFrame(kind: ContainerKind, frame: Uint8Array): MediaFrame | undefined {
  return kind === "loc" ? decodeLoc(frame) : decodeLegacy(frame);
}

/** Wraps one packet as *legacy*. */
export function encodeLegacy({ micros, packet }: MediaFrame): Uint8Array {
  const time = encodeVarint(micros);
  const frame = new Uint8Array(time.length + packet.length);
  frame.set(time);
  frame.set(packet, time.length);
  return frame;
}

function decodeLegacy(frame: Uint8Array): MediaFrame | undefined {
  const time = decodeVarint(frame);
  return time && { micros: time.value, packet: frame.subarray(time.end) };
}

function decodeLoc(frame: Uint8Array): MediaFrame | undefined {
  const size = decodeVarint(frame);
  if (!size || size.end + size.value > frame.length) return undefined;
  const end = size.end + size.value;
  const properties = frame.subarray(0, end);
  let timestamp: number | undefined;
  let timescale = MICROS_PER_SECOND;
  let type = 0;
  let at = size.end;
  for (let count = 0; at < end; count++) {
    const step = decodeVarint(properties, at);
    const value = step && decodeVarint(properties, step.end);
    if (!value || count >= MAX_PROPERTIES) return undefined;
    type += step.value;
    at = type % 2 === 0 ? value.end : value.end + value.value;
    if (type === TIMESTAMP || type === TIMESTAMP_03) timestamp = value.value;
    else if (type === TIMESCALE) timescale = value.value;
  }
  if (at !== end || timestamp === undefined || timescale === 0) return undefined;
  const micros = Math.round((timestamp * MICROS_PER_SECOND) / timescale);
  return Number.isSafeInteger(micros) ? { micros, packet: frame.subarray(end) } : undefined;
}
