/** Loss models: independent, or in bursts by the Gilbert-Elliott chain. */
import type { Random } from "./random.ts";

/**
 * Two states, good and bad, each with its own loss; before every packet the state may change. Mean length of a burst of
 * bad packets: 1 / `badToGood`; share of time in it: `goodToBad` / (`goodToBad` + `badToGood`).
 */
export interface GilbertElliott {
  /** Probability of good turning bad at a packet. */
  readonly goodToBad: number;
  /** Probability of bad turning good at a packet. */
  readonly badToGood: number;
  /** Loss while bad. Default 1. */
  readonly badLoss?: number;
  /** Loss while good. Default 0. */
  readonly goodLoss?: number;
}

/** A probability for every packet alike, or bursts. */
export type Loss = number | GilbertElliott;

/** Decides packet by packet. */
export class LossModel {
  readonly #random: Random;
  #bad = false;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Whether the next packet is lost. */
  next(loss: Loss): boolean {
    if (typeof loss === "number") return this.#chance(loss);
    this.#bad = this.#bad ? !this.#chance(loss.badToGood) : this.#chance(loss.goodToBad);
    return this.#chance(this.#bad ? (loss.badLoss ?? 1) : (loss.goodLoss ?? 0));
  }

  #chance(probability: number): boolean {
    return probability > 0 && this.#random() < probability;
  }
}
