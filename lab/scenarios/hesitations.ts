/** The caller thinks in the middle of a sentence; the agent may wait too long or not long enough. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "hesitations",
  about: "the caller thinks in the middle of a sentence; the agent may wait too long, or not long enough",
  network: "good-wifi",
  inference: "fast",
  script: [
    { say: "I want to go … to the town in the morning" },
    { listen: true },
    { say: "where is … the place by … the water" },
    { listen: true },
  ],
  check: ({ prompt }) => [prompt.rate > 0.1 && "words of the prompt were lost"],
};
