/** Seeded network impairment in virtual time: links, losses, standstills, a NAT, and networks that were measured. Pure. */
export { type Arrival, type Impairments, Link, type LinkStats } from "./link.ts";
export { type GilbertElliott, type Loss, LossModel } from "./loss.ts";
export { type Address, Nat } from "./nat.ts";
export { type Outage, OutageSchedule } from "./outages.ts";
export { type NetworkProfile, networkProfile, PROFILES } from "./profiles.ts";
export { createRandom, normal, type Random } from "./random.ts";
export { type Due, type Milli, Schedule } from "./schedule.ts";
