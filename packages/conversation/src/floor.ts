/**
 * Barge-in in two steps. While the agent has the floor, the first voice of the caller only makes it softer; a moment later
 * the caller has taken the floor, or it was a cough or a "mhm", and the agent comes back up without having lost a word.
 * While the agent is silent nothing hurries: the caller has the floor as soon as it is credibly speech, or not at all.
 *
 * What decides: how long the voice lasts, how sure the detector is, how it sounds (a hum is dark and steady, a cough is
 * noise before it is voice), and the words, when an engine understands some in time. Never reads a clock.
 */
import type { Milli } from "./audio.ts";
import { isBackchannel, isStopWord } from "./backchannel.ts";
import type { VoiceWindow } from "./endpointer.ts";
import type { Prosody } from "./prosody.ts";

/** The numbers of `sluice.turn`. */
export interface FloorOptions {
  /** Probability from which a window is voice. */
  readonly threshold: number;
  /** Voice heard before the agent gets softer. More: fewer dips, later ones. */
  readonly duckAfterMs: Milli;
  /** Loudness of the agent until it is decided; 1 is as spoken. */
  readonly duckGain: number;
  readonly duckRampMs: Milli;
  readonly restoreRampMs: Milli;
  /** Clear speech that stops the agent at once. More: fewer false stops, later ones, and more words to judge by. */
  readonly stopAfterMs: Milli;
  /** From the first voiced sample: by then it is decided. */
  readonly decideByMs: Milli;
  /** Whether the caller takes the floor from the agent at all. */
  readonly interrupts: boolean;
  /** Whether a cough or a hum while the agent is silent is no turn. */
  readonly dismisses: boolean;
  /** BCP 47 language of the caller; words of all known languages count without it. */
  readonly language?: string | undefined;
}

/** Why the floor was taken or not. */
export type FloorReason = "speech" | "words" | "hum" | "noise" | "short";

/** What is to be done. */
export type FloorCommand =
  | { readonly kind: "duck"; readonly gain: number; readonly rampMs: Milli }
  /** The caller has the floor, since `onsetMs` of its audio; with a silent agent (`undefined`) since its voice began. */
  | { readonly kind: "take"; readonly onsetMs: Milli | undefined; readonly decision: FloorDecision }
  /** It was nothing: the agent goes on. */
  | { readonly kind: "pass"; readonly decision: FloorDecision };

/** One decision, for people and for metrics; times from the first voiced sample, as far as its place is known. */
export interface FloorDecision {
  /** The agent stops, or goes on; with a silent agent: it was no turn. */
  readonly decision: "stop" | "continue" | "dismiss";
  readonly reason: FloorReason;
  /** `undefined`: the agent was not made softer. */
  readonly duckedAfterMs: Milli | undefined;
  readonly decidedAfterMs: Milli;
  readonly voicedMs: Milli;
}

/** A stretch of voice without a pause. */
interface Burst {
  readonly onsetMs: Milli;
  readonly onsetAt: Milli;
  peakDb: number;
  voicedMs: Milli;
  /** Of it: as a word sounds, as closed lips sound, as breath sounds (also just before the voice). */
  speechMs: Milli;
  humMs: Milli;
  /** Of the hum: what the detector is as good as certain of. "Moo" is, a "mhm" seldom for long. */
  certainHumMs: Milli;
  noiseMs: Milli;
  quietMs: Milli;
  duckedAt: Milli | undefined;
  soft: boolean; // the agent still is
  verdict: "open" | "passed" | "taken";
  /** The caller was probably not done when the agent's turn came: nobody says "mhm" to an answer that was not heard yet. */
  continues: boolean;
  /** What was speech when it was passed over. */
  passedSpeechMs: Milli;
  /** It began while the agent was silent. */
  readonly unasked: boolean;
  /** Breath before anything sounded as a word does. */
  aheadMs: Milli;
  /** Its windows of voice, by loudness and brightness. */
  readonly timbre: { readonly db: number; readonly brightDb: number }[];
}

