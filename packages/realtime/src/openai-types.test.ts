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
 * Where the real service, and so we, say `null` for what is not there, and the published types leave it out: a transcript
 * that is not known yet, a response outside the conversation, a setting that is off.
 */
type Differs =
  | "session.created"
  | "session.updated"
  | "response.created"
  | "response.done"
  | `conversation.item.${"added" | "done" | "created" | "retrieved"}`
  | `response.output_item.${"added" | "done"}`;

/** Our event of one type: several of ours go by more than one, which `Extract` would find none of. */
type OurEvent<T extends string, E = Ours> = E extends { type: infer U }
  ? T extends U
    ? Omit<E, "type"> & { type: T }
    : never
  : never;

type Fits<T extends string, E> = [E] extends [never] ? false : E extends Extract<Theirs, { type: T }> ? true : false;

type Mismatch<T extends Ours["type"]> = T extends unknown ? (Fits<T, OurEvent<T>> extends true ? never : T) : never;

/** `null` read as absent. */
type WithoutNull<T> = T extends null
  ? undefined
  : T extends readonly (infer E)[]
    ? readonly WithoutNull<E>[]
    : T extends object
      ? { readonly [K in keyof T]: WithoutNull<T[K]> }
      : T;

type MismatchButForNull<T extends Differs> = T extends unknown
  ? Fits<T, WithoutNull<OurEvent<T>>> extends true
    ? never
    : T
  : never;

// An empty object is none of these as soon as one of our events no longer fits theirs, or one of theirs is unknown to us.
const mismatched: Record<Mismatch<Exclude<Ours, SluiceEvent | { type: Differs }>["type"]>, never> = {};
const mismatchedButForNull: Record<MismatchButForNull<Exclude<Differs, SessionEvent>>, never> = {};
// Of a session, what it may include and a stored prompt's variables are kept as they came, whatever they are.
type SessionEvent = "session.created" | "session.updated";
type Shown<S = WithoutNull<OurEvent<SessionEvent>>["session"]> = S extends unknown
  ? Omit<S, "include" | "prompt">
  : never;
const sessionFits: Shown extends Extract<Theirs, { type: SessionEvent }>["session"] ? true : never = true;
const missing: Record<Exclude<Theirs["type"], Ours["type"]>, never> = {};
const unsent: Record<Exclude<OpenAI.RealtimeClientEvent["type"], ClientEventInput["type"]>, never> = {};

test("knows every event of the openai package, in its shape", () => {
  assert.deepEqual([mismatched, mismatchedButForNull, sessionFits, missing, unsent], [{}, {}, true, {}, {}]);
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
