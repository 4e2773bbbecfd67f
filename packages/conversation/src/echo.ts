/**
 * Tells the agent's own voice, come back through the loudspeaker and the caller's microphone, from the caller's. What was
 * heard of late is known by the ledger; a window of the microphone whose harmonics stand where those of the agent stood,
 * at one and the same delay for as long as it lasts, is the agent's. A voice over it has harmonics of its own.
 *
 * Two questions, the cheap one first: can it be as loud as this, by what has come back so far? Where nothing comes back,
 * no spectrum is ever made, and nobody is judged later than without. Never reads a clock.
 */
import { type Milli, type Pcm, SAMPLES_PER_MS } from "./audio.ts";
import type { VoiceWindow } from "./endpointer.ts";
import { powerSpectrum, SPECTRUM_SAMPLES } from "./spectrum.ts";

/** Where the ear is in the agent's speech. */
export interface EarPlace {
  readonly itemId: string;
  readonly positionMs: Milli;
}

/** The rate at which sounds are compared, in samples a millisecond: harmonics are below 4 kHz. */
const PER_MS = 8;
const DECIMATION = SAMPLES_PER_MS / PER_MS;
/** Delays are told apart by this much; spectra are of four of them. */
const HOP_MS = 8;
const HOP = HOP_MS * PER_MS;
const HOPS_A_SPECTRUM = SPECTRUM_SAMPLES / HOP;
/** From where the ear is to where its echo is heard here: sound devices, jitter buffer, network; and how wrong the ear's place is. */
const FIRST_DELAY = -5; // hops
const DELAYS = 75;
/** What was heard is kept for this many hops, 1 s. */
const KEPT = 128;
/** Speech kept that was not heard yet: what a client is sent further ahead is not recognised. 16 kB a second. */
const LONGEST_AHEAD_MS = 60_000;
const KEPT_ITEMS = 4;
/** Bins of 31 Hz that are compared: 125 to 3400 Hz. */
const FIRST_BIN = 4;
const BINS = 105;
/** The spectrum's course over so many bins is the room's and the vowel's; what stands out of it are harmonics. */
const SMOOTH_BINS = 7;
const POWERS = FIRST_BIN + BINS + SMOOTH_BINS + 1;
/** What is this much below the rest of its surroundings does not count. */
const DEEPEST = -1.5; // natural logarithm
/** The ear's place by two reports may differ by this much before all that was heard is laid out anew. */
const JUMP_MS = 30;
/** Below this level nothing is worth a comparison. */
const AUDIBLE_DB = -50;
const UNHEARD_DB = -100;
/** How loud it may come back, at first, and how fast that is forgotten (a louder loudspeaker): dB, and a window. */
const LOUDEST_RETURN_DB = 12;
const RETURN_RISE_DB = 0.03;
/** A vowel may come back this much louder than another. */
const RETURN_SPREAD_DB = 14;
/** Resemblance from which a window is the agent's: alone, with one before it, with more. Of 225 other voices 4 pass the first. */
const ALIKE = [0.62, 0.55, 0.5] as const;
/** The same at the delay at which it came back so often before. Lower: over a loud echo the caller is heard later. */
const ALIKE_AS_USUAL = 0.4;
const USUAL_TIMES = 4;
const MOST_TIMES = 30;
/** A room gives back what it holds for as long, in hops. */
const ROOM_DELAYS = 14;
/** What a room still holds of the spectra before: power, one spectrum later each. */
const ROOM = [1, 0.4, 0.16, 0.06];
/** Each window counts for this share of the next one, until there is none for so long. */
const KEEP = 0.5;
const FORGET_MS = 160;
/** A detector goes on for this long after an echo. */
const HANGOVER_MS = 400;

interface Shapes {
  readonly dry: Float32Array | undefined;
  readonly wet: Float32Array | undefined;
}

interface Speech {
  readonly itemId: string;
  readonly pieces: { readonly fromMs: Milli; readonly samples: Int16Array }[];
  endMs: Milli;
  whole: boolean; // as far as it was said
}

