/** Conversation items in the shape of the GA Realtime API: what a conversation holds and what a client may add to it. */
import { z } from "zod";

/** Where an item stands. */
export type ItemStatus = "in_progress" | "completed" | "incomplete";

/** Text that a client wrote. */
export interface InputTextPart {
  readonly type: "input_text";
  readonly text: string;
}

/** Speech of the caller; `transcript` is `null` until known, never absent (agents-realtime dies without the key). */
export interface InputAudioPart {
  readonly type: "input_audio";
  readonly transcript: string | null;
  /** Base64 in the session's input format; only where a client asked for it. */
  readonly audio?: string;
}

/** An image of the caller, as a data URL. */
export interface InputImagePart {
  readonly type: "input_image";
  readonly image_url: string;
  readonly detail?: "auto" | "low" | "high";
}

/** Text of the agent. */
export interface OutputTextPart {
  readonly type: "output_text";
  readonly text: string;
}

/** Speech of the agent. */
export interface OutputAudioPart {
  readonly type: "output_audio";
  readonly transcript: string;
  /** Base64 in the session's output format; only where a client asked for it. */
  readonly audio?: string;
}

/** Content of a message by the system. */
export type SystemPart = InputTextPart;
/** Content of a message by the caller. */
export type UserPart = InputTextPart | InputAudioPart | InputImagePart;
/** Content of a message by the agent. */
export type AssistantPart = OutputTextPart | OutputAudioPart;

interface ItemHead {
  readonly id: string;
  readonly object: "realtime.item";
  readonly status: ItemStatus;
}

/** A message of the system. */
export interface SystemMessageItem extends ItemHead {
  readonly type: "message";
  readonly role: "system";
  readonly content: readonly SystemPart[];
}

/** A message of the caller. */
export interface UserMessageItem extends ItemHead {
  readonly type: "message";
  readonly role: "user";
  readonly content: readonly UserPart[];
}

/** A message of the agent. */
export interface AssistantMessageItem extends ItemHead {
  readonly type: "message";
  readonly role: "assistant";
  readonly content: readonly AssistantPart[];
}

/** A function that the agent called. */
export interface FunctionCallItem extends ItemHead {
  readonly type: "function_call";
  /** At most 32 characters: LiveKit and Azure refuse more. */
  readonly call_id: string;
  readonly name: string;
  /** JSON. */
  readonly arguments: string;
}

/** What a function answered. */
export interface FunctionCallOutputItem extends ItemHead {
  readonly type: "function_call_output";
  readonly call_id: string;
  readonly output: string;
}

/** A tool of an MCP server, as it is listed. */
export interface McpListedTool {
  readonly name: string;
  readonly description?: string | null;
  /** JSON Schema. */
  readonly input_schema: unknown;
  readonly annotations?: unknown;
}

/** Why a tool of an MCP server gave no result. */
export type McpCallError =
  | { readonly type: "protocol_error" | "http_error"; readonly code: number; readonly message: string }
  | { readonly type: "tool_execution_error"; readonly message: string };

/** The tools of an MCP server. */
export interface McpListToolsItem extends ItemHead {
  readonly type: "mcp_list_tools";
  readonly server_label: string;
  readonly tools: readonly McpListedTool[];
  /** Why they could not be listed, for a person. */
  readonly error?: string;
}

/** A tool that the agent called on an MCP server. */
export interface McpCallItem extends ItemHead {
  readonly type: "mcp_call";
  readonly server_label: string;
  readonly name: string;
  readonly arguments: string;
  readonly approval_request_id: string | null;
  readonly output: string | null;
  readonly error: McpCallError | null;
}

/** The agent asks whether it may call a tool. */
export interface McpApprovalRequestItem extends ItemHead {
  readonly type: "mcp_approval_request";
  readonly server_label: string;
  readonly name: string;
  readonly arguments: string;
}

/** The client's answer to such a question. */
export interface McpApprovalResponseItem extends ItemHead {
  readonly type: "mcp_approval_response";
  readonly approval_request_id: string;
  readonly approve: boolean;
  readonly reason: string | null;
}

/** A message of whoever. */
export type MessageItem = SystemMessageItem | UserMessageItem | AssistantMessageItem;

/** One item of a conversation. */
export type Item =
  | MessageItem
  | FunctionCallItem
  | FunctionCallOutputItem
  | McpListToolsItem
  | McpCallItem
  | McpApprovalRequestItem
  | McpApprovalResponseItem;

/** One part of a message. */
export type ContentPart = SystemPart | UserPart | AssistantPart;

