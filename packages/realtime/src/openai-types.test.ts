/** Holds our types against those of the `openai` package: what compiles here, its clients can read. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type * as OpenAI from "openai/resources/realtime/realtime";
import type { ClientEventInput } from "./client-events.ts";
import { parseClientEvent } from "./parse.ts";
import type { ServerEvent } from "./server-events.ts";

/** Arrays of theirs are mutable and their optional members take `undefined`; compare without either. */
type Loose<T> = T extends readonly (infer E)[]
  ? readonly Loose<E>[]
  : T extends object
    ? { readonly [K in keyof T]: undefined extends T[K] ? Loose<T[K]> | undefined : Loose<T[K]> }
    : T;

type Theirs = Loose<OpenAI.RealtimeServerEvent>;
type Ours = Loose<ServerEvent>;
type SluiceEvent = Extract<Ours, { type: `sluice.${string}` }>;

/**
 * Where the real service, and so we, differ from the published types: a transcript and a previous item can be null,
 * and items carry what the types leave out.
 */
type Differs =
  | "session.created"
  | "session.updated"
  | "response.created"
  | "response.done"
  | `conversation.item.${"added" | "done" | "created" | "retrieved"}`
  | `response.output_item.${"added" | "done"}`;

type Mismatch<T extends Ours["type"]> = T extends unknown
  ? Extract<Ours, { type: T }> extends Extract<Theirs, { type: T }>
    ? never
    : T
  : never;

// An empty object is none of these as soon as one of our events no longer fits theirs, or one of theirs is unknown to us.
const mismatched: Record<Mismatch<Exclude<Ours, SluiceEvent | { type: Differs }>["type"]>, never> = {};
const missing: Record<Exclude<Theirs["type"], Ours["type"]>, never> = {};
const unsent: Record<Exclude<OpenAI.RealtimeClientEvent["type"], ClientEventInput["type"]>, never> = {};

test("knows every event of the openai package, in its shape", () => {
  assert.deepEqual([mismatched, missing, unsent], [{}, {}, {}]);
});

test("accepts what the openai package lets a client write", () => {
  const events: OpenAI.RealtimeClientEvent[] = [
    {
      type: "session.update",
      session: {
        type: "realtime",
        audio: { input: { turn_detection: null }, output: { voice: { id: "voice_1" } } },
        tools: [{ type: "mcp", server_label: "x", server_url: "http://localhost/" }],
        tool_choice: "required",
        reasoning: { effort: "low" },
        prompt: { id: "p" },
      },
    },
    { type: "conversation.item.create", item: { type: "function_call_output", call_id: "c", output: "{}" } },
    { type: "response.create", response: { input: [], max_output_tokens: 100, tool_choice: "none" } },
    { type: "output_audio_buffer.clear" },
  ];
  for (const event of events) {
    const parsed = parseClientEvent(JSON.stringify(event));
    assert.ok(parsed.ok, JSON.stringify(parsed));
  }
});
