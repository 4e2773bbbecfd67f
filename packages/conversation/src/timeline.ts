/**
 * Where the milliseconds of a turn went: from the caller's last voiced sample to the first heard sample of the answer,
 * in stages that add up to the whole.
 */
import type { PlayoutClock, StageName } from "@sluice/realtime";
import type { Milli } from "./audio.ts";
import type { EngineMark } from "./engines.ts";

/** A stage and how long it took. */
export interface Stage {
  readonly name: StageName;
  readonly ms: Milli;
}

/** The instants of one turn, all in the server's clock; `undefined` until they happened. */
export interface TurnInstants {
  /** The last voiced sample left the mouth, as the client measured it. */
  mouthAt: Milli | undefined;
  /** The last voiced sample reached us. */
  arrivedAt: Milli;
  /** The silence that the caller's settings ask for before a turn is over. */
  readonly silenceMs: Milli;
  /** The turn was committed. */
  committedAt: Milli;
  /** What the engine said it had reached on the way; empty when it does not tell. */
  readonly marks: Partial<Record<EngineMark, Milli>>;
  /** The engine's first audio. */
  firstAudioAt: Milli | undefined;
  /** The first sample was let go, when it was held back for a lead. */
  leadAt: Milli | undefined;
  /** The first packet of the answer left. */
  firstSentAt: Milli | undefined;
  /** The first sample of the answer was heard, as the client measured it. */
  heardAt: Milli | undefined;
}

/** A turn's account. With clock `egress` the stages before our door and after it are unknown and absent. */
export interface TurnTimeline {
  readonly clock: PlayoutClock;
  /** When the first stage began, in the server's clock. */
  readonly startedAt: Milli;
  readonly totalMs: Milli;
  readonly stages: readonly Stage[];
}

/** The timeline of a turn whose answer has left, else `undefined`. */
export function formatTimeline(turn: TurnInstants): TurnTimeline | undefined {
  const { arrivedAt, committedAt, firstAudioAt, firstSentAt, mouthAt, heardAt } = turn;
  if (firstAudioAt === undefined || firstSentAt === undefined) return undefined;
  const waited = committedAt - arrivedAt;
  const silence = Math.min(turn.silenceMs, Math.max(0, waited));
  const atEar = mouthAt !== undefined && heardAt !== undefined;
  const stages: Stage[] = [];
  if (atEar) stages.push({ name: "capture", ms: arrivedAt - mouthAt });
  stages.push({ name: "silence", ms: silence });
  stages.push({ name: "endpointing", ms: waited - silence });
  stages.push(...engineStages(turn.marks, committedAt, firstAudioAt));
  const leftAt = Math.min(firstSentAt, turn.leadAt ?? firstAudioAt);
  if (leftAt > firstAudioAt) stages.push({ name: "lead", ms: leftAt - firstAudioAt });
  stages.push({ name: "egress", ms: firstSentAt - leftAt });
  if (atEar) stages.push({ name: "playout", ms: heardAt - firstSentAt });
  const totalMs = stages.reduce((sum, stage) => sum + stage.ms, 0);
  return { clock: atEar ? "client" : "egress", startedAt: atEar ? mouthAt : arrivedAt, totalMs, stages };
}

/** What ends each stage of an engine that is made of several. */
const ENGINE_STAGES = [
  ["recognition", "words"],
  ["model", "token"],
  ["clause", "clause"],
] as const;

/** Work that was done before the turn was over took no time of the turn. */
function engineStages(marks: TurnInstants["marks"], from: Milli, to: Milli): Stage[] {
  if (Object.keys(marks).length === 0) return [{ name: "engine", ms: to - from }];
  const stages: Stage[] = [];
  let at = from;
  for (const [name, mark] of ENGINE_STAGES) {
    const reachedAt = Math.min(to, Math.max(at, marks[mark] ?? to));
    stages.push({ name, ms: reachedAt - at });
    at = reachedAt;
  }
  stages.push({ name: "voice", ms: to - at });
  return stages;
}
