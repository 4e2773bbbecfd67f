/** The stages of a turn: what each one is, and the limits of patience that a turn is held against. */

/** What a stage's row says. */
export interface Stage {
  readonly label: string;
  readonly explanation: string;
}

/** By the name that `sluice.turn` uses, in the order of time. */
export const stages: Readonly<Record<string, Stage>> = {
  capture: { label: "capture", explanation: "your last sound: microphone, browser, network" },
  silence: { label: "silence", explanation: "the pause that ends a turn, as configured" },
  endpointing: { label: "endpointing", explanation: "noticing the pause, beyond the pause itself" },
  engine: { label: "engine", explanation: "the model, to its first audio" },
  recognition: { label: "recognition", explanation: "your last words, recognised" },
  model: { label: "model", explanation: "the model, to its first word" },
  clause: { label: "clause", explanation: "the first words that can be spoken" },
  voice: { label: "voice", explanation: "the voice, to its first audio" },
  lead: { label: "lead", explanation: "held back, so that the voice does not run dry" },
  egress: { label: "egress", explanation: "from the model to the first packet out" },
  playout: { label: "playout", explanation: "network, jitter buffer, loudspeaker" },
};

/** Feels immediate, like thinking, and like a bad line from there on; milliseconds. */
export const limits = [200, 500, 800] as const;

/** How a silence of `totalMs` feels. */
export function verdict(totalMs: number): string {
  if (totalMs <= limits[0]) return "as quick as people are";
  if (totalMs <= limits[1]) return "feels like thinking";
  if (totalMs <= limits[2]) return "a noticeable pause";
  return "feels like a bad line";
}
