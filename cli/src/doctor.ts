/** `sluice doctor`: tries each engine with a real request, and says how fast it is, or what is wrong and how to mend it. */
import {
  durationMs,
  type LanguageModel,
  type Pcm,
  type SpeechToSpeech,
  type SpeechToText,
  type TextToSpeech,
} from "@sluice/conversation";
import { EngineError, type Espeak, type McpServersHandle } from "@sluice/engines";
import type { AgentSettings } from "./agent-flags.ts";
import { createEngines, type Engines, type Named } from "./engines.ts";
import type { Environment } from "./flags.ts";

/** What was found out about one part. */
export interface Finding {
  readonly part: string;
  readonly verdict: "ok" | "slow" | "failed";
  /** In words, a line each. */
  readonly lines: readonly string[];
  /** What was measured, in milliseconds. */
  readonly ms: Readonly<Record<string, number>>;
}

/** What the doctor needs beside the settings. */
export interface DoctorOptions {
  readonly env: Environment;
  /** The built-in voice, which asks the question that recognition is to hear. */
  readonly espeak: Espeak | undefined;
  readonly mcp?: McpServersHandle | undefined;
  /** Beyond these, in milliseconds, a stage is called slow. */
  readonly slow?: Readonly<Record<Stage, number>> | undefined;
}

type Stage = "llm" | "stt" | "tts" | "realtime";

const SENTENCE = "What is the capital of France?";
/** Beyond these a caller notices: together they are the pauses that feel like a bad line. */
const SLOW: Readonly<Record<Stage, number>> = { llm: 1000, stt: 800, tts: 500, realtime: 1200 };
const ENOUGH_MS = 60_000;

/** Examines what the settings name, part by part. */
export async function* examine(settings: AgentSettings, options: DoctorOptions): AsyncGenerator<Finding> {
  const engines = createEngines(settings, options.env);
  const { env, slow: limits = SLOW } = options;
  if (!engines.realtime && !engines.llm) {
    yield found("agent", {}, ["no engine is named: the built-in parrot answers, and needs none"]);
  }
  if (engines.realtime)
    yield await judge("speech model", "REALTIME", engines.realtime, env, (one) => tryRealtime(one, limits.realtime));
  for (const [part, variable, llm] of [
    ["language model", "LLM", engines.llm],
    ["second model", "LLM_FALLBACK", engines.fallbackLlm],
  ] as const) {
    if (llm) yield await judge(part, variable, llm, env, (one) => tryLlm(one, limits.llm));
  }
  if (engines.llm && !engines.stt)
    yield slow("speech recognition", "none is named: the agent only reads what is typed");
  const heard = engines.stt && (await sampleOf(options.espeak, engines));
  if (engines.stt && !heard)
    yield slow("speech recognition", "not tried: there is no voice here to ask it something with");
  if (engines.stt && heard) {
    for (const [part, variable, stt] of [
      ["speech recognition", "STT", engines.stt],
      ["second recognition", "STT_FALLBACK", engines.fallbackStt],
    ] as const) {
      if (stt) yield await judge(part, variable, stt, env, (one) => tryStt(one, limits.stt, heard));
    }
  }
  if (engines.tts) yield await judge("speech synthesis", "TTS", engines.tts, env, (one) => tryTts(one, limits.tts));
  else if (engines.llm) {
    const missing = "none is named, and the built-in eSpeak NG is not installed: the agent cannot speak";
    if (options.espeak) yield found("speech synthesis", {}, ["the built-in eSpeak NG"]);
    else yield { part: "speech synthesis", verdict: "failed", lines: [missing], ms: {} };
  }
  for (const { server_label: label } of options.mcp?.configured ?? []) yield await tryMcp(options.mcp!, label);
}

/** A finding as the doctor prints it. */
export function formatFinding({ part, verdict, lines }: Finding): string {
  const head = `  ${{ ok: "ok", slow: "SLOW", failed: "FAIL" }[verdict].padEnd(6)}${part.padEnd(20)}`;
  const indent = " ".repeat(head.length);
  return lines.map((line, index) => `${index === 0 ? head : indent}${line}\n`).join("");
}

