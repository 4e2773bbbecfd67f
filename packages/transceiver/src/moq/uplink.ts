/**
 * The caller's voice as groups of a MoQ track bring it, on two clocks. *Early*: each packet is decoded as it comes, for voice
 * activity; positions only move forward. *Ordered*: group after group, for recognition. A group that is missing is waited
 * for, since streams arrive whole unless their publisher gave them up; what was given up, and what was never captured, is
 * silence. Publishers such as `@moq/publish` put each packet into a group of its own. Sans-IO.
 *
 * Chromium's encoder leaves silence out (DTX: one packet in 420 ms) and does not count it: times of what follows are those of
 * what went before. So a pause is told by the clock on the wall: where nothing comes, silence is put, soon after quiet, later
 * after speech, for then it may be the network that is silent. What was only late comes after it, and nothing is lost.
 */
import { type EarlyAudio, type Milli, type OrderedAudio, type Pcm, SAMPLES_PER_MS } from "@sluice/conversation";
import type { OpusDecoder } from "../media/opus.ts";
import { opusPacketTicks } from "../media/opus-packet.ts";
import { RateLimit } from "../websocket/rate-limit.ts";
import type { MediaFrame } from "./container.ts";

/** What an uplink needs. */
export interface MoqUplinkOptions {
  /** Decodes the ordered stream. */
  readonly decoder: OpusDecoder;
  /** Decodes what lies beyond a hole, for the early stream. */
  readonly earlyDecoder: OpusDecoder;
}

/** What one input brought; samples may be shared between the two and are not to be changed. */
export interface MoqUplinkAudio {
  readonly early: readonly EarlyAudio[];
  readonly ordered: readonly OrderedAudio[];
}

/** Packets since the call began. */
export interface MoqUplinkCounts {
  /** Packets that recognition heard. */
  frames: number;
  /** Groups that were waited for and never came. */
  lostGroups: number;
  /** Packets that came after their place had been passed. */
  late: number;
  /** What is no frame of the container, or no Opus. */
  malformed: number;
}

interface Group {
  readonly waiting: MediaFrame[];
  ended: boolean;
}

/** How long what comes later waits for a group that is missing: a lost packet is repeated within a few round trips. */
const MISSING_MS: Milli = 2000;
/** Bytes that wait for a missing group. */
const MAX_WAITING_BYTES = 512 * 1024;
/** Groups that wait. */
const MAX_GROUPS = 1024;
/** What a waiting packet costs beside its bytes. */
const FRAME_OVERHEAD = 64;
/** How long nothing comes after quiet before it is a pause, and after speech. */
const PAUSE_AFTER_QUIET_MS: Milli = 60;
const PAUSE_AFTER_SPEECH_MS: Milli = 300;
/** A pause is put in pieces of this length, */
const PAUSE_STEP_MS: Milli = 40;
/** and for so long: whatever waits for silence has had it by then. */
const MAX_PAUSE_MS: Milli = 10_000;
/** Quiet: the last 100 ms have less than half the loudness of the loudest of late, or -50 dB of full scale. */
const QUIET_FRAMES = 5;
const QUIET_SHARE = 0.5;
const QUIET_RMS = 100;
const LOUDEST_DECAY = 0.999;
/** Packets decoded a second, for long: frames of 10 ms, once for either clock. */
const DECODES_PER_SECOND = 210;
/** And at once: half a minute that was stalled. */
const BURST_DECODES = 6000;
const MICROS_PER_MS = 1000;
/** Times of a publisher's clock that are nearer to each other than this are one: they are rounded. */
const CLOCK_TOLERANCE_MS = 5;
/** The longest silence that is put where nothing came; beyond it, places step. */
const MAX_SILENCE_MS = 1000;
/** The longest step of the publisher's clock that is taken for a pause. */
const MAX_CLOCK_LEAP_MS = 60_000;

/** The receiver of one caller's voice. */
export class MoqUplink {
  readonly counts: MoqUplinkCounts = { frames: 0, lostGroups: 0, late: 0, malformed: 0 };
  readonly #options: MoqUplinkOptions;
  readonly #rate: RateLimit;
  readonly #groups = new Map<number, Group>(); // the current one and later ones
  #current: number | undefined; // undefined before a track's first group
  #waitingBytes = 0;
  #missingSince: Milli | undefined;
  #offsetMs = 0; // of the publisher's clock to the call's
  #isAnchored = false;
  #orderedEnd = 0; // on the call's clock
  #earlyEnd = 0;
  #heardAt: Milli | undefined; // when the last packet came in order; undefined while there is no pause to tell
  #pausedMs = 0; // silence put since then
  #levels: number[] = [];
  #loudest = 0;
  #early: EarlyAudio[] = [];
  #ordered: OrderedAudio[] = [];
  #tooMuch = false;

