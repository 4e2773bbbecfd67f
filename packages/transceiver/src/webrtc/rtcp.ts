/** RTCP (RFC 3550 section 6) in compound packets: reports, BYE, and the generic NACK of RFC 4585 section 6.2.1. */

/** The 64-bit NTP timestamp of a sender report. */
export interface NtpTime {
  /** Seconds since 1900. */
  readonly seconds: number;
  /** In 2^-32 s. */
  readonly fraction: number;
}

/** What a receiver says of one stream (RFC 3550 section 6.4.1). */
export interface ReceptionReport {
  readonly ssrc: number;
  /** Share lost since the last report, in 1/256. */
  readonly fractionLost: number;
  /** Signed: duplicates can make it negative. */
  readonly packetsLost: number;
  /** Highest sequence number received, with its cycles in the upper half. */
  readonly highestSequenceNumber: number;
  /** In units of the RTP clock. */
  readonly jitter: number;
  /** Middle 32 bits of the last sender report's NTP timestamp, 0 without one. */
  readonly lastSenderReport: number;
  /** Since that report, in 1/65536 s. */
  readonly delaySinceLastSenderReport: number;
}

/** What a sender says of its own stream. */
export interface SenderReport {
  readonly ssrc: number;
  readonly ntp: NtpTime;
  readonly rtpTimestamp: number;
  readonly packetCount: number;
  readonly octetCount: number;
  readonly reports: readonly ReceptionReport[];
}

/** What a receiver that sends nothing says. */
export interface ReceiverReport {
  readonly ssrc: number;
  readonly reports: readonly ReceptionReport[];
}

/** A request to send packets again. */
export interface Nack {
  readonly senderSsrc: number;
  readonly mediaSsrc: number;
  readonly sequenceNumbers: readonly number[];
}

/** One packet of a compound that Sluice acts on. */
export type RtcpPacket =
  | ({ readonly kind: "senderReport" } & SenderReport)
  | ({ readonly kind: "receiverReport" } & ReceiverReport)
  | ({ readonly kind: "nack" } & Nack)
  | { readonly kind: "bye"; readonly ssrcs: readonly number[] };

const SENDER_REPORT = 200;
const RECEIVER_REPORT = 201;
const SOURCE_DESCRIPTION = 202;
const BYE = 203;
const TRANSPORT_FEEDBACK = 205;
const GENERIC_NACK = 1;
const REPORT_SIZE = 24;

/** Reads a compound packet, leaving out what Sluice does not act on; `undefined` when any of it is malformed. */
export function decodeRtcp(compound: Uint8Array): RtcpPacket[] | undefined {
  const bytes = Buffer.from(compound.buffer, compound.byteOffset, compound.byteLength);
  const packets: RtcpPacket[] = [];
  let at = 0;
  do {
    if (at + 4 > bytes.length || bytes[at]! >> 6 !== 2) return undefined;
    const end = at + (bytes.readUInt16BE(at + 2) + 1) * 4;
    if (end > bytes.length) return undefined;
    let bodyEnd = end;
    if (bytes[at]! & 0x20) {
      // Only the last packet of a compound may be padded (RFC 3550 section 6.4.1).
      const padding = bytes[end - 1]!;
      if (end !== bytes.length || padding === 0 || padding % 4 !== 0 || padding > end - at - 4) return undefined;
      bodyEnd -= padding;
    }
    const packet = decodeOne(bytes[at + 1]!, bytes[at]! & 0x1f, bytes.subarray(at + 4, bodyEnd));
    if (packet === "malformed") return undefined;
    if (packet !== undefined) packets.push(packet);
    at = end;
  } while (at < bytes.length);
  return packets;
}

function decodeOne(type: number, count: number, body: Buffer): RtcpPacket | undefined | "malformed" {
  switch (type) {
    case SENDER_REPORT: {
      if (body.length < 24 + count * REPORT_SIZE) return "malformed";
      return {
        kind: "senderReport",
        ssrc: body.readUInt32BE(0),
        ntp: { seconds: body.readUInt32BE(4), fraction: body.readUInt32BE(8) },
        rtpTimestamp: body.readUInt32BE(12),
        packetCount: body.readUInt32BE(16),
        octetCount: body.readUInt32BE(20),
        reports: decodeReports(body, 24, count),
      };
    }
    case RECEIVER_REPORT: {
      if (body.length < 4 + count * REPORT_SIZE) return "malformed";
      return { kind: "receiverReport", ssrc: body.readUInt32BE(0), reports: decodeReports(body, 4, count) };
    }
    case BYE: {
      if (body.length < count * 4) return "malformed";
      return { kind: "bye", ssrcs: Array.from({ length: count }, (_, index) => body.readUInt32BE(index * 4)) };
    }
    case TRANSPORT_FEEDBACK: {
      if (count !== GENERIC_NACK) return undefined;
      if (body.length < 12 || body.length % 4 !== 0) return "malformed";
      return {
        kind: "nack",
        senderSsrc: body.readUInt32BE(0),
        mediaSsrc: body.readUInt32BE(4),
        sequenceNumbers: decodeNackList(body.subarray(8)),
      };
    }
    default:
      return undefined;
  }
}