/** Knows the agent's voice when it comes back. */
export class EchoDetector {
  readonly #speech: Speech[] = [];
  /** The newest of it as it came: it is on its way to the ear, and our work on it can wait. */
  #fresh: { readonly speech: Speech; readonly fromMs: Milli; readonly pcm: Pcm } | undefined;
  readonly #heard = new Float32Array(KEPT * HOP); // by time, in a ring
  readonly #levels = new Float32Array(KEPT).fill(UNHEARD_DB); // of its hops
  readonly #returns = new Float32Array(DELAYS).fill(LOUDEST_RETURN_DB); // by delay: it does not come back louder
  /** Of the spectra that end with a hop, as far as they were needed. */
  readonly #powers: ({ readonly hop: number; readonly power: Float32Array } | undefined)[] = [];
  readonly #shapes: ({ readonly hop: number; readonly shapes: Shapes | undefined } | undefined)[] = [];
  readonly #alike = new Float32Array(DELAYS); // weighted sums over the windows of a voice
  #weight = 0; // of those sums
  #windows = 0;
  #alikeMs: Milli = -Infinity; // the newest of them
  #usualAt = -1; // the delay of most echoes of late, and how often it was that
  #usualTimes = 0;
  #echoEndMs: Milli = -Infinity;
  #filledAt: Milli | undefined;
  #place: EarPlace | undefined;
  #soundedAt: Milli = -Infinity;
  #softenedAt: Milli = -Infinity;
  #offsetMs: Milli | undefined; // of the caller's audio to our clock

