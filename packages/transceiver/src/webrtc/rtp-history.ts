/** The RTP packets sent lately, for those who ask for one again (RFC 4585 section 6.2.1). */
import type { Milli } from "@sluice/conversation";

interface SentPacket {
  readonly sequenceNumber: number;
  readonly packet: Buffer;
  sentAt: Milli;
}

/** 5 s at 50 packets a second, as a power of two that divides the sequence numbers. */
const SIZE = 256;
const MAX_AGE_MS: Milli = 5000;
/** What a peer may make us send again: twice the stream's own rate, and bursts of half a second. */
const RESENDS_PER_SECOND = 100;
const MAX_BURST = 25;
const MIN_SPACING_MS: Milli = 10;

/** A ring of packets by sequence number, with a token bucket against peers who ask too much. */
export class RtpHistory {
  readonly #packets: (SentPacket | undefined)[] = Array.from({ length: SIZE });
  #tokens = MAX_BURST;
  #tokensAt: Milli | undefined;

  /** Keeps `packet`, in place of the one 256 before it. */
  record(now: Milli, sequenceNumber: number, packet: Buffer): void {
    this.#packets[sequenceNumber % SIZE] = { sequenceNumber, packet, sentAt: now };
  }

  /** The packets asked for, without those too old, unknown, or sent less than `spacingMs` (at least 10) ago. */
  take(now: Milli, sequenceNumbers: readonly number[], spacingMs: Milli): Buffer[] {
    this.#tokens = Math.min(MAX_BURST, this.#tokens + ((now - (this.#tokensAt ?? now)) * RESENDS_PER_SECOND) / 1000);
    this.#tokensAt = now;
    const packets: Buffer[] = [];
    for (const sequenceNumber of sequenceNumbers) {
      const sent = this.#packets[sequenceNumber % SIZE];
      if (sent?.sequenceNumber !== sequenceNumber || this.#tokens < 1) continue;
      const age = now - sent.sentAt;
      if (age > MAX_AGE_MS || age < Math.max(MIN_SPACING_MS, spacingMs)) continue;
      this.#tokens -= 1;
      sent.sentAt = now;
      packets.push(sent.packet);
    }
    return packets;
  }
}
