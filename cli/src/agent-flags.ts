/** The flags that name engines and say how to speak to them. */
import { choice, type Environment, type Flag, integer, type Settings, text, UsageError } from "./flags.ts";

const url =
  (...schemes: readonly string[]) =>
  (value: string, flag: string): string => {
    const scheme = URL.canParse(value) ? new URL(value).protocol.slice(0, -1) : "";
    if (schemes.includes(scheme)) return value;
    throw new UsageError(`${flag} must be an address that begins with ${schemes.join(": or ")}:, not "${value}"`);
  };
const http = url("http", "https");
const milliseconds = integer(1, 600_000);
const flag = <T, F extends string | undefined>(value: string, help: string, fallback: F, read: Flag<T>["read"]) => ({
  value,
  help,
  fallback,
  read,
});

/** The flags that name engines. */
export const agentFlags = {
  llm: flag("<url>", "language model: an OpenAI-compatible API, up to /v1", undefined, http),
  "llm-model": flag("<name>", "its model", "gpt-4.1-mini", text),
  "llm-api": flag(
    "<name>",
    "how it is spoken to: chat (completions) or responses",
    "chat",
    choice("chat", "responses"),
  ),
  "llm-fallback": flag("<url>", "a second one, asked as well when the first is late or fails", undefined, http),
  "llm-fallback-model": flag("<name>", "its model; default the first one's", undefined, text),
  "llm-fallback-after": flag(
    "<percent>",
    "of the first's answers begin sooner than the second is asked; default as few as waste at most 15 % of requests",
    undefined,
    integer(50, 99),
  ),
  stt: flag(
    "<url>",
    "speech recognition: an OpenAI-compatible API, up to /v1",
    undefined,
    url("http", "https", "ws", "wss"),
  ),
  "stt-model": flag("<name>", "its model", "gpt-4o-mini-transcribe", text),
  "stt-api": flag(
    "<name>",
    "how: transcriptions (of utterances), or a socket, word by word: openai, speaches or vllm",
    "transcriptions",
    choice("transcriptions", "openai", "speaches", "vllm"),
  ),
  "stt-fallback": flag(
    "<url>",
    "a second one, or the same again: both hear every utterance, the first to have its words counts",
    undefined,
    url("http", "https", "ws", "wss"),
  ),
  "stt-fallback-model": flag("<name>", "its model; default the first one's", undefined, text),
  tts: flag("<url>", "speech synthesis: an OpenAI-compatible API; default eSpeak NG", undefined, http),
  "tts-model": flag("<name>", "its model", "gpt-4o-mini-tts", text),
  "tts-voice": flag("<name>", "its voice; default the conversation's", undefined, text),
  "tts-format": flag(
    "<name>",
    "how its audio comes: pcm, wav, opus or sse",
    "pcm",
    choice("pcm", "wav", "opus", "sse"),
  ),
  "turn-model": flag(
    "<path>",
    "judges pauses for semantic_vad: an ONNX file of Smart Turn v3's shapes",
    undefined,
    text,
  ),
  realtime: flag("<url>", "instead: a speech-to-speech model by the Realtime API", undefined, url("ws", "wss")),
  "realtime-model": flag("<name>", "its model", undefined, text),
  "realtime-voice": flag("<name>", "its voice; default the conversation's", undefined, text),
  "realtime-api": flag("<name>", "its dialect: ga, or beta as before 2025-08", "ga", choice("ga", "beta")),
  language: flag("<tag>", "language of the callers, such as de; default any", undefined, text),
  eager: flag(
    "<percent>",
    "of what the model writes, how much may be in vain to answer sooner; 0: no guesses",
    "15",
    integer(0, 90),
  ),
  "acknowledge-after": flag(
    "<ms>",
    "say a short word when the silence is longer, such as 900; 0: never",
    "0",
    integer(0, 60_000),
  ),
  acknowledgement: flag("<text>", "that word", "One moment.", text),
  apology: flag(
    "<text>",
    'said when an answer fails before it sounds; "none": nothing',
    "Sorry, something went wrong on my side. Please say that again.",
    text,
  ),
  "connect-timeout": flag("<ms>", "until an engine is connected to", "3000", milliseconds),
  "llm-timeout": flag("<ms>", "until its first word", "8000", milliseconds),
  "stt-timeout": flag("<ms>", "until its transcript begins", "8000", milliseconds),
  "tts-timeout": flag("<ms>", "until its first sound", "3000", milliseconds),
  "realtime-timeout": flag("<ms>", "until its answer begins", "8000", milliseconds),
  "between-timeout": flag("<ms>", "between one result of an engine and the next", "5000", milliseconds),
  instructions: flag(
    "<text>",
    "what a model is told, where a client says nothing",
    "You are talking with a person by voice. Answer in one to three short spoken sentences, without lists or markup.",
    text,
  ),
} as const;

/** What the flags came to. */
export type AgentSettings = Settings<typeof agentFlags>;

/** Flags about parts that a speech-to-speech model does without. */
const OF_CASCADE = /^(llm|stt|tts|eager|acknowledge)/;

/** Settings that were changed and change nothing, each in words: those of an engine that none is named for. */
export function withoutEffect(settings: AgentSettings, env: Environment): string[] {
  const changed = Object.entries(agentFlags)
    .filter(([name, { fallback }]) => String(settings[name as keyof AgentSettings]) !== String(fallback))
    .map(([name]) => name);
  if (settings.realtime !== undefined) {
    return changed.filter((name) => OF_CASCADE.test(name)).map((name) => `--${name} has no effect beside --realtime`);
  }
  const cascade = settings.llm !== undefined || Boolean(env.OPENAI_API_KEY);
  return changed.flatMap((name) => {
    if (name.startsWith("realtime-")) return [`--${name} has no effect without --realtime`];
    // An engine without a language model is refused.
    const details = OF_CASCADE.test(name) && !/^(stt|tts)$|-fallback$/.test(name);
    return cascade || !details ? [] : [`--${name} has no effect without --llm`];
  });
}
