/** The response object of the GA Realtime API, what a client may ask of one, and token usage. */
import { z } from "zod";
import { type Item, newItem } from "./item.ts";
import type { AudioFormat } from "./session.ts";
import {
  maxOutputTokens,
  outputModalities,
  prompt,
  reasoning,
  responseAudio,
  toolChoice,
  toolDefinitions,
} from "./session-patch.ts";

/** Where a response stands. */
export type ResponseStatus = "in_progress" | "completed" | "cancelled" | "incomplete" | "failed";

/** Why a response ended as it did; `null` in a response until it ends. */
export type ResponseStatusDetails =
  | { readonly type: "completed" }
  | { readonly type: "cancelled"; readonly reason: "turn_detected" | "client_cancelled" }
  | { readonly type: "incomplete"; readonly reason: "max_output_tokens" | "content_filter" }
  | {
      readonly type: "failed";
      readonly error: { readonly type: string; readonly code: string; readonly message: string };
    };

/** Tokens of one response. Clients read members unguarded, so all of them are always there. */
export interface Usage {
  readonly total_tokens: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly input_token_details: {
    readonly text_tokens: number;
    readonly audio_tokens: number;
    readonly image_tokens: number;
    readonly cached_tokens: number;
    readonly cached_tokens_details: {
      readonly text_tokens: number;
      readonly audio_tokens: number;
      readonly image_tokens: number;
    };
  };
  readonly output_token_details: { readonly text_tokens: number; readonly audio_tokens: number };
}

/** One reply of the agent, as `response.created` and `response.done` show it. */
export interface ResponseObject {
  readonly object: "realtime.response";
  readonly id: string;
  readonly status: ResponseStatus;
  readonly status_details: ResponseStatusDetails | null;
  readonly output: readonly Item[];
  /** `null` for a response outside the conversation. */
  readonly conversation_id: string | null;
  readonly output_modalities: readonly ["audio"] | readonly ["text"];
  readonly max_output_tokens: number | "inf";
  /** Clients compute what was heard from this format. */
  readonly audio: { readonly output: { readonly format: AudioFormat; readonly voice: string } };
  /** `null` until the response ends. */
  readonly usage: Usage | null;
  /** As given in `response.create`. */
  readonly metadata: Readonly<Record<string, string>> | null;
}

/** The usage of a response whose engine counts nothing. */
export function zeroUsage(): Usage {
  return {
    total_tokens: 0,
    input_tokens: 0,
    output_tokens: 0,
    input_token_details: {
      text_tokens: 0,
      audio_tokens: 0,
      image_tokens: 0,
      cached_tokens: 0,
      cached_tokens_details: { text_tokens: 0, audio_tokens: 0, image_tokens: 0 },
    },
    output_token_details: { text_tokens: 0, audio_tokens: 0 },
  };
}

const itemReference = z.object({ type: z.literal("item_reference"), id: z.string().max(256) });
const metadata = z
  .record(z.string().max(64), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= 16, "expected at most 16 pairs");

/** Parses the `response` member of `response.create`. */
export const responseOptions = z.object({
  audio: responseAudio.exactOptional(),
  /** `none`: a response beside the conversation, whose items are not added to it. */
  conversation: z.string().max(256).default("auto"),
  /** Replaces the conversation as what the model sees. */
  input: z
    .array(z.union([itemReference, newItem]))
    .max(1024)
    .exactOptional(),
  instructions: z.string().max(1_048_576).exactOptional(),
  max_output_tokens: maxOutputTokens.exactOptional(),
  metadata: metadata.nullable().exactOptional(),
  output_modalities: outputModalities.exactOptional(),
  parallel_tool_calls: z.boolean().exactOptional(),
  prompt: prompt.nullable().exactOptional(),
  reasoning: reasoning.exactOptional(),
  tool_choice: toolChoice.exactOptional(),
  tools: toolDefinitions.exactOptional(),
});

/** What a client asks of one response; what is absent comes from the session. */
export type ResponseOptions = z.output<typeof responseOptions>;
