/**
 * Plays buffered speech: utterances arrive faster or slower than they are heard, and leave sample by sample. Starts as
 * soon as a small lead is there, stretches speech by whole pitch periods before it would run dry (the time scaling of
 * WSOLA, Verhelst and Roelands 1993, as a jitter buffer does it), fades where it cannot, and knows to the sample what was
 * given out.
 *
 * {@link createPlayer} runs in an AudioWorklet, which gets its source as text ({@link playerSource}): it uses nothing from
 * outside itself, and no syntax for which a compiler would bring a helper along.
 */

/** What of an utterance was given to the sound card. Samples are of the utterance; frames count the output's own. */
export interface PlayerReport {
  readonly kind: "playing" | "cut" | "ended";
  readonly utterance: string;
  /** Output frame that carried its first sample; -1: it was cut before that. */
  readonly startedFrame: number;
  /** Sample of the utterance that comes next. */
  readonly position: number;
  /** Output frame that {@link PlayerReport.position} belongs to. */
  readonly frame: number;
}

/** What a player counts. Samples of its own rate. */
export interface PlayerStats {
  /** Times that speech was due and missing. */
  readonly underruns: number;
  /** Silence put where speech was due. */
  readonly missing: number;
  /** Samples added by stretching. */
  readonly stretched: number;
  /** Lead that an utterance waits for before it begins. */
  readonly lead: number;
  /** Held and not played. */
  readonly buffered: number;
}

/** A buffer between a pipe and a loudspeaker; one channel. */
export interface Player {
  /**
   * Appends the audio that begins at sample `at` of an utterance; the first piece opens it, and the utterances play in the
   * order in which they were opened. What is held already is ignored, a hole is silence.
   */
  push(utterance: string, at: number, pcm: Float32Array): void;
  /** The utterance has no more audio than what was pushed. */
  end(utterance: string): void;
  /** Fades out within 10 ms, drops the utterances of which `matches` is true, and whatever of them may still come. */
  cut(utterances: readonly string[] | undefined): void;
  /** Brings the loudness to `gain` over `samples`; the next utterance after a cut is as loud as spoken. */
  duck(gain: number, samples: number): void;
  /** Fills `out`, whose first sample is output frame `frame`. */
  render(out: Float32Array, frame: number): void;
  /** The next thing to tell, oldest first. */
  nextReport(): PlayerReport | undefined;
  stats(): PlayerStats;
}

/** How a player behaves. Everything in milliseconds. */
export interface PlayerOptions {
  /** Held before an utterance begins; default 40. More after an underrun, by itself. */
  readonly leadMs?: number;
  /** Between reports while something plays; default 100. */
  readonly reportMs?: number;
}

