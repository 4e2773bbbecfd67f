/**
 * Says what of each utterance was heard. The pipe tells which RTP timestamp last went to the loudspeaker; the server
 * told which RTP timestamp each utterance begins at (`sluice.utterance.started`). RFC 3550 section 5.1: timestamps
 * start anywhere and wrap at 32 bits.
 */
import type { Milli } from "./clock-sync.ts";

/** The newest audio that was handed to the loudspeaker. */
export interface PlayedAudio {
  /** When it was handed over, on this machine's clock. */
  readonly atMs: Milli;
  /** RTP timestamp of the first sample of its packet. */
  readonly rtpTimestamp: number;
  /** From there to the air, as far as the browser knows it. */
  readonly latencyMs: Milli;
}

/** How far an utterance was heard; times are this machine's clock. */
export interface PlayoutPosition {
  readonly itemId: string;
  readonly startedMs: Milli;
  readonly positionMs: Milli;
  readonly atMs: Milli;
}

interface Tracked {
  readonly itemId: string;
  readonly rtpTimestamp: number;
  startedMs: Milli | undefined;
  expectedSince: Milli;
}

const RTP_PER_MS = 48; // RFC 7587 section 4.1: Opus always counts at 48 kHz
const PACKET_MS = 20;
/** An utterance begins so far into its first packet at most: the longest look-ahead of an Opus encoder (RFC 7845 section 4.2). */
const LOOKAHEAD_MS = 6.5;
const REPORT_EVERY_MS = 200;
const POLL_START_MS = 5;
const POLL_LATE_START_MS = 50;
const LATE_AFTER_MS = 3_000;
const DRAIN_MS = 500; // what a jitter buffer may still hold when the server has sent all
const MAX_TRACKED = 8;

/** Milliseconds from RTP timestamp `from` to `to`, over the wrap. */
export function rtpDistanceMs(from: number, to: number): Milli {
  return ((to - from) | 0) / RTP_PER_MS;
}

/** Follows the utterances of one call. One input at a time, then re-arm the timer with `pollTimeout`. */
export class PlayoutTracker {
  #tracked: Tracked[] = [];
  #pollAt: Milli | undefined;
  #reportAt: Milli = 0;
  #reported: number | undefined;
  #drainedAt: Milli | undefined;

  /** An utterance begins at `rtpTimestamp`. */
  handleUtterance(now: Milli, itemId: string, rtpTimestamp: number): void {
    this.#tracked.push({ itemId, rtpTimestamp, startedMs: undefined, expectedSince: now });
    if (this.#tracked.length > MAX_TRACKED) this.#tracked.shift();
    this.#pollAt = now;
    this.#drainedAt = undefined;
  }

  /** The server has sent all there is; the loudspeaker has not played it yet. */
  handleSent(now: Milli): void {
    if (this.#tracked.length > 0) this.#drainedAt = now + DRAIN_MS;
  }

  /** When {@link PlayoutTracker.handlePlayed} wants the next look at the loudspeaker. */
  pollTimeout(): Milli | undefined {
    return this.#pollAt;
  }

  /** Takes a look at the loudspeaker; returns the position to report, if one is due. */
  handlePlayed(now: Milli, played: PlayedAudio | undefined): PlayoutPosition | undefined {
    const playing = played && this.#playing(played);
    const waiting = this.#tracked.at(-1)?.startedMs === undefined ? this.#tracked.at(-1) : undefined;
    const startPoll = waiting && now - waiting.expectedSince < LATE_AFTER_MS ? POLL_START_MS : POLL_LATE_START_MS;
    this.#pollAt = this.#tracked.length === 0 ? undefined : now + (waiting ? startPoll : POLL_LATE_START_MS);
    const drained = this.#drainedAt !== undefined && now >= this.#drainedAt;
    if (drained) this.#forget();
    if (!played || !playing) return undefined;
    const playedMs = rtpDistanceMs(playing.rtpTimestamp, played.rtpTimestamp);
    const positionMs = Math.max(0, playedMs);
    const atMs = played.atMs + played.latencyMs + positionMs - playedMs;
    if (playing.startedMs === undefined) {
      playing.startedMs = atMs - positionMs;
    } else if (played.rtpTimestamp === this.#reported || (now < this.#reportAt && !drained)) {
      return undefined;
    }
    this.#reportAt = now + REPORT_EVERY_MS;
    this.#reported = played.rtpTimestamp;
    return { itemId: playing.itemId, startedMs: playing.startedMs, positionMs, atMs };
  }

  /** The loudspeaker was cut at `now`: the last position of what was playing. */
  handleEnd(now: Milli, played: PlayedAudio | undefined): PlayoutPosition | undefined {
    const playing = played && this.#playing(played);
    // What is behind the one that plays was heard out; what is ahead of it will never come.
    this.#forget();
    if (!played || !playing) return undefined;
    const packetMs = Math.min(PACKET_MS, Math.max(0, now - played.atMs));
    const playedMs = rtpDistanceMs(playing.rtpTimestamp, played.rtpTimestamp) + packetMs;
    const positionMs = Math.max(0, playedMs);
    const atMs = played.atMs + packetMs + played.latencyMs + positionMs - playedMs;
    return { itemId: playing.itemId, startedMs: playing.startedMs ?? atMs - positionMs, positionMs, atMs };
  }

  #forget(): void {
    this.#tracked = [];
    this.#pollAt = undefined;
    this.#drainedAt = undefined;
  }

  #playing(played: PlayedAudio): Tracked | undefined {
    const index = this.#tracked.findLastIndex(
      (it) => rtpDistanceMs(it.rtpTimestamp, played.rtpTimestamp) >= -LOOKAHEAD_MS,
    );
    if (index > 0) this.#tracked.splice(0, index);
    return index < 0 ? undefined : this.#tracked[0];
  }
}
