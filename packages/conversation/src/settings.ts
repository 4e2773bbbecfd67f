/** What a session's settings mean to the parts of a conversation. */
import { type ResponseOptions, type Session, type ToolDefinition, turnNumberDefaults } from "@sluice/realtime";
import type { ContextItem, Tool, ToolChoice } from "./engines.ts";
import type { FloorOptions } from "./floor.ts";
import type { ListenerOptions } from "./listener.ts";
import type { OfferedTools } from "./mcp.ts";

/** How turns are found; `undefined`: the client says when. */
export function listenerOptions(session: Session): ListenerOptions | undefined {
  const turn = session.audio.input.turn_detection;
  if (!turn) return undefined;
  const { language } = session.audio.input.transcription ?? {};
  if (turn.type === "semantic_vad") {
    return { threshold: 0.5, prefixMs: 300, silenceMs: 500, eagerness: turn.eagerness, language };
  }
  return { threshold: turn.threshold, prefixMs: turn.prefix_padding_ms, silenceMs: turn.silence_duration_ms };
}

/** How the caller takes the floor; `undefined`: not by speaking. */
export function floorOptions(session: Session): FloorOptions | undefined {
  const { turn_detection: turn, transcription } = session.audio.input;
  if (!turn) return undefined;
  const numbers = session.sluice?.turn ?? turnNumberDefaults;
  return {
    threshold: turn.type === "server_vad" ? turn.threshold : 0.5,
    duckAfterMs: numbers.duck_after_ms,
    duckGain: numbers.duck_gain,
    duckRampMs: numbers.duck_ramp_ms,
    restoreRampMs: numbers.restore_ramp_ms,
    stopAfterMs: numbers.stop_after_ms,
    decideByMs: numbers.decide_by_ms,
    interrupts: turn.interrupt_response,
    dismisses: numbers.dismiss_noise,
    language: transcription?.language,
  };
}

/** Whether the agent answers the caller's turns unasked; otherwise the client asks it to. */
export function answersTurns({ type, audio }: Session): boolean {
  return type !== "transcription" && audio.input.turn_detection?.create_response !== false;
}

/** How long nobody may speak before the agent does; `undefined`: for ever. */
export function idleTimeout(session: Session): number | undefined {
  const turn = session.audio.input.turn_detection;
  return (turn?.type === "server_vad" ? turn.idle_timeout_ms : undefined) ?? undefined;
}

/** Whether the client is to be told the caller's words. */
export function transcribes(session: Session): boolean {
  return session.type === "transcription" || session.audio.input.transcription !== null;
}

/** What an engine is asked: the session's settings, and those of this response over them. */
export function engineRequest(
  session: Session,
  options: ResponseOptions | undefined,
  items: readonly ContextItem[],
  offered: OfferedTools,
  inConversation: boolean,
) {
  const { instructions, output_modalities, max_output_tokens, audio, tool_choice } = session;
  return {
    instructions: options?.instructions ?? instructions,
    items,
    modality: (options?.output_modalities ?? output_modalities)[0],
    voice: options?.audio?.output?.voice ?? audio.output.voice,
    speed: audio.output.speed,
    language: audio.input.transcription?.language,
    tools: offered.tools,
    toolChoice: engineToolChoice(options?.tool_choice ?? tool_choice, offered.targets),
    maxOutputTokens: options?.max_output_tokens ?? max_output_tokens,
    parallelToolCalls: options?.parallel_tool_calls ?? session.parallel_tool_calls,
    reasoningEffort: options?.reasoning?.effort ?? session.reasoning?.effort,
    outOfBand: !inConversation,
  };
}

/** The functions among the tools; MCP servers are not an engine's affair. */
export function functionTools(tools: readonly ToolDefinition[]): Tool[] {
  return tools.flatMap((tool) => {
    if (tool.type !== "function") return [];
    const { name, description, parameters } = tool;
    return [{ name, ...(description === undefined ? {} : { description }), ...(parameters ? { parameters } : {}) }];
  });
}

/** Whether, and what, an engine must call. */
export function engineToolChoice(choice: Session["tool_choice"], targets: OfferedTools["targets"]): ToolChoice {
  if (typeof choice === "string") return choice;
  if (choice.type === "function") return { name: choice.name };
  const { server_label: label, name } = choice;
  const found = [...targets].find(([, target]) => target.label === label && target.name === name);
  if (found) return { name: found[0] };
  // A server without a tool's name leaves the choice among its tools to the model; one that is not there, all of it.
  return name === undefined && [...targets.values()].some((target) => target.label === label) ? "required" : "auto";
}
