/** What a transceiver counts, for Prometheus; names as in the alerts that ship with it. */
import type { FloorDecision, TurnReport } from "@sluice/conversation";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** A source of counters that are kept elsewhere, read when they are asked for: `{ reason: count }`. */
export type CounterSource = () => Readonly<Record<string, number>>;

const TURN_BUCKETS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 3, 5, 8];
const STAGE_BUCKETS = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1, 2, 5];

/** The counters of one transceiver. */
export class Metrics {
  readonly registry = new Registry();
  readonly #sessions: Counter<"pipe">;
  readonly #ended: Counter<"reason">;
  readonly #turn: Histogram<"clock">;
  readonly #stage: Histogram<"stage">;
  readonly #frames: Counter<"origin">;
  readonly #decisions: Counter<"decision" | "reason">;

  constructor(active: () => number) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    new Gauge({
      name: "session_active",
      help: "Calls under way.",
      registers,
      collect() {
        this.set(active());
      },
    });
    this.#sessions = new Counter({ name: "session_total", help: "Calls begun.", labelNames: ["pipe"], registers });
    this.#ended = new Counter({ name: "session_ended_total", help: "Calls ended.", labelNames: ["reason"], registers });
    this.#turn = new Histogram({
      name: "turn_seconds",
      help: "From the caller's last voiced sample to the first sample of the answer, by whose clock.",
      labelNames: ["clock"],
      buckets: TURN_BUCKETS,
      registers,
    });
    this.#stage = new Histogram({
      name: "turn_stage_seconds",
      help: "A turn's stages; they add up to it.",
      labelNames: ["stage"],
      buckets: STAGE_BUCKETS,
      registers,
    });
    this.#frames = new Counter({
      name: "uplink_frames_total",
      help: "Frames of the caller's utterances by how they came to be.",
      labelNames: ["origin"],
      registers,
    });
    this.#decisions = new Counter({
      name: "floor_decisions_total",
      help: "Voice of the caller: what stopped the agent, over what it went on, what was no turn while it was silent, and why.",
      labelNames: ["decision", "reason"],
      registers,
    });
  }

  /** Shows counters that something else keeps, as `name{reason="…"}`. */
  addSource(name: string, help: string, source: CounterSource): void {
    new Counter({
      name,
      help,
      labelNames: ["reason"],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [reason, count] of Object.entries(source())) this.inc({ reason }, count);
      },
    });
  }

  /** Shows what engines will probably take: stages in seconds, rates as they are. */
  addForecast(read: () => Iterable<{ engine: string; stage: string; q: number; value: number }>): void {
    const add = (name: string, help: string, rates: boolean, scale: number) =>
      new Gauge({
        name,
        help,
        labelNames: ["engine", "stage", "quantile"],
        registers: [this.registry],
        collect() {
          this.reset();
          for (const { engine, stage, q, value } of read())
            if (stage.endsWith("Rate") === rates) this.set({ engine, stage, quantile: String(q) }, value * scale);
        },
      });
    add("forecast_seconds", "What a stage of an engine will probably take.", false, 1 / 1000);
    add(
      "forecast_per_second",
      "Pieces of text, or seconds of speech, that will probably be made in a second.",
      true,
      1,
    );
  }

  /** Shows a value that something else keeps. */
  addGauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  handleStarted(pipe: string): void {
    this.#sessions.inc({ pipe });
  }

  handleEnded(reason: string): void {
    this.#ended.inc({ reason });
  }

  handleTurn({ timeline, frames }: TurnReport): void {
    this.#turn.observe({ clock: timeline.clock }, timeline.totalMs / 1000);
    for (const { name, ms } of timeline.stages) this.#stage.observe({ stage: name }, Math.max(0, ms) / 1000);
    for (const [origin, count] of Object.entries(frames)) this.#frames.inc({ origin }, count);
  }

  handleDecision({ decision, reason }: FloorDecision): void {
    this.#decisions.inc({ decision, reason });
  }

  /** The text of `/metrics`. */
  render(): Promise<string> {
    return this.registry.metrics();
  }
}
