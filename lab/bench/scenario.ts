/**
 * Scenario files for real: a page of a real Chromium performs each script over its network's profile (`lab/chromium-scenario.ts`),
 * judged as in virtual time. A row is what the report has of a scenario, and the pipe.
 *
 *     npm run bench -- scenario --json [--names barge-in-on-lte,lossy-turns] [--pipe webrtc|webtransport] [--runs 1] [--seed 1]
 */
import { REAL_PIPES } from "../chromium-call.ts";
import { runForReal } from "../chromium-scenario.ts";
import { loadScenarios, measureScenario } from "../measure.ts";
import { type CallScore, summarise } from "../score.ts";
import type { Bench } from "./run.ts";

const NAMES = "barge-in-on-lte,lossy-turns";

/** Runs the bench. */
export const run: Bench = async ({ flags }) => {
  const pipe = REAL_PIPES.find((one) => one === (flags.pipe ?? "webrtc"));
  if (!pipe) throw new RangeError(`no pipe "${flags.pipe}"; there are: ${REAL_PIPES.join(", ")}`);
  const scenarios = await loadScenarios();
  const scores: CallScore[] = [];
  const rows = [];
  for (const name of (flags.names ?? NAMES).split(",")) {
    const scenario = scenarios.get(name);
    if (!scenario) throw new RangeError(`no scenario "${name}"; there are: ${[...scenarios.keys()].join(", ")}`);
    const figures = await measureScenario(
      scenario,
      Number(flags.runs ?? 1),
      Number(flags.seed ?? 1),
      ({ score }) => scores.push(score),
      (one, { seed }) => runForReal(one, { seed, pipe }),
    );
    for (const { seed, what } of figures.failures) {
      console.error(
        `${name}: ${what.join("; ")}  (npm run lab -- scenario ${name} --chromium --pipe ${pipe} --seed ${seed})`,
      );
    }
    rows.push({ ...figures, pipe });
  }
  return { metrics: summarise(scores), rows };
};
