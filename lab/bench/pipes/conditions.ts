/** The networks of the pipes bench, and what happens on them in the middle of a prompt and of an answer. */
import type { Impairments } from "@sluice/netem";
import type { NetemProxy } from "../../netem-proxy/proxy.ts";
import { writeTurns } from "./script.ts";

/** The pipes that are compared. */
export const PIPES = ["webrtc", "webtransport", "legacy"] as const;
/** One of them. */
export type Pipe = (typeof PIPES)[number];

/** One way, on every network that says nothing else: a round trip of 100 ms. */
export const DELAY_MS = 50;

/** A long turn, in whose middle things happen, and short ones. */
export const TURNS = writeTurns(24, 42, 2);

/** Half a minute each way, for the NAT that never rests. */
export const REBIND_TURN = writeTurns(120, 120, 0)[0]!;

/** A network. */
export interface Condition {
  readonly name: string;
  /** The share of independent losses, where that is what it is about. */
  readonly loss?: number;
  /** Both ways. */
  readonly impairments: Impairments;
  /** What happens 2 s into the long prompt, and 2 s into its answer. */
  strike?(proxy: NetemProxy, impairments: Impairments): void;
  /** Part of a quick run. */
  readonly quick?: boolean;
}

const BLACKOUT_MS = 3000;

const lossy = (percent: number, quick = false): Condition => ({
  name: `loss ${percent} %`,
  loss: percent / 100,
  impairments: { delayMs: DELAY_MS, loss: percent / 100 },
  quick,
});
const plain = { delayMs: DELAY_MS };
let path = 1;

/** All of them. */
export const CONDITIONS: readonly Condition[] = [
  lossy(0, true),
  lossy(2),
  lossy(5),
  lossy(10, true),
  lossy(20, true),
  // One packet in eight is lost, in runs of four.
  { name: "bursts", impairments: { delayMs: DELAY_MS, loss: { goodToBad: 0.036, badToGood: 0.25 } } },
  { name: "delay 100 ms", impairments: { delayMs: 100 } },
  { name: "delay 300 ms", impairments: { delayMs: 300 } },
  { name: "40 kbit/s", impairments: { delayMs: DELAY_MS, bitsPerSecond: 40_000, queueBytes: 8_000 } },
  {
    name: "blackout",
    impairments: plain,
    quick: true,
    strike(proxy, impairments) {
      const nothing = { ...impairments, blackhole: true };
      proxy.impair({ up: nothing, down: nothing });
      setTimeout(() => proxy.impair({ up: impairments, down: impairments }), BLACKOUT_MS);
    },
  },
  { name: "NAT rebinding", impairments: plain, strike: (proxy) => proxy.rebind() },
  { name: "network change", impairments: plain, strike: (proxy) => proxy.changePath(`127.0.1.${++path}`) },
];
