/** The conversation: who speaks when, what was heard, and the contracts of engines and pipes. Pure. */
export { Acknowledgements } from "./acknowledgement.ts";
export { Answer, type AnswerCommand, type AnswerOptions, sameWords } from "./answer.ts";
export * from "./audio.ts";
export { cutsOf } from "./clause-cuts.ts";
export { type ClauseOptions, DEFAULT_CLAUSES, isSpoken } from "./clause-cutter.ts";
export { Conversation, type ConversationOptions } from "./conversation.ts";
export { EchoDetector } from "./echo.ts";
export { type VoiceWindow, windowLevels } from "./endpointer.ts";
export * from "./engines.ts";
export { formatForecast } from "./extensions.ts";
export type { FloorDecision, FloorReason } from "./floor.ts";
export { FORECAST_STAGES, Forecast, type ForecastStage, Forecasts } from "./forecast.ts";
export type { LedgerEntry, PlayoutReport } from "./ledger.ts";
export * from "./link.ts";
export type { CallerAudio } from "./memory.ts";
export type { ConversationCommand, IdPrefix } from "./outbox.ts";
export { Pipeline, type PipelineOptions } from "./pipeline.ts";
export type { TurnReport } from "./playout.ts";
export { PAUSE_MS, pauseMs } from "./preparation.ts";
export { type Prosody, ProsodyMeter } from "./prosody.ts";
export type {
  ConversationSnapshot,
  HeardPlace,
  SavedItem,
  SavedSpeech,
  SavedUtterance,
  SnapshotBounds,
} from "./snapshot.ts";
export { Spending, type SpendingOptions } from "./spending.ts";
export type { SpokenPiece } from "./spoken-text.ts";
export type { Stage, TurnTimeline } from "./timeline.ts";
export * from "./tool-server.ts";
