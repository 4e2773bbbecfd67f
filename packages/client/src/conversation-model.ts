/** A conversation as something to render: snapshots that change only when what they show does. Knows no framework. */
import type { ConnectOptions, connect } from "./connect.ts";
import type { Conversation, ConversationState } from "./conversation.ts";
import type { TransportChoice } from "./race.ts";
import type { TranscriptEntry } from "./transcript.ts";

/** What a view shows of a conversation. */
export interface ConversationSnapshot {
  /** `idle`: there is none, or it is over. */
  readonly connectionState: ConversationState | "idle";
  /** Why it could not be made, or ended. */
  readonly error: Error | undefined;
  /** The messages so far, oldest first; those of a conversation that is over stay until the next begins. */
  readonly transcript: readonly TranscriptEntry[];
  readonly responding: boolean;
  readonly muted: boolean;
  /** The pipe, and why that one. */
  readonly transport: TransportChoice | undefined;
}

const idle: ConversationSnapshot = {
  connectionState: "idle",
  error: undefined,
  transcript: [],
  responding: false,
  muted: false,
  transport: undefined,
};

/** Holds one conversation after the other. Its methods can be passed on: they keep their object. */
export class ConversationModel {
  readonly #connect: typeof connect;
  readonly #listeners = new Set<() => void>();
  #snapshot = idle;
  #conversation: Conversation | undefined;
  #attempt: AbortController | undefined;

  constructor(by: typeof connect) {
    this.#connect = by;
  }

  /** The conversation under way. */
  get conversation(): Conversation | undefined {
    return this.#conversation;
  }

  /** Calls `listener` after every change until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  /** The same object until something changes. */
  readonly snapshot = (): ConversationSnapshot => this.#snapshot;

  /** Begins a conversation in place of the one under way, if any; `undefined` when it could not be made. */
  readonly start = async (options: ConnectOptions = {}): Promise<Conversation | undefined> => {
    this.stop();
    const attempt = new AbortController();
    this.#attempt = attempt;
    const signal = options.signal ? AbortSignal.any([options.signal, attempt.signal]) : attempt.signal;
    this.#change({ ...idle, connectionState: "connecting" });
    try {
      const conversation = await this.#connect({ ...options, signal });
      if (attempt.signal.aborted) {
        conversation.close();
        return undefined;
      }
      this.#follow(conversation);
      return conversation;
    } catch (cause) {
      if (this.#attempt !== attempt) return undefined; // given up, or begun anew
      this.#attempt = undefined;
      const error = cause instanceof Error ? cause : new Error(String(cause));
      this.#change({ connectionState: "idle", error: signal.aborted ? undefined : error });
      return undefined;
    }
  };

  /** Hangs up, or gives up an attempt. */
  readonly stop = (): void => {
    const { connectionState } = this.#snapshot;
    this.#attempt?.abort();
    this.#attempt = undefined;
    this.#conversation?.close();
    this.#conversation = undefined;
    if (connectionState !== "idle") this.#change({ connectionState: "idle", responding: false });
  };

  #follow(conversation: Conversation): void {
    this.#conversation = conversation;
    const look = () => {
      if (this.#conversation !== conversation) return;
      const { connectionState, transcript, responding, muted, transport } = conversation;
      this.#change({ connectionState, transcript, responding, muted, transport });
    };
    for (const type of ["transcript", "mute", "transport", "response.created", "response.done"] as const) {
      conversation.on(type, look);
    }
    conversation.on("connectionState", ({ state, reason }) => {
      if (this.#conversation !== conversation) return;
      if (state !== "closed") return look();
      this.#conversation = undefined;
      this.#attempt = undefined;
      this.#change({ connectionState: "idle", responding: false, error: reason });
    });
    look();
  }

  #change(patch: Partial<ConversationSnapshot>): void {
    this.#snapshot = { ...this.#snapshot, ...patch };
    for (const listener of [...this.#listeners]) listener();
  }
}
