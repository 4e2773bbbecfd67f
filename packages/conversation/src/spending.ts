/** What is spent on a guess, kept to a share: words generated before a turn was over, requests made twice or too soon. */

/** Bounds of a {@link Spending}. */
export interface SpendingOptions {
  /** Share of all that is spent which may be in vain, 0 to 1. Default 0.15; higher: sooner answers, larger bills. */
  readonly share: number;
  /** What may be wasted before there is any experience; default 200. */
  readonly credit: number;
  /** After this much more was spent, what was spent and wasted before counts half. Default 20,000. */
  readonly halfLife: number;
}

/** How fast the share of guesses in vain is learnt: a new one counts this much. */
const LEARNING = 1 / 32;

/** A running account, shared by the sessions of a process; the recent past weighs most. */
export class Spending {
  readonly #options: SpendingOptions;
  #spent = 0;
  #wasted = 0;
  #chances = 0;
  #vain = 1; // share of the guesses that were none, of late; before there is experience, all are
  /** Of all time, for metrics. */
  readonly total = { spent: 0, wasted: 0, hits: 0, misses: 0 };

  constructor(options: Partial<SpendingOptions> = {}) {
    this.#options = { share: 0.15, credit: 200, halfLife: 20_000, ...options };
  }

  /** Whether anything may be wasted at all. */
  get enabled(): boolean {
    return this.#options.share > 0;
  }

  /** Whether one more guess is within the bound. */
  get allowed(): boolean {
    const { share, credit } = this.#options;
    return this.enabled && this.#wasted <= share * (this.#spent + credit);
  }

  /** Share of the recent spending that was in vain. */
  get wastedShare(): number {
    return this.#spent === 0 ? 0 : this.#wasted / this.#spent;
  }

  /** The share of chances on which a guess may be made, so that those in vain stay within the bound of what is spent. */
  get affordable(): number {
    const spentPerChance = this.#chances < 1 ? 1 : Math.max(1, this.#spent / this.#chances);
    return Math.min(1, (this.#options.share * spentPerChance) / Math.max(this.#vain, 0.01));
  }

  /** A guess that costs one unit might be made, or was. */
  handleChance(): void {
    this.#chances += 1;
  }

  /** `units` were spent; whether in vain is not known yet. */
  handleSpent(units: number): void {
    const fade = 2 ** (-units / this.#options.halfLife);
    this.#spent = this.#spent * fade + units;
    this.#wasted *= fade;
    this.#chances *= fade;
    this.total.spent += units;
  }

  /** A guess was of use. */
  handleHit(): void {
    this.total.hits += 1;
    this.#vain -= this.#vain * LEARNING;
  }

  /** A guess was none, and cost `units` that were spent before. */
  handleMiss(units: number): void {
    this.#wasted += units;
    this.total.misses += 1;
    this.#vain += (1 - this.#vain) * LEARNING;
    this.total.wasted += units;
  }
}
