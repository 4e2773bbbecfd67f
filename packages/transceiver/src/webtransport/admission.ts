/**
 * Who may begin a handshake (RFC 9000, section 8.1; RFC 9312 section 4.4): a rate per source, in a table of fixed size, and
 * under load only those who have proved their address by a Retry token. A spoofed source costs nothing that lasts.
 */
import type { Milli } from "@sluice/conversation";
import { parseIp } from "@sluice/routing";
import type { QuicAdmission, QuicIncoming } from "./quic-engine.ts";

/** Limits of {@link Admission}. */
export interface AdmissionOptions {
  /** Handshakes a second of one IPv4 address or IPv6 /64. Default 20: a NAT's worth of clients. */
  readonly perSecond?: number;
  /** And at once. Default 100. */
  readonly burst?: number;
  /** Half-open handshakes from which on an address must be proved first. Default 32: a Retry costs a round trip. */
  readonly retryAbove?: number;
  /** Half-open handshakes at which new ones are not answered at all. Default 1,024: each costs up to 30 KB. */
  readonly ignoreAbove?: number;
  /** Secret 32 bits, so that nobody can choose with whom to share a bucket. */
  readonly seed: number;
}

/** What was decided, counted up for metrics. */
export interface AdmissionCounts {
  retried: number;
  rateLimited: number;
  overloaded: number;
}

const BUCKETS = 16_384;

/** Decides about first Initials. */
export class Admission {
  readonly counts: AdmissionCounts = { retried: 0, rateLimited: 0, overloaded: 0 };
  readonly #options: Required<AdmissionOptions>;
  readonly #tokens: Float32Array;
  readonly #filledAt = new Float64Array(BUCKETS);

  constructor(options: AdmissionOptions) {
    this.#options = { perSecond: 20, burst: 100, retryAbove: 32, ignoreAbove: 1024, ...options };
    this.#tokens = new Float32Array(BUCKETS).fill(this.#options.burst);
  }

  /** `handshaking`: half-open handshakes now. */
  admit(now: Milli, { from, validated }: QuicIncoming, handshaking: number): QuicAdmission {
    const { retryAbove, ignoreAbove } = this.#options;
    if (handshaking >= ignoreAbove) {
      this.counts.overloaded += 1;
      return "ignore";
    }
    if (!validated && handshaking >= retryAbove) {
      this.counts.retried += 1;
      return "retry"; // stateless, and smaller than what it answers
    }
    if (this.#take(now, from.address)) return "accept";
    this.counts.rateLimited += 1;
    return "ignore";
  }

  #take(now: Milli, address: string): boolean {
    const { perSecond, burst } = this.#options;
    const bucket = this.#bucketOf(address);
    const filled = this.#tokens[bucket]! + Math.max(0, now - this.#filledAt[bucket]!) * (perSecond / 1000);
    const tokens = Math.min(burst, filled);
    this.#filledAt[bucket] = now;
    this.#tokens[bucket] = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  }

  #bucketOf(address: string): number {
    const ip = parseIp(address);
    let hash = 0x811c9dc5 ^ this.#options.seed;
    const size = ip ? Math.min(8, ip.length) : 0;
    for (let i = 0; i < size; i++) hash = Math.imul(hash ^ ip![i]!, 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    return ((hash ^ (hash >>> 13)) >>> 0) % BUCKETS;
  }
}
