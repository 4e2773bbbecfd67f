/** The conversation as language models want it: `messages` of chat completions, and `input` items of responses. */
import type { ContextItem, ContextPart, LlmRequest, Pcm, Tool, ToolChoice } from "@sluice/conversation";
import { encodeWav } from "../stt/wav.ts";

/** What a part becomes in the dialect of an API. */
interface PartFormat<T> {
  text(text: string, role: Role): T;
  image(url: string): T;
  /** Absent for a model that cannot hear. */
  audio?(wavBase64: string): T;
}
type Role = "system" | "user" | "assistant";

/** What stands for speech that nobody transcribed, before a model that cannot hear. */
const UNHEARD = "(speech that could not be understood)";
/** What stands for the result of a function that has not answered: APIs refuse a call without a result. */
const NO_RESULT = "(no result yet)";

/** One message of `chat/completions`. */
export type ChatMessage =
  | { role: Role; content: string | readonly unknown[] }
  | { role: "assistant"; content: string | null; tool_calls: ChatToolCall[] }
  | { role: "tool"; tool_call_id: string; content: string };

interface ChatToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

const CHAT_PARTS: PartFormat<unknown> = {
  text: (text) => ({ type: "text", text }),
  image: (url) => ({ type: "image_url", image_url: { url } }),
};
const HEARING_CHAT_PARTS: PartFormat<unknown> = {
  ...CHAT_PARTS,
  audio: (data) => ({ type: "input_audio", input_audio: { data, format: "wav" } }),
};
const RESPONSE_PARTS: PartFormat<unknown> = {
  text: (text, role) => ({ type: role === "assistant" ? "output_text" : "input_text", text }),
  image: (url) => ({ type: "input_image", image_url: url, detail: "auto" }),
};

/** `messages`: instructions first, neighbours of one role merged, every function call followed by its result. */
export function toChatMessages({ instructions, items }: LlmRequest, hears: boolean): ChatMessage[] {
  const messages: ChatMessage[] = instructions === "" ? [] : [{ role: "system", content: instructions }];
  const results = resultsByCall(items);
  const format = hears ? HEARING_CHAT_PARTS : CHAT_PARTS;
  for (const item of items) {
    if (item.role === "toolCall") addChatCall(messages, item);
    else if (item.role === "toolResult") addOrphanResult(messages, items, item);
    else addChatMessage(messages, item.role, item.parts, format);
  }
  return messages.flatMap((message) =>
    "tool_calls" in message
      ? [message, ...message.tool_calls.map(({ id }) => toolMessage(id, results.get(id) ?? NO_RESULT))]
      : [message],
  );
}

function addChatMessage(
  messages: ChatMessage[],
  role: Role,
  parts: readonly ContextPart[],
  format: PartFormat<unknown>,
): void {
  const content = formatParts(parts, role, format);
  if (content.length === 0) return;
  if (parts.some((part) => part.kind === "image" || isHeard(part, format))) {
    messages.push({ role, content });
    return;
  }
  const text = parts.map(wordsOf).filter(Boolean).join("\n");
  const last = messages.at(-1);
  // Chat templates of open models insist on turns.
  const joins = last?.role === role && role !== "system" && typeof last.content === "string" && !("tool_calls" in last);
  if (joins) last.content = `${last.content}\n${text}`;
  else messages.push({ role, content: text });
}

function addChatCall(messages: ChatMessage[], item: Extract<ContextItem, { role: "toolCall" }>): void {
  const call: ChatToolCall = {
    id: item.callId,
    type: "function",
    function: { name: item.name, arguments: item.arguments === "" ? "{}" : item.arguments },
  };
  const last = messages.at(-1);
  if (last && "tool_calls" in last) {
    last.tool_calls.push(call); // called together
    return;
  }
  const said = last?.role === "assistant" && typeof last.content === "string" ? last.content : null;
  if (said !== null) messages.pop();
  messages.push({ role: "assistant", content: said, tool_calls: [call] });
}

/** A result whose call is gone from the conversation: APIs refuse it as one, so it is told. */
function addOrphanResult(
  messages: ChatMessage[],
  items: readonly ContextItem[],
  { callId, output }: Extract<ContextItem, { role: "toolResult" }>,
): void {
  if (items.some((item) => item.role === "toolCall" && item.callId === callId)) return;
  messages.push({ role: "system", content: `A function returned: ${output}` });
}

function toolMessage(tool_call_id: string, content: string): ChatMessage {
  return { role: "tool", tool_call_id, content };
}

/** `input` of `responses`: every function call followed by its result. */
export function toResponseInput({ items }: LlmRequest): unknown[] {
  const results = resultsByCall(items);
  const calls = new Set(items.flatMap((item) => (item.role === "toolCall" ? [item.callId] : [])));
  return items.flatMap((item): unknown[] => {
    switch (item.role) {
      case "toolCall": {
        const { callId: call_id, name, arguments: args } = item;
        const output = results.get(call_id) ?? NO_RESULT;
        return [
          { type: "function_call", call_id, name, arguments: args === "" ? "{}" : args },
          { type: "function_call_output", call_id, output },
        ];
      }
      case "toolResult":
        if (calls.has(item.callId)) return [];
        return [{ role: "system", content: [{ type: "input_text", text: `A function returned: ${item.output}` }] }];
      default: {
        const content = formatParts(item.parts, item.role, RESPONSE_PARTS);
        return content.length === 0 ? [] : [{ role: item.role, content }];
      }
    }
  });
}

/** `tools` of chat completions. */
export function toChatTools(tools: readonly Tool[]): unknown[] {
  return tools.map((tool) => ({ type: "function", function: toolBody(tool) }));
}

/** `tools` of responses. */
export function toResponseTools(tools: readonly Tool[]): unknown[] {
  return tools.map((tool) => ({ type: "function", ...toolBody(tool), strict: false }));
}

/** `tool_choice` of chat completions. */
export function toChatToolChoice(choice: ToolChoice): unknown {
  return typeof choice === "string" ? choice : { type: "function", function: { name: choice.name } };
}

/** `tool_choice` of responses. */
export function toResponseToolChoice(choice: ToolChoice): unknown {
  return typeof choice === "string" ? choice : { type: "function", name: choice.name };
}

function toolBody({ name, description, parameters }: Tool) {
  return {
    name,
    ...(description !== undefined && { description }),
    parameters: parameters ?? { type: "object", properties: {} },
  };
}

function resultsByCall(items: readonly ContextItem[]): ReadonlyMap<string, string> {
  return new Map(items.flatMap((item) => (item.role === "toolResult" ? [[item.callId, item.output] as const] : [])));
}

function formatParts(parts: readonly ContextPart[], role: Role, format: PartFormat<unknown>): unknown[] {
  return parts.flatMap((part) => {
    if (part.kind === "image") return [format.image(part.url)];
    if (isHeard(part, format)) return [format.audio?.(encodeWav(part.pcm).toString("base64"))];
    const text = wordsOf(part);
    return text === "" ? [] : [format.text(text, role)];
  });
}

type Heard = ContextPart & { kind: "audio"; pcm: Pcm };

/** Whether the model is to hear this part itself. */
function isHeard(part: ContextPart, format: PartFormat<unknown>): part is Heard {
  return part.kind === "audio" && part.pcm !== undefined && part.transcript === undefined && format.audio !== undefined;
}

function wordsOf(part: ContextPart): string {
  if (part.kind === "text") return part.text;
  return part.kind === "audio" ? (part.transcript ?? UNHEARD) : "";
}
