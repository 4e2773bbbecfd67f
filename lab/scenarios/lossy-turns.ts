/** Four turns over everybody's videos: nothing that was said may be lost to the model. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "lossy-turns",
  about: "four turns over everybody's videos: nothing that was said may be lost to the model",
  network: "cafe-wifi",
  inference: "usual",
  script: [
    { say: "can you help me find the way home" },
    { listen: true },
    { say: "I want to go to the people by the water" },
    { listen: true },
    { say: "what time is it in the early morning" },
    { listen: true },
    { say: "thank you very much" },
    { listen: true },
  ],
  check: ({ turns, prompt }) => [
    turns.some(({ mouthToEarMs }) => mouthToEarMs === undefined) && "a turn had no answer",
    prompt.rate > 0.1 && `the agent misheard ${(prompt.rate * 100).toFixed(1)} % of the words`,
  ],
};
