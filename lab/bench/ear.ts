/**
 * The timeline against the sound in a real Chromium: tone words into its fake microphone, its output recorded, both to
 * the sample (`lab/tone-call.ts`). `difference_ms` is mouth to ear as recorded, sound devices included, less what the
 * timeline says; the first turn meets cold code and is listed, not counted. `--turns 12`.
 */
import { quantile } from "../quantile.ts";
import { measureToneCall } from "../tone-call.ts";
import type { Bench } from "./run.ts";

/** Runs the bench. */
export const run: Bench = async ({ flags }) => {
  const rows = await measureToneCall(Number(flags.turns ?? 12));
  const counted = rows.slice(1).filter(({ clock }) => clock === "client");
  const of = (pick: (row: (typeof rows)[number]) => number) => counted.map(pick);
  return {
    metrics: {
      turns: counted.length,
      mouth_to_ear_ms_p50: quantile(
        of((row) => row.mouthToEarMs),
        0.5,
      ),
      timeline_ms_p50: quantile(
        of((row) => row.timelineMs),
        0.5,
      ),
      difference_ms_p50: quantile(
        of((row) => row.mouthToEarMs - row.timelineMs),
        0.5,
      ),
      difference_ms_abs_p50: Math.abs(
        quantile(
          of((row) => row.mouthToEarMs - row.timelineMs),
          0.5,
        ),
      ),
      difference_ms_spread:
        quantile(
          of((row) => row.mouthToEarMs - row.timelineMs),
          0.9,
        ) -
        quantile(
          of((row) => row.mouthToEarMs - row.timelineMs),
          0.1,
        ),
      words_heard_share:
        rows.reduce((sum, { heard }) => sum + heard, 0) / rows.reduce((sum, { said }) => sum + said, 0),
    },
    rows,
  };
};
