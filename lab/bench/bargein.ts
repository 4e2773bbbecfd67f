/**
 * Interruptions by real sound in virtual time: how soon the agent gets softer and stops after the first voiced sample, at
 * 0 and 5 % loss, and whether a cough or a "mhm" stops it; and, while the agent is silent, which sounds become a turn. Words by eSpeak NG, "mhm" by its phonemes and by closed lips of
 * our own making, coughs synthesised (`lab/noises.ts`): no recording of a person. `--trials 40` of each kind and loss, `--seed 1000` of the first;
 * `--only silent`, `speaking`: the agent is; `--callers other`, `fresh`: voices, words and hums that no number of `floor.ts` was chosen by (`fresh`:
 * those for a silent agent neither).
 */
import { SAMPLES_PER_MS } from "@sluice/conversation";
import { createSileroVad } from "@sluice/engines";
import { loadOpus } from "@sluice/transceiver";
import { type CallerSound, type Callers, callerSounds, quietSounds } from "../caller-sounds.ts";
import { quantile } from "../quantile.ts";
import { type BargeInOutcome, runBargeIn } from "../scenarios/barge-in.ts";
import { speak } from "../speech.ts";
import type { Bench } from "./run.ts";

const LOSSES = [0, 0.05];

/** Runs the bench. */
export const run: Bench = async ({ flags }) => {
  const trials = Number(flags.trials ?? 40);
  const firstSeed = Number(flags.seed ?? 1000);
  const callers = (flags.callers ?? "known") as Callers;
  const [vad, opus, sounds] = [await createSileroVad(), await loadOpus(), await callerSounds(callers)];
  const speech = await speak(AGENT);
  const rows: Row[] = [];
  for (const loss of flags.only === "silent" ? [] : LOSSES) {
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
  const quiet: QuietRow[] = [];
  const quietly = await quietSounds(callers); // eSpeak NG says nothing twice alike
  for (const dismiss_noise of flags.only === "speaking" ? [] : [false, true]) {
    for (const row of await runQuiet({ vad, opus, trials, firstSeed, sounds: quietly, dismiss_noise })) {
      quiet.push(row);
      console.log(row);
    }
  }
  await vad.close();
  const metrics = [
    ...(rows.length > 0 ? LOSSES.flatMap((loss) => metricsOf(loss, rows)) : []),
    ...(quiet.length > 0 ? quietMetricsOf(quiet) : []),
  ];
  return { metrics: Object.fromEntries(metrics), rows: [...rows, ...quiet] };
};

/** With a silent agent: what became a turn. */
interface QuietRow {
  readonly agent: "silent";
  readonly dismiss_noise: boolean;
  readonly loss: number;
  readonly kind: CallerSound["kind"];
  readonly trials: number;
  readonly turns: number;
  /** Of those that became a turn, when that was told, and when it was over, from the first voiced sample. */
  readonly started_ms: readonly number[];
  readonly committed_ms: readonly number[];
  /** Words of which the beginning or the end was left out. */
  readonly cut: readonly string[];
  readonly wrong: readonly string[];
}

const QUIET_KINDS = [
  "word",
  "stop",
  "sentence",
  "cough-sentence",
  "mhm",
  "cough",
  "clearing",
  "keyboard",
  "door",
] as const;
const SPOKEN: ReadonlySet<CallerSound["kind"]> = new Set(["word", "stop", "sentence", "cough-sentence"]);

async function runQuiet(options: {
  readonly vad: Awaited<ReturnType<typeof createSileroVad>>;
  readonly opus: Awaited<ReturnType<typeof loadOpus>>;
  readonly trials: number;
  readonly firstSeed: number;
  readonly sounds: readonly CallerSound[];
  readonly dismiss_noise: boolean;
}): Promise<QuietRow[]> {
  const { vad, opus, trials, firstSeed, sounds, dismiss_noise } = options;
  const rows: QuietRow[] = [];
  const session = { sluice: { timeline: true, turn: { dismiss_noise } } };
  for (const loss of LOSSES) {
    for (const kind of QUIET_KINDS) {
      const own = sounds.filter((sound) => sound.kind === kind);
      const outcomes: [CallerSound, BargeInOutcome][] = [];
      for (let trial = 0; trial < Math.max(trials, kind === "word" ? own.length : 0); trial++) {
        const { pcm, voicedOnsetMs } = own[trial % own.length]!;
        const common = { vad, opus, speech: new Int16Array(0), loss, session, silent: true };
        const seed = firstSeed + trial;
        outcomes.push([own[trial % own.length]!, await runBargeIn({ ...common, sound: pcm, voicedOnsetMs, seed })]);
      }
      const turned = outcomes.filter(([, { turns }]) => turns.length > 0);
      const spoken = SPOKEN.has(kind);
      rows.push({
        agent: "silent",
        dismiss_noise,
        loss,
        kind,
        trials: outcomes.length,
        turns: turned.length,
        started_ms: turned.map(([, { turns }]) => Math.round(turns.at(-1)!.startedAfterMs)),
        committed_ms: turned.map(([, { turns }]) => Math.round(turns.at(-1)!.committedAfterMs ?? Infinity)),
        cut: spoken ? turned.flatMap(([sound, outcome]) => (holdsAll(sound, outcome) ? [] : [sound.name])) : [],
        wrong: outcomes.flatMap(([{ name }, { turns }]) => (turns.length > 0 === spoken ? [] : [name])),
      });
    }
  }
  return rows;
}

/** Whether all of the words are in the last turn; its end is that of its last silence. */
function holdsAll({ pcm, voicedOnsetMs }: CallerSound, { turns }: BargeInOutcome): boolean {
  const { fromMs, toMs } = turns.at(-1)!;
  return fromMs <= 0 && toMs >= pcm.length / SAMPLES_PER_MS - voicedOnsetMs;
}

function quietMetricsOf(rows: readonly QuietRow[]): [string, number][] {
  const on = rows.filter(({ dismiss_noise }) => dismiss_noise);
  const sum = (of: readonly QuietRow[], value: (row: QuietRow) => number) =>
    of.reduce((all, row) => all + value(row), 0);
  const share = (
    name: string,
    kinds: readonly CallerSound["kind"][],
    of: readonly QuietRow[] = on,
  ): [string, number] => {
    const own = of.filter(({ kind }) => kinds.includes(kind));
    return [name, sum(own, ({ turns }) => turns) / sum(own, ({ trials }) => trials)];
  };
  const words = on.filter(({ kind }) => SPOKEN.has(kind));
  const started = words.filter(({ kind }) => kind !== "cough-sentence").flatMap(({ started_ms }) => started_ms);
  const later = words.flatMap((row) => {
    if (row.kind === "cough-sentence") return []; // the cough may have been a turn of its own
    const off = rows.find((one) => !one.dismiss_noise && one.kind === row.kind && one.loss === row.loss)!;
    return row.committed_ms.map((ms, trial) => ms - off.committed_ms[trial]!);
  });
  const off = rows.filter(({ dismiss_noise }) => !dismiss_noise);
  return [
    ["silent_words_trials", sum(words, ({ trials }) => trials)],
    ["silent_words_lost", sum(words, ({ trials, turns }) => trials - turns)],
    ["silent_words_cut", sum(words, ({ cut }) => cut.length)],
    ["silent_started_ms_p50", quantile(started, 0.5)],
    ["silent_started_ms_p95", quantile(started, 0.95)],
    ["silent_turn_later_ms", Math.max(...later)],
    share("silent_cough_turn_share", ["cough"]),
    share("silent_hum_turn_share", ["mhm"]),
    share("silent_clearing_turn_share", ["clearing"]),
    share("silent_keys_and_doors_turn_share", ["keyboard", "door"]),
    share("silent_noise_turn_share_before", ["cough", "mhm", "clearing", "keyboard", "door"], off),
  ];
}

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
