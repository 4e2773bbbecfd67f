/** The `sluice.*` events that tell of playout and turns (docs/sluice-events.md). */
import type { ServerEventDraft } from "@sluice/realtime";
import type { Milli } from "./audio.ts";
import type { FloorDecision } from "./floor.ts";
import type { Forecasts } from "./forecast.ts";
import type { LedgerEntry } from "./ledger.ts";
import type { Utterance } from "./link.ts";
import type { TurnReport } from "./playout.ts";

const round = (ms: Milli) => Math.round(ms * 10) / 10;

/** `sluice.ledger` */
export function formatLedger(utterance: Utterance, entry: LedgerEntry): ServerEventDraft {
  return {
    type: "sluice.ledger",
    response_id: utterance.responseId,
    item_id: utterance.itemId,
    generated_ms: round(entry.generatedMs),
    sent_ms: round(entry.sentMs),
    buffered_ms: round(entry.bufferedMs),
    heard_ms: round(entry.heardMs),
    clock: entry.clock,
  };
}

/** `sluice.floor` */
export function formatFloor(decision: FloorDecision): ServerEventDraft {
  const { decision: decided, reason, duckedAfterMs, decidedAfterMs, voicedMs } = decision;
  return {
    type: "sluice.floor",
    decision: decided,
    reason,
    ducked_after_ms: duckedAfterMs === undefined ? null : round(duckedAfterMs),
    decided_after_ms: round(decidedAfterMs),
    voiced_ms: round(voicedMs),
  };
}

/** `sluice.forecast`. Engines by their kind alone: which models an agent is made of is not for its callers. */
export function formatForecast(now: Milli, forecasts: Forecasts): ServerEventDraft {
  const value = (number: number | undefined) => (number === undefined ? null : round(number));
  const stages = [...forecasts.stages(now, [0.5, 0.9, 0.99])].map(({ engine, stage, weight, values }) => {
    const [p50, p90, p99] = values.map(value) as [number | null, number | null, number | null];
    return { engine: engine.split(" ", 1)[0]!, stage, weight: Math.round(weight), p50, p90, p99 };
  });
  return { type: "sluice.forecast", stages };
}

/** `sluice.turn` */
export function formatTurn(report: TurnReport): ServerEventDraft {
  const { timeline, utterance, frames } = report;
  const { received, repaired, fec, concealed } = frames;
  return {
    type: "sluice.turn",
    turn: report.turn,
    input_item_id: report.inputItemId,
    response_id: utterance.responseId,
    item_id: utterance.itemId,
    clock: timeline.clock,
    total_ms: round(timeline.totalMs),
    silence_ms: report.silenceMs,
    stages: timeline.stages.map(({ name, ms }) => ({ name, ms: round(ms) })),
    voiced_ms: round(report.voicedMs),
    ...(report.acknowledgedMs !== undefined && { acknowledged_ms: round(report.acknowledgedMs) }),
    packets: { received, lost: repaired + fec + concealed, repaired, fec, concealed },
  };
}
