/** The OpenAI-compatible Realtime protocol: its events and objects, read and checked. Pure. */
export {
  type AudioDecoder,
  type AudioEncoder,
  bytesPerSecond,
  createAudioDecoder,
  createAudioEncoder,
} from "./audio-format.ts";
export { decodeBase64, encodeBase64 } from "./base64.ts";
export type {
  ClientEvent,
  ClientEventInput,
  ClientEventType,
} from "./client-events.ts";
export { betaDialect, fromBetaSession, toBetaSession } from "./dialects/beta.ts";
export type { Dialect, DialectName, WireEvent } from "./dialects/dialect.ts";
export {
  activeResponse,
  approvalNotFound,
  type CauseId,
  cancelNotActive,
  cannotUpdateVoice,
  commitEmpty,
  createDuplicateItem,
  deleteInvalidItem,
  invalidAudio,
  invalidEvent,
  invalidRequest,
  invalidValue,
  missingParameter,
  previousItemNotFound,
  type RealtimeError,
  rateLimitExceeded,
  retrieveInvalidItem,
  serverError,
  sessionExpired,
  truncateInvalidItem,
  truncateNotAudio,
  truncateTooLong,
} from "./error.ts";
export { decodeG711, encodeG711, type G711Law } from "./g711.ts";
export * from "./item.ts";
export {
  AUDIO_SUBPROTOCOL,
  type AudioMessage,
  decodeAudioMessage,
  decodeTalkMessage,
  encodeAudioMessage,
  encodeTalkMessage,
  messageKinds,
} from "./message-format.ts";
export {
  MAX_EVENT_DEPTH,
  MAX_EVENT_LENGTH,
  type ParsedClientEvent,
  type ParsedSession,
  parseClientEvent,
  parseSession,
} from "./parse.ts";
export { createResampler, type Resampler, type ResamplerOptions } from "./resampler.ts";
export {
  type ResponseObject,
  type ResponseOptions,
  type ResponseStatus,
  type ResponseStatusDetails,
  type Usage,
  zeroUsage,
} from "./response.ts";
export {
  ACK_EVERY,
  type AckEvent,
  isCounted,
  parseResumption,
  ReceiptCounter,
  type ReplayLimits,
  ReplayWindow,
  type ResumableEvent,
  type ResumedEvent,
  type ResumeEvent,
  type ResumptionEvent,
} from "./resumption.ts";
export type * from "./server-events.ts";
export {
  type AudioFormat,
  type AudioInput,
  type AudioOutput,
  createSession,
  describeSession,
  type FunctionTool,
  type McpApproval,
  type McpTool,
  type McpToolFilter,
  type Prompt,
  type Reasoning,
  type SemanticVad,
  type ServerVad,
  type Session,
  type SessionObject,
  type SessionOptions,
  type SessionType,
  type SessionUpdate,
  type SluiceExtensions,
  semanticVadDefaults,
  serverVadDefaults,
  type ToolChoice,
  type ToolDefinition,
  type Tracing,
  type Transcription,
  type TranscriptionSession,
  type Truncation,
  type TurnDetection,
  type TurnNumbers,
  turnNumberDefaults,
  type UpdateLocks,
  updateSession,
} from "./session.ts";
export type { SessionPatch } from "./session-patch.ts";
export {
  type AudioFrame,
  closeCodes,
  decodeFrameDatagram,
  EventDecoder,
  encodeEvent,
  encodeEventsStart,
  encodeFrame,
  encodeFrameDatagram,
  encodeTalkspurtStart,
  encodeUtteranceStart,
  FrameDecoder,
  KindDecoder,
  MAX_EVENT_SIZE,
  MAX_OPUS_SIZE,
  STREAM_CLOCK_RATE,
  streamCodes,
  streamKinds,
  TalkspurtDecoder,
  UtteranceDecoder,
  type UtteranceHeader,
  type UtterancePiece,
} from "./stream-format.ts";
export { decodeVarint, encodeVarint, type Varint, varintSize, writeVarint } from "./varint.ts";
export {
  DEFAULT_LEAD_MS,
  type EventsOpener,
  MAX_LEAD_MS,
  type ParsedWebTransportCall,
  parseWebTransportCall,
  type WebTransportCallAnswer,
  type WebTransportCallBody,
  type WebTransportCallRequest,
} from "./webtransport-call.ts";
