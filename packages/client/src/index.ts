/** The browser SDK of Sluice: `connect()` and talk. */
export type { ClientEventInput, ServerEvent } from "@sluice/realtime";
export type { Milli } from "./clock-sync.ts";
export { type ConnectOptions, connect, type PrepareOptions, prepare, type SessionSettings } from "./connect.ts";
export type {
  Conversation,
  ConversationEvents,
  ConversationState,
  ConversationStateChange,
  ServerEventOf,
} from "./conversation.ts";
export {
  BadAnswer,
  ConnectionLost,
  ConversationGone,
  InsecureOrigin,
  MicrophoneBusy,
  MicrophoneDenied,
  NoMicrophone,
  ServerBusy,
  ServerUnreachable,
  SessionEnded,
  TransportUnsupported,
  Unauthorized,
} from "./errors.ts";
export type { MicrophoneChoice } from "./microphone.ts";
export type { TransportAttempt, TransportChoice } from "./race.ts";
export type { PacketCounts, StatsDigest } from "./stats.ts";
export type { TranscriptEntry } from "./transcript.ts";
export type { TransportKind } from "./transport.ts";
