/**
 * What an engine will probably take, stage by stage, from what it took of late: quantiles, not averages. Kept per process
 * and engine, fed by every session, read by the pipeline and by `/metrics`. Never reads a clock.
 */
import type { Milli } from "./audio.ts";
import { QuantileSketch, type SketchOptions } from "./quantile-sketch.ts";

/**
 * What is forecast. `turnEnd`: last voiced sample to the committed turn; `partial`: last voiced sample to a partial transcript that
 * was the whole; `sttFinal`: end of the audio to its words;
 * `firstToken`: request to the model's first word; `firstAudio`: text to its first sample; `lead`: the delay that would
 * have kept an utterance without a gap; `buffer`: the
 * speech that had to be there when it began, for the same. All these in milliseconds. `tokenRate`: words' pieces a second; `speechRate`:
 * seconds of speech made in a second.
 */
export type ForecastStage =
  | "turnEnd"
  | "partial"
  | "sttFinal"
  | "firstToken"
  | "tokenRate"
  | "firstAudio"
  | "speechRate"
  | "lead"
  | "buffer";

/** The stages, in the order of a turn. */
export const FORECAST_STAGES: readonly ForecastStage[] = [
  "turnEnd",
  "partial",
  "sttFinal",
  "firstToken",
  "tokenRate",
  "firstAudio",
  "speechRate",
  "lead",
  "buffer",
];

/** Read at their far tails only, which takes more experience. */
const OF_TAILS: Partial<Record<ForecastStage, Partial<SketchOptions>>> = {
  lead: { halfLifeCount: 2000 },
  buffer: { halfLifeCount: 2000 },
};

/** Below this much experience there is no forecast: a few values have no 95th percentile. */
const FEWEST = 20;

/** One engine's forecast. */
export class Forecast {
  readonly #options: Partial<SketchOptions>;
  readonly #sketches = new Map<ForecastStage, QuantileSketch>();

  constructor(options: Partial<SketchOptions> = {}) {
    this.#options = options;
  }

  /** What a stage took. */
  record(now: Milli, stage: ForecastStage, value: number): void {
    let sketch = this.#sketches.get(stage);
    if (!sketch) this.#sketches.set(stage, (sketch = new QuantileSketch({ ...this.#options, ...OF_TAILS[stage] })));
    sketch.record(now, value);
  }

  /** The `q` quantile (0 to 1) of a stage; `undefined` while too little is known of it. */
  quantile(now: Milli, stage: ForecastStage, q: number): number | undefined {
    const sketch = this.#sketches.get(stage);
    return sketch && sketch.weight(now) >= FEWEST ? sketch.quantile(q) : undefined;
  }

  /** How many recent observations stand behind a stage. */
  weight(now: Milli, stage: ForecastStage): number {
    return this.#sketches.get(stage)?.weight(now) ?? 0;
  }
}

/** Engines whose forecasts are kept; the one that was asked for longest ago goes first. */
const MOST_ENGINES = 32;

/** What is known of one stage of one engine. */
export interface StageForecast {
  readonly engine: string;
  readonly stage: ForecastStage;
  /** How many recent observations stand behind it. */
  readonly weight: number;
  /** The quantiles that were asked for, in that order. */
  readonly values: readonly (number | undefined)[];
}

/** The forecasts of a process. */
export class Forecasts {
  readonly #options: Partial<SketchOptions>;
  readonly #engines = new Map<string, Forecast>();

  constructor(options: Partial<SketchOptions> = {}) {
    this.#options = options;
  }

  /** The forecast of an engine by its name, such as `llm gpt-4.1-mini`. */
  of(engine: string): Forecast {
    const forecast = this.#engines.get(engine) ?? new Forecast(this.#options);
    this.#engines.delete(engine);
    this.#engines.set(engine, forecast);
    const oldest = this.#engines.keys().next();
    if (this.#engines.size > MOST_ENGINES && oldest.done !== true) this.#engines.delete(oldest.value);
    return forecast;
  }

  /** Every stage that anything was observed of, and its quantiles; `undefined` while too little is known. */
  *stages(now: Milli, quantiles: readonly number[]): Generator<StageForecast> {
    for (const [engine, forecast] of this.#engines)
      for (const stage of FORECAST_STAGES) {
        const weight = forecast.weight(now, stage);
        if (weight === 0) continue;
        yield { engine, stage, weight, values: quantiles.map((q) => forecast.quantile(now, stage, q)) };
      }
  }

  /** All that is known, for metrics. */
  *entries(
    now: Milli,
    quantiles: readonly number[],
  ): Generator<{ readonly engine: string; readonly stage: ForecastStage; readonly q: number; readonly value: number }> {
    for (const [engine, forecast] of this.#engines)
      for (const stage of FORECAST_STAGES)
        for (const q of quantiles) {
          const value = forecast.quantile(now, stage, q);
          if (value !== undefined) yield { engine, stage, q, value };
        }
  }
}
