/** Which engines answer: the built-in agent, or models that the user names. */

import { Pipeline, type SpeechToSpeech } from "@sluice/conversation";
import {
  createCascade,
  createChatCompletions,
  createOpenAiSpeech,
  createParrot,
  createRealtime,
  createTranscriptions,
  type Espeak,
} from "@sluice/engines";
import { type Environment, type Flag, integer, type Settings, text, UsageError } from "./flags.ts";

const url =
  (...schemes: readonly string[]) =>
  (value: string, flag: string): string => {
    const scheme = URL.canParse(value) ? new URL(value).protocol.slice(0, -1) : "";
    if (schemes.includes(scheme)) return value;
    throw new UsageError(`${flag} must be an address that begins with ${schemes.join(": or ")}:, not "${value}"`);
  };
const http = url("http", "https");
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
  "llm-fallback": flag("<url>", "a second one, asked as well when the first is late or fails", undefined, http),
  "llm-fallback-model": flag("<name>", "its model; default the first one's", undefined, text),
  stt: flag("<url>", "speech recognition: an OpenAI-compatible API", undefined, http),
  "stt-model": flag("<name>", "its model", "gpt-4o-mini-transcribe", text),
  tts: flag("<url>", "speech synthesis: an OpenAI-compatible API; default eSpeak NG", undefined, http),
  "tts-model": flag("<name>", "its model", "gpt-4o-mini-tts", text),
  "tts-voice": flag("<name>", "its voice; default the conversation's", undefined, text),
  realtime: flag("<url>", "instead: a speech-to-speech model by the Realtime API", undefined, url("ws", "wss")),
  "realtime-model": flag("<name>", "its model", undefined, text),
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
  instructions: flag(
    "<text>",
    "what a model is told, where a client says nothing",
    "You are talking with a person by voice. Answer in one to three short spoken sentences, without lists or markup.",
    text,
  ),
} as const;

/** What the flags came to. */
export type AgentSettings = Settings<typeof agentFlags>;

/** An agent and its name. */
export interface Agent {
  readonly name: string;
  readonly speech: SpeechToSpeech;
  /** What a session starts with where the client says nothing; empty for the built-in agent. */
  readonly instructions: string;
  /** What its engines take, and what guesses cost. */
  readonly pipeline: Pipeline;
}

const OPENAI = "https://api.openai.com/v1";

/** Makes the agent. With `OPENAI_API_KEY` and no engine named, OpenAI serves all three. Keys go to nobody else. */
export function createAgent(settings: AgentSettings, env: Environment, tts: Espeak | undefined): Agent {
  const { instructions, language } = settings;
  const pipeline = new Pipeline({ eagerShare: settings.eager / 100 });
  const named = settings.llm ?? settings.stt ?? settings.tts ?? settings.realtime;
  const all = named === undefined && env.OPENAI_API_KEY ? OPENAI : undefined;
  if (settings.realtime !== undefined) {
    const speech = createRealtime({
      url: settings.realtime,
      apiKey: keyFor(settings.realtime, "REALTIME", env),
      model: settings["realtime-model"],
      description: `A speech-to-speech model at ${hostOf(settings.realtime)} answers.`,
    });
    return { name: settings["realtime-model"] ?? "realtime", speech, instructions, pipeline };
  }
  const llm = settings.llm ?? all;
  if (llm === undefined) {
    if (named !== undefined) throw new UsageError("--stt and --tts need a language model: --llm <url>");
    if (settings["llm-fallback"] !== undefined) throw new UsageError("--llm-fallback needs a first model: --llm <url>");
    return { name: "parrot", speech: createParrot({ tts }), instructions: "", pipeline };
  }
  const stt = settings.stt ?? all;
  const voice = settings.tts ?? all;
  const model = settings["llm-model"];
  const ears = stt === undefined ? "reads what you type (no --stt)" : `hears by ${hostOf(stt)}`;
  const speaks = voice === undefined ? "eSpeak NG" : hostOf(voice);
  const fallback = settings["llm-fallback"];
  const fallbackModel = settings["llm-fallback-model"] ?? model;
  const afterMs = settings["acknowledge-after"];
  const speech = createCascade({
    llm: createChatCompletions({ baseUrl: llm, apiKey: keyFor(llm, "LLM", env), model }),
    fallbackLlm:
      fallback === undefined
        ? undefined
        : createChatCompletions({
            baseUrl: fallback,
            apiKey: keyFor(fallback, "LLM_FALLBACK", env),
            model: fallbackModel,
          }),
    acknowledgement: afterMs === 0 ? undefined : { afterMs, text: settings.acknowledgement },
    pipeline,
    names: {
      llm: model,
      ...(stt !== undefined && { stt: settings["stt-model"] }),
      tts: voice === undefined ? "espeak" : settings["tts-model"],
    },
    stt:
      stt === undefined
        ? undefined
        : createTranscriptions({ baseUrl: stt, apiKey: keyFor(stt, "STT", env), model: settings["stt-model"] }),
    tts:
      voice === undefined
        ? tts
        : createOpenAiSpeech({
            baseUrl: voice,
            apiKey: keyFor(voice, "TTS", env),
            model: settings["tts-model"],
            voice: settings["tts-voice"],
          }),
    fallbackTts: () => Promise.resolve(tts),
    language,
    apology: "Sorry, something went wrong on my side. Please say that again.",
    description: `${model} at ${hostOf(llm)} ${ears} and speaks by ${speaks}.`,
  });
  return { name: model, speech, instructions, pipeline };
}

/** A key of this engine's own, else OpenAI's for OpenAI alone. */
function keyFor(address: string, engine: string, env: Environment): string | undefined {
  return (
    env[`SLUICE_${engine}_KEY`] ?? (new URL(address).hostname === "api.openai.com" ? env.OPENAI_API_KEY : undefined)
  );
}

function hostOf(address: string): string {
  return new URL(address).host;
}
