/** The caller coughs into the answer. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "coughs",
  about: "the caller coughs into the answer, and the voice detector, which knows loudness alone, takes it for voice",
  network: "good-wifi",
  inference: "fast",
  script: [
    { say: "what is the news today" },
    { coughMs: 180, afterMs: 900 },
    { listen: true },
    { say: "and what more" },
    { coughMs: 220, afterMs: 700 },
    { listen: true },
  ],
  check: ({ stoppedByCough, answer }) => [
    stoppedByCough > 0 && `${stoppedByCough} answers were stopped by a cough`,
    answer.rate > 0.1 && "words of the answer were lost",
  ],
};