function decodeReports(body: Buffer, from: number, count: number): ReceptionReport[] {
  return Array.from({ length: count }, (_, index) => {
    const at = from + index * REPORT_SIZE;
    return {
      ssrc: body.readUInt32BE(at),
      fractionLost: body[at + 4]!,
      packetsLost: body.readIntBE(at + 5, 3),
      highestSequenceNumber: body.readUInt32BE(at + 8),
      jitter: body.readUInt32BE(at + 12),
      lastSenderReport: body.readUInt32BE(at + 16),
      delaySinceLastSenderReport: body.readUInt32BE(at + 20),
    };
  });
}

/** A packet ID and a bit mask of the 16 after it, per entry. */
function decodeNackList(list: Buffer): number[] {
  const sequenceNumbers: number[] = [];
  for (let at = 0; at < list.length; at += 4) {
    const first = list.readUInt16BE(at);
    const following = list.readUInt16BE(at + 2);
    sequenceNumbers.push(first);
    for (let bit = 0; bit < 16; bit++) {
      if (following & (1 << bit)) sequenceNumbers.push((first + 1 + bit) & 0xffff);
    }
  }
  return sequenceNumbers;
}

/** Writes a sender report and the source description that a compound must have (RFC 3550 section 6.1). */
export function encodeSenderReport(report: SenderReport, cname: string): Buffer {
  const bytes = header(SENDER_REPORT, report.reports.length, 28 + report.reports.length * REPORT_SIZE);
  bytes.writeUInt32BE(report.ssrc, 4);
  bytes.writeUInt32BE(report.ntp.seconds, 8);
  bytes.writeUInt32BE(report.ntp.fraction, 12);
  bytes.writeUInt32BE(report.rtpTimestamp, 16);
  bytes.writeUInt32BE(report.packetCount, 20);
  bytes.writeUInt32BE(report.octetCount, 24);
  encodeReports(bytes, 28, report.reports);
  return Buffer.concat([bytes, encodeSourceDescription(report.ssrc, cname)]);
}

/** Writes a receiver report and its source description. */
export function encodeReceiverReport(report: ReceiverReport, cname: string): Buffer {
  const bytes = header(RECEIVER_REPORT, report.reports.length, 8 + report.reports.length * REPORT_SIZE);
  bytes.writeUInt32BE(report.ssrc, 4);
  encodeReports(bytes, 8, report.reports);
  return Buffer.concat([bytes, encodeSourceDescription(report.ssrc, cname)]);
}

/** Writes a generic NACK, to be sent after a report in one compound; sequence numbers in ascending order pack best. */
export function encodeNack(nack: Nack): Buffer {
  const entries: { first: number; following: number }[] = [];
  for (const sequenceNumber of nack.sequenceNumbers) {
    const last = entries.at(-1);
    const distance = last === undefined ? 0 : (sequenceNumber - last.first) & 0xffff;
    if (last !== undefined && distance >= 1 && distance <= 16) last.following |= 1 << (distance - 1);
    else entries.push({ first: sequenceNumber, following: 0 });
  }
  const bytes = header(TRANSPORT_FEEDBACK, GENERIC_NACK, 12 + entries.length * 4);
  bytes.writeUInt32BE(nack.senderSsrc, 4);
  bytes.writeUInt32BE(nack.mediaSsrc, 8);
  entries.forEach(({ first, following }, index) => {
    bytes.writeUInt16BE(first, 12 + index * 4);
    bytes.writeUInt16BE(following, 14 + index * 4);
  });
  return bytes;
}

function encodeReports(bytes: Buffer, from: number, reports: readonly ReceptionReport[]): void {
  reports.forEach((report, index) => {
    const at = from + index * REPORT_SIZE;
    bytes.writeUInt32BE(report.ssrc, at);
    bytes[at + 4] = report.fractionLost;
    bytes.writeIntBE(Math.max(-0x800000, Math.min(0x7fffff, report.packetsLost)), at + 5, 3);
    bytes.writeUInt32BE(report.highestSequenceNumber, at + 8);
    bytes.writeUInt32BE(report.jitter, at + 12);
    bytes.writeUInt32BE(report.lastSenderReport, at + 16);
    bytes.writeUInt32BE(report.delaySinceLastSenderReport, at + 20);
  });
}

/** One chunk of one CNAME item, its list ended by a zero octet and padded to 32 bits (RFC 3550 section 6.5). */
function encodeSourceDescription(ssrc: number, cname: string): Buffer {
  const name = Buffer.from(cname).subarray(0, 255);
  const bytes = header(SOURCE_DESCRIPTION, 1, (4 + 4 + 2 + name.length + 1 + 3) & ~3);
  bytes.writeUInt32BE(ssrc, 4);
  bytes[8] = 1;
  bytes[9] = name.length;
  bytes.set(name, 10);
  return bytes;
}

function header(type: number, count: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes[0] = 0x80 | count;
  bytes[1] = type;
  bytes.writeUInt16BE(size / 4 - 1, 2);
  return bytes;
}
