/**
 * Quantiles of a stream that forgets: a histogram of logarithmic buckets, as in DDSketch (Masson, Rim, Lee, VLDB 2019),
 * whose counts fade with time. Values are known to 2 %, memory is bounded, nothing is ever re-sorted.
 */
import type { Milli } from "./audio.ts";

/** How a sketch forgets. */
export interface SketchOptions {
  /** After this long an observation counts half. Default 10 minutes; longer is steadier and slower to notice a change. */
  readonly halfLifeMs: Milli;
  /** After this many later observations an observation counts half. Default 200. */
  readonly halfLifeCount: number;
}

/** The options of a sketch that is given none. */
export const sketchDefaults: SketchOptions = { halfLifeMs: 600_000, halfLifeCount: 200 };

/** Relative accuracy of a value. */
const ACCURACY = 0.02;
const GAMMA = (1 + ACCURACY) / (1 - ACCURACY);
const LOG_GAMMA = Math.log(GAMMA);
/** What is smaller is zero; what is larger is this. */
const LEAST = 0.01;
const MOST = 1e7;
const FIRST = Math.ceil(Math.log(LEAST) / LOG_GAMMA);
const BUCKETS = Math.ceil(Math.log(MOST) / LOG_GAMMA) - FIRST + 2;
/** Weights grow instead of all counts shrinking; before they overflow, everything is scaled down once. */
const RESCALE_AT = 1e12;

/** A stream's quantiles, the recent past weighing most. */
export class QuantileSketch {
  readonly #options: SketchOptions;
  readonly #counts = new Float64Array(BUCKETS); // bucket 0 holds zeros
  #total = 0;
  #weight = 1; // of the newest observation
  #at: Milli | undefined;

  constructor(options: Partial<SketchOptions> = {}) {
    this.#options = { ...sketchDefaults, ...options };
  }

  /** Takes one observation; what is no number, or negative, counts as zero. */
  record(now: Milli, value: number): void {
    const { halfLifeMs, halfLifeCount } = this.#options;
    const passed = this.#at === undefined ? 0 : Math.max(0, now - this.#at);
    this.#at = Math.max(now, this.#at ?? now);
    this.#weight *= 2 ** Math.min(60, passed / halfLifeMs + 1 / halfLifeCount);
    this.#counts[bucketOf(value)]! += this.#weight;
    this.#total += this.#weight;
    if (this.#weight > RESCALE_AT) this.#rescale();
  }

  /** How many of the newest observations this is worth; at most about 1.44 times the half life in observations. */
  weight(now: Milli): number {
    if (this.#at === undefined) return 0;
    const faded = 2 ** (-Math.max(0, now - this.#at) / this.#options.halfLifeMs);
    return (this.#total / this.#weight) * faded;
  }

  /** The `q` quantile, 0 to 1; `undefined` without observations. */
  quantile(q: number): number | undefined {
    if (this.#total === 0) return undefined;
    const rank = Math.min(1, Math.max(0, q)) * this.#total;
    let seen = 0;
    let last = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const count = this.#counts[bucket]!;
      if (count === 0) continue;
      seen += count;
      last = bucket;
      if (seen >= rank) break;
    }
    return middleOf(last);
  }

  /** Share of the observations above `value`, 0 to 1. */
  shareAbove(value: number): number {
    if (this.#total === 0) return 0;
    let above = 0;
    for (let bucket = bucketOf(value) + 1; bucket < BUCKETS; bucket++) above += this.#counts[bucket]!;
    return above / this.#total;
  }

  #rescale(): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const count = this.#counts[bucket]! / this.#weight;
      this.#counts[bucket] = count < 1e-9 ? 0 : count;
    }
    this.#total /= this.#weight;
    this.#weight = 1;
  }
}

function bucketOf(value: number): number {
  if (!(value > LEAST)) return 0;
  return Math.ceil(Math.log(Math.min(value, MOST)) / LOG_GAMMA) - FIRST + 1;
}

/** The middle of a bucket, by ratio. */
function middleOf(bucket: number): number {
  return bucket === 0 ? 0 : (2 * GAMMA ** (bucket - 1 + FIRST)) / (GAMMA + 1);
}
