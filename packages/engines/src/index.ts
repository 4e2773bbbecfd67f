export type { EndpointOptions } from "./http/endpoint.ts";
export { EngineError, type EngineErrorKind, type EngineStage } from "./http/engine-error.ts";
export { HttpPool } from "./http/pool.ts";
export type { RetryPolicy } from "./http/retry.ts";
export type { StageTimeouts } from "./http/timed.ts";
export { type ChatCompletionsOptions, createChatCompletions } from "./llm/chat-completions.ts";
export type { LlmOptions } from "./llm/options.ts";
export { createResponses } from "./llm/responses.ts";
export { createMcpServers, type McpOptions, type McpServerConfig, type McpServersHandle } from "./mcp/servers.ts";
export {
  createScriptedLlm,
  createScriptedSpeech,
  createScriptedStt,
  createScriptedTts,
  createScriptedTurnDetector,
  createScriptedVad,
  type ScriptedLlmOptions,
  type ScriptedSpeechOptions,
  type ScriptedSttOptions,
  type ScriptedTtsOptions,
  type ScriptedVadOptions,
} from "./scripted/engines.ts";
export type { Fault, ScriptOptions } from "./scripted/pace.ts";
export { createDelays, createRandom, type Quantiles, type Random } from "./scripted/random.ts";
export { type CascadeOptions, createCascade } from "./speech/cascade.ts";

export { createParrot, OWN_WORDS, type ParrotOptions } from "./speech/parrot.ts";
export { createRealtime, type RealtimeOptions } from "./speech/realtime.ts";
export { raceRecognition } from "./stt/race.ts";
export { createRealtimeTranscription, type RealtimeTranscriptionOptions } from "./stt/realtime.ts";
export type { RealtimeSttDialect } from "./stt/realtime-dialects.ts";
export { createTranscriptions, type TranscriptionsOptions } from "./stt/transcriptions.ts";
export { createEspeak, type Espeak } from "./tts/espeak.ts";
export { createOpenAiSpeech, type OpenAiSpeechOptions } from "./tts/openai.ts";
export { Resampler } from "./tts/resampler.ts";
export { createSmartTurn, type SmartTurn } from "./turn/smart-turn.ts";
export { createSileroVad, type SileroOptions } from "./vad/silero.ts";
