/** The voice makes half a second of speech in a second: whatever is done, something must give. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "starved-voice",
  about: "the voice makes half a second of speech in a second: it may start late or stand still, but lose no word",
  network: "good-wifi",
  inference: "starved",
  script: [{ say: "tell me about the house" }, { listen: true }],
  check: ({ answer }) => [answer.rate > 0.1 && "words of the answer were lost"],
};
