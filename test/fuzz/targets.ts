/** Every parser that reads what a stranger sent. A new one belongs in this list. */
import { mediaTargets } from "./media-targets.ts";
import { moqTargets } from "./moq-targets.ts";
import { routingTargets } from "./routing-targets.ts";
import type { FuzzTarget } from "./target.ts";
import { webTransportTargets } from "./webtransport-targets.ts";

/** All parsers under fuzz. */
export const fuzzTargets: readonly FuzzTarget[] = [
  ...routingTargets,
  ...mediaTargets,
  ...webTransportTargets,
  ...moqTargets,
];
