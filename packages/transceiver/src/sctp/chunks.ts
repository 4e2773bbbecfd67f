/** The chunks that carry more than bytes (RFC 9260 section 3.3, RFC 3758 section 3.2): from and to values of chunks. */
import { CHUNK, decodeParameters, encodeChunk, encodeParameter, viewOf } from "./packet.ts";

/** What INIT and INIT ACK say (RFC 9260 sections 3.3.2, 3.3.3). */
export interface Init {
  readonly tag: number;
  readonly receiveWindow: number;
  readonly outboundStreams: number;
  readonly inboundStreams: number;
  readonly initialTsn: number;
  /** Whether the sender takes FORWARD TSN (RFC 3758 section 3.1). */
  readonly forwardTsn: boolean;
  /** Whether the sender takes RE-CONFIG (RFC 6525, RFC 5061 section 4.2.7). */
  readonly reconfig: boolean;
  /** Of an INIT ACK. */
  readonly cookie?: Uint8Array | undefined;
  /** Parameters to report as unrecognized, as they came (RFC 9260 section 3.2.1); none is formatted. */
  readonly unrecognized?: readonly Uint8Array[];
}

/** A DATA chunk (RFC 9260 section 3.3.1). */
export interface Data {
  readonly tsn: number;
  readonly stream: number;
  readonly ssn: number;
  readonly ppid: number;
  readonly unordered: boolean;
  readonly begins: boolean;
  readonly ends: boolean;
  /** The sender asks for a SACK at once. */
  readonly immediate: boolean;
  readonly bytes: Uint8Array;
}

/** A SACK (RFC 9260 section 3.3.4); gaps are offsets from the cumulative TSN, both ends in. */
export interface Sack {
  readonly cumulativeTsn: number;
  readonly receiveWindow: number;
  readonly gaps: readonly (readonly [first: number, last: number])[];
  readonly duplicates: readonly number[];
}

/** A FORWARD TSN (RFC 3758 section 3.2): the last sequence number that is skipped of each ordered stream. */
export interface ForwardTsn {
  readonly newCumulativeTsn: number;
  readonly streams: readonly { readonly stream: number; readonly ssn: number }[];
}

/** Bytes before the user data of a DATA chunk. */
export const DATA_HEADER_SIZE = 16;

/** Parameter types of INIT and INIT ACK. */
const PARAMETER = { cookie: 7, unrecognized: 8, extensions: 0x8008, forwardTsn: 0xc000 } as const;
/** Those that we know and need not act on: addresses, cookie preservative, ECN, AUTH's, padding, adaptation. */
const IGNORED = new Set([5, 6, 9, 12, 0x8000, 0x8002, 0x8003, 0x8004, 0x8005, 0xc006]);
/** Flags of a DATA chunk. */
const FLAG = { ends: 1, begins: 2, unordered: 4, immediate: 8 } as const;
const MAX_UNRECOGNIZED = 8;

/** Parses the value of an INIT or INIT ACK; `undefined` when it is malformed or forbidden (tag or streams of 0). */
export function decodeInit(value: Uint8Array): Init | undefined {
  if (value.length < 16) return undefined;
  const view = viewOf(value);
  const parameters = decodeParameters(value.subarray(16));
  const [tag, outboundStreams, inboundStreams] = [view.getUint32(0), view.getUint16(8), view.getUint16(10)];
  if (!parameters || tag === 0 || outboundStreams === 0 || inboundStreams === 0) return undefined;
  let [forwardTsn, reconfig, cookie] = [false, false, undefined as Uint8Array | undefined];
  const unrecognized: Uint8Array[] = [];
  for (const { type, value: body } of parameters) {
    if (type === PARAMETER.cookie) cookie = body;
    else if (type === PARAMETER.forwardTsn) forwardTsn = true;
    else if (type === PARAMETER.extensions) {
      forwardTsn ||= body.includes(CHUNK.forwardTsn);
      reconfig ||= body.includes(CHUNK.reconfig);
    } else if (!IGNORED.has(type) && type !== PARAMETER.unrecognized) {
      if (type & 0x4000 && unrecognized.length < MAX_UNRECOGNIZED) unrecognized.push(encodeParameter(type, body));
      if (!(type & 0x8000)) break; // the rest is not to be looked at (RFC 9260 section 3.2.1)
    }
  }
  return {
    tag,
    receiveWindow: view.getUint32(4),
    outboundStreams,
    inboundStreams,
    initialTsn: view.getUint32(12),
    forwardTsn,
    reconfig,
    cookie,
    unrecognized,
  };
}

