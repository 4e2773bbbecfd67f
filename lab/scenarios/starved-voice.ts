/** The voice makes half a second of speech in a second: whatever is done, something must give. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "starved-voice",
  about:
    "the voice makes half a second of speech in a second: it may start late and stand still between words; the word in which it first runs dry is torn",
  network: "good-wifi",
  inference: "starved",
  script: [{ say: "tell me about the house" }, { listen: true }],
  // That word, and what this wifi takes of any answer: two of fourteen.
  check: ({ answer }) => [answer.rate > 0.15 && "words of the answer were lost"],
};
