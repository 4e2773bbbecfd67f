import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContextItem, LlmRequest } from "@sluice/conversation";
import fc from "fast-check";
import { toChatMessages, toResponseInput } from "./messages.ts";

const said = (id: string, role: "system" | "user" | "assistant", text: string): ContextItem => ({
  id,
  role,
  parts: [{ kind: "text", text }],
});
const spoken = (id: string, role: "user" | "assistant", transcript: string | undefined): ContextItem => ({
  id,
  role,
  parts: [{ kind: "audio", pcm: new Int16Array(10), transcript, voicedStartMs: 0, voicedEndMs: 0 }],
});
const call = (id: string, callId: string): ContextItem => ({ id, role: "toolCall", callId, name: "f", arguments: "" });
const result = (id: string, callId: string): ContextItem => ({
  id,
  role: "toolResult",
  callId,
  output: `of ${callId}`,
});

function request(items: readonly ContextItem[], instructions = ""): LlmRequest {
  return { instructions, items, tools: [], toolChoice: "auto", maxOutputTokens: "inf" };
}

test("speech is told by its words, and what nobody understood is not left out", () => {
  const items = [spoken("1", "user", "Hello?"), spoken("2", "assistant", "Hi."), spoken("3", "user", undefined)];
  assert.deepEqual(toChatMessages(request(items, "Be brief."), false), [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hello?" },
    { role: "assistant", content: "Hi." },
    { role: "user", content: "(speech that could not be understood)" },
  ]);
});

test("a model that hears gets the speech that nobody transcribed", () => {
  const [message] = toChatMessages(request([spoken("1", "user", undefined)]), true);
  const [part] = message!.content as unknown as { type: string; input_audio: { data: string; format: string } }[];
  assert.equal(part!.type, "input_audio");
  assert.equal(Buffer.from(part!.input_audio.data, "base64").toString("latin1", 0, 4), "RIFF");
});

test("neighbours of one role are one message, and an answer that nobody heard is none", () => {
  const items = [said("1", "user", "A"), spoken("2", "assistant", ""), said("3", "user", "B")];
  assert.deepEqual(toChatMessages(request(items), false), [{ role: "user", content: "A\nB" }]);
});

test("an image goes with its text", () => {
  const items: ContextItem[] = [
    {
      id: "1",
      role: "user",
      parts: [
        { kind: "text", text: "What?" },
        { kind: "image", url: "data:x" },
      ],
    },
  ];
  assert.deepEqual(toChatMessages(request(items), false)[0]!.content, [
    { type: "text", text: "What?" },
    { type: "image_url", image_url: { url: "data:x" } },
  ]);
  assert.deepEqual(toResponseInput(request(items)), [
    {
      role: "user",
      content: [
        { type: "input_text", text: "What?" },
        { type: "input_image", image_url: "data:x", detail: "auto" },
      ],
    },
  ]);
});

test("calls made together are one message with what was said before, each followed by its result", () => {
  const items = [
    said("1", "assistant", "Wait."),
    call("2", "a"),
    call("3", "b"),
    said("4", "user", "Well?"),
    result("5", "a"),
  ];
  const f = { name: "f", arguments: "{}" };
  assert.deepEqual(toChatMessages(request(items), false), [
    {
      role: "assistant",
      content: "Wait.",
      tool_calls: [
        { id: "a", type: "function", function: f },
        { id: "b", type: "function", function: f },
      ],
    },
    { role: "tool", tool_call_id: "a", content: "of a" },
    { role: "tool", tool_call_id: "b", content: "(no result yet)" },
    { role: "user", content: "Well?" },
  ]);
});

test("a result whose call is gone is told as a fact", () => {
  assert.deepEqual(toChatMessages(request([result("1", "gone")]), false), [
    { role: "system", content: "A function returned: of gone" },
  ]);
  assert.equal(JSON.stringify(toResponseInput(request([result("1", "gone")]))).includes("function_call_output"), false);
});

test("whatever the conversation, every call has exactly one result, right behind it", () => {
  const kinds = fc.constantFrom("user", "assistant", "call", "result");
  fc.assert(
    fc.property(fc.array(fc.tuple(kinds, fc.constantFrom("a", "b", "c")), { maxLength: 12 }), (script) => {
      const used = new Set<string>();
      const items = script.flatMap(([kind, name], at): ContextItem[] => {
        if (kind === "user" || kind === "assistant") return [said(`${at}`, kind, name)];
        if (kind === "result") return [result(`${at}`, name)];
        if (used.has(name)) return [];
        used.add(name);
        return [call(`${at}`, name)];
      });
      const messages = toChatMessages(request(items), false);
      let open: string[] = [];
      for (const message of messages) {
        if (message.role === "tool") assert.equal(message.tool_call_id, open.shift());
        else assert.deepEqual(open, []);
        if ("tool_calls" in message) open = message.tool_calls.map(({ id }) => id);
      }
      assert.deepEqual(open, []);
      const input = toResponseInput(request(items)) as { type?: string; call_id?: string }[];
      for (const [at, entry] of input.entries())
        if (entry.type === "function_call") assert.equal(input[at + 1]?.call_id, entry.call_id);
    }),
  );
});
