/** What a receiver knows of one RTP stream's delivery, for its reports (RFC 3550 sections 6.4.1, A.3 and A.8). */
import type { Milli } from "@sluice/conversation";
import type { ReceptionReport, SenderReport } from "./rtcp.ts";

/** Statistics of one SSRC; sequence numbers and timestamps are unwrapped. */
export class Reception {
  readonly ssrc: number;
  readonly #ticksPerMs: number;
  #firstSequenceNumber: number | undefined;
  #highestSequenceNumber = 0;
  #received = 0;
  #expectedBefore = 0;
  #receivedBefore = 0;
  #transit: number | undefined;
  #jitter = 0;
  #senderReport: { readonly middle: number; readonly at: Milli } | undefined;

  constructor(ssrc: number, ticksPerMs: number) {
    this.ssrc = ssrc;
    this.#ticksPerMs = ticksPerMs;
  }

  /** Interarrival jitter. */
  get jitterMs(): Milli {
    return this.#jitter / this.#ticksPerMs;
  }

  handlePacket(now: Milli, sequenceNumber: number, timestamp: number): void {
    this.#received += 1;
    this.#firstSequenceNumber ??= sequenceNumber;
    this.#highestSequenceNumber = Math.max(this.#highestSequenceNumber, sequenceNumber);
    const transit = now * this.#ticksPerMs - timestamp;
    if (this.#transit !== undefined) this.#jitter += (Math.abs(transit - this.#transit) - this.#jitter) / 16;
    this.#transit = transit;
  }

  handleSenderReport(now: Milli, { ntp }: SenderReport): void {
    this.#senderReport = { middle: (((ntp.seconds & 0xffff) << 16) | (ntp.fraction >>> 16)) >>> 0, at: now };
  }

  /** The report block since the last one; `undefined` before the first packet. */
  report(now: Milli): ReceptionReport | undefined {
    if (this.#firstSequenceNumber === undefined) return undefined;
    const expected = this.#highestSequenceNumber - this.#firstSequenceNumber + 1;
    const expectedNow = expected - this.#expectedBefore;
    const lostNow = expectedNow - (this.#received - this.#receivedBefore);
    this.#expectedBefore = expected;
    this.#receivedBefore = this.#received;
    const since = this.#senderReport === undefined ? 0 : now - this.#senderReport.at;
    return {
      ssrc: this.ssrc,
      fractionLost: lostNow <= 0 ? 0 : Math.min(255, Math.floor((lostNow * 256) / expectedNow)),
      packetsLost: expected - this.#received,
      highestSequenceNumber: this.#highestSequenceNumber >>> 0,
      jitter: Math.min(0xffffffff, Math.floor(this.#jitter)),
      lastSenderReport: this.#senderReport?.middle ?? 0,
      delaySinceLastSenderReport: Math.min(0xffffffff, Math.max(0, Math.round((since * 65536) / 1000))),
    };
  }
}
