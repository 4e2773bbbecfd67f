/** Repeatable chance: a seeded generator, and delays drawn from quantiles. */
import type { Milli } from "@sluice/conversation";

/** Uniform from 0 to 1, 1 excluded. */
export type Random = () => number;

/** The generator "mulberry32": small, and good enough to be fair. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A delay as measured ones are told: values by the share of cases that stay below them, in milliseconds. */
export interface Quantiles {
  /** The shortest. Default: half of `p50`. */
  readonly min?: Milli;
  readonly p50: Milli;
  /** Default: `p50`, as is every later one that of the one before. */
  readonly p95?: Milli;
  readonly p99?: Milli;
  /** The longest. */
  readonly max?: Milli;
}

/** Draws delays that have these quantiles, straight lines between them. A number is a delay that never varies. */
export function createDelays(quantiles: Quantiles | Milli, random: Random): () => Milli {
  if (typeof quantiles === "number") return () => quantiles;
  const { p50, min = p50 / 2, p95 = p50, p99 = p95, max = p99 } = quantiles;
  const points = [
    [0, min],
    [0.5, p50],
    [0.95, p95],
    [0.99, p99],
    [1, max],
  ] as const;
  if (points.some(([, value], at) => value < (points[at - 1]?.[1] ?? 0))) throw new RangeError("quantiles must rise");
  return () => {
    const share = random();
    const next = points.findIndex(([at]) => at > share);
    const [from, low] = points[next - 1]!;
    const [to, high] = points[next]!;
    return low + ((share - from) / (to - from)) * (high - low);
  };
}
