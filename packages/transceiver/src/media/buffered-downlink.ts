/**
 * The agent's speech on its way to a client that holds and plays it by itself: encoded and sent as fast as it is made, up
 * to the lead that the client grants beyond what it has heard. The pipes that carry it are {@link SpeechSink}s. Never reads
 * a clock: one input, then re-arm the timer with {@link BufferedDownlink.pollTimeout}.
 */
import { type Milli, type Pcm, SAMPLES_PER_MS, type Utterance } from "@sluice/conversation";
import { type AudioFrame, STREAM_CLOCK_RATE } from "@sluice/realtime";
import { FRAME_MS, FRAME_SAMPLES, type OpusEncoder } from "./opus.ts";

/** Where the frames of an utterance go; a pipe implements it. Nothing throws. */
export interface SpeechSink {
  /** An utterance begins at `start`, a sample of its own 48 kHz clock. */
  begin(utterance: Utterance, start: number): void;
  frames(utterance: Utterance, frames: readonly AudioFrame[]): void;
  /** All of its frames are written. */
  finish(utterance: Utterance): void;
  /** What is not out never leaves, what is out is not to be heard. */
  reset(utterance: Utterance): void;
  /** `sentMs` of what was played here are out. */
  sent(now: Milli, utterance: Utterance, sentMs: Milli): void;
  /** The ear has had it to its end. */
  heardOut(now: Milli, utterance: Utterance): void;
}

/** Settings of {@link BufferedDownlink}. */
export interface BufferedDownlinkOptions {
  readonly encoder: OpusEncoder;
  readonly sink: SpeechSink;
  /** How far ahead of the ear speech may be; default 10 s. More: more is wasted when the agent is interrupted. */
  readonly leadMs?: Milli | undefined;
}

interface Track {
  readonly utterance: Utterance;
  readonly pieces: Pcm[];
  /** Samples of `pieces[0]` that were encoded. */
  taken: number;
  queuedSamples: number;
  begun: boolean;
  ended: boolean;
  finished: boolean;
  sentMs: Milli;
  sentAt: Milli;
  heard: { readonly positionMs: Milli; readonly at: Milli } | undefined;
}

const DEFAULT_LEAD_MS = 10_000;
const STREAM_SAMPLES_PER_MS = STREAM_CLOCK_RATE / 1000;
/** Frames of one turn of the event loop: a second of speech costs a millisecond, and other calls' frames are due. */
const MAX_BATCH = 50;
/** A report that is this near to the end is the end: the last frame is filled up with silence. */
const END_TOLERANCE_MS = FRAME_MS;

/** One client's speech. */
export class BufferedDownlink {
  readonly #encoder: OpusEncoder;
  readonly #sink: SpeechSink;
  readonly #frame = new Int16Array(FRAME_SAMPLES);
  readonly #tracks: Track[] = [];
  #leadMs: Milli;
  #wakeAt: Milli | undefined;

  constructor({ encoder, sink, leadMs = DEFAULT_LEAD_MS }: BufferedDownlinkOptions) {
    this.#encoder = encoder;
    this.#sink = sink;
    this.#leadMs = leadMs;
  }

  /** The client grants another lead from now on. */
  grant(now: Milli, leadMs: Milli): void {
    this.#leadMs = leadMs;
    this.#pump(now);
  }

  /** Appends speech to `utterance`; the first call opens it. */
  play(now: Milli, utterance: Utterance, pcm: Pcm): void {
    const track = this.#find(utterance.itemId) ?? this.#open(now, utterance);
    track.pieces.push(pcm);
    track.queuedSamples += pcm.length;
    this.#pump(now);
  }

  /** No more speech will come for it. */
  end(now: Milli, utterance: Utterance): void {
    const track = this.#find(utterance.itemId) ?? this.#open(now, utterance);
    track.ended = true;
    this.#pump(now);
  }

  /** The client says that it has played `positionMs` of the item. */
  heard(now: Milli, itemId: string, positionMs: Milli): void {
    const track = this.#find(itemId);
    if (!track) return;
    const relativeMs = positionMs - (track.utterance.startMs ?? 0);
    track.heard = { positionMs: Math.max(0, Math.min(relativeMs, track.sentMs)), at: now };
    this.#pump(now);
  }

