/** The engines that the settings name, each with what a person calls it. Keys go to nobody but the engine they are for. */
import type { LanguageModel, SpeechToSpeech, SpeechToText, TextToSpeech } from "@sluice/conversation";
import {
  createChatCompletions,
  createOpenAiSpeech,
  createRealtime,
  createRealtimeTranscription,
  createResponses,
  createTranscriptions,
  raceRecognition,
} from "@sluice/engines";
import type { AgentSettings } from "./agent-flags.ts";
import { type Environment, UsageError } from "./flags.ts";

/** An engine, its model's name and its server's. */
export interface Named<E, M extends string | undefined = string> {
  readonly engine: E;
  readonly model: M;
  readonly host: string;
  /** Names of the models that its server has; empty when it does not tell. */
  readonly models?: (() => Promise<readonly string[]>) | undefined;
}

/** What was named; an agent is a speech-to-speech model, or a language model with or without ears and voice. */
export interface Engines {
  readonly realtime?: Named<SpeechToSpeech, string | undefined> | undefined;
  readonly llm?: Named<LanguageModel> | undefined;
  readonly fallbackLlm?: Named<LanguageModel> | undefined;
  readonly stt?: Named<SpeechToText> | undefined;
  readonly fallbackStt?: Named<SpeechToText> | undefined;
  readonly tts?: Named<TextToSpeech> | undefined;
}

const OPENAI = "https://api.openai.com/v1";

/** Makes them; nothing is connected to yet. Throws {@link UsageError} for what does not go together. */
export function createEngines(settings: AgentSettings, env: Environment): Engines {
  const { realtime } = settings;
  if (realtime !== undefined) return { realtime: createSpeech(realtime, settings, env) };
  const named = settings.llm ?? settings.stt ?? settings.tts;
  const all = named === undefined && env.OPENAI_API_KEY ? OPENAI : undefined;
  const llm = settings.llm ?? all;
  if (llm === undefined) {
    if (named !== undefined) throw new UsageError("--stt and --tts need a language model: --llm <url>");
    if (settings["stt-fallback"] !== undefined) throw new UsageError("--stt-fallback needs a first one: --stt <url>");
    if (settings["llm-fallback"] !== undefined) throw new UsageError("--llm-fallback needs a first model: --llm <url>");
    return {};
  }
  const model = settings["llm-model"];
  const fallback = settings["llm-fallback"];
  const stt = settings.stt ?? all;
  const tts = settings.tts ?? all;
  const second = settings["stt-fallback"];
  if (second !== undefined && stt === undefined) throw new UsageError("--stt-fallback needs a first one: --stt <url>");
  return {
    llm: createLlm(llm, model, keyFor(llm, "LLM", env), settings),
    fallbackLlm:
      fallback === undefined
        ? undefined
        : createLlm(fallback, settings["llm-fallback-model"] ?? model, keyFor(fallback, "LLM_FALLBACK", env), settings),
    stt: stt === undefined ? undefined : createEars(stt, "STT", settings["stt-model"], settings, env),
    fallbackStt:
      second === undefined
        ? undefined
        : createEars(second, "STT_FALLBACK", settings["stt-fallback-model"] ?? settings["stt-model"], settings, env),
    tts: tts === undefined ? undefined : createVoice(tts, settings, env),
  };
}

function createLlm(
  baseUrl: string,
  model: string,
  apiKey: string | undefined,
  settings: AgentSettings,
): Named<LanguageModel> {
  const options = { baseUrl, apiKey, model, timeouts: timeouts(settings, settings["llm-timeout"]) };
  const engine = settings["llm-api"] === "responses" ? createResponses(options) : createChatCompletions(options);
  return { engine, model, host: hostOf(baseUrl), models: () => modelsOf(baseUrl, apiKey) };
}

/** The ears that hear a call: both, where two are named. */
export function earsOf({ stt, fallbackStt }: Engines): SpeechToText | undefined {
  return stt && fallbackStt ? raceRecognition(stt.engine, fallbackStt.engine) : stt?.engine;
}

function createEars(
  address: string,
  variable: string,
  model: string,
  settings: AgentSettings,
  env: Environment,
): Named<SpeechToText> {
  const api = settings["stt-api"];
  const host = hostOf(address);
  const options = {
    apiKey: keyFor(address, variable, env),
    model,
    timeouts: timeouts(settings, settings["stt-timeout"]),
  };
  if (api !== "transcriptions") {
    const engine = createRealtimeTranscription({ ...options, url: socketOf(address), dialect: api });
    return { engine, model, host };
  }
  if (/^wss?:/.test(address)) throw new UsageError("--stt with ws: or wss: needs --stt-api openai, speaches or vllm");
  const models = () => modelsOf(address, options.apiKey);
  return { engine: createTranscriptions({ ...options, baseUrl: address }), model, host, models };
}

function createVoice(baseUrl: string, settings: AgentSettings, env: Environment): Named<TextToSpeech> {
  const model = settings["tts-model"];
  const apiKey = keyFor(baseUrl, "TTS", env);
  const engine = createOpenAiSpeech({
    baseUrl,
    apiKey,
    model,
    voice: settings["tts-voice"],
    format: settings["tts-format"],
    timeouts: timeouts(settings, settings["tts-timeout"]),
  });
  return { engine, model, host: hostOf(baseUrl), models: () => modelsOf(baseUrl, apiKey) };
}

function createSpeech(url: string, settings: AgentSettings, env: Environment) {
  const model = settings["realtime-model"];
  const host = hostOf(url);
  const engine = createRealtime({
    url,
    apiKey: keyFor(url, "REALTIME", env),
    model,
    voice: settings["realtime-voice"],
    dialect: settings["realtime-api"],
    timeouts: timeouts(settings, settings["realtime-timeout"]),
    description: `A speech-to-speech model at ${host} answers.`,
  });
  return { engine, model, host };
}

/** `GET /models` (OpenAI API reference, "List models"). */
async function modelsOf(baseUrl: string, apiKey: string | undefined): Promise<readonly string[]> {
  try {
    const headers = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
    const url = `${baseUrl.replace(/\/+$/, "")}/models`;
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(3000), redirect: "error" });
    const { data } = (await response.json()) as { data?: readonly { readonly id?: unknown }[] };
    return (data ?? []).flatMap(({ id }) => (typeof id === "string" ? [id] : []));
  } catch {
    return []; // a kindness: what is wrong is told anyway
  }
}

function timeouts(settings: AgentSettings, firstMs: number) {
  return { connectMs: settings["connect-timeout"], firstMs, betweenMs: settings["between-timeout"] };
}

/** The socket beside an API's other paths: `http://host/v1` means `ws://host/v1/realtime`. */
function socketOf(address: string): string {
  const url = new URL(address);
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  if (!url.pathname.endsWith("/realtime")) url.pathname = `${url.pathname.replace(/\/+$/, "")}/realtime`;
  return url.href;
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
