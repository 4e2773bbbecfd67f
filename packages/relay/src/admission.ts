/**
 * How much a source may ask for outside the flows that are its own: token buckets in a table of fixed size. Sources that
 * fall into one bucket share it; the seed of the hash is secret, so nobody can choose whose bucket to empty.
 */
import type { Milli } from "./directory.ts";
import { hashHost } from "./source.ts";

/** Limits per IPv4 address or IPv6 /64. */
export interface AdmissionOptions {
  /** Packets a second that open flows, move them or look for one. Default 500: a NAT's worth of clients at once. */
  readonly packetsPerSecond?: number;
  /** Packets that may come at once. Default 1000. */
  readonly burst?: number;
  /** Number of buckets, a power of two. Default 16,384: 192 KiB. */
  readonly buckets?: number;
  /** Secret 32 bits. */
  readonly seed: number;
}

/** The buckets of all sources. */
export class Admission {
  readonly #rate: number;
  readonly #burst: number;
  readonly #seed: number;
  readonly #tokens: Float32Array;
  readonly #filledAt: Float64Array;

  constructor({ packetsPerSecond = 500, burst = 1000, buckets = 16_384, seed }: AdmissionOptions) {
    if (buckets < 1 || (buckets & (buckets - 1)) !== 0) throw new RangeError(`buckets is no power of two: ${buckets}`);
    this.#rate = packetsPerSecond / 1000;
    this.#burst = burst;
    this.#seed = seed;
    this.#tokens = new Float32Array(buckets).fill(burst);
    this.#filledAt = new Float64Array(buckets);
  }

  /** Takes a token of `address`; false when there is none. */
  admit(now: Milli, address: string): boolean {
    const bucket = hashHost(address, this.#seed) & (this.#tokens.length - 1);
    const filled = this.#tokens[bucket]! + Math.max(0, now - this.#filledAt[bucket]!) * this.#rate;
    const tokens = Math.min(this.#burst, filled);
    this.#filledAt[bucket] = now;
    this.#tokens[bucket] = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  }
}
