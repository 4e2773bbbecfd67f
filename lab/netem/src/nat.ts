/** A NAT between clients and the world: it gives out ports, and forgets them when told to. */
import { createRandom, type Random } from "./random.ts";

/** A UDP address; `address` is numeric text. */
export interface Address {
  readonly address: string;
  readonly port: number;
}

/** Endpoint-independent mapping (RFC 4787 section 4.1): one outer port per inner address, whoever is talked to. */
export class Nat {
  readonly #random: Random;
  readonly #outerByInner = new Map<string, Address>();
  readonly #innerByOuter = new Map<string, Address>();
  #address: string;

  constructor(address: string, seed: number) {
    this.#address = address;
    this.#random = createRandom(seed);
  }

  /** The outer address of packets from `inner`; a new mapping if it has none. */
  outward(inner: Address): Address {
    return this.#outerByInner.get(keyOf(inner)) ?? this.rebind(inner);
  }

  /** Who gets packets to `outer`; `undefined` for a port that is not, or no longer, mapped. */
  inward(outer: Address): Address | undefined {
    return this.#innerByOuter.get(keyOf(outer));
  }

  /** Gives `inner` a new port, as a NAT does that lost its state. */
  rebind(inner: Address): Address {
    const old = this.#outerByInner.get(keyOf(inner));
    if (old) this.#innerByOuter.delete(keyOf(old));
    // Bounded: a NAT has 64,000 ports, and each round tries another.
    for (let tries = 0; tries < 100_000; tries++) {
      const outer = { address: this.#address, port: 1024 + Math.floor(this.#random() * 64_512) };
      if (this.#innerByOuter.has(keyOf(outer)) || (old && keyOf(old) === keyOf(outer))) continue;
      this.#outerByInner.set(keyOf(inner), outer);
      this.#innerByOuter.set(keyOf(outer), inner);
      return outer;
    }
    throw new RangeError("this NAT has no free port");
  }

  /** Moves everyone behind another outer address, as a change from Wi-Fi to cellular does: all mappings are gone. */
  changePath(address: string): void {
    this.#address = address;
    this.#outerByInner.clear();
    this.#innerByOuter.clear();
  }
}

function keyOf({ address, port }: Address): string {
  return `${address}:${port}`;
}
