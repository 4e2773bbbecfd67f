/** What the sessions of a process know together: what engines take, and what guesses have cost. */
import { type Forecast, Forecasts } from "./forecast.ts";
import { Spending } from "./spending.ts";

/** Bounds of a {@link Pipeline}. */
export interface PipelineOptions {
  /** Share of the model's words that may be generated in vain, 0 to 1; 0: no answer before its turn. Default 0.15. */
  readonly eagerShare?: number | undefined;
  /** The quantile of the first token's forecast after which the second model is asked. Default: as `hedgeShare` affords. */
  readonly hedgeAt?: number | undefined;
  /** Share of the requests that may go to the second model in vain, 0 to 1. Default 0.15. */
  readonly hedgeShare?: number | undefined;
  /** Share of the recognitions that may be told too soon that the utterance is over, 0 to 1. Default 0.6. */
  readonly hearingShare?: number | undefined;
}

/** Shared by all sessions of one agent. */
export class Pipeline {
  readonly forecasts = new Forecasts();
  readonly eager: Spending;
  readonly hedge: Spending;
  readonly hedgeAt: number | undefined;
  readonly hearing: Spending;

  constructor({ eagerShare = 0.15, hedgeShare = 0.15, hearingShare = 0.6, hedgeAt }: PipelineOptions = {}) {
    this.eager = new Spending({ share: eagerShare });
    this.hedgeAt = hedgeAt;
    this.hedge = new Spending({ share: hedgeShare, credit: 20, halfLife: 500 });
    this.hearing = new Spending({ share: hearingShare, credit: 20, halfLife: 500 });
  }

  /** What the agent as a whole takes: the end of turns, and the lead that its speech wants. */
  get speech(): Forecast {
    return this.forecasts.of("speech");
  }
}
