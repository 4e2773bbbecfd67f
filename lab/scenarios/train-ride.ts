/** Three turns at 300 km/h: a handover swallows a third of a second now and then. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "train-ride",
  about: "three turns at 300 km/h: a handover swallows a third of a second now and then",
  network: "train",
  inference: "usual",
  script: [
    { say: "how long is the way to the next town" },
    { listen: true },
    { say: "can I go from there by night" },
    { listen: true },
    { say: "good, I will be there" },
    { listen: true },
  ],
  check: ({ turns }) => [turns.some(({ mouthToEarMs }) => mouthToEarMs === undefined) && "a turn had no answer"],
};
