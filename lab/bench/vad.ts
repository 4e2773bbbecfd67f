/**
 * What voice activity detection costs the process that carries the calls: N streams whose 32 ms windows arrive at
 * their own phases, one at a time, with batches of the same tick only, and gathered for some milliseconds.
 * Rounds with and without the model alternate, and the median counts: `--rounds 5`, `--seconds 1` each.
 */
import { performance } from "node:perf_hooks";
import { createSileroVad, type SileroOptions } from "@sluice/engines";
import type { BenchOptions, BenchResult } from "./run.ts";

const WINDOW_MS = 32;
const WAYS: Readonly<Record<string, SileroOptions>> = {
  single: { maxBatch: 1, gatherFrom: Number.POSITIVE_INFINITY },
  same_tick: { gatherFrom: Number.POSITIVE_INFINITY },
  gather_2ms: { gatherFrom: 0, gatherMs: 2 },
  gather_4ms: { gatherFrom: 0, gatherMs: 4 },
  gather_8ms: { gatherFrom: 0, gatherMs: 8 },
};

/** Runs the bench. */
export async function run({ flags }: BenchOptions): Promise<BenchResult> {
  const [rounds, seconds] = [Number(flags.rounds ?? 5), Number(flags.seconds ?? 1)];
  const rows: Row[] = [];
  for (const streams of [10, 30, 60])
    for (const [way, options] of Object.entries(WAYS)) {
      const row = await measure(way, options, streams, rounds, seconds);
      console.log(
        `${streams} streams, ${way}: ${row.us_per_window.toFixed(0)} us a window, answer p95 ${row.answer_ms_p95.toFixed(1)} ms`,
      );
      rows.push(row);
    }
  const metric = (way: string, streams: number) =>
    rows.find((row) => row.way === way && row.streams === streams)?.us_per_window ?? Number.NaN;
  const metrics = {
    single_us: metric("single", 60),
    same_tick_us: metric("same_tick", 60),
    gathered_us: metric("gather_4ms", 60),
  };
  return { metrics, rows };
}

interface Row {
  readonly way: string;
  readonly streams: number;
  /** CPU of the process above that of the same load without a model. */
  readonly us_per_window: number;
  readonly answer_ms_p50: number;
  readonly answer_ms_p95: number;
}

async function measure(way: string, options: SileroOptions, streams: number, rounds: number, seconds: number) {
  const engine = await createSileroVad({ ...options, quiet: 0 });
  const vads = Array.from({ length: streams }, () => engine.open());
  const noise = Float32Array.from({ length: 512 }, (_, at) => Math.sin(at * at) * 0.05);
  const costs: number[] = [];
  const answersMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const idle = await drive(streams, seconds, async () => 0);
    const busy = await drive(streams, seconds, (stream) => vads[stream]!.detect(noise));
    costs.push((busy.cpuUs - idle.cpuUs) / busy.answersMs.length);
    answersMs.push(...busy.answersMs);
  }
  await engine.close();
  const row: Row = {
    way,
    streams,
    us_per_window: quantile(costs, 0.5),
    answer_ms_p50: quantile(answersMs, 0.5),
    answer_ms_p95: quantile(answersMs, 0.95),
  };
  return row;
}

/** Calls `detect` for every window when it is due, as packets would: evenly spread phases, a tick of 1 ms. */
async function drive(streams: number, seconds: number, detect: (stream: number) => Promise<number>) {
  const answersMs: number[] = [];
  const pending: Promise<void>[] = [];
  const cpu = process.threadCpuUsage();
  const started = performance.now();
  const next = Array.from({ length: streams }, (_, stream) => started + (stream * WINDOW_MS) / streams);
  for (let now = started; now < started + seconds * 1000; now = performance.now()) {
    for (let stream = 0; stream < streams; stream++) {
      if (next[stream]! > now) continue;
      next[stream] = next[stream]! + WINDOW_MS;
      const asked = performance.now();
      pending.push(
        detect(stream).then(() => {
          answersMs.push(performance.now() - asked);
        }),
      );
      // Packets come one by one: each in a turn of its own.
      await new Promise(setImmediate);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(pending);
  const { user, system } = process.threadCpuUsage(cpu);
  return { answersMs, cpuUs: user + system };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
