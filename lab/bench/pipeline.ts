/**
 * What deciding well is worth, in virtual time: two policies meet the same callers and the same engines. *Fixed*: 500 ms
 * of silence, whole sentences, a lead of 200 ms, one thing after the other. *Sluice*: `Conversation`, `Answer`, `Forecast` and
 * `Lead` as in production, on the same 500 ms. Delays are published ones (`lab/profiles`). Beside them stands an *oracle*, which
 * is no policy: what the same engines take at the least. `--turns 20000`, `--seed 1`, `--profile NAME`; `--common 0.5`: so many of
 * the second requests to the same engine take as long as the first, as what is asked is what takes it (default 0).
 */
import { Pipeline, pauseMs } from "@sluice/conversation";
import { quantile } from "../quantile.ts";
import { type AgentOptions, FixedAgent, SluiceAgent } from "./pipeline/agent.ts";
import { type TurnResult, VirtualCall } from "./pipeline/call.ts";
import { type PipelineProfile, PROFILES } from "./pipeline/profiles.ts";
import { drawTurn, type Turn } from "./pipeline/turn.ts";
import { VirtualClock } from "./pipeline/virtual-clock.ts";
import { VirtualVoice } from "./pipeline/voice.ts";
import type { BenchOptions, BenchResult } from "./run.ts";

/** One profile, both policies. */
export interface PipelineRow {
  readonly profile: string;
  readonly turns: number;
  readonly fixed_p50_ms: number;
  readonly fixed_p95_ms: number;
  readonly sluice_p50_ms: number;
  readonly sluice_p95_ms: number;
  /** How much lower Sluice's are, in percent. */
  readonly p50_lower_percent: number;
  readonly p95_lower_percent: number;
  /** How much lower they would be for who knows the future: see {@link oracleWaitMs}. */
  readonly oracle_p50_lower_percent: number;
  readonly oracle_p95_lower_percent: number;
  readonly fixed_gap_turn_share: number;
  readonly gap_turn_share: number;
  readonly false_cutin_share_fixed: number;
  readonly false_cutin_share: number;
  readonly wasted_token_share: number;
  /** Of the answers begun before their turn was over, how many were given. */
  readonly eager_hit_share: number;
  /** Requests to the recognition for each one that the fixed policy makes. */
  readonly recognitions_per_turn: number;
  /** Requests to the first model for each one that the fixed policy makes. */
  readonly generations_per_turn: number;
  /** Requests that went to a second model as well. */
  readonly hedged_share: number;
  /** Of all requests, those to a second model that was not needed after all. */
  readonly hedged_in_vain_share: number;
}

const SILENCE_MS = 500;
const FIXED_LEAD_MS = 200;
const TURNS_PER_CALL = 20;

/** Runs the bench. */
export async function run({ flags }: BenchOptions): Promise<BenchResult> {
  const turns = Number(flags.turns ?? 20_000);
  const seed = Number(flags.seed ?? 1);
  const common = Number(flags.common ?? 0);
  const profiles = PROFILES.filter(({ name }) => flags.profile === undefined || name.includes(flags.profile));
  const rows: PipelineRow[] = [];
  for (const profile of profiles) {
    const row = measureProfile(profile.name.includes("twice") ? { ...profile, common } : profile, turns, seed);
    console.log(
      `${profile.name}: p50 ${row.fixed_p50_ms} -> ${row.sluice_p50_ms} ms (-${row.p50_lower_percent} %), p95 ${row.fixed_p95_ms} -> ` +
        `${row.sluice_p95_ms} ms (-${row.p95_lower_percent} %), turns with a gap ${row.fixed_gap_turn_share} -> ${row.gap_turn_share}`,
    );
    rows.push(row);
  }
  // A voice that cannot keep up can be soon or whole, not both: such rows are shown, and held to nothing.
  const judged = rows.filter((_, at) => profiles[at]!.keepsUp);
  const worst = (read: (row: PipelineRow) => number, pick: (...values: number[]) => number) =>
    pick(...judged.map(read));
  const metrics = {
    p50_lower_percent_least: worst((row) => row.p50_lower_percent, Math.min),
    p95_lower_percent_least: worst((row) => row.p95_lower_percent, Math.min),
    gap_turn_share_most: worst((row) => row.gap_turn_share, Math.max),
    wasted_token_share_most: worst((row) => row.wasted_token_share, Math.max),
    false_cutin_more_most: worst((row) => row.false_cutin_share - row.false_cutin_share_fixed, Math.max),
  };
  return { metrics, rows };
}