  /** The agent will say this next in `itemId`. */
  handleSpeech(itemId: string, pcm: Pcm): void {
    this.#takeFresh();
    let speech = this.#speech.find((one) => one.itemId === itemId);
    if (!speech) {
      speech = { itemId, pieces: [], endMs: 0, whole: true };
      this.#speech.push(speech);
      if (this.#speech.length > KEPT_ITEMS) this.#speech.shift();
    }
    const heardMs = this.#place?.itemId === itemId ? this.#place.positionMs : 0;
    speech.whole &&= speech.endMs - heardMs < LONGEST_AHEAD_MS;
    if (!speech.whole) return; // what follows a hole would be in the wrong place
    this.#fresh = { speech, fromMs: speech.endMs, pcm };
    speech.endMs += pcm.length / SAMPLES_PER_MS;
  }

  /**
   * Whether this window of the caller's audio holds the agent's voice and nothing else to speak of. Windows come in order,
   * all of them; `ear`: where it is by now, `undefined` when nothing sounds; `softened`: the agent is not as loud as it spoke;
   * `judged`: whether anybody wants to know.
   */
  handleWindow(now: Milli, window: VoiceWindow, ear: EarPlace | undefined, softened = false, judged = true): boolean {
    this.#follow(now, ear);
    const { samples, mediaMs, durationMs, levels } = window;
    const endMs = mediaMs + durationMs;
    this.#offsetMs = clockOffset(this.#offsetMs, now - endMs);
    if (!judged || !samples || now - this.#soundedAt > (KEPT - HOPS_A_SPECTRUM) * HOP_MS) return false;
    const newestHop = Math.round((endMs + this.#offsetMs) / HOP_MS) - 1; // the last that is in the window
    const loudDb = meanDb(levels);
    const audible = loudDb > AUDIBLE_DB;
    if (softened) this.#softenedAt = now;
    if (now - this.#softenedAt > KEPT * HOP_MS) this.#learn(newestHop, loudDb);
    // What a detector takes for voice after the echo has faded is its own delay.
    if (!audible) return endMs - this.#echoEndMs < HANGOVER_MS;
    const alike = this.#canBe(newestHop, loudDb) && this.#compare(newestHop, endMs, samples);
    if (alike) this.#echoEndMs = endMs;
    return alike;
  }

  /** Whether it may be as loud as this, at any delay, by what has come back so far. */
  #canBe(newestHop: number, loudDb: number): boolean {
    for (let at = 0; at < DELAYS; at++) if (this.#isPossible(newestHop, at, loudDb)) return true;
    return false;
  }

  #isPossible(newestHop: number, at: number, loudDb: number): boolean {
    const least = Math.max(AUDIBLE_DB, loudDb - this.#returns[at]! - RETURN_SPREAD_DB);
    const hop = newestHop - FIRST_DELAY - at;
    // What the room still holds counts, too.
    for (let back = -1; back < HOPS_A_SPECTRUM + 4; back++) if (this.#level(hop - back) >= least) return true;
    return false;
  }

  /** How loud it comes back at most: no louder than all that the microphone hears. */
  #learn(newestHop: number, loudDb: number): void {
    for (let at = 0; at < DELAYS; at++) {
      const hop = newestHop - FIRST_DELAY - at;
      let quietest = 0;
      for (let back = -1; back <= HOPS_A_SPECTRUM; back++) quietest = Math.min(quietest, this.#level(hop - back));
      if (quietest <= AUDIBLE_DB + 10) continue;
      const rising = Math.min(LOUDEST_RETURN_DB, this.#returns[at]! + RETURN_RISE_DB);
      this.#returns[at] = Math.min(rising, loudDb - quietest);
    }
  }

  #compare(newestHop: number, endMs: Milli, samples: Float32Array): boolean {
    powerSpectrum(halve(samples), ownPower);
    const own = shapeOf(ownPower);
    if (!own) return false;
    if (endMs - this.#alikeMs > FORGET_MS) this.#startAnew();
    this.#alikeMs = endMs;
    this.#weight = 1 + this.#weight * KEEP;
    this.#windows += 1;
    const loudDb = 10 * Math.log10(samples.reduce((sum, one) => sum + one * one, 1e-10) / samples.length);
    let [best, bestAt, usual] = [0, 0, 0];
    for (let at = 0; at < DELAYS; at++) {
      const shape = this.#shape(newestHop - FIRST_DELAY - at);
      const dry = shape?.dry ? resemblance(own, shape.dry) : 0;
      const wet = shape?.wet ? resemblance(own, shape.wet) : 0;
      const alike = Math.max(dry, wet);
      this.#alike[at] = this.#alike[at]! * KEEP + alike;
      const mean = this.#alike[at]! / this.#weight;
      if (mean <= Math.min(best, usual) || !this.#isPossible(newestHop, at, loudDb)) continue;
      if (mean > best) [best, bestAt] = [mean, at];
      if (at >= this.#usualAt - 1 && at <= this.#usualAt + ROOM_DELAYS) usual = Math.max(usual, mean);
    }
    const certain = best >= ALIKE[Math.min(this.#windows, ALIKE.length) - 1]!;
    if (certain) this.#settle(bestAt);
    return certain || (this.#usualTimes >= USUAL_TIMES && usual >= ALIKE_AS_USUAL);
  }

  /** It came back after this delay. */
  #settle(at: number): void {
    if (Math.abs(at - this.#usualAt) <= 1) this.#usualTimes = Math.min(MOST_TIMES, this.#usualTimes + 1);
    else if (--this.#usualTimes > 0) return;
    else this.#usualTimes = 1;
    this.#usualAt = at;
  }

  #level(hop: number): number {
    return this.#levels[ringIndex(hop)]!;
  }

  /** Of the spectra that end with `hop`, without and with what a room still holds of those before. */
  #shape(hop: number): Shapes | undefined {
    const at = ringIndex(hop);
    const known = this.#shapes[at];
    if (known && known.hop === hop) return known.shapes;
    const power = new Float32Array(POWERS);
    for (const [back, share] of ROOM.entries()) {
      const older = this.#power(hop - back * HOPS_A_SPECTRUM);
      if (back === 0) power.set(older);
      else for (let bin = 0; bin < POWERS; bin++) power[bin] = power[bin]! + share * older[bin]!;
    }
    const [dry, wet] = [shapeOf(this.#power(hop)), shapeOf(power)];
    const shapes = dry || wet ? { dry, wet } : undefined;
    this.#shapes[at] = { hop, shapes };
    return shapes;
  }

  #power(hop: number): Float32Array {
    const at = ringIndex(hop);
    const known = this.#powers[at];
    if (known && known.hop === hop) return known.power;
    const samples = new Float32Array(SPECTRUM_SAMPLES);
    for (let part = 0; part < HOPS_A_SPECTRUM; part++) {
      const from = ringIndex(hop - HOPS_A_SPECTRUM + 1 + part) * HOP;
      samples.set(this.#heard.subarray(from, from + HOP), part * HOP);
    }
    const power = new Float32Array(POWERS);
    powerSpectrum(samples, power);
    this.#powers[at] = { hop, power };
    return power;
  }

  #takeFresh(): void {
    if (!this.#fresh) return;
    const { speech, fromMs, pcm } = this.#fresh;
    this.#fresh = undefined;
    speech.pieces.push({ fromMs, samples: decimate(pcm) });
  }

  /** Lays out what was heard since the last window. */
  #follow(now: Milli, ear: EarPlace | undefined): void {
    this.#takeFresh();
    const since = Math.max(this.#filledAt ?? now, now - KEPT * HOP_MS + 2 * HOP_MS);
    const last = this.#place;
    this.#filledAt = now;
    if (!ear && !last && now - this.#soundedAt > KEPT * HOP_MS) return; // all is silent already
    this.#write(since, now, undefined, 0);
    const elapsedMs = now - since;
    if (last && ear?.itemId === last.itemId) {
      const advancedMs = ear.positionMs - last.positionMs;
      const smooth = Math.abs(advancedMs - elapsedMs) < JUMP_MS;
      if (!smooth && (advancedMs < 0 || advancedMs > elapsedMs)) {
        this.#layOut(now, ear);
        this.#shiftDelays(Math.round((advancedMs - elapsedMs) / HOP_MS));
      } else {
        const heardMs = smooth ? elapsedMs : advancedMs; // less: it ran dry
        this.#write(since, since + heardMs, last.itemId, last.positionMs);
        this.#place = { itemId: last.itemId, positionMs: last.positionMs + heardMs };
      }
    } else {
      if (last) this.#write(since, now, last.itemId, last.positionMs); // to its end
      this.#place = undefined;
      if (ear) this.#layOut(now, ear);
    }
    if (ear) this.#soundedAt = now;
    this.#forget();
  }

  /** What was heard by now, by what is known now. */
  #layOut(now: Milli, ear: EarPlace): void {
    const knownMs = Math.min(ear.positionMs, (KEPT - 2) * HOP_MS);
    this.#write(now - knownMs, now, ear.itemId, ear.positionMs - knownMs);
    this.#place = ear;
    this.#startAnew();
  }

  /** The ear is elsewhere than was thought, and so is all that was learnt of delays. */
  #shiftDelays(hops: number): void {
    const known = this.#returns.slice();
    for (let at = 0; at < DELAYS; at++) this.#returns[at] = known[at - hops] ?? LOUDEST_RETURN_DB;
    this.#usualAt += hops;
  }

  #startAnew(): void {
    this.#alike.fill(0);
    this.#weight = 0;
    this.#windows = 0;
  }

  /** From `since` to `now` the ear heard what is at `fromMs` of an item; without one, nothing. */
  #write(since: Milli, now: Milli, itemId: string | undefined, fromMs: Milli): void {
    const [first, end] = [Math.floor(since * PER_MS), Math.floor(now * PER_MS)];
    const speech = itemId === undefined ? undefined : this.#speech.find((one) => one.itemId === itemId);
    if (itemId !== undefined && !speech) return;
    const length = this.#heard.length;
    const source = speech && createReader(speech, Math.round(fromMs * PER_MS));
    for (let at = first; at < end; at++) {
      const sample = source ? source() : 0;
      if (sample === undefined) break;
      this.#heard[((at % length) + length) % length] = sample / 32_768;
    }
    for (let hop = Math.floor(first / HOP); hop <= Math.floor(end / HOP); hop++) {
      const index = ringIndex(hop);
      let sum = 1e-10;
      for (let at = index * HOP; at < (index + 1) * HOP; at++) sum += this.#heard[at]! * this.#heard[at]!;
      this.#levels[index] = Math.max(UNHEARD_DB, 10 * Math.log10(sum / HOP));
      for (let later = 0; later < HOPS_A_SPECTRUM; later++) this.#powers[ringIndex(hop + later)] = undefined;
      for (let later = 0; later < HOPS_A_SPECTRUM * ROOM.length; later++)
        this.#shapes[ringIndex(hop + later)] = undefined;
    }
  }

  /** Speech that was heard a while ago. */
  #forget(): void {
    const place = this.#place;
    if (!place) return;
    const at = this.#speech.findIndex((one) => one.itemId === place.itemId);
    if (at > 0) this.#speech.splice(0, at);
    const pieces = this.#speech[0]?.pieces;
    if (at < 0 || !pieces) return;
    const keptMs = place.positionMs - KEPT * HOP_MS;
    while (pieces[1] && pieces[1].fromMs < keptMs) pieces.shift();
  }
}

/** Of the media clock to ours: by the quickest window, as long as nothing was left out. */
function clockOffset(known: Milli | undefined, offsetMs: Milli): Milli {
  if (known === undefined || offsetMs - known > 250) return offsetMs;
  return Math.min(known, offsetMs);
}

function ringIndex(hop: number): number {
  return hop & (KEPT - 1); // a power of two; below zero, too
}

/** The samples of `speech` one after another from sample `at` on; `undefined` after the last. */
function createReader(speech: Speech, at: number): () => number | undefined {
  let index = speech.pieces.findLastIndex((piece) => piece.fromMs * PER_MS <= at);
  let place = index < 0 ? 0 : at - Math.round(speech.pieces[index]!.fromMs * PER_MS);
  if (index < 0) index = 0;
  return () => {
    for (let piece = speech.pieces[index]; piece; piece = speech.pieces[++index]) {
      if (place < piece.samples.length) return piece.samples[place++]!;
      place = 0;
    }
    return undefined;
  };
}

/** Means of three samples: crude, but what folds back is well below the voice. */
function decimate(pcm: Pcm): Int16Array {
  const out = new Int16Array(Math.floor(pcm.length / DECIMATION));
  for (let at = 0, from = 0; at < out.length; at++, from += DECIMATION)
    out[at] = (pcm[from]! + pcm[from + 1]! + pcm[from + 2]!) / DECIMATION;
  return out;
}

/** A window of 16 kHz at half its rate. */
function halve(samples: Float32Array): Float32Array {
  const out = new Float32Array(samples.length >> 1);
  for (let at = 0; at < out.length; at++) out[at] = (samples[2 * at]! + samples[2 * at + 1]!) / 2;
  return out;
}

const ownPower = new Float32Array(POWERS);

const logs = new Float64Array(POWERS);

/** What stands out of a spectrum's own course, of unit length; `undefined`: it is silent. */
function shapeOf(power: Float32Array): Float32Array | undefined {
  let loudest = 0;
  for (let bin = 0; bin < POWERS; bin++) if (power[bin]! > loudest) loudest = power[bin]!;
  if (loudest < 1e-4) return undefined;
  for (let bin = 0; bin < POWERS; bin++) logs[bin] = Math.log(power[bin]! + loudest * 1e-4);
  const shape = new Float32Array(BINS);
  let [from, end, near, sum] = [1, 1, 0, 0];
  for (let bin = FIRST_BIN; bin < FIRST_BIN + BINS; bin++) {
    while (end <= bin + SMOOTH_BINS && end < POWERS) near += logs[end++]!;
    while (from < bin - SMOOTH_BINS) near -= logs[from++]!;
    const out = logs[bin]! - near / (end - from);
    sum += shape[bin - FIRST_BIN] = out < DEEPEST ? DEEPEST : out;
  }
  const mean = sum / BINS;
  let norm = 0;
  for (let bin = 0; bin < BINS; bin++) {
    const out = (shape[bin] = shape[bin]! - mean);
    norm += out * out;
  }
  if (norm < 1e-6) return undefined;
  const scale = 1 / Math.sqrt(norm);
  for (let bin = 0; bin < BINS; bin++) shape[bin] = shape[bin]! * scale;
  return shape;
}

function resemblance(one: Float32Array, other: Float32Array): number {
  let sum = 0;
  for (let bin = 0; bin < BINS; bin++) sum += one[bin]! * other[bin]!;
  return sum;
}

function meanDb(levels: readonly number[]): number {
  return 10 * Math.log10(levels.reduce((sum, level) => sum + 10 ** (level / 10), 0) / Math.max(1, levels.length));
}
