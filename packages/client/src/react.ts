/** `useConversation`: a conversation as a React component holds it. React is the app's own (18 or later). */
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { type ConnectOptions, connect } from "./connect.ts";
import type { Conversation } from "./conversation.ts";
import { ConversationModel, type ConversationSnapshot } from "./conversation-model.ts";

export type { ConversationSnapshot } from "./conversation-model.ts";

/** What {@link useConversation} gives. */
export interface UseConversation extends ConversationSnapshot {
  /** Begins to talk; call it from a click. Does not throw: what went wrong is {@link ConversationSnapshot.error}. */
  readonly start: (more?: ConnectOptions) => Promise<Conversation | undefined>;
  /** Hangs up, or gives up an attempt. */
  readonly stop: () => void;
  /** The conversation itself, for its events and meters; `undefined` while there is none. */
  readonly conversation: Conversation | undefined;
}

/** One conversation at a time, hung up when the component goes. `options` are read when it starts. */
export function useConversation(options: ConnectOptions = {}): UseConversation {
  const [model] = useState(() => new ConversationModel(connect));
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  useEffect(() => () => model.stop(), [model]);
  const snapshot = useSyncExternalStore(model.subscribe, model.snapshot, model.snapshot);
  const start = useCallback((more: ConnectOptions = {}) => model.start({ ...latest.current, ...more }), [model]);
  return { ...snapshot, start, stop: model.stop, conversation: model.conversation };
}
