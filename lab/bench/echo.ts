/**
 * The agent in the caller's microphone, in virtual time, by real speech, Silero and Opus: how often it interrupts itself from
 * its first word on, with and without looking for its echo; how soon a caller who speaks over the echo stops it; and what
 * the looking costs. Speech by eSpeak NG, rooms synthesised. `--trials 6` of each room and loudness, `--callers other`.
 */
import { EchoDetector, SAMPLES_PER_MS, windowLevels } from "@sluice/conversation";
import { createSileroVad } from "@sluice/engines";
import { loadOpus } from "@sluice/transceiver";
import { callerSounds } from "../caller-sounds.ts";
import { quantile } from "../quantile.ts";
import { type BargeInOutcome, type Echo, runBargeIn } from "../scenarios/barge-in.ts";
import { resample, silence, speak } from "../speech.ts";
import type { Bench } from "./run.ts";

const TEXT =
  "The river rises in the hills above the old mill, runs past three villages, and reaches the sea behind the dunes, where in summer the fishermen dry their nets.";
const DELAYS_MS = [30, 90, 160, 240, 330, 420];
const ROOMS = [undefined, { t60Ms: 250, directDb: 6 }, { t60Ms: 400, directDb: 0 }];
const GAINS_DB = [0, -12, -24];

/** Runs the bench. */
export const run: Bench = async ({ flags }) => {
  const trials = Number(flags.trials ?? 6);
  const callers = flags.callers === "other" ? "other" : "known";
  const voices =
    callers === "known"
      ? ["alloy", "coral", "ash", "marin", "verse", "sage"]
      : ["echo", "shimmer", "ballad", "cedar", "nova"];
  const [vad, opus, sounds] = [await createSileroVad(), await loadOpus(), await callerSounds(callers)];
  const words = sounds.filter(({ kind }) => kind === "stop" || kind === "sentence");
  const rows: Row[] = [];
  for (const room of ROOMS) {
    for (const gainDb of GAINS_DB) {
      const [alone, unaided, over]: [BargeInOutcome[], BargeInOutcome[], BargeInOutcome[]] = [[], [], []];
      for (let trial = 0; trial < trials; trial++) {
        const speech = await speak(TEXT, { voice: voices[trial % voices.length]! });
        const delayMs = DELAYS_MS[(trial + GAINS_DB.indexOf(gainDb)) % DELAYS_MS.length]!;
        const echo: Echo = { gainDb, delayMs, ...(room && { room }) };
        const common = { vad, opus, speech, loss: 0, seed: Number(flags.seed ?? 1000) + trial, echo };
        const quiet = { ...common, sound: silence(1500), voicedOnsetMs: 0 };
        alone.push(await runBargeIn(quiet));
        unaided.push(await runBargeIn({ ...quiet, looksForEcho: false }));
        const { pcm, voicedOnsetMs } = words[(trial * 7) % words.length]!;
        if (gainDb < 0) over.push(await runBargeIn({ ...common, sound: pcm, voicedOnsetMs }));
      }
      const stopMs = over.flatMap((outcome) => outcome.stopMs ?? []);
      rows.push({
        room: room ? `t60 ${room.t60Ms} ms, direct ${room.directDb} dB over it` : "none",
        gain_db: gainDb,
        trials,
        interrupts_itself: alone.filter((outcome) => outcome.stopMs !== undefined).length,
        softens_itself: alone.filter(({ decisions }) => decisions.length > 0).length,
        would_interrupt_itself: unaided.filter((outcome) => outcome.stopMs !== undefined).length,
        over_trials: over.length,
        over_missed: over.length - stopMs.length,
        over_stop_ms: stopMs.map(Math.round),
      });
      console.log(rows.at(-1));
    }
  }
  await vad.close();
  const count = (value: (row: Row) => number) => rows.reduce((sum, row) => sum + value(row), 0);
  const over = rows.flatMap((row) => row.over_stop_ms);
  const speech = await speak(TEXT);
  return {
    metrics: {
      echo_trials: count((row) => row.trials),
      echo_stops: count((row) => row.interrupts_itself),
      echo_dips: count((row) => row.softens_itself),
      echo_stops_unaided: count((row) => row.would_interrupt_itself),
      over_trials: count((row) => row.over_trials),
      over_missed: count((row) => row.over_missed),
      over_stop_ms_p50: quantile(over, 0.5),
      over_stop_ms_p95: quantile(over, 0.95),
      window_us_quiet: cost(speech, 0.0003),
      window_us_echo: cost(speech, 0.3),
    },
    rows,
  };
};

interface Row {
  readonly room: string;
  readonly gain_db: number;
  readonly trials: number;
  readonly interrupts_itself: number;
  readonly softens_itself: number;
  readonly would_interrupt_itself: number;
  readonly over_trials: number;
  readonly over_missed: number;
  readonly over_stop_ms: readonly number[];
}

/** Microseconds a window of 32 ms while the agent speaks, and comes back with `gain`. */
function cost(speech: Int16Array, gain: number): number {
  const heard = Float32Array.from(resample(speech, 24_000, 16_000), (sample) => (gain * sample) / 32_768);
  const windows = Array.from({ length: Math.floor(heard.length / 512) }, (_, at) => {
    const samples = heard.subarray(at * 512, (at + 1) * 512);
    return { mediaMs: at * 32, durationMs: 32, probability: 0.9, levels: windowLevels(samples, 4), samples };
  });
  let [spent, count] = [0, 0];
  for (let round = 0; round < 12; round++) {
    const detector = new EchoDetector();
    detector.handleSpeech("item", speech);
    const began = performance.now();
    for (const window of windows) {
      const positionMs = window.mediaMs + 132; // heard 100 ms before it is back
      const ear = positionMs < speech.length / SAMPLES_PER_MS ? { itemId: "item", positionMs } : undefined;
      detector.handleWindow(10_000 + window.mediaMs + 32, window, ear);
    }
    if (round < 2) continue; // warming up
    spent += performance.now() - began;
    count += windows.length;
  }
  return (spent * 1000) / count;
}
