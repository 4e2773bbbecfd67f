/** The caller leaves the house in the middle of an answer: another address, another network. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "wifi-to-lte",
  about: "the caller leaves the house in the middle of an answer: another address, another network",
  network: "good-wifi",
  inference: "fast",
  script: [
    { say: "please tell me how to get from the house to the town" },
    { waitMs: 2600 },
    { network: "lte", by: "address" },
    { listen: true },
    { say: "thank you, and where is the street with the red house" },
    { listen: true },
  ],
  check: ({ turns, prompt, cutIns }) => [
    turns.some(({ mouthToEarMs }) => mouthToEarMs === undefined) && "a turn had no answer",
    prompt.rate > 0.1 && `the agent misheard ${(prompt.rate * 100).toFixed(1)} % of the words`,
    cutIns > 0 && "the agent cut in",
  ],
};
