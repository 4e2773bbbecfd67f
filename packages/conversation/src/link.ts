/**
 * What a pipe (WebRTC, WebSocket, later WebTransport) and a conversation say to each other. The conversation never asks
 * which pipe it is; it reads these capabilities.
 */
import type { Milli, Pcm } from "./audio.ts";

/** What a pipe can do. */
export interface LinkCapabilities {
  /** Who plays the agent's audio and so knows what was heard: we pace it ourselves, or the client holds it. */
  readonly playout: "server" | "client";
  /** How much speech may be sent ahead of the ear; `Infinity`: as fast as it is made. */
  readonly leadMs: Milli;
  /** Whether binary audio may ride in events (`response.output_audio.delta`). */
  readonly audioInEvents: boolean;
  /** Whether {@link Link.flush} also empties what the client holds. */
  readonly reset: boolean;
  /** Whether clients of this pipe always say what was heard (`sluice.playout.report`). */
  readonly playoutReports: boolean;
}

/** Audio of the caller as it came off the wire, out of order, at once: for voice activity. */
export interface EarlyAudio {
  readonly pcm: Pcm;
  /** Place of the first sample in the caller's audio since the session began. */
  readonly mediaMs: Milli;
}

/** Audio of the caller in order, without holes: for recognition. */
export interface OrderedAudio {
  readonly pcm: Pcm;
  readonly mediaMs: Milli;
  readonly origin: AudioOrigin;
}

/** How a piece of the caller's audio came to be: as sent, from RED or a retransmission, from Opus FEC, or invented. */
export type AudioOrigin = "received" | "repaired" | "fec" | "concealed";

/** The speech that one playout entry belongs to. */
export interface Utterance {
  readonly responseId: string;
  readonly itemId: string;
  readonly outputIndex: number;
  readonly contentIndex: number;
  /** Where in its own audio a pipe is given it from; default 0. More, when a conversation goes on over another pipe. */
  readonly startMs?: Milli;
}

/** A conversation's way to the caller's ear. All calls are synchronous and never throw. */
export interface Link {
  readonly capabilities: LinkCapabilities;
  /** Queues one Realtime event, in order; kept until the pipe is open. */
  sendEvent(event: { readonly type: string }): void;
  /** Appends speech to `utterance`; the first call of an utterance opens it. */
  play(utterance: Utterance, pcm: Pcm): void;
  /** No more speech will come for this utterance: report it as ended once it is out. */
  endUtterance(utterance: Utterance): void;
  /** Drops what was not sent, at once. */
  flush(): void;
  /**
   * Brings the agent's loudness to `gain` (1: as spoken) over `rampMs`, as near to the ear as the pipe can: in its own
   * encoder where it paces the speech, by `sluice.duck` at the client that holds it. What is flushed keeps its gain.
   */
  duck(gain: number, rampMs: Milli): void;
  /** The client says that it has played `positionMs` of an item: a pipe that sends ahead of the ear may send more. */
  heard?(itemId: string, positionMs: Milli): void;
  /** Ends the pipe. */
  close(reason: string): void;
}

/** What a pipe tells its conversation. Every call carries the time it happened. */
export interface LinkListener {
  /** The pipe can carry events now. */
  onOpen(now: Milli): void;
  /** A text message from the client. */
  onMessage(now: Milli, text: string): void;
  onEarlyAudio(now: Milli, audio: EarlyAudio): void;
  onOrderedAudio(now: Milli, audio: OrderedAudio): void;
  /** `sentMs` of what the pipe was given are out, the newest at `now`; `rtpTimestamp` is its first sample's, where there is RTP. */
  onSent(now: Milli, utterance: Utterance, sentMs: Milli, rtpTimestamp: number | undefined): void;
  /** The utterance is out to its end. */
  onUtteranceEnded(now: Milli, utterance: Utterance): void;
  /** The pipe is gone; nothing follows. `lost`: nobody ended it, so that the client may come back over another one. */
  onClosed(now: Milli, reason: string, lost?: boolean): void;
}
