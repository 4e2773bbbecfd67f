/** Which engines answer: the built-in agent, or models that the user names. */

import { Pipeline, type SpeechToSpeech } from "@sluice/conversation";
import { createCascade, createParrot, type Espeak } from "@sluice/engines";
import type { AgentSettings } from "./agent-flags.ts";
import { createEngines, earsOf } from "./engines.ts";
import type { Environment } from "./flags.ts";

/** An agent and its name. */
export interface Agent {
  readonly name: string;
  readonly speech: SpeechToSpeech;
  /** What a session starts with where the client says nothing; empty for the built-in agent. */
  readonly instructions: string;
  /** What its engines take, and what guesses cost. */
  readonly pipeline: Pipeline;
}

/** Makes the agent. With `OPENAI_API_KEY` and no engine named, OpenAI serves all three. Keys go to nobody else. */
export function createAgent(
  settings: AgentSettings,
  env: Environment,
  tts: Espeak | undefined,
  warn: (failure: unknown, line: string) => void,
): Agent {
  const { instructions, language } = settings;
  const after = settings["llm-fallback-after"];
  const hedgeAt = after === undefined ? undefined : after / 100;
  const pipeline = new Pipeline({ eagerShare: settings.eager / 100, hedgeAt });
  const engines = createEngines(settings, env);
  if (engines.realtime) {
    return { name: engines.realtime.model ?? "realtime", speech: engines.realtime.engine, instructions, pipeline };
  }
  const { llm, fallbackLlm, stt, tts: voice } = engines;
  if (!llm) return { name: "parrot", speech: createParrot({ tts }), instructions: "", pipeline };
  const ears = stt ? `hears by ${stt.host}` : "reads what you type (no --stt)";
  const afterMs = settings["acknowledge-after"];
  const speech = createCascade({
    llm: llm.engine,
    fallbackLlm: fallbackLlm?.engine,
    acknowledgement: afterMs === 0 ? undefined : { afterMs, text: settings.acknowledgement },
    pipeline,
    names: {
      llm: llm.model,
      ...(fallbackLlm && { fallbackLlm: fallbackLlm.model }),
      ...(stt && { stt: stt.model }),
      tts: voice?.model ?? "espeak",
    },
    stt: earsOf(engines),
    tts: voice?.engine ?? tts,
    fallbackTts: async (failure) => {
      if (failure !== undefined && tts) warn(failure, "eSpeak NG speaks instead");
      return tts;
    },
    language,
    apology: settings.apology === "none" ? undefined : settings.apology,
    description: `${llm.model} at ${llm.host} ${ears} and speaks by ${voice?.host ?? "eSpeak NG"}.`,
  });
  return { name: llm.model, speech, instructions, pipeline };
}