type Draft<T> = T extends Item ? Omit<T, keyof ItemHead> & { readonly id: string | undefined } : never;

/** An item as a client gave it, in GA shape, before it has an id of ours. */
export type NewItem = Draft<Item>;

/** Completes a client's item; `id` is used where the client gave none. */
export function createItem(item: NewItem, id: string): Item {
  return { ...item, id: item.id ?? id, object: "realtime.item", status: "completed" };
}

// Ids end up in events, logs and map keys: a bound keeps them cheap.
const itemId = z.string().min(1).max(256);
const detail = z.enum(["auto", "low", "high"]);

// Beta clients and history replays name the parts `text` and `audio` whoever speaks.
const inputText = z.object({ type: z.literal(["input_text", "text"]), text: z.string() });
const inputAudio = z.object({
  type: z.literal(["input_audio", "audio"]),
  audio: z.string().nullish(),
  transcript: z.string().nullish(),
});
const inputImage = z.object({
  type: z.literal("input_image"),
  image_url: z.string(),
  detail: detail.nullish(),
});
const outputText = z.object({ type: z.literal(["output_text", "text"]), text: z.string() });
const outputAudio = z.object({
  type: z.literal(["output_audio", "audio"]),
  audio: z.string().nullish(),
  transcript: z.string().nullish(),
});

const toInputText = (part: z.output<typeof inputText>): InputTextPart => ({ type: "input_text", text: part.text });

const systemPart = inputText.transform(toInputText);
const userPart = z.discriminatedUnion("type", [inputText, inputAudio, inputImage]).transform((part): UserPart => {
  switch (part.type) {
    case "input_image":
      return { type: "input_image", image_url: part.image_url, ...(part.detail ? { detail: part.detail } : {}) };
    case "input_audio":
    case "audio":
      return {
        type: "input_audio",
        transcript: part.transcript ?? null,
        ...(part.audio ? { audio: part.audio } : {}),
      };
    default:
      return toInputText(part);
  }
});
const assistantPart = z.discriminatedUnion("type", [outputText, outputAudio]).transform((part): AssistantPart => {
  switch (part.type) {
    case "output_audio":
    case "audio":
      return {
        type: "output_audio",
        transcript: part.transcript ?? "",
        ...(part.audio ? { audio: part.audio } : {}),
      };
    default:
      return { type: "output_text", text: part.text };
  }
});

const head = { id: itemId.nullish().transform((id) => id ?? undefined) };
const message = z.discriminatedUnion("role", [
  z.object({ ...head, type: z.literal("message"), role: z.literal("system"), content: z.array(systemPart).max(1024) }),
  z.object({ ...head, type: z.literal("message"), role: z.literal("user"), content: z.array(userPart).max(1024) }),
  z.object({
    ...head,
    type: z.literal("message"),
    role: z.literal("assistant"),
    content: z.array(assistantPart).max(1024),
  }),
]);

/** Parses the item of `conversation.item.create` and of a response's `input`: GA shape, beta content types accepted. */
export const newItem = z.discriminatedUnion("type", [
  message,
  z.object({
    ...head,
    type: z.literal("function_call"),
    call_id: z.string().max(256).default(""),
    name: z.string().max(256),
    arguments: z.string(),
  }),
  z.object({ ...head, type: z.literal("function_call_output"), call_id: z.string().max(256), output: z.string() }),
  z.object({
    ...head,
    type: z.literal("mcp_list_tools"),
    server_label: z.string(),
    tools: z
      .array(
        z.object({
          name: z.string(),
          description: z.string().nullable().exactOptional(),
          input_schema: z.unknown(),
          annotations: z.unknown().exactOptional(),
        }),
      )
      .max(1024),
  }),
  z.object({
    ...head,
    type: z.literal("mcp_call"),
    server_label: z.string(),
    name: z.string(),
    arguments: z.string(),
    approval_request_id: z.string().nullable().default(null),
    output: z.string().nullable().default(null),
    error: z
      .union([
        z.object({ type: z.enum(["protocol_error", "http_error"]), code: z.number(), message: z.string() }),
        z.object({ type: z.literal("tool_execution_error"), message: z.string() }),
      ])
      .nullable()
      .default(null),
  }),
  z.object({
    ...head,
    type: z.literal("mcp_approval_request"),
    server_label: z.string(),
    name: z.string(),
    arguments: z.string(),
  }),
  z.object({
    ...head,
    type: z.literal("mcp_approval_response"),
    approval_request_id: z.string(),
    approve: z.boolean(),
    reason: z.string().nullable().default(null),
  }),
]) satisfies z.ZodType<NewItem>;
