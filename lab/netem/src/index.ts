/** Seeded network impairment in virtual time: links, losses, a NAT. Pure. */
export { type Arrival, type Impairments, Link, type LinkStats, type Milli } from "./link.ts";
export { type GilbertElliott, type Loss, LossModel } from "./loss.ts";
export { type Address, Nat } from "./nat.ts";
export { createRandom, normal, type Random } from "./random.ts";