  constructor(now: Milli, options: MoqUplinkOptions) {
    this.#options = options;
    this.#rate = new RateLimit(now, DECODES_PER_SECOND, BURST_DECODES);
  }

  /** Whether the client sent more than anybody speaks. */
  get tooMuch(): boolean {
    return this.#tooMuch;
  }

  /** Another track begins: groups and clock are its own. What waited of the one before is heard. */
  begin(now: Milli): MoqUplinkAudio {
    while (this.#groups.size > 0) this.#skip(now);
    this.#current = undefined;
    this.#missingSince = undefined;
    this.#isAnchored = false;
    return this.#output();
  }

  /** A packet of a group; those of one group come in order. */
  handleFrame(now: Milli, sequence: number, frame: MediaFrame): MoqUplinkAudio {
    this.#current ??= sequence;
    if (sequence < this.#current) this.counts.late += 1;
    else {
      const group = this.#open(sequence);
      if (sequence === this.#current) this.#hear(now, frame);
      else {
        this.#hearEarly(now, frame);
        group.waiting.push({ micros: frame.micros, packet: frame.packet.slice() });
        this.#waitingBytes += frame.packet.length + FRAME_OVERHEAD;
        this.#missingSince ??= now;
        while (this.#waitingBytes > MAX_WAITING_BYTES || this.#groups.size > MAX_GROUPS) this.#skip(now);
      }
    }
    return this.#output();
  }

  /** A group is over, whole or given up. */
  handleGroupEnd(now: Milli, sequence: number): MoqUplinkAudio {
    this.#current ??= sequence;
    if (sequence >= this.#current) {
      this.#open(sequence).ended = true;
      this.#advance(now);
    }
    return this.#output();
  }

  /** Nobody speaks any more: the track is over. */
  end(): void {
    this.#levels = [];
  }

  /** What is no frame of the track's container. */
  handleMalformed(): void {
    this.counts.malformed += 1;
  }

  /** When {@link handleTimeout} is due. */
  pollTimeout(): Milli | undefined {
    if (this.#missingSince !== undefined) return this.#missingSince + MISSING_MS;
    if (this.#heardAt === undefined || this.#pausedMs >= MAX_PAUSE_MS) return undefined;
    return this.#heardAt + Math.max(this.#pauseAfterMs, this.#pausedMs + PAUSE_STEP_MS);
  }

  handleTimeout(now: Milli): MoqUplinkAudio {
    const dueAt = this.pollTimeout();
    if (dueAt === undefined || now < dueAt) return this.#output();
    if (this.#missingSince !== undefined) this.#skip(now);
    else this.#pause(Math.min(MAX_PAUSE_MS, now - this.#heardAt!) - this.#pausedMs);
    return this.#output();
  }

  get #pauseAfterMs(): Milli {
    const mean = this.#levels.reduce((sum, level) => sum + level, 0) / Math.max(1, this.#levels.length);
    const isQuiet = mean < Math.max(QUIET_RMS, this.#loudest * QUIET_SHARE);
    return isQuiet ? PAUSE_AFTER_QUIET_MS : PAUSE_AFTER_SPEECH_MS;
  }

  /** Puts silence on both clocks. */
  #pause(ms: Milli): void {
    const pcm = new Int16Array(Math.floor(ms * SAMPLES_PER_MS));
    const mediaMs = this.#orderedEnd;
    this.#pausedMs += pcm.length / SAMPLES_PER_MS;
    this.#orderedEnd += pcm.length / SAMPLES_PER_MS;
    this.#ordered.push({ pcm, mediaMs, origin: "concealed" });
    if (mediaMs < this.#earlyEnd - CLOCK_TOLERANCE_MS) return;
    this.#earlyEnd = this.#orderedEnd;
    this.#early.push({ pcm, mediaMs });
  }

  /** Remembers how loud it is, and when it was. */
  #note(now: Milli, pcm: Pcm): void {
    const level = Math.sqrt(pcm.reduce((sum, sample) => sum + sample * sample, 0) / pcm.length);
    this.#levels.push(level);
    if (this.#levels.length > QUIET_FRAMES) this.#levels.shift();
    this.#loudest = Math.max(level, this.#loudest * LOUDEST_DECAY);
    this.#heardAt = now;
    this.#pausedMs = 0;
  }

  #open(sequence: number): Group {
    const known = this.#groups.get(sequence);
    if (known) return known;
    const group: Group = { waiting: [], ended: false };
    this.#groups.set(sequence, group);
    return group;
  }

  /** Gives up what is missing: goes on with the first group that is there. */
  #skip(now: Milli): void {
    this.#groups.delete(this.#current!);
    const next = Math.min(...this.#groups.keys());
    if (next === Infinity) {
      this.#missingSince = undefined;
      return;
    }
    this.counts.lostGroups += next - this.#current!;
    this.#current = next;
    this.#catchUp(now);
    this.#advance(now);
  }

  /** Goes on to the next group while the one that is heard is complete. */
  #advance(now: Milli): void {
    while (this.#groups.get(this.#current!)?.ended) {
      this.#groups.delete(this.#current!);
      this.#current! += 1;
      this.#catchUp(now);
    }
    // It stays, for a hole that follows another, to be waited for from now on.
    const isWaiting = this.#groups.size > (this.#groups.has(this.#current!) ? 1 : 0);
    this.#missingSince = isWaiting ? now : undefined;
  }

  #catchUp(now: Milli): void {
    for (const frame of this.#groups.get(this.#current!)?.waiting.splice(0) ?? []) {
      this.#waitingBytes -= frame.packet.length + FRAME_OVERHEAD;
      this.#hear(now, frame);
    }
  }

  /** The next packet in order: for recognition, and for voice activity unless that had it. */
  #hear(now: Milli, frame: MediaFrame): void {
    const decoded = this.#decode(now, this.#options.decoder, frame);
    if (!decoded) return;
    const { pcm } = decoded;
    let { startMs } = decoded;
    this.#note(now, pcm);
    // A clock that goes back, or far ahead, is another one: the call's goes on.
    if (startMs < this.#orderedEnd - CLOCK_TOLERANCE_MS || startMs > this.#orderedEnd + MAX_CLOCK_LEAP_MS) {
      this.#offsetMs += this.#orderedEnd - startMs;
      startMs = this.#orderedEnd;
    }
    if (startMs - this.#orderedEnd <= CLOCK_TOLERANCE_MS) startMs = this.#orderedEnd;
    const missing = Math.floor(Math.min(startMs - this.#orderedEnd, MAX_SILENCE_MS) * SAMPLES_PER_MS);
    if (missing > 0) {
      this.#ordered.push({ pcm: new Int16Array(missing), mediaMs: this.#orderedEnd, origin: "concealed" });
    }
    this.#orderedEnd = startMs + pcm.length / SAMPLES_PER_MS;
    this.counts.frames += 1;
    this.#ordered.push({ pcm, mediaMs: startMs, origin: "received" });
    if (startMs >= this.#earlyEnd - CLOCK_TOLERANCE_MS) {
      this.#earlyEnd = this.#orderedEnd;
      this.#early.push({ pcm, mediaMs: startMs });
    }
  }

  #hearEarly(now: Milli, frame: MediaFrame): void {
    const place = this.#isAnchored ? frame.micros / MICROS_PER_MS + this.#offsetMs : this.#earlyEnd;
    if (place < this.#earlyEnd || place > this.#orderedEnd + MAX_CLOCK_LEAP_MS) return;
    const decoded = this.#decode(now, this.#options.earlyDecoder, frame);
    if (!decoded) return;
    this.#early.push({ pcm: decoded.pcm, mediaMs: decoded.startMs });
    this.#earlyEnd = decoded.startMs + decoded.pcm.length / SAMPLES_PER_MS;
  }

  /** A packet's samples, and their place on the call's clock; the first packet of a track is where the call is. */
  #decode(now: Milli, decoder: OpusDecoder, { micros, packet }: MediaFrame): { pcm: Pcm; startMs: Milli } | undefined {
    if (packet.length === 0) return undefined; // a marker of hang's: nothing follows here
    if (!this.#rate.take(now, 1)) {
      this.#tooMuch = true;
      return undefined;
    }
    const ticks = opusPacketTicks(packet);
    const pcm = ticks === undefined ? undefined : decoder.decode(packet);
    if (!pcm) {
      this.counts.malformed += 1;
      return undefined;
    }
    const at = micros / MICROS_PER_MS;
    if (!this.#isAnchored) {
      this.#isAnchored = true;
      this.#offsetMs = Math.max(this.#orderedEnd, this.#earlyEnd) - at;
    }
    return { pcm, startMs: at + this.#offsetMs };
  }

  #output(): MoqUplinkAudio {
    const output = { early: this.#early, ordered: this.#ordered };
    this.#early = [];
    this.#ordered = [];
    return output;
  }
}