async function judge<E, M extends string | undefined>(
  part: string,
  variable: string,
  named: Named<E, M>,
  env: Environment,
  trial: (engine: E) => Promise<Omit<Finding, "part">>,
): Promise<Finding> {
  const who = `${named.model ?? "the model"} at ${named.host}`;
  try {
    const finding = await trial(named.engine);
    return { part, ...finding, lines: finding.lines.map((line, index) => (index === 0 ? `${who}: ${line}` : line)) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const mend = error instanceof EngineError ? await mendOf(error, variable, named, env) : undefined;
    return { part, verdict: "failed", lines: [message, ...(mend === undefined ? [] : [mend])], ms: {} };
  }
}

async function mendOf(
  { kind, status, stage }: EngineError,
  variable: string,
  named: Named<unknown, string | undefined>,
  env: Environment,
): Promise<string | undefined> {
  const key = `SLUICE_${variable}_KEY`;
  const flag = variable.toLowerCase().replaceAll("_", "-");
  switch (kind) {
    case "unauthorized":
      return env[key] ? `${key} is set, but this server does not take it` : `set ${key}: no key was sent`;
    case "rejected": {
      const models = status === 404 || status === 400 ? await named.models?.() : undefined;
      if (!models || models.length === 0)
        return `is --${flag} an address up to /v1, and --${flag}-model a model of it?`;
      const others = models.length > 8 ? `, and ${models.length - 8} more` : "";
      return `its models are: ${models.slice(0, 8).join(", ")}${others}; choose by --${flag}-model`;
    }
    case "timeout":
      return `choose a faster engine, or allow it more time: --${flag.split("-")[0]}-timeout`;
    case "empty":
      return stage === "tts" ? "try another --tts-format, such as wav, or another --tts-voice" : "look at its log";
    case "unavailable":
    case "cut":
      return "look at its log";
    case "rateLimited":
      return "wait, or look at the account's quota";
    case "malformed":
      return `does this address speak the API that --${flag}${stage === "stt" ? "-api" : ""} means?`;
    default:
      return undefined;
  }
}

async function tryLlm(llm: LanguageModel, limitMs: number): Promise<Omit<Finding, "part">> {
  const ask = async () => {
    const watch = new Watch();
    let text = "";
    const request = {
      instructions: "Answer in one short sentence.",
      items: [{ id: "item_1", role: "user" as const, parts: [{ kind: "text" as const, text: SENTENCE }] }],
      tools: [],
      toolChoice: "none" as const,
      maxOutputTokens: 300,
    };
    for await (const event of llm.generate(request, AbortSignal.timeout(ENOUGH_MS))) {
      if (event.kind !== "text") continue;
      watch.first();
      text += event.delta;
    }
    return { ...watch.read(), text: text.trim() };
  };
  const cold = await ask(); // pays for name, connection and, at some servers, for loading the model
  const warm = await ask();
  if (warm.text === "") return { verdict: "failed", lines: ["it answered without a word", "look at its log"], ms: {} };
  const line = `first word after ${warm.firstMs} ms (${cold.firstMs} ms at first), all of it after ${warm.allMs} ms`;
  return graded(limitMs, warm.firstMs, { first: warm.firstMs, cold: cold.firstMs, all: warm.allMs }, [
    line,
    `it said: ${shorten(warm.text)}`,
  ]);
}

async function tryStt(stt: SpeechToText, limitMs: number, pcm: Pcm): Promise<Omit<Finding, "part">> {
  const hear = async () => {
    const watch = new Watch();
    let text: string | undefined;
    for await (const event of stt.transcribe(once(pcm), {}, AbortSignal.timeout(ENOUGH_MS))) {
      if (event.kind === "final") text = event.text.trim();
    }
    watch.first();
    return { ...watch.read(), text };
  };
  const cold = await hear();
  const warm = await hear();
  const ms = { all: warm.allMs, cold: cold.allMs };
  const line = `${(durationMs(pcm) / 1000).toFixed(1)} s of speech transcribed in ${warm.allMs} ms (${cold.allMs} ms at first)`;
  if (!warm.text) return { verdict: "failed", lines: [line, "but it heard no words in a spoken sentence"], ms };
  const heard = `it heard: ${shorten(warm.text)}`;
  if (!/franc/i.test(warm.text)) {
    return { verdict: "slow", lines: [line, heard, `but what was said is: ${SENTENCE}`], ms };
  }
  return graded(limitMs, warm.allMs, ms, [line, heard]);
}

async function tryTts(tts: TextToSpeech, limitMs: number): Promise<Omit<Finding, "part">> {
  const cold = await speak(tts);
  const warm = await speak(tts);
  const spokenMs = durationMs(warm.pcm);
  const pace = spokenMs / Math.max(1, warm.allMs);
  const ms = { first: warm.firstMs, cold: cold.firstMs, all: warm.allMs };
  const line = `first sound after ${warm.firstMs} ms (${cold.firstMs} ms at first), ${pace.toFixed(1)} times as fast as speech`;
  if (isSilent(warm.pcm)) return { verdict: "failed", lines: [line, "but there is no sound in it"], ms };
  if (pace < 1) return { verdict: "slow", lines: [line, "slower than it is spoken: there will be gaps"], ms };
  return graded(limitMs, warm.firstMs, ms, [line]);
}

async function tryRealtime(speech: SpeechToSpeech, limitMs: number): Promise<Omit<Finding, "part">> {
  const abort = new AbortController();
  const session = speech.open(abort.signal);
  try {
    const watch = new Watch();
    const pieces: Pcm[] = [];
    let words = "";
    const request = {
      instructions: "Answer in one short sentence.",
      items: [{ id: "item_1", role: "user" as const, parts: [{ kind: "text" as const, text: SENTENCE }] }],
      modality: "audio" as const,
      voice: "alloy",
      began: Promise.resolve({ afterSpeechMs: undefined, clock: "egress" as const }),
    };
    for await (const event of session.respond(request, AbortSignal.timeout(ENOUGH_MS))) {
      if (event.kind === "transcript") words += event.delta;
      if (event.kind !== "audio") continue;
      watch.first();
      pieces.push(event.pcm);
    }
    const { firstMs, allMs } = watch.read();
    const ms = { first: firstMs, all: allMs };
    const line = `first sound after ${firstMs} ms, all of it after ${allMs} ms`;
    if (pieces.length === 0 || pieces.every(isSilent)) {
      return { verdict: "failed", lines: ["it answered without a sound"], ms };
    }
    return graded(limitMs, firstMs, ms, [line, ...(words.trim() === "" ? [] : [`it said: ${shorten(words.trim())}`])]);
  } finally {
    session.close();
    abort.abort();
  }
}

async function tryMcp(servers: McpServersHandle, label: string): Promise<Finding> {
  const part = "MCP server";
  const watch = new Watch();
  try {
    const signal = AbortSignal.timeout(ENOUGH_MS);
    const server = await servers.open({ label }, signal);
    const tools = await server.list(signal);
    const { allMs } = watch.read();
    const names = tools.map(({ name }) => name).join(", ");
    return found(part, { all: allMs }, [`${label}: ${tools.length} tools after ${allMs} ms: ${shorten(names)}`]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { part, verdict: "failed", lines: [`${label} ${message}`], ms: {} };
  }
}

/** A spoken question, by the built-in voice or else by the one that is examined. */
async function sampleOf(espeak: TextToSpeech | undefined, engines: Engines): Promise<Pcm | undefined> {
  const voice = espeak ?? engines.tts?.engine;
  if (!voice) return undefined;
  return speak(voice).then(
    ({ pcm }) => pcm,
    () => undefined, // the voice's own examination will say why
  );
}

async function speak(tts: TextToSpeech) {
  const watch = new Watch();
  const pieces: Pcm[] = [];
  for await (const event of tts.speak(once(SENTENCE), {}, AbortSignal.timeout(ENOUGH_MS))) {
    if (event.kind !== "audio") continue;
    watch.first();
    pieces.push(event.pcm);
  }
  const pcm = new Int16Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    pcm.set(piece, at);
    at += piece.length;
  }
  return { ...watch.read(), pcm };
}

/** Times one request. */
class Watch {
  readonly #from = performance.now();
  #firstAt: number | undefined;

  first(): void {
    this.#firstAt ??= performance.now();
  }

  read(): { readonly firstMs: number; readonly allMs: number } {
    const now = performance.now();
    return { firstMs: Math.round((this.#firstAt ?? now) - this.#from), allMs: Math.round(now - this.#from) };
  }
}

function graded(limitMs: number, measured: number, ms: Finding["ms"], lines: readonly string[]): Omit<Finding, "part"> {
  if (measured <= limitMs) return { verdict: "ok", lines, ms };
  return { verdict: "slow", lines: [...lines, `more than ${limitMs} ms: callers will hear the pause`], ms };
}

function found(part: string, ms: Finding["ms"], lines: readonly string[]): Finding {
  return { part, verdict: "ok", lines, ms };
}

function slow(part: string, line: string): Finding {
  return { part, verdict: "slow", lines: [line], ms: {} };
}

function isSilent(pcm: Pcm): boolean {
  return !pcm.some((sample) => Math.abs(sample) > 100);
}

function shorten(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}