/** Both policies on the same turns. */
export function measureProfile(profile: PipelineProfile, turns: number, seed: number): PipelineRow {
  const fixed = play(profile, turns, seed, "fixed");
  const sluice = play(profile, turns, seed, "sluice");
  const waits = (results: readonly { readonly waitMs: number }[], q: number) =>
    Math.round(
      quantile(
        results.map((r) => r.waitMs),
        q,
      ),
    );
  const oracle = Array.from({ length: turns }, (_, index) => ({
    waitMs: oracleWaitMs(drawTurn(profile, seed, index), profile.fallback !== undefined),
  }));
  const share = (results: readonly TurnResult[], holds: (result: TurnResult) => boolean) =>
    round(results.filter(holds).length / results.length);
  const lower = (q: number, results: readonly { readonly waitMs: number }[] = sluice.results) =>
    round(100 * (1 - waits(results, q) / waits(fixed.results, q)), 1);
  const { eager, hedge } = sluice.pipeline;
  return {
    profile: profile.name,
    turns: sluice.results.length,
    fixed_p50_ms: waits(fixed.results, 0.5),
    fixed_p95_ms: waits(fixed.results, 0.95),
    sluice_p50_ms: waits(sluice.results, 0.5),
    sluice_p95_ms: waits(sluice.results, 0.95),
    p50_lower_percent: lower(0.5),
    p95_lower_percent: lower(0.95),
    oracle_p50_lower_percent: lower(0.5, oracle),
    oracle_p95_lower_percent: lower(0.95, oracle),
    fixed_gap_turn_share: share(fixed.results, ({ gaps }) => gaps > 0),
    gap_turn_share: share(sluice.results, ({ gaps }) => gaps > 0),
    false_cutin_share_fixed: share(fixed.results, ({ cutIn }) => cutIn),
    false_cutin_share: share(sluice.results, ({ cutIn }) => cutIn),
    wasted_token_share: round(eager.total.wasted / Math.max(1, eager.total.spent)),
    eager_hit_share: round(eager.total.hits / Math.max(1, eager.total.hits + eager.total.misses)),
    recognitions_per_turn: round(sluice.recognitions / fixed.recognitions),
    generations_per_turn: round(sluice.generations / fixed.recognitions),
    hedged_share: round((hedge.total.hits + hedge.total.misses) / sluice.results.length),
    hedged_in_vain_share: round(hedge.total.misses / Math.max(1, hedge.total.spent)),
  };
}

/**
 * The least that the engines of a turn allow who asks each of them no sooner than the caller has finished: the end of the turn
 * is known with its last sample, the first word is spoken alone, nothing is held back for what comes after it, and where there
 * is a second one both are asked at once. Nobody can decide like this; whoever does better has had quicker engines.
 */
function oracleWaitMs(turn: Turn, hedges: boolean): number {
  const heardMs = Math.min(turn.sttMs(0), turn.secondSttMs?.(0) ?? Infinity);
  const wordsMs = Math.min(heardMs, turn.partialMs() ?? Infinity);
  const tokenMs = Math.min(turn.firstTokenMs(), hedges ? turn.secondFirstTokenMs() : Infinity);
  return wordsMs + tokenMs + turn.firstAudioMs();
}

function play(profile: PipelineProfile, turns: number, seed: number, policy: "fixed" | "sluice") {
  const pipeline = new Pipeline();
  const results: TurnResult[] = [];
  let recognitions = 0;
  let generations = 0;
  for (let from = 0; from < turns; from += TURNS_PER_CALL) {
    const clock = new VirtualClock();
    clock.now = from * 10_000; // call after call, on one process's clock
    const voice = new VirtualVoice(clock, profile.pieceMs, profile.sharesMachine === true);
    const hedges = policy === "sluice" && profile.fallback !== undefined;
    const options: AgentOptions = {
      clock,
      voice,
      pipeline,
      hedges,
      onRecognise: () => (recognitions += 1),
      onGenerate: () => (generations += 1),
    };
    const call = Array.from({ length: Math.min(TURNS_PER_CALL, turns - from) }, (_, at) =>
      drawTurn(profile, seed, from + at),
    );
    new VirtualCall({
      clock,
      agent: policy === "fixed" ? new FixedAgent(options) : new SluiceAgent(options),
      turns: call,
      prepares: policy === "sluice",
      pauseMs:
        policy === "sluice" ? () => pauseMs(clock.now, pipeline.forecasts.of("stt"), pipeline.hearing) : undefined,
      forecast: policy === "sluice" ? pipeline.speech : undefined,
      fixedLeadMs: policy === "fixed" ? FIXED_LEAD_MS : 0,
      silenceMs: SILENCE_MS,
      onResult: (result) => results.push(result),
    });
    clock.run();
  }
  if (results.length !== turns) throw new Error(`${turns} turns were taken and ${results.length} were answered`);
  return { results, pipeline, recognitions, generations };
}

function round(value: number, digits = 4): number {
  return Number(value.toFixed(digits));
}