  /** Drops all that was not heard. */
  flush(): void {
    for (const track of this.#tracks.splice(0)) if (track.begun) this.#sink.reset(track.utterance);
    this.#wakeAt = undefined;
  }

  handleTimeout(now: Milli): void {
    if (this.#wakeAt !== undefined && now >= this.#wakeAt) this.#pump(now);
  }

  pollTimeout(): Milli | undefined {
    return this.#wakeAt;
  }

  close(): void {
    this.#tracks.length = 0;
    this.#wakeAt = undefined;
    this.#encoder.free();
  }

  #find(itemId: string): Track | undefined {
    return this.#tracks.find((track) => track.utterance.itemId === itemId);
  }

  #open(now: Milli, utterance: Utterance): Track {
    const track: Track = {
      utterance,
      pieces: [],
      taken: 0,
      queuedSamples: 0,
      begun: false,
      ended: false,
      finished: false,
      sentMs: 0,
      sentAt: now,
      heard: undefined,
    };
    this.#tracks.push(track);
    return track;
  }

  /** Sends what the lead allows, tells of what was heard out, and says when to look again. */
  #pump(now: Milli): void {
    this.#settle(now);
    this.#wakeAt = undefined;
    let room = this.#leadMs - this.#aheadMs(now);
    let batch = MAX_BATCH;
    for (const track of [...this.#tracks]) {
      const frames: AudioFrame[] = [];
      while (room >= FRAME_MS && batch > 0 && isReady(track)) {
        frames.push(this.#encode(track));
        room -= FRAME_MS;
        batch -= 1;
      }
      if (frames.length > 0) this.#send(now, track, frames);
      if (track.queuedSamples === 0 && track.ended) this.#finish(track);
      if (isReady(track)) {
        this.#wake(batch > 0 ? now + Math.max(FRAME_MS, FRAME_MS - room) : now);
        break;
      }
      if (!track.ended) break; // the next one is heard after it
    }
    const first = this.#tracks[0];
    if (first?.finished) this.#wake(Math.max(now + 1, now + first.sentMs - heardMs(first, now)));
  }

  #send(now: Milli, track: Track, frames: readonly AudioFrame[]): void {
    const { utterance } = track;
    if (!track.begun) {
      track.begun = true;
      track.sentAt = now;
      this.#sink.begin(utterance, startOf(utterance));
    }
    this.#sink.frames(utterance, frames);
    this.#sink.sent(now, utterance, track.sentMs);
  }

  #finish(track: Track): void {
    if (track.finished) return;
    track.finished = true;
    if (track.begun) this.#sink.finish(track.utterance);
  }

  #encode(track: Track): AudioFrame {
    const time = startOf(track.utterance) + Math.round(track.sentMs * STREAM_SAMPLES_PER_MS);
    let filled = 0;
    while (filled < FRAME_SAMPLES && track.pieces.length > 0) {
      const piece = track.pieces[0]!;
      const part = piece.subarray(track.taken, track.taken + FRAME_SAMPLES - filled);
      this.#frame.set(part, filled);
      filled += part.length;
      track.taken += part.length;
      if (track.taken === piece.length) {
        track.pieces.shift();
        track.taken = 0;
      }
    }
    this.#frame.fill(0, filled);
    track.queuedSamples -= filled;
    track.sentMs += filled / SAMPLES_PER_MS;
    return { time, packet: this.#encoder.encode(this.#frame) };
  }

  /** Speech that is out and that the ear has not had. */
  #aheadMs(now: Milli): Milli {
    return this.#tracks.reduce((sum, track) => sum + track.sentMs - heardMs(track, now), 0);
  }

  /** Lets go of what was heard to its end, and begins the clock of what is heard next. */
  #settle(now: Milli): void {
    for (let first = this.#tracks[0]; first?.finished; first = this.#tracks[0]) {
      const reported = first.heard !== undefined && first.heard.positionMs >= first.sentMs - END_TOLERANCE_MS;
      if (!reported && heardMs(first, now) < first.sentMs) return;
      this.#tracks.shift();
      const next = this.#tracks[0];
      if (next && next.heard === undefined) next.sentAt = Math.max(next.sentAt, now);
      this.#sink.heardOut(now, first.utterance);
    }
  }

  #wake(at: Milli): void {
    this.#wakeAt = this.#wakeAt === undefined ? at : Math.min(this.#wakeAt, at);
  }
}

function isReady({ queuedSamples, ended }: Track): boolean {
  return queuedSamples >= FRAME_SAMPLES || (ended && queuedSamples > 0);
}

function startOf(utterance: Utterance): number {
  return Math.round((utterance.startMs ?? 0) * STREAM_SAMPLES_PER_MS);
}

/** By the client's word, and by the clock since; without a word, by the clock alone. */
function heardMs({ heard, begun, sentAt, sentMs }: Track, now: Milli): Milli {
  if (!begun) return 0;
  const played = heard ? heard.positionMs + now - heard.at : now - sentAt;
  return Math.max(0, Math.min(sentMs, played));
}
