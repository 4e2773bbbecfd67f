/**
 * How long an answer's first sample is held back so that the speech behind it does not run dry: as long as it takes that
 * fewer than one utterance in a hundred has a gap, by what utterances needed of late, and not at all when the engine is
 * fast enough. Never reads a clock.
 */
import { durationMs, type Milli, type Pcm } from "./audio.ts";
import type { Forecast } from "./forecast.ts";

/** A little better than the 1 % of utterances that may have a gap: what is to come differs from what was. */
const GAPLESS = 0.993;
/** What is shorter is no wait worth a timer; a frame is 20 ms, and the pipes hold one anyway. */
const SHORTEST_MS: Milli = 5;
/** Nobody waits longer for the sake of what comes later. */
const LONGEST_MS: Milli = 2000;

/** The lead that utterances of an engine want at `now`. */
export function leadOf(forecast: Forecast | undefined, now: Milli): Milli {
  const lead = forecast?.quantile(now, "lead", GAPLESS) ?? 0;
  return lead < SHORTEST_MS ? 0 : Math.min(LONGEST_MS, lead);
}

/** Speech of one utterance on its way to the pipe. */
export class Lead {
  readonly #leadMs: Milli;
  #held: Pcm[] = [];
  #firstAt: Milli | undefined;
  #audioMs: Milli = 0;
  #neededMs: Milli = 0;
  #released = false;

  /** `leadMs`: see {@link leadOf}; 0 where somebody else holds the speech. */
  constructor(leadMs: Milli) {
    this.#leadMs = leadMs;
  }

  /** Takes what was made, and gives what may be played now. */
  handleAudio(now: Milli, pcm: Pcm): readonly Pcm[] {
    this.#firstAt ??= now;
    // Had it been played from its first sample on, it would have run dry this long before this piece.
    this.#neededMs = Math.max(this.#neededMs, now - this.#firstAt - this.#audioMs);
    this.#audioMs += durationMs(pcm);
    this.#held.push(pcm);
    return this.handleTimeout(now);
  }

  /** Gives what may be played now. */
  handleTimeout(now: Milli): readonly Pcm[] {
    const due = this.pollTimeout();
    if (due !== undefined && now < due) return [];
    return this.#release();
  }

  /** Nothing more will come, so nothing can run dry. */
  handleEnd(): readonly Pcm[] {
    return this.#release();
  }

  /** When the first sample is due; `undefined` when nothing is held. */
  pollTimeout(): Milli | undefined {
    return this.#released || this.#firstAt === undefined ? undefined : this.#firstAt + this.#leadMs;
  }

  /** The delay of the first sample that would have kept it without a gap. */
  get neededMs(): Milli {
    return this.#neededMs;
  }

  #release(): readonly Pcm[] {
    this.#released = this.#firstAt !== undefined;
    return this.#held.splice(0);
  }
}
