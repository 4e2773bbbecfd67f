/** What a conversation needs of its pipe. WebRTC is the first; WebTransport and WebSocket fit the same shape. */
import type { PlayedAudio } from "./playout-tracker.ts";
import type { StatsDigest } from "./stats.ts";

/** A pipe to the server: events both ways, the caller's voice up, the agent's voice down to the loudspeaker. */
export interface Transport {
  /** Sends one event. Kept until the pipe opens. */
  send(text: string): void;
  /** What the loudspeaker was last given; `undefined` before the first sample, or where the browser cannot tell. */
  played(): PlayedAudio | undefined;
  /** Ends the sound at once, whatever is still on its way. */
  silence(): void;
  /** Undoes {@link Transport.silence}. */
  restore(): void;
  /** Measures loudness and latency of the output with `context` from now on. */
  measureWith(context: AudioContext): void;
  /** Loudness of the agent now, 0 to 1 RMS. */
  outputLevel(): number;
  /** Speaks from this track from now on, or from none. */
  setMicrophone(track: MediaStreamTrack | null): Promise<void>;
  /** Tries to play again after the browser refused to without a gesture. */
  resumePlayout(): Promise<void>;
  /** The agent begins or ends to speak; audio that is missing in between is not. */
  handlePlayout(playing: boolean): void;
  stats(): Promise<StatsDigest>;
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
  /** The pipe is gone for good; nothing follows. */
  onClosed(reason: Error | undefined): void;
}
