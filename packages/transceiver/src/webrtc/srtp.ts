/** SRTP and SRTCP of one direction (RFC 3711): packet indices, replay protection, and counters of what was refused. */
import { rtpHeaderSize, unwrapSequenceNumber } from "./rtp.ts";
import { createSrtpSuite, type GcmKeyFactory, type SrtpProfile } from "./srtp-suite.ts";

/** What DTLS agreed on for one direction (RFC 5764 section 4.2). */
export interface SrtpOptions {
  readonly profile: SrtpProfile;
  /** 16 octets. */
  readonly masterKey: Uint8Array;
  /** 12 octets for GCM, 14 for CM. */
  readonly masterSalt: Uint8Array;
  /** Does the work of AEAD_AES_128_GCM; default: Node's ciphers. */
  readonly gcm?: GcmKeyFactory | undefined;
}

/** Packets refused, by reason. */
export interface SrtpCounters {
  /** The tag did not verify. */
  authFailed: number;
  /** Seen before, or older than the window of 64 packets. */
  replayed: number;
  /** Not RTP or RTCP, too short, or one stream too many. */
  malformed: number;
}

/** One direction's keys: `protect…` with our own, `unprotect…` with the peer's. */
export interface SrtpContext {
  /** Seals an RTP packet; the same packet again (a retransmission) gives the same bytes. */
  protectRtp(packet: Uint8Array): Buffer;
  /** Opens an SRTP packet; `undefined` when refused. */
  unprotectRtp(packet: Uint8Array): Buffer | undefined;
  /** Whether the packet that {@link SrtpContext.unprotectRtp} opened last is newer than all before it of its stream. */
  readonly isNewest: boolean;
  /** Seals a compound RTCP packet under the next index. */
  protectRtcp(packet: Uint8Array): Buffer;
  /** Opens an SRTCP packet; `undefined` when refused. */
  unprotectRtcp(packet: Uint8Array): Buffer | undefined;
  readonly counters: Readonly<SrtpCounters>;
}

/** Streams of one peer and direction; a browser has one or two. */
const MAX_STREAMS = 64;
const RTCP_HEADER_SIZE = 8;
const MAX_SRTCP_INDEX = 0x7fffffff;

/** Makes the context of one direction. */
export function createSrtpContext({ profile, masterKey, masterSalt, gcm }: SrtpOptions): SrtpContext {
  const suite = createSrtpSuite(profile, masterKey, masterSalt, gcm);
  const counters: SrtpCounters = { authFailed: 0, replayed: 0, malformed: 0 };
  const sentRtp = new Map<number, number>();
  const receivedRtp = new Map<number, ReplayWindow>();
  const receivedRtcp = new Map<number, ReplayWindow>();
  let rtcpIndex = 0;
  let isNewest = false;

  const refuse = (reason: keyof SrtpCounters): undefined => {
    counters[reason] += 1;
  };

  /** Opens `packet` unless it is a replay; only what verified is remembered, so that forgeries allocate nothing. */
  const admit = (
    windows: Map<number, ReplayWindow>,
    ssrc: number,
    indexAfter: (highest: number) => number,
    open: (index: number) => Buffer | undefined,
  ): Buffer | undefined => {
    const known = windows.get(ssrc);
    if (known === undefined && windows.size >= MAX_STREAMS) return refuse("malformed");
    const index = indexAfter(known?.highest ?? -1);
    if (index < 0 || (known !== undefined && !known.accepts(index))) return refuse("replayed");
    const clear = open(index);
    if (clear === undefined) return refuse("authFailed");
    const window = known ?? new ReplayWindow();
    if (known === undefined) windows.set(ssrc, window);
    isNewest = known !== undefined && index > known.highest;
    window.record(index);
    return clear;
  };

  return {
    counters,
    get isNewest() {
      return isNewest;
    },
    protectRtp(packet) {
      const headerSize = rtpHeaderSize(packet);
      if (headerSize === undefined) throw new RangeError("not an RTP packet");
      const ssrc = readUint32(packet, 8);
      const sequenceNumber = (packet[2]! << 8) | packet[3]!;
      const highest = sentRtp.get(ssrc);
      const index = highest === undefined ? sequenceNumber : unwrapSequenceNumber(highest, sequenceNumber);
      if (highest === undefined || index > highest) sentRtp.set(ssrc, index);
      return suite.sealRtp(packet, headerSize, index);
    },
    unprotectRtp(packet) {
      const headerSize = rtpHeaderSize(packet);
      if (headerSize === undefined || packet.length < headerSize + suite.rtpOverhead) return refuse("malformed");
      const sequenceNumber = (packet[2]! << 8) | packet[3]!;
      return admit(
        receivedRtp,
        readUint32(packet, 8),
        (highest) => (highest < 0 ? sequenceNumber : unwrapSequenceNumber(highest, sequenceNumber)),
        (index) => suite.openRtp(packet, headerSize, index),
      );
    },
    protectRtcp(packet) {
      // RFC 3711 section 9.2: a key's life ends with its indices. At ten a second that is six years.
      if (rtcpIndex === MAX_SRTCP_INDEX) throw new RangeError("out of SRTCP indices");
      rtcpIndex += 1;
      return suite.sealRtcp(packet, rtcpIndex);
    },
    unprotectRtcp(packet) {
      if (packet.length < RTCP_HEADER_SIZE + suite.rtcpOverhead || packet[0]! >> 6 !== 2) return refuse("malformed");
      const index = suite.srtcpIndexWord(packet) & MAX_SRTCP_INDEX;
      return admit(
        receivedRtcp,
        readUint32(packet, 4),
        () => index,
        () => suite.openRtcp(packet),
      );
    },
  };
}

/** The last 64 indices (RFC 3711 section 3.3.2): each slot holds the newest index that belongs there. */
class ReplayWindow {
  highest = -1;
  readonly #slots = new Float64Array(64).fill(-1);

  accepts(index: number): boolean {
    return index > this.highest - 64 && this.#slots[index % 64] !== index;
  }

  record(index: number): void {
    this.#slots[index % 64] = index;
    if (index > this.highest) this.highest = index;
  }
}

function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