/** Makes a player at `rate` samples a second. */
export function createPlayer(rate: number, options: PlayerOptions): Player {
  const ms = rate / 1000;
  const MIN_LAG = Math.round(2.5 * ms); // pitch of 400 Hz
  const MAX_LAG = Math.round(15 * ms); // pitch of 67 Hz
  const CUT = Math.round(10 * ms);
  const FADE_IN = Math.round(5 * ms);
  const STRETCH_EVERY = Math.round(60 * ms); // one period of 5 to 10 ms in 60: 8 to 17 % slower
  const LEAD_STEP = Math.round(40 * ms);
  const MAX_LEAD = Math.round(240 * ms);
  const FORGIVEN = Math.round(5 * ms); // less lead for every utterance without an underrun
  const LONGEST_HOLE = rate; // a second: more is another place, not a hole
  const KEPT_DEAD = 64;
  const minLead = Math.round((options.leadMs === undefined ? 40 : options.leadMs) * ms);
  const reportEvery = Math.round((options.reportMs === undefined ? 100 : options.reportMs) * ms);

  interface Track {
    readonly id: string;
    buffer: Float32Array;
    /** Sample of the utterance at `buffer[0]`. */
    base: number;
    /** Samples in `buffer`. */
    size: number;
    /** Index of the next sample in `buffer`. */
    read: number;
    ended: boolean;
    startedFrame: number;
    underran: boolean;
  }

  const tracks: Track[] = [];
  const dead: string[] = [];
  const reports: PlayerReport[] = [];
  let playing = false;
  let lead = minLead;
  let underruns = 0;
  let missing = 0;
  let stretched = 0;
  let reportAt = 0;
  let gain = 1;
  let gainTarget = 1;
  let gainStep = 0;
  let cutLeft = 0; // samples of the fade-out before a cut
  let fadeIn = 0; // samples of the fade-in still to come
  let starved = 0; // samples since speech was due and missing
  let lag = 0; // the period that is being repeated; 0: none
  let lagDone = 0;
  let sinceStretch = STRETCH_EVERY;

  function report(kind: PlayerReport["kind"], track: Track, frame: number): void {
    const position = track.base + track.read;
    reports.push({ kind, utterance: track.id, startedFrame: track.startedFrame, position, frame });
    reportAt = frame + reportEvery;
  }

  function find(id: string): Track | undefined {
    for (const track of tracks) if (track.id === id) return track;
    return undefined;
  }

  function reserve(track: Track, more: number): void {
    // What was played is kept for one look back: stretching repeats it.
    const drop = track.read - 2 * MAX_LAG;
    if (drop > track.buffer.length / 2) {
      track.buffer.copyWithin(0, drop, track.size);
      track.base += drop;
      track.size -= drop;
      track.read -= drop;
    }
    if (track.size + more <= track.buffer.length) return;
    const longer = new Float32Array(Math.max(track.buffer.length * 2, track.size + more));
    longer.set(track.buffer.subarray(0, track.size));
    track.buffer = longer;
  }

  function push(id: string, at: number, pcm: Float32Array): void {
    if (dead.indexOf(id) >= 0) return;
    let track = find(id);
    if (track === undefined) {
      const buffer = new Float32Array(rate * 2);
      track = { id, buffer, base: at, size: 0, read: 0, ended: false, startedFrame: -1, underran: false };
      tracks.push(track);
    }
    const next = track.base + track.size;
    let hole = at - next;
    if (hole > LONGEST_HOLE) {
      // Nothing of what lies between will come: play on from there.
      if (track.size === track.read) {
        track.base = at - track.size;
        hole = 0;
      } else return;
    }
    const skip = hole < 0 ? Math.min(pcm.length, -hole) : 0;
    if (skip === pcm.length) return;
    if (hole < 0) hole = 0;
    reserve(track, hole + pcm.length - skip);
    track.buffer.fill(0, track.size, track.size + hole);
    track.buffer.set(skip > 0 ? pcm.subarray(skip) : pcm, track.size + hole);
    track.size += hole + pcm.length - skip;
  }

  function end(id: string): void {
    const track = find(id);
    if (track !== undefined) track.ended = true;
  }

  let cutting: readonly string[] | undefined;
  let cutsAll = false;

  function isCut(track: Track): boolean {
    return cutsAll || (cutting !== undefined && cutting.indexOf(track.id) >= 0);
  }

  function cut(ids: readonly string[] | undefined): void {
    if (ids === undefined) cutsAll = true;
    else cutting = cutting === undefined ? ids : cutting.concat(ids);
    const first = tracks[0];
    if (playing && first !== undefined && isCut(first)) {
      if (cutLeft === 0) cutLeft = CUT;
    } else finishCut(0, false);
  }

  function finishCut(frame: number, audible: boolean): void {
    for (let i = tracks.length - 1; i >= 0; i--) {
      const track = tracks[i]!;
      if (!isCut(track)) continue;
      dead.push(track.id);
      report("cut", track, frame);
      tracks.splice(i, 1);
    }
    if (!cutsAll && cutting !== undefined) for (const id of cutting) if (dead.indexOf(id) < 0) dead.push(id);
    while (dead.length > KEPT_DEAD) dead.shift();
    if (audible) {
      playing = false;
      gain = gainTarget = 1;
      lag = 0;
    }
    cutsAll = false;
    cutting = undefined;
    cutLeft = 0;
  }

  function duck(target: number, samples: number): void {
    gainTarget = target;
    gainStep = samples > 0 ? (target - gain) / samples : target - gain;
    if (samples <= 0) gain = target;
  }

  /** The period by which speech at the read position repeats itself, or 0 where repeating it would be heard. */
  function findLag(track: Track, desperate: boolean): number {
    const x = track.buffer;
    const r = track.read;
    const half = Math.min(MAX_LAG, track.size - r);
    let energy = 0;
    for (let i = -half; i < half; i += 4) energy += x[r + i]! * x[r + i]!;
    if (energy < 1e-5 * half) return Math.min(half, MAX_LAG); // a pause: its length is nobody's
    let best = 0;
    let bestScore = desperate ? 0.2 : 0.6;
    for (let candidate = MIN_LAG; candidate <= half; candidate += 4) {
      let cross = 0;
      let other = 0;
      for (let i = -MIN_LAG; i < half; i += 4) {
        const a = x[r + i]!;
        const b = x[r + i - candidate]!;
        cross += a * b;
        other += b * b;
      }
      let own = 0;
      for (let i = -MIN_LAG; i < half; i += 4) own += x[r + i]! * x[r + i]!;
      const score = cross / Math.sqrt(own * other + 1e-12);
      if (score > bestScore) {
        bestScore = score;
        best = candidate;
      }
    }
    return best;
  }

  function mayStretch(track: Track): void {
    const left = track.size - track.read;
    if (track.ended || lag > 0 || starved > 0 || cutLeft > 0) return;
    if (left >= lead * 0.75 || left < MIN_LAG || track.read < 2 * MAX_LAG || sinceStretch < STRETCH_EVERY) return;
    lag = findLag(track, left < MAX_LAG);
    lagDone = 0;
    // Not every few samples again where nothing repeats: the search costs more than the rendering.
    sinceStretch = lag > 0 ? 0 : STRETCH_EVERY - Math.round(10 * ms);
  }

  function sample(track: Track): number {
    const x = track.buffer;
    if (lag > 0) {
      // From what follows, over to what was heard one period ago: after `lag` samples it is where it began.
      const w = lagDone / lag;
      const value = (1 - w) * x[track.read + lagDone]! + w * x[track.read + lagDone - lag]!;
      lagDone += 1;
      stretched += 1;
      if (lagDone === lag) lag = 0;
      return value;
    }
    sinceStretch += 1;
    return x[track.read++]!;
  }

  /** Speech is due and missing: the last period again, dying away. */
  function dying(track: Track): number {
    const i = starved;
    starved += 1;
    missing += 1;
    if (i >= CUT || track.read < MAX_LAG) return 0;
    return track.buffer[track.read - MAX_LAG + (i % MAX_LAG)]! * (1 - i / CUT);
  }

  function begin(frame: number): void {
    const track = tracks[0];
    if (playing || track === undefined) return;
    if (track.size - track.read < lead && !track.ended) return;
    playing = true;
    starved = 0;
    sinceStretch = STRETCH_EVERY;
    if (track.startedFrame >= 0) return;
    track.startedFrame = frame;
    report("playing", track, frame);
  }

  function finish(track: Track, frame: number): void {
    report("ended", track, frame);
    tracks.shift();
    dead.push(track.id);
    if (dead.length > KEPT_DEAD) dead.shift();
    playing = false;
    starved = 0;
    if (!track.underran) lead = Math.max(minLead, lead - FORGIVEN);
    begin(frame);
  }

  function render(out: Float32Array, frame: number): void {
    begin(frame);
    const first = tracks[0];
    if (playing && first !== undefined) mayStretch(first);
    for (let i = 0; i < out.length; i++) {
      let value = 0;
      let track = tracks[0];
      if (playing && track !== undefined && lag === 0 && track.read === track.size && track.ended && cutLeft === 0) {
        finish(track, frame + i);
        track = tracks[0];
      }
      if (playing && track !== undefined) {
        if (lag > 0 || track.read < track.size) {
          // After a gap, again a little lead: else the next frame's lateness is the next gap.
          if (starved > 0 && (track.size - track.read >= lead || track.ended)) {
            starved = 0;
            fadeIn = FADE_IN;
          }
          value = starved > 0 ? dying(track) : sample(track);
        } else {
          if (starved === 0) {
            underruns += 1;
            track.underran = true;
            lead = Math.min(MAX_LEAD, lead + LEAD_STEP);
          }
          value = dying(track);
        }
        if (fadeIn > 0) {
          value *= 1 - fadeIn / FADE_IN;
          fadeIn -= 1;
        }
        if (cutLeft > 0) {
          value *= cutLeft / CUT;
          cutLeft -= 1;
          if (cutLeft === 0) finishCut(frame + i + 1, true);
        }
      }
      if (gain !== gainTarget) {
        gain += gainStep;
        if ((gainStep > 0 && gain > gainTarget) || (gainStep < 0 && gain < gainTarget) || gainStep === 0)
          gain = gainTarget;
      }
      out[i] = value * gain;
    }
    const current = tracks[0];
    const after = frame + out.length;
    if (playing && current !== undefined && after >= reportAt) report("playing", current, after);
  }

  function stats(): PlayerStats {
    let buffered = 0;
    for (const track of tracks) buffered += track.size - track.read;
    return { underruns, missing, stretched, lead, buffered };
  }

  return { push, end, cut, duck, render, nextReport: () => reports.shift(), stats };
}

/** The source of {@link createPlayer}, for the audio thread. */
export function playerSource(): string {
  return createPlayer.toString();
}
