/** The caller interrupts on a phone: the agent falls silent, and remembers where. */
import type { Scenario } from "../scenario.ts";

/** See the file's head. */
export const scenario: Scenario = {
  name: "barge-in-on-lte",
  about: "the caller interrupts on a phone: the agent falls silent, and remembers where",
  network: "lte",
  inference: "fast",
  script: [
    { say: "tell me the long story again" },
    { interrupt: "stop, not this one please", afterMs: 1500 },
    { interrupt: "no, no, I want the other story", afterMs: 2300 },
    { listen: true },
  ],
  check: ({ turns, truncationWords }) => [
    turns.some(({ silencedMs }) => silencedMs !== undefined && silencedMs > 400) &&
      "it took over 400 ms to fall silent",
    truncationWords > 1 && `the agent's memory is ${truncationWords} words off what was heard`,
    turns.at(-1)?.mouthToEarMs === undefined && "the interruption had no answer",
  ],
};
