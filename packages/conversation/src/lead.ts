/**
 * How long an answer's first sample is held back so that the speech behind it does not run dry: as long as it takes that
 * fewer than one utterance in a hundred has a gap, by what utterances needed of late, and not at all when the engine is
 * fast enough. Where it runs dry all the same it goes on with more at hand, and stops next time between two words. Never
 * reads a clock.
 */
import { concatenate, durationMs, type Milli, type Pcm, SAMPLES_PER_MS } from "./audio.ts";
import type { Forecast } from "./forecast.ts";

/** There are two ways of being wrong; together they leave 0.7 % of utterances with a gap, of the 1 % that may have one. */
const GAPLESS = 0.9945;
/** What is shorter is no wait worth a timer; a frame is 20 ms, and the pipes hold one anyway. */
const SHORTEST_MS: Milli = 5;
/** Nobody waits longer for the sake of what comes later. */
const LONGEST_MS: Milli = 2000;

/** Gathered before speech that ran dry goes on: so many times what it was late by, and twice as much as the last time. */
const REFILL_TIMES = 4;
const LONGEST_REFILL_MS: Milli = 1600;
/** Who needs so much will stand still again. */
const SLOW_MS: Milli = 200;
/** The speech of such a one is given up to its last pause; where there is none in so much, all of it. */
const LONGEST_TAIL_MS: Milli = 1000;
/** A pause is that long, and 20 dB below the loudest. */
const PAUSE_MS: Milli = 10;
const PAUSE_POWER = 0.01;

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
  readonly #grantedMs: Milli;
  #held: Pcm[] = [];
  #heldMs: Milli = 0;
  #firstAt: Milli | undefined;
  #audioMs: Milli = 0;
  #firstMs: Milli = 0; // audio of the first piece
  #slackMs: Milli = -Infinity; // how late the latest piece was, had playing begun with the first
  #dryAt: Milli | undefined; // when all that was given is played
  #refillMs: Milli = 0; // gathered before it goes on; 0: it never ran dry
  #refillsFrom: Milli | undefined;
  #lateMs: Milli = 0; // audio of the piece that was late
  #dries = 0; // how often it ran dry
  #isSlow = false; // it will run dry again

  /** `need`: see {@link leadOf}; {@link NO_LEAD} where somebody else holds the speech, for `grantedMs`. */
  constructor(need: LeadNeed, grantedMs: Milli = 0) {
    this.#need = need;
    this.#grantedMs = grantedMs;
  }

  /** Whether the first sample was given. */
  get begun(): boolean {
    return this.#dryAt !== undefined;
  }

  /** Takes what was made, and gives what may be played now. */
  handleAudio(now: Milli, pcm: Pcm): readonly Pcm[] {
    if (this.#firstAt === undefined) {
      this.#firstAt = now;
      this.#firstMs = durationMs(pcm);
    } else this.#slackMs = Math.max(this.#slackMs, now - this.#firstAt - this.#audioMs);
    this.#audioMs += durationMs(pcm);
    this.#held.push(pcm);
    this.#heldMs += durationMs(pcm);
    const lateMs = this.#dryAt === undefined || this.#refillsFrom !== undefined ? 0 : now - this.#dryAt;
    if (lateMs > SHORTEST_MS) {
      this.#refillMs = Math.min(LONGEST_REFILL_MS, Math.max(REFILL_TIMES * lateMs, 2 * this.#refillMs));
      this.#refillsFrom = now;
      this.#lateMs = this.#heldMs;
      this.#dries += 1;
    }
    return this.#advance(now);
  }

  /** Gives what may be played now. */
  handleTimeout(now: Milli): readonly Pcm[] {
    return this.pollTimeout() === undefined ? [] : this.#advance(now);
  }

  /** Nothing more will come, so nothing can run dry. */
  handleEnd(now: Milli): readonly Pcm[] {
    this.#refillsFrom = undefined;
    return this.#release(now, false);
  }

  /** When what is held is due, the first sample or what goes on after a gap; `undefined` when nothing waits. */
  pollTimeout(): Milli | undefined {
    if (this.#refillsFrom !== undefined) return this.#refillsFrom + LONGEST_MS;
    return this.begun || this.#firstAt === undefined ? undefined : this.#firstAt + this.#need.waitMs;
  }

  /** The delay of the first sample that would have kept it without a gap. */
  get neededMs(): Milli {
    return Math.max(0, this.#slackMs);
  }

  /** The speech that had to be here when it began, to keep it without a gap. */
  get neededBufferMs(): Milli {
    return Math.max(0, this.#slackMs + this.#firstMs);
  }

  #advance(now: Milli): readonly Pcm[] {
    const due = this.pollTimeout();
    const enoughMs = this.begun ? this.#refillMs : this.#need.bufferMs;
    const wasStop = this.#keepsUp(now);
    if (due !== undefined && now < due && this.#heldMs < enoughMs && !wasStop) return [];
    if (this.#refillsFrom !== undefined && !wasStop) this.#isSlow = this.#refillMs >= SLOW_MS;
    this.#refillsFrom = undefined;
    return this.#release(now, this.#isSlow);
  }

  /** It ran dry for the first time, and what followed comes as fast as it plays: that was a stop, the engine's or the model's. */
  #keepsUp(now: Milli): boolean {
    const from = this.#refillsFrom;
    return this.#dries === 1 && from !== undefined && now > from && this.#heldMs - this.#lateMs >= now - from;
  }

  /** `keepsTail`: up to the last pause, where it may stand still. */
  #release(now: Milli, keepsTail: boolean): readonly Pcm[] {
    if (this.#held.length === 0) return [];
    let given = this.#held;
    this.#held = [];
    if (keepsTail) {
      const whole = concatenate(given);
      const pause = lastPause(whole);
      const cut = whole.length - pause > LONGEST_TAIL_MS * SAMPLES_PER_MS ? whole.length : pause;
      given = cut > 0 ? [whole.subarray(0, cut)] : [];
      if (cut < whole.length) this.#held.push(whole.subarray(cut));
    }
    const keptMs = this.#held.reduce((ms, pcm) => ms + durationMs(pcm), 0);
    if (given.length > 0) {
      this.#dryAt = Math.max(now + (this.begun ? 0 : this.#grantedMs), this.#dryAt ?? 0) + this.#heldMs - keptMs;
    }
    this.#heldMs = keptMs;
    return given;
  }
}

/** The sample in the middle of the last pause of `pcm`; 0 where there is none. */
function lastPause(pcm: Pcm): number {
  const size = PAUSE_MS * SAMPLES_PER_MS;
  const powers: number[] = [];
  for (let at = 0; at + size <= pcm.length; at += size) {
    let power = 0;
    for (let i = at; i < at + size; i++) power += pcm[i]! ** 2;
    powers.push(power);
  }
  const most = PAUSE_POWER * Math.max(...powers);
  const last = powers.findLastIndex((power) => power <= most);
  return last < 0 ? 0 : last * size + size / 2;
}