/** A window this sure of voice less than the threshold still is voice, when it sounds as a voice does. */
const LIKELY = 0.06;
const HYSTERESIS = 0.15;
const CERTAIN = 0.9;
/** How a window sounds: see `prosody.ts`. */
const STEADY = 0.7;
const STEADY_OVER_AGENT = 0.62;
const STEADY_ON = 0.55;
const PERIODIC = 0.4;
/** Through closed lips: nothing where an open mouth resonates, and little above. */
const CLOSED_VOWEL_DB = -12;
const CLOSED_BRIGHT_DB = -9;
const HISS_DB = -3;
const BREATH_DARKEST_DB = -14;
/** Breath as loud as this begins a cough; what fades of it still belongs to it. */
const BREATH_DB = -38;
/** Above the quietest of late, a window is loud. */
const LOUD_DB = 12;
const NOISE_RISE_DB = 0.2; // a window
/** This far below the loudest of its burst, what the detector still takes for voice is its own delay. */
const HANGOVER_DB = 32;
/** A part of a window this much below its loudest is not voice yet. */
const ONSET_BELOW_DB = 20;
/** Voice that is clear, of what stops the agent at once; the rest may be a soft beginning. */
const CLEAR_SPEECH_MS = 60;
/** A pause this long ends a burst. */
const PAUSE_MS = 60;
/** Breath of this length before so little speech: a cough. */
const COUGH_NOISE_MS = 48;
const COUGH_SPEECH_MS = 150;
/** After it was passed over, so much speech takes the floor after all; and so long a hum is no "mhm". */
const SECOND_THOUGHT_MS = 160;
/** So much that the detector is certain of are words, even through nearly closed lips ("who is it"). */
const CERTAIN_WORDS_MS = 256;
const CERTAIN_HUM = 0.97;
const WINDOW_MS = 32;
/** While the agent is silent, a hum is one whose brightness keeps within this, and of which the detector is not this certain. */
const TIMBRE_RANGE_DB = 7.5;
const TIMBRE_BELOW_DB = 14;
const TIMBRE_WINDOWS = 64;
const CERTAIN_WORD_MS = 96;
/** What is heard so soon after a voice, and so much fainter, is the detector's delay and not another one. */
const TAIL_MS = 400;
const LONGEST_HUM_MS = 1000;
/** Words that are a backchannel keep the agent speaking for as long as those last. */
const LONGEST_BACKCHANNEL_MS = 1200;
/** Voice for which nobody has to yield the floor. */
const UNCONTESTED_MS = 60;

/** Decides when the caller takes the floor from the agent. */
export class Floor {
  readonly #commands: FloorCommand[] = [];
  #options: FloorOptions | undefined;
  #burst: Burst | undefined;
  #breathMs: Milli = 0; // just now, before any voice
  #humMs: Milli = 0; // that the detector did not take for voice
  #noiseDb = -60;
  #agentSpeaks = false;
  #callerSpeaks = false;
  #words: string | undefined;
  #seenMs: Milli = 0; // where the windows so far end
  #continued: Burst | undefined; // the first voice that was passed over although the caller may be going on
  #shortMs: Milli = 0; // of voices that were each too short, while the agent was silent
  #dismissed: FloorDecision | undefined; // of the voices that were no speech while the agent was silent, the longest
  #tail: { readonly untilMs: Milli; readonly peakDb: number } | undefined;

  /** `undefined`: the caller never takes the floor. */
  constructor(options: FloorOptions | undefined) {
    this.#options = options;
  }

  configure(options: FloorOptions | undefined): void {
    this.#options = options;
    if (!options) this.reset();
  }

  /** Whether the agent is softer than it speaks, until it is decided. */
  get softened(): boolean {
    return this.#burst?.soft === true;
  }

  /** Whether the caller can take the floor from the agent at all. */
  get contestable(): boolean {
    return this.#options?.interrupts === true;
  }

  /** Whether voice is judged while the agent is silent. */
  get dismisses(): boolean {
    return this.#options?.dismisses === true;
  }

