/**
 * How long an answer's first sample is held back so that the speech behind it does not run dry: as long as it takes that
 * fewer than one utterance in a hundred has a gap, by what utterances needed of late, and not at all when the engine is
 * fast enough. Never reads a clock.
 */
import { durationMs, type Milli, type Pcm } from "./audio.ts";
import type { Forecast } from "./forecast.ts";

/** There are two ways of being wrong; together they leave 0.7 % of utterances with a gap, of the 1 % that may have one. */
const GAPLESS = 0.9945;
/** What is shorter is no wait worth a timer; a frame is 20 ms, and the pipes hold one anyway. */
const SHORTEST_MS: Milli = 5;
/** Nobody waits longer for the sake of what comes later. */
const LONGEST_MS: Milli = 2000;

/** When speech may begin: after a while, or once so much of it is here, whichever comes first. */
export interface LeadNeed {
  readonly waitMs: Milli;
  readonly bufferMs: Milli;
}

/** No lead. */
export const NO_LEAD: LeadNeed = { waitMs: 0, bufferMs: 0 };

/** The lead that utterances of an engine want at `now`, by what they needed of late. */
export function leadOf(forecast: Forecast | undefined, now: Milli): LeadNeed {
  const waitMs = forecast?.quantile(now, "lead", GAPLESS) ?? 0;
  if (waitMs < SHORTEST_MS) return NO_LEAD;
  return { waitMs: Math.min(LONGEST_MS, waitMs), bufferMs: forecast?.quantile(now, "buffer", GAPLESS) ?? Infinity };
}

/** Speech of one utterance on its way to the pipe. */
export class Lead {
  readonly #need: LeadNeed;
  #held: Pcm[] = [];
  #firstAt: Milli | undefined;
  #audioMs: Milli = 0;
  #firstMs: Milli = 0; // audio of the first piece
  #slackMs: Milli = -Infinity; // how late the latest piece was, had playing begun with the first
  #released = false;

  /** `need`: see {@link leadOf}; {@link NO_LEAD} where somebody else holds the speech. */
  constructor(need: LeadNeed) {
    this.#need = need;
  }

  /** Takes what was made, and gives what may be played now. */
  handleAudio(now: Milli, pcm: Pcm): readonly Pcm[] {
    if (this.#firstAt === undefined) {
      this.#firstAt = now;
      this.#firstMs = durationMs(pcm);
    } else this.#slackMs = Math.max(this.#slackMs, now - this.#firstAt - this.#audioMs);
    this.#audioMs += durationMs(pcm);
    this.#held.push(pcm);
    return this.handleTimeout(now);
  }

  /** Gives what may be played now. */
  handleTimeout(now: Milli): readonly Pcm[] {
    const due = this.pollTimeout();
    if (due !== undefined && now < due && this.#audioMs < this.#need.bufferMs) return [];
    return this.#release();
  }

  /** Nothing more will come, so nothing can run dry. */
  handleEnd(): readonly Pcm[] {
    return this.#release();
  }

  /** When the first sample is due; `undefined` when nothing is held. */
  pollTimeout(): Milli | undefined {
    return this.#released || this.#firstAt === undefined ? undefined : this.#firstAt + this.#need.waitMs;
  }

  /** The delay of the first sample that would have kept it without a gap. */
  get neededMs(): Milli {
    return Math.max(0, this.#slackMs);
  }

  /** The speech that had to be here when it began, to keep it without a gap. */
  get neededBufferMs(): Milli {
    return Math.max(0, this.#slackMs + this.#firstMs);
  }

  #release(): readonly Pcm[] {
    this.#released = this.#firstAt !== undefined;
    return this.#held.splice(0);
  }
}
