/**
 * What another transceiver needs to go on with a conversation whose own died: all that was said, the settings, and where
 * the ear was. What is under way (recognition, the engine's answer, servers' tools) is not in it: that dies, and is begun anew.
 */
import type { Item, Session } from "@sluice/realtime";
import type { Milli } from "./audio.ts";
import type { Utterance } from "./link.ts";
import type { CallerAudio } from "./memory.ts";
import type { SpokenPiece } from "./spoken-text.ts";

/** One item and what belongs to it. */
export interface SavedItem {
  readonly item: Item;
  readonly caller?: CallerAudio | undefined;
  readonly agent?: SavedSpeech | undefined;
  /** By which the engine knows a call that servers answer. */
  readonly callId?: string | undefined;
}

/** The agent's speech behind an item. */
export interface SavedSpeech {
  readonly pieces: readonly SpokenPiece[];
  readonly endMs?: Milli | undefined;
  readonly audioMs: Milli;
  readonly generatedMs?: Milli | undefined;
}

/** Speech that the ear had not had to its end. */
export interface SavedUtterance {
  readonly utterance: Utterance;
  readonly generatedMs: Milli;
  readonly heardMs: Milli;
  /** All of it was generated, and is out: a client that plays by itself holds it whole. */
  readonly whole: boolean;
}

/** A conversation at rest. */
export interface ConversationSnapshot {
  readonly conversationId: string;
  readonly session: Session;
  readonly modelLocked: boolean;
  /** How long the session may still last. */
  readonly remainingMs: Milli;
  readonly hasSpoken: boolean;
  /** Oldest first; bounded, see {@link SnapshotBounds}. */
  readonly items: readonly SavedItem[];
  /** The conversation's response under way. */
  readonly responseId?: string | undefined;
  /** Something was said that no response was asked for yet. */
  readonly unanswered: boolean;
  readonly sounding: readonly SavedUtterance[];
  /** Where in the caller's audio, on the conversation's clock, what became no item yet begins. */
  readonly audioFromMs: Milli;
}

/** What is left out of a snapshot: the oldest. */
export interface SnapshotBounds {
  /** UTF-16 units of all items as JSON; default 256 Ki. */
  readonly size?: number;
  /**
   * The caller's audio, kept only where no transcript says what it said; default 8,000 ms. The newest item's is cut to its last
   * so many.
   */
  readonly audioMs?: Milli;
}

/** Where the client says that the ear was. */
export interface HeardPlace {
  readonly itemId: string;
  readonly positionMs: Milli;
}
