/** The conversation: who speaks when, what was heard, and the contracts of engines and pipes. Pure. */
export * from "./audio.ts";
export {
  Conversation,
  type ConversationCommand,
  type ConversationOptions,
  type EngineFailure,
  type IdPrefix,
} from "./conversation.ts";
export { type VoiceWindow, windowLevels } from "./endpointer.ts";
export * from "./engines.ts";
export type { LedgerEntry, PlayoutReport } from "./ledger.ts";
export * from "./link.ts";
export type { TurnReport } from "./playout.ts";
export type { Stage, TurnTimeline } from "./timeline.ts";