  /**
   * Takes one window; windows come in order. `agentSpeaks`: it has, or is about to have, the floor. `callerSpeaks`: the
   * endpointer is sure of a voice, without which nobody takes the floor. `continues`: the caller's turn was taken for over
   * so lately that voice most probably goes on with it. Then short words count, too; a cough and a hum still do not.
   */
  handleWindow(now: Milli, window: VoiceWindow, agentSpeaks: boolean, callerSpeaks: boolean, continues = false): void {
    this.handleTimeout(now);
    this.#agentSpeaks = agentSpeaks;
    this.#callerSpeaks = callerSpeaks;
    const options = this.#options;
    if (!options) return;
    // Nobody asked for a while: what was before is over, and what was decided of it does not hold for what comes.
    if (this.#burst && window.mediaMs - this.#seenMs >= PAUSE_MS) this.#endBurst(now, this.#burst);
    this.#seenMs = window.mediaMs + window.durationMs;
    const loudDb = Math.max(-100, ...window.levels);
    const loud = loudDb > this.#noiseDb + LOUD_DB;
    if (this.#isVoice(window, loud, options) && loudDb > this.#peakDb(window) - HANGOVER_DB) {
      this.#hearVoice(now, window, loudDb);
    } else this.#hearPause(now, window, loud && (loudDb > BREATH_DB || this.#breathMs > 0));
    this.#noiseDb = Math.max(-90, Math.min(loudDb, this.#noiseDb + NOISE_RISE_DB));
    if (continues && this.#burst) this.#burst.continues = true;
    this.#judge(now, options);
  }

  /** What an engine has understood of the caller's words since its voice began. */
  handleWords(now: Milli, words: string): void {
    this.#words = words;
    if (this.#options) this.#judge(now, this.#options);
    if (!this.#burst && this.#dismissed && this.#saysAnything()) return this.#takeUnasked(this.#dismissed);
    // Words come after the voice: what was taken for a hum may have been one.
    if (!this.#burst && this.#continued && this.#saysMore()) this.#take(now, this.#continued, "words");
  }

  handleTimeout(now: Milli): void {
    const due = this.pollTimeout();
    if (due !== undefined && now >= due) this.#decide(now);
  }

  pollTimeout(): Milli | undefined {
    if (!this.#options || this.#burst?.verdict !== "open" || (this.#burst.unasked && !this.#agentSpeaks))
      return undefined;
    return this.#burst.onsetAt + this.#options.decideByMs;
  }

  nextCommand(): FloorCommand | undefined {
    return this.#commands.shift();
  }

  /**
   * The caller's voice is over, which began while the agent was silent, and nobody took the floor: why it was no speech.
   * `undefined`: it may be some after all.
   */
  get dismissed(): FloorDecision | undefined {
    const burst = this.#burst;
    return burst?.verdict === "open" && !isNoWord(burst) ? undefined : this.#dismissed;
  }

  /** The caller's turn is over, or was thrown away. */
  reset(): void {
    this.#restore(0);
    this.#burst = undefined;
    this.#words = undefined;
    this.#breathMs = 0;
    this.#humMs = 0;
    this.#continued = undefined;
    this.#tail = undefined;
    this.#forget();
  }

  /** What was passed over while the agent was silent. */
  #forget(): void {
    this.#dismissed = undefined;
    this.#shortMs = 0;
  }

  /** How loud a voice is, or was just now. */
  #peakDb({ mediaMs }: VoiceWindow): number {
    return this.#burst?.peakDb ?? (this.#tail && mediaMs < this.#tail.untilMs ? this.#tail.peakDb : -100);
  }

  #isVoice({ probability, prosody }: VoiceWindow, loud: boolean, { threshold }: FloorOptions): boolean {
    if (probability >= (this.#burst ? threshold - HYSTERESIS : threshold)) return true;
    // A hum may sink below what the detector takes for voice: while it goes on, its sound is enough.
    const likely = this.#burst !== undefined || probability >= LIKELY;
    // Over the agent, a murmur ("no", "now") may waver as it begins: to be softer for nothing costs little.
    const steady = this.#agentSpeaks ? (this.#burst ? STEADY_ON : STEADY_OVER_AGENT) : STEADY;
    return likely && loud && prosody !== undefined && prosody.periodicity >= steady;
  }

  #hearVoice(now: Milli, window: VoiceWindow, loudDb: number): void {
    const endMs = window.mediaMs + window.durationMs;
    const from = this.#burst ? window.mediaMs : onsetOf(window);
    const burst = (this.#burst ??= this.#open(now - (endMs - from), from));
    const ms = endMs - from;
    burst.peakDb = Math.max(burst.peakDb, loudDb);
    burst.quietMs = 0;
    burst.voicedMs += ms;
    const sound = soundOf(window);
    if (burst.unasked) this.#describe(burst, window, sound);
    if (sound === "speech") burst.speechMs += ms;
    else if (sound === "hum") {
      burst.humMs += ms;
      if (window.probability >= CERTAIN_HUM) burst.certainHumMs += ms;
    } else if (sound === "breath") burst.noiseMs += ms;
    const { duckAfterMs, duckGain, duckRampMs } = this.#options!;
    const ducks = this.#agentSpeaks && burst.duckedAt === undefined && burst.verdict === "open";
    if (!ducks || burst.voicedMs < duckAfterMs || duckGain >= 1) return;
    burst.duckedAt = now;
    burst.soft = true;
    this.#commands.push({ kind: "duck", gain: duckGain, rampMs: duckRampMs });
  }

  #describe(burst: Burst, { levels, prosody, durationMs }: VoiceWindow, sound: ReturnType<typeof soundOf>): void {
    if (sound === "breath" && burst.speechMs === 0) burst.aheadMs += durationMs;
    if (!prosody || (sound !== "speech" && sound !== "hum") || burst.timbre.length >= TIMBRE_WINDOWS) return;
    burst.timbre.push({ db: Math.min(...levels), brightDb: prosody.brightDb });
  }

  #open(onsetAt: Milli, onsetMs: Milli): Burst {
    const [noiseMs, humMs] = [this.#breathMs, this.#humMs];
    this.#breathMs = 0;
    this.#humMs = 0;
    this.#words = undefined; // what was understood before is of what was said before
    if (!this.#callerSpeaks) this.#forget();
    const sounds = { peakDb: -100, voicedMs: 0, speechMs: 0, humMs, certainHumMs: 0, noiseMs, quietMs: 0 };
    return {
      onsetAt,
      onsetMs,
      ...sounds,
      duckedAt: undefined,
      soft: false,
      verdict: "open",
      continues: false,
      passedSpeechMs: 0,
      unasked: !this.#agentSpeaks,
      aheadMs: noiseMs,
      timbre: [],
    };
  }

  #hearPause(now: Milli, window: VoiceWindow, loud: boolean): void {
    const { prosody, durationMs } = window;
    const breath = loud && prosody !== undefined && isBreath(prosody);
    const hums = loud && prosody !== undefined && prosody.periodicity >= STEADY && isClosed(prosody);
    this.#humMs = hums ? this.#humMs + durationMs : 0;
    if (breath) this.#breathMs += durationMs;
    else this.#breathMs = Math.max(0, this.#breathMs - durationMs / 2); // a cough may be silent before its voiced rest
    const burst = this.#burst;
    if (!burst) return;
    burst.quietMs += durationMs;
    if (breath) burst.noiseMs += durationMs;
    if (burst.quietMs < PAUSE_MS) return;
    this.#endBurst(now, burst);
  }

  #endBurst(now: Milli, burst: Burst): void {
    if (burst.verdict === "open") {
      if (this.#goesOn(burst)) this.#take(now, burst, "speech");
      else this.#pass(now, burst, burst.noiseMs >= COUGH_NOISE_MS ? "noise" : isHum(burst) ? "hum" : "short");
    }
    if (burst.unasked) this.#tail = { untilMs: this.#seenMs + TAIL_MS, peakDb: burst.peakDb };
    this.#burst = undefined;
  }

  /** Whether it is the rest of what the caller had to say, however short. */
  #goesOn(burst: Burst): boolean {
    if (burst.unasked) {
      const longEnough = burst.voicedMs + this.#shortMs >= UNCONTESTED_MS;
      return this.#callerSpeaks && longEnough && !isNoWord(burst);
    }
    if (!burst.continues || !this.#callerSpeaks || isCough(burst) || isHum(burst)) return false;
    return burst.voicedMs >= UNCONTESTED_MS;
  }

  /** What need not wait for the deadline. */
  #judge(now: Milli, options: FloorOptions): void {
    const burst = this.#burst;
    if (!burst || burst.verdict === "taken" || !this.#callerSpeaks) return;
    if (burst.unasked && !this.#agentSpeaks && options.dismisses) {
      const credible = isClear(burst) || (now - burst.onsetAt >= options.decideByMs && this.#goesOn(burst));
      if (this.#saysAnything()) this.#take(now, burst, "words");
      else if (credible || burst.humMs >= LONGEST_HUM_MS) this.#take(now, burst, "speech");
      return;
    }
    if (!this.#agentSpeaks) {
      if (burst.verdict === "open" && burst.voicedMs >= UNCONTESTED_MS) this.#take(now, burst, "speech");
      else if (burst.speechMs - burst.passedSpeechMs >= UNCONTESTED_MS) this.#take(now, burst, "speech");
      return;
    }
    if (this.#says(isStopWord) || (burst.continues && this.#saysMore())) return this.#take(now, burst, "words");
    if (!burst.continues && this.#says(isBackchannel) && burst.voicedMs < LONGEST_BACKCHANNEL_MS) return;
    if (burst.verdict === "passed") {
      const speaks =
        burst.speechMs - burst.passedSpeechMs >= SECOND_THOUGHT_MS ||
        burst.speechMs + burst.certainHumMs >= CERTAIN_WORDS_MS;
      if (speaks || burst.humMs >= LONGEST_HUM_MS) this.#take(now, burst, "speech");
    } else if (burst.voicedMs >= options.stopAfterMs && isClear(burst)) this.#take(now, burst, "speech");
  }

  /** The deadline: whatever it is, the agent does not stay in between. */
  #decide(now: Milli): void {
    const burst = this.#burst!;
    if (this.#goesOn(burst) && this.#agentSpeaks) return this.#take(now, burst, "speech");
    if (!burst.continues && this.#says(isBackchannel)) return this.#pass(now, burst, "words");
    if (isCough(burst)) return this.#pass(now, burst, "noise");
    if (isHum(burst)) return this.#pass(now, burst, "hum");
    if (burst.quietMs > 0) return this.#pass(now, burst, "short");
    if (!this.#callerSpeaks) return this.#pass(now, burst, "noise");
    if (this.#agentSpeaks) this.#take(now, burst, "speech");
  }

  #says(test: (words: string, language: string | undefined) => boolean): boolean {
    return this.#words !== undefined && test(this.#words, this.#options?.language);
  }

  /** While the agent is silent, a "mhm" that is understood is an answer. */
  #saysAnything(): boolean {
    return (this.#words ?? "").trim() !== "";
  }

  /** Whether words are there that are more than a sign of listening. */
  #saysMore(): boolean {
    return (this.#words ?? "").trim() !== "" && !this.#says(isBackchannel);
  }

  #take(now: Milli, burst: Burst, reason: FloorReason): void {
    burst.verdict = "taken";
    const decision = describe(now, burst, "stop", reason);
    const onsetMs = burst.unasked ? undefined : (this.#continued?.onsetMs ?? burst.onsetMs);
    this.#commands.push({ kind: "take", onsetMs, decision });
    this.#continued = undefined;
    this.#forget();
    this.#restore(0); // what comes next is as loud as ever; what was cut has faded by then
  }

  #takeUnasked(dismissed: FloorDecision): void {
    this.#forget();
    this.#commands.push({
      kind: "take",
      onsetMs: undefined,
      decision: { ...dismissed, decision: "stop", reason: "words" },
    });
  }

  #pass(now: Milli, burst: Burst, reason: FloorReason): void {
    burst.verdict = "passed";
    if (burst.unasked && reason === "short") this.#shortMs += burst.voicedMs;
    if (burst.unasked && burst.voicedMs > (this.#dismissed?.voicedMs ?? 0))
      this.#dismissed = describe(now, burst, "dismiss", reason);
    if (burst.continues && reason !== "noise") this.#continued ??= burst;
    // Speech that nobody was sure of by then need not begin anew.
    const unsure = !this.#callerSpeaks && reason === "noise";
    burst.passedSpeechMs = unsure ? burst.speechMs - SECOND_THOUGHT_MS + WINDOW_MS : burst.speechMs;
    if (this.#agentSpeaks) this.#commands.push({ kind: "pass", decision: describe(now, burst, "continue", reason) });
    this.#restore(this.#options?.restoreRampMs ?? 0);
  }

  #restore(rampMs: Milli): void {
    if (!this.#burst?.soft) return;
    this.#burst.soft = false;
    this.#commands.push({ kind: "duck", gain: 1, rampMs });
  }
}

/** How a window of voice sounds; without a measurement as a word does. */
function soundOf({ probability, prosody }: VoiceWindow): "speech" | "hum" | "breath" | "hiss" {
  if (!prosody) return "speech";
  const periodic = prosody.periodicity >= PERIODIC;
  if (prosody.brightDb > HISS_DB && prosody.periodicity < STEADY) return "hiss"; // an "ee" is as bright, and steady
  if (isClosed(prosody)) return "hum"; // some voices creak too low, or breathe too much, for a period
  return periodic || probability >= CERTAIN ? "speech" : "breath";
}

function isClosed({ vowelDb, brightDb }: Prosody): boolean {
  return vowelDb <= CLOSED_VOWEL_DB && brightDb <= CLOSED_BRIGHT_DB;
}

/** Air through an open throat; at its start, a burst, it resembles a period a little. */
function isBreath({ periodicity, brightDb }: Prosody): boolean {
  return periodicity < 0.6 && brightDb > BREATH_DARKEST_DB && brightDb < HISS_DB;
}

function isClear(burst: Burst): boolean {
  return burst.speechMs >= Math.max(CLEAR_SPEECH_MS, burst.humMs / 2) && !isCough(burst);
}

function isHum({ humMs, speechMs }: Burst): boolean {
  return humMs > 2 * speechMs;
}

/** While the agent is silent there is time to be surer: many a word ends in breath, and is dark in a dark voice. */
function isNoWord(burst: Burst): boolean {
  if (burst.aheadMs >= COUGH_NOISE_MS && burst.speechMs < COUGH_SPEECH_MS) return true;
  if (!isHum(burst) || burst.speechMs + burst.certainHumMs >= CERTAIN_WORD_MS) return false;
  const loud = burst.timbre.filter(({ db }) => db > burst.peakDb - TIMBRE_BELOW_DB).map(({ brightDb }) => brightDb);
  return Math.max(...loud) - Math.min(...loud) < TIMBRE_RANGE_DB; // words move the lips
}

function isCough({ noiseMs, speechMs }: Burst): boolean {
  return noiseMs >= COUGH_NOISE_MS && speechMs < COUGH_SPEECH_MS;
}

/** Where in its first window the voice begins, to a part of the window. */
function onsetOf({ mediaMs, durationMs, levels }: VoiceWindow): Milli {
  const loudest = Math.max(...levels);
  const first = levels.findIndex((level) => level > loudest - ONSET_BELOW_DB);
  return first <= 0 ? mediaMs : mediaMs + (first * durationMs) / levels.length;
}

function describe(now: Milli, burst: Burst, decision: FloorDecision["decision"], reason: FloorReason): FloorDecision {
  return {
    decision,
    reason,
    duckedAfterMs: burst.duckedAt === undefined ? undefined : burst.duckedAt - burst.onsetAt,
    decidedAfterMs: now - burst.onsetAt,
    voicedMs: burst.voicedMs,
  };
}
