/** A long call behind a gateway that forgets the caller every 30 s. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "hotel-night",
  about: "a long call behind a gateway that forgets the caller every 30 s",
  network: "hotel-nat",
  inference: "usual",
  script: [
    { say: "is there a place to go at this late time" },
    { listen: true },
    { say: "how do I get there" },
    { listen: true },
    { waitMs: 9000 },
    { say: "please tell me about the people who work there" },
    { listen: true },
    { say: "thank you, that is all" },
    { listen: true },
  ],
  check: ({ turns, prompt }) => [
    turns.some(({ mouthToEarMs }) => mouthToEarMs === undefined) && "a turn had no answer",
    prompt.rate > 0.1 && `the agent misheard ${(prompt.rate * 100).toFixed(1)} % of the words`,
  ],
};
