/**
 * What stands in front of DTLS: only well-formed records from addresses that passed an ICE check get through, at a bounded rate before
 * the peer is known, and nothing in plaintext after (RFC 6347 section 4.1.2.7: invalid records are dropped silently).
 */
import type { Milli } from "@sluice/conversation";
import { CONTENT_TYPE, type DtlsRecord, decodeRecords } from "./dtls-record.ts";

/** Datagrams and records that did not get through, by reason. */
export interface DtlsGuardCounts {
  /** From an address without an authenticated ICE check. */
  foreign: number;
  /** Not DTLS 1.2 records from end to end. */
  malformed: number;
  /** Above the rate that a handshake needs. */
  excess: number;
  /** Epoch 0 after the handshake. */
  plaintext: number;
  /** Of an epoch or type that cannot come now. */
  unexpected: number;
}

/** Datagrams at once before the handshake is over; an honest one takes about eight, twice that where much is lost. */
const BURST = 100;
const PER_SECOND = 100;

/** Decides which records a DTLS association sees. */
export class DtlsGuard {
  readonly counts: DtlsGuardCounts = { foreign: 0, malformed: 0, excess: 0, plaintext: 0, unexpected: 0 };
  #established = false;
  #tokens = BURST;
  #refilledAt: Milli;

  constructor(now: Milli) {
    this.#refilledAt = now;
  }

  /** The handshake is over. */
  handleEstablished(): void {
    this.#established = true;
  }

  /** The records of `datagram` that may pass; none where it must be dropped. */
  admit(now: Milli, datagram: Uint8Array, isValidated: boolean): readonly DtlsRecord[] {
    if (!isValidated) return this.#drop("foreign");
    if (!this.#established) {
      this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#refilledAt) / 1000) * PER_SECOND);
      this.#refilledAt = now;
      if (this.#tokens < 1) return this.#drop("excess");
      this.#tokens -= 1;
    }
    const records = decodeRecords(datagram);
    if (!records) return this.#drop("malformed");
    return records.filter((record) => this.#passes(record));
  }

  #passes({ type, epoch }: DtlsRecord): boolean {
    if (epoch === 0 && this.#established) {
      this.counts.plaintext += 1;
      return false;
    }
    const isExpected =
      epoch === 0
        ? type === CONTENT_TYPE.handshake || type === CONTENT_TYPE.changeCipherSpec
        : epoch === 1 && type !== CONTENT_TYPE.changeCipherSpec;
    if (!isExpected) this.counts.unexpected += 1;
    return isExpected;
  }

  #drop(reason: keyof DtlsGuardCounts): readonly DtlsRecord[] {
    this.counts[reason] += 1;
    return [];
  }
}
