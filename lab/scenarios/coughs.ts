/** The caller coughs and hums into the answer. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "coughs",
  about: "the caller coughs and hums into the answer, and the voice detector is in doubt",
  network: "good-wifi",
  inference: "fast",
  script: [
    { say: "what is the news today" },
    { noise: "cough", afterMs: 900 },
    { listen: true },
    { say: "and what more" },
    { noise: "mhm", afterMs: 700 },
    { listen: true },
  ],
  check: ({ stoppedByCough, answer }) => [
    stoppedByCough > 0 && `${stoppedByCough} answers were stopped by a cough`,
    answer.rate > 0.1 && "words of the answer were lost",
  ],
};