/** Formats an INIT or INIT ACK. */
export function encodeInit(type: number, init: Init): Uint8Array {
  const fixed = new Uint8Array(16);
  const view = viewOf(fixed);
  view.setUint32(0, init.tag);
  view.setUint32(4, init.receiveWindow);
  view.setUint16(8, init.outboundStreams);
  view.setUint16(10, init.inboundStreams);
  view.setUint32(12, init.initialTsn);
  const extensions = [...(init.forwardTsn ? [CHUNK.forwardTsn] : []), ...(init.reconfig ? [CHUNK.reconfig] : [])];
  return encodeChunk(
    type,
    0,
    fixed,
    ...(init.cookie ? [encodeParameter(PARAMETER.cookie, init.cookie)] : []),
    ...(init.forwardTsn ? [encodeParameter(PARAMETER.forwardTsn, new Uint8Array(0))] : []),
    ...(extensions.length > 0 ? [encodeParameter(PARAMETER.extensions, Uint8Array.from(extensions))] : []),
    ...(init.unrecognized ?? []).map((each) => encodeParameter(PARAMETER.unrecognized, each)),
  );
}

/** Parses the value of a DATA chunk; `undefined` when it is too short. Its bytes may be none, which is forbidden. */
export function decodeData(flags: number, value: Uint8Array): Data | undefined {
  if (value.length < DATA_HEADER_SIZE - 4) return undefined;
  const view = viewOf(value);
  return {
    tsn: view.getUint32(0),
    stream: view.getUint16(4),
    ssn: view.getUint16(6),
    ppid: view.getUint32(8),
    unordered: (flags & FLAG.unordered) !== 0,
    begins: (flags & FLAG.begins) !== 0,
    ends: (flags & FLAG.ends) !== 0,
    immediate: (flags & FLAG.immediate) !== 0,
    bytes: value.subarray(DATA_HEADER_SIZE - 4),
  };
}

/** Formats a DATA chunk; numbers that are too long for their fields are wrapped. */
export function encodeData(data: Data): Uint8Array {
  const fixed = new Uint8Array(DATA_HEADER_SIZE - 4);
  const view = viewOf(fixed);
  view.setUint32(0, data.tsn >>> 0);
  view.setUint16(4, data.stream);
  view.setUint16(6, data.ssn & 0xffff);
  view.setUint32(8, data.ppid);
  const flags =
    (data.unordered ? FLAG.unordered : 0) |
    (data.begins ? FLAG.begins : 0) |
    (data.ends ? FLAG.ends : 0) |
    (data.immediate ? FLAG.immediate : 0);
  return encodeChunk(CHUNK.data, flags, fixed, data.bytes);
}

/** Parses the value of a SACK; `undefined` when it is too short for what it lists, or a gap ends before it begins. */
export function decodeSack(value: Uint8Array): Sack | undefined {
  if (value.length < 12) return undefined;
  const view = viewOf(value);
  const [gapCount, duplicateCount] = [view.getUint16(8), view.getUint16(10)];
  if (12 + 4 * (gapCount + duplicateCount) > value.length) return undefined;
  const gaps: [number, number][] = [];
  for (let at = 12; at < 12 + 4 * gapCount; at += 4) {
    const [first, last] = [view.getUint16(at), view.getUint16(at + 2)];
    if (first === 0 || last < first) return undefined;
    gaps.push([first, last]);
  }
  const duplicates: number[] = [];
  for (let i = 0; i < duplicateCount; i++) duplicates.push(view.getUint32(12 + 4 * (gapCount + i)));
  return { cumulativeTsn: view.getUint32(0), receiveWindow: view.getUint32(4), gaps, duplicates };
}

/** Formats a SACK. */
export function encodeSack(sack: Sack): Uint8Array {
  const value = new Uint8Array(12 + 4 * (sack.gaps.length + sack.duplicates.length));
  const view = viewOf(value);
  view.setUint32(0, sack.cumulativeTsn >>> 0);
  view.setUint32(4, sack.receiveWindow);
  view.setUint16(8, sack.gaps.length);
  view.setUint16(10, sack.duplicates.length);
  let at = 12;
  for (const [first, last] of sack.gaps) {
    view.setUint16(at, first);
    view.setUint16(at + 2, last);
    at += 4;
  }
  for (const tsn of sack.duplicates) {
    view.setUint32(at, tsn >>> 0);
    at += 4;
  }
  return encodeChunk(CHUNK.sack, 0, value);
}

/** Parses the value of a FORWARD TSN; `undefined` when it is malformed. */
export function decodeForwardTsn(value: Uint8Array): ForwardTsn | undefined {
  if (value.length < 4 || value.length % 4 !== 0) return undefined;
  const view = viewOf(value);
  const streams: { stream: number; ssn: number }[] = [];
  for (let at = 4; at < value.length; at += 4)
    streams.push({ stream: view.getUint16(at), ssn: view.getUint16(at + 2) });
  return { newCumulativeTsn: view.getUint32(0), streams };
}

/** Formats a FORWARD TSN. */
export function encodeForwardTsn({ newCumulativeTsn, streams }: ForwardTsn): Uint8Array {
  const value = new Uint8Array(4 + 4 * streams.length);
  const view = viewOf(value);
  view.setUint32(0, newCumulativeTsn >>> 0);
  streams.forEach(({ stream, ssn }, i) => {
    view.setUint16(4 + 4 * i, stream);
    view.setUint16(6 + 4 * i, ssn & 0xffff);
  });
  return encodeChunk(CHUNK.forwardTsn, 0, value);
}
