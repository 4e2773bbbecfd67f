/**
 * The client's part of a turn's timeline: it keeps the server's clock, reports when the caller's speech ended at the
 * microphone and how far the agent's was heard at the loudspeaker. Never reads a clock: one input, drain
 * {@link Timeline.nextEvent}, re-arm the timer with {@link Timeline.pollTimeout}.
 */
import type { ClientEventInput, ServerEvent } from "@sluice/realtime";
import { ClockSync, type Milli } from "./clock-sync.ts";
import { type PlayedAudio, type PlayoutPosition, PlayoutTracker } from "./playout-tracker.ts";
import { SpeechEnd } from "./speech-end.ts";
import type { LevelBlock } from "./voice-meter.ts";

/** Events that a timeline sends. */
export type TimelineEvent = ClientEventInput<"sluice.clock" | "sluice.speech.report" | "sluice.playout.report">;

/** Measures one call. `played` reads the loudspeaker whenever it is called. */
export class Timeline {
  readonly #clock: ClockSync;
  readonly #speech = new SpeechEnd();
  readonly #playout = new PlayoutTracker();
  readonly #played: () => PlayedAudio | undefined;
  readonly #events: TimelineEvent[] = [];

  constructor(now: Milli, played: () => PlayedAudio | undefined) {
    this.#clock = new ClockSync(now);
    this.#played = played;
  }

  /** When {@link Timeline.handleTimeout} is due. */
  pollTimeout(): Milli {
    return Math.min(this.#clock.pollTimeout(), this.#playout.pollTimeout() ?? Number.POSITIVE_INFINITY);
  }

  /** The next event to send. */
  nextEvent(): TimelineEvent | undefined {
    return this.#events.shift();
  }

  /** Round trip of the clock exchange in use. */
  get clockRoundTripMs(): Milli | undefined {
    return this.#clock.roundTripMs;
  }

  handleTimeout(now: Milli): void {
    const clientMs = this.#clock.nextExchange(now);
    if (clientMs !== undefined) this.#events.push({ type: "sluice.clock", client_ms: clientMs });
    if (now >= (this.#playout.pollTimeout() ?? Number.POSITIVE_INFINITY)) {
      this.#report(this.#playout.handlePlayed(now, this.#played()));
    }
  }

  handleEvent(now: Milli, event: ServerEvent): void {
    if (event.type === "sluice.clock") {
      this.#clock.handleReply(now, event.client_ms, event.server_ms);
      this.handleTimeout(now);
    } else if (event.type === "sluice.utterance.started" && event.rtp_timestamp !== null) {
      this.#playout.handleUtterance(now, event.item_id, event.rtp_timestamp);
      this.handleTimeout(now);
    } else if (event.type === "output_audio_buffer.stopped") {
      this.#playout.handleSent(now);
    } else if (event.type === "output_audio_buffer.cleared") {
      this.handleCut(now);
    }
  }

  /** One block of the microphone. */
  handleLevel(block: LevelBlock): void {
    const endedMs = this.#speech.handleBlock(block.endMs, block.durationMs, block.rms);
    const serverMs = endedMs === undefined ? undefined : this.#clock.toServer(endedMs);
    if (serverMs !== undefined) this.#events.push({ type: "sluice.speech.report", ended_ms: serverMs });
  }

  /** A pipe that knows what it plays says so. */
  handlePosition(position: PlayoutPosition): void {
    this.#report(position);
  }

  /** The loudspeaker falls silent now. */
  handleCut(now: Milli): void {
    this.#report(this.#playout.handleEnd(now, this.#played()));
  }

  #report(position: PlayoutPosition | undefined): void {
    const startedMs = position && this.#clock.toServer(position.startedMs);
    const atMs = position && this.#clock.toServer(position.atMs);
    if (!position || startedMs === undefined || atMs === undefined) return;
    this.#events.push({
      type: "sluice.playout.report",
      item_id: position.itemId,
      started_ms: startedMs,
      position_ms: position.positionMs,
      at_ms: atMs,
    });
  }
}
