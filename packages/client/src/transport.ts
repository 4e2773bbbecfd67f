/** What a conversation needs of its pipe, whichever it is. */
import type { ClientEventInput, ServerEvent } from "@sluice/realtime";
import type { PlayedAudio, PlayoutPosition } from "./playout-tracker.ts";
import type { StatsDigest } from "./stats.ts";

/** The pipes there are. */
export type TransportKind = "webtransport" | "webrtc" | "websocket";

/** A pipe to the server: events both ways, the caller's voice up, the agent's voice down to the loudspeaker. */
export interface Transport {
  readonly kind: TransportKind;
  /**
   * The client says to the server what of an interrupted answer was heard (`conversation.item.truncate`), because the server
   * does not follow it; known once the session is there.
   */
  readonly truncates: boolean;
  /** Opens the pipe; rejects with why it could not. */
  dial(): Promise<void>;
  /** Sends one event. Kept until the pipe opens. */
  send(text: string): void;
  /** The session is set up: the caller's voice may be sent, from `audioFromMs` of what was captured on; default: from now. */
  begin(audioFromMs: number | undefined): void;
  /** Every event of the server, once, in order: what concerns playout is the pipe's affair. */
  handleEvent(event: ServerEvent): void;
  /** What the loudspeaker was last given, on pipes with RTP; `undefined` before the first sample, or without RTP. */
  played(): PlayedAudio | undefined;
  /** Ends the sound at once, whatever is still on its way. */
  cut(): void;
  /** Measures loudness and latency of the output with `context` from now on. */
  measureWith(context: AudioContext): void;
  /** Loudness of the agent now, 0 to 1 RMS. */
  outputLevel(): number;
  /** Speaks from this track from now on, or from none. */
  setMicrophone(track: MediaStreamTrack | null): Promise<void>;
  /** Tries to play again after the browser refused to without a gesture. */
  resumePlayout(): Promise<void>;
  /** An item is heard, for the counters of what was concealed. */
  handlePlayout(playing: boolean): void;
  /** The machine's network changed: a pipe that can move to another one does it now. */
  refresh(): void;
  stats(): Promise<StatsDigest>;
  /** Lets go of this pipe alone: the conversation goes on over another one. No callback follows. */
  abandon(): void;
  /** Hangs up. No callback follows. */
  close(): void;
}

/** What a pipe says. */
export interface TransportListener {
  onMessage(text: string): void;
  /** The path broke and is being mended (`false`), or is whole again (`true`). */
  onPath(whole: boolean): void;
  /** The browser plays nothing before the person clicks or types. */
  onPlayoutBlocked(): void;
  /** So much of an item was heard; pipes without RTP say it by themselves. */
  onPlayed(position: PlayoutPosition): void;
  /** An event that the pipe itself wants sent. */
  onOutgoing(event: ClientEventInput): void;
  /**
   * The pipe is gone for good; nothing follows. `lost`: not because anybody wanted it, so that a conversation may go on over
   * another one.
   */
  onClosed(reason: Error | undefined, lost: boolean): void;
}
