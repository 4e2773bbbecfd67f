/**
 * Interruptions by real sound in virtual time: how soon the agent gets softer and stops after the first voiced sample, at
 * 0 and 5 % loss, and whether a cough or a "mhm" stops it. Words by eSpeak NG, "mhm" by its phonemes and by closed lips of
 * our own making, coughs synthesised (`lab/noises.ts`): no recording of a person. `--trials 40` of each kind and loss, `--seed 1000` of the first;
 * `--callers other`: voices, words and hums that no number of `floor.ts` was chosen by.
 */
import { createSileroVad } from "@sluice/engines";
import { loadOpus } from "@sluice/transceiver";
import { type CallerSound, callerSounds } from "../caller-sounds.ts";
import { quantile } from "../quantile.ts";
import { type BargeInOutcome, runBargeIn } from "../scenarios/barge-in.ts";
import { speak } from "../speech.ts";
import type { Bench } from "./run.ts";

const LOSSES = [0, 0.05];

/** Runs the bench. */
export const run: Bench = async ({ flags }) => {
  const trials = Number(flags.trials ?? 40);
  const firstSeed = Number(flags.seed ?? 1000);
  const callers = flags.callers === "other" ? "other" : "known";
  const [vad, opus, sounds] = [await createSileroVad(), await loadOpus(), await callerSounds(callers)];
  const speech = await speak(AGENT);
  const rows: Row[] = [];
  for (const loss of LOSSES) {
    for (const kind of ["stop", "sentence", "mhm", "cough"] as const) {
      const own = sounds.filter((sound) => sound.kind === kind);
      const outcomes: [CallerSound, BargeInOutcome][] = [];
      for (let trial = 0; trial < trials; trial++) {
        const sound = own[trial % own.length]!;
        const { pcm, voicedOnsetMs } = sound;
        outcomes.push([
          sound,
          await runBargeIn({ vad, opus, sound: pcm, voicedOnsetMs, speech, loss, seed: firstSeed + trial }),
        ]);
      }
      rows.push(summarise(loss, kind, outcomes));
      console.log(rows.at(-1));
    }
  }
  await vad.close();
  return { metrics: Object.fromEntries(LOSSES.flatMap((loss) => metricsOf(loss, rows))), rows };
};

/** Half a minute, so that nothing of what happens finds the agent at its end. */
const AGENT = Array(4)
  .fill(
    "The river rises in the hills above the old mill, runs past three villages, and reaches the sea behind the dunes, " +
      "where in summer the fishermen dry their nets and in winter nobody goes at all.",
  )
  .join(" ");

interface Row {
  readonly loss: number;
  readonly kind: CallerSound["kind"];
  readonly trials: number;
  readonly stopped: number;
  readonly duck_ms: readonly number[];
  readonly stop_ms: readonly number[];
  readonly skipped_ms: number;
  readonly wrong: readonly string[];
}

function summarise(loss: number, kind: CallerSound["kind"], outcomes: readonly [CallerSound, BargeInOutcome][]): Row {
  const isWord = kind === "stop" || kind === "sentence";
  return {
    loss,
    kind,
    trials: outcomes.length,
    stopped: outcomes.filter(([, { stopMs }]) => stopMs !== undefined).length,
    duck_ms: outcomes.flatMap(([, { duckMs }]) => duckMs ?? []).map(Math.round),
    stop_ms: outcomes.flatMap(([, { stopMs }]) => stopMs ?? []).map(Math.round),
    skipped_ms: outcomes.reduce((sum, [, { skippedMs }]) => sum + skippedMs, 0),
    wrong: outcomes.flatMap(([{ name }, { stopMs }]) => ((stopMs !== undefined) === isWord ? [] : [name])),
  };
}

function metricsOf(loss: number, rows: readonly Row[]): [string, number][] {
  const at = loss === 0 ? "" : `_loss${Math.round(loss * 100)}`;
  const own = rows.filter((row) => row.loss === loss);
  const words = own.filter(({ kind }) => kind === "stop" || kind === "sentence");
  const others = own.filter(({ kind }) => kind === "mhm" || kind === "cough");
  const count = (of: readonly Row[], value: (row: Row) => number) => of.reduce((sum, row) => sum + value(row), 0);
  const ducks = words.flatMap((row) => row.duck_ms);
  const stops = words.flatMap((row) => row.stop_ms);
  return [
    [`duck_ms_p50${at}`, quantile(ducks, 0.5)],
    [`duck_ms_p95${at}`, quantile(ducks, 0.95)],
    [`stop_ms_p50${at}`, quantile(stops, 0.5)],
    [`stop_ms_p95${at}`, quantile(stops, 0.95)],
    [`words_trials${at}`, count(words, ({ trials }) => trials)],
    [`missed_stops${at}`, count(words, ({ trials, stopped }) => trials - stopped)],
    [`noise_trials${at}`, count(others, ({ trials }) => trials)],
    [`false_stops${at}`, count(others, ({ stopped }) => stopped)],
    [`skipped_ms${at}`, count(others, ({ skipped_ms }) => skipped_ms)],
  ];
}
