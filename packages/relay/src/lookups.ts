/** Packets of unknown addresses that wait, shortly, for what the cache knows of them. */
import type { Milli } from "./directory.ts";
import type { SourceKey } from "./source.ts";

/** Bounds of the waiting room. */
export interface LookupsOptions {
  /** Packets per address. Default 8. */
  readonly packets?: number;
  /** How long they wait. Default 50 ms. */
  readonly waitMs?: Milli;
  /** Addresses that wait, or were looked for in vain, at once. Default 4096. */
  readonly addresses?: number;
  /** How long an address is not looked for again. Default 1000 ms. */
  readonly againMs?: Milli;
}

/** What to do with a packet: look its address up, let it wait, or drop it. */
export type LookupAnswer = "lookUp" | "wait" | "full" | "miss";

interface Waiting {
  readonly startedAt: Milli;
  readonly packets: Uint8Array[];
}

/** All lookups under way, and the recent ones that found nothing. */
export class Lookups {
  readonly #options: Required<LookupsOptions>;
  readonly #waiting = new Map<SourceKey, Waiting>(); // oldest first
  readonly #misses = new Map<SourceKey, Milli>(); // oldest first

  constructor({ packets = 8, waitMs = 50, addresses = 4096, againMs = 1000 }: LookupsOptions = {}) {
    this.#options = { packets, waitMs, addresses, againMs };
  }

  /** Addresses that wait or were looked for in vain: at most twice the bound. */
  get size(): number {
    return this.#waiting.size + this.#misses.size;
  }

  /** Takes a packet of an unknown address. */
  handlePacket(now: Milli, key: SourceKey, packet: Uint8Array): LookupAnswer {
    const { packets, addresses, againMs } = this.#options;
    const waiting = this.#waiting.get(key);
    if (waiting) {
      if (waiting.packets.length >= packets) return "full";
      waiting.packets.push(Uint8Array.from(packet)); // the shell may reuse its buffer
      return "wait";
    }
    const missedAt = this.#misses.get(key);
    if (missedAt !== undefined && now - missedAt < againMs) return "miss";
    if (this.#waiting.size >= addresses) return "full";
    this.#misses.delete(key);
    this.#waiting.set(key, { startedAt: now, packets: [Uint8Array.from(packet)] });
    return "lookUp";
  }

  /** The answer came: gives the packets that waited for it. */
  settle(now: Milli, key: SourceKey, found: boolean): readonly Uint8Array[] {
    const waiting = this.#waiting.get(key);
    if (!waiting) return [];
    this.#waiting.delete(key);
    if (!found) this.#miss(now, key);
    return waiting.packets;
  }

  /** Ends waits that took too long and forgets old misses; gives the number of packets dropped. */
  handleTimeout(now: Milli): number {
    let dropped = 0;
    for (const [key, { startedAt, packets }] of this.#waiting) {
      if (now - startedAt < this.#options.waitMs) break;
      dropped += packets.length;
      this.#waiting.delete(key);
      this.#miss(now, key);
    }
    for (const [key, missedAt] of this.#misses) {
      if (now - missedAt < this.#options.againMs) break;
      this.#misses.delete(key);
    }
    return dropped;
  }

  /** When the oldest wait ends. */
  pollTimeout(): Milli | undefined {
    const [oldest] = this.#waiting.values();
    return oldest && oldest.startedAt + this.#options.waitMs;
  }

  #miss(now: Milli, key: SourceKey): void {
    const [oldest] = this.#misses.keys();
    if (this.#misses.size >= this.#options.addresses && oldest !== undefined) this.#misses.delete(oldest);
    this.#misses.set(key, now);
  }
}
