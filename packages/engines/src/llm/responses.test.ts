import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { LlmEvent, LlmRequest } from "@sluice/conversation";
import { testFaults } from "../contract/faults.ts";
import { type HttpReply, startHttpUpstream } from "../contract/upstream.ts";
import { createResponses } from "./responses.ts";

const never = new AbortController().signal;
const request: LlmRequest = {
  instructions: "Be brief.",
  items: [{ id: "item_1", role: "user", parts: [{ kind: "text", text: "Hello?" }] }],
  tools: [],
  toolChoice: "auto",
  maxOutputTokens: "inf",
};
const completed = {
  type: "response.completed",
  response: {
    status: "completed",
    usage: { input_tokens: 7, output_tokens: 3, input_tokens_details: { cached_tokens: 5 } },
  },
};

function stream(events: readonly { readonly type: string }[]): HttpReply {
  const parts = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  return { contentType: "text/event-stream", parts, nothing: [] };
}

const text = (delta: string) => ({ type: "response.output_text.delta", output_index: 0, delta });
const good = stream([{ type: "response.created" }, text("Hel"), text("lo."), completed]);

let reply = good;
let body: Record<string, unknown> = {};
const upstream = startHttpUpstream((_request, bytes) => {
  body = JSON.parse(bytes.toString("utf8"));
  return reply;
});
after(async () => (await upstream).close());

testFaults("responses", {
  start: () => startHttpUpstream(() => good),
  call: ({ url, ...options }, signal) =>
    createResponses({ baseUrl: url, model: "m", ...options }).generate(request, signal),
  check: (events) => assert.deepEqual(kinds(events), ["text", "text", "usage", "done"]),
});

test("responses: gives text, reasoning, and what it cost", async () => {
  reply = stream([
    { type: "response.reasoning_summary_text.delta", delta: "hm" } as { type: string },
    text("Yes."),
    completed,
  ]);
  assert.deepEqual(await generate(), [
    { kind: "reasoning", delta: "hm" },
    { kind: "text", delta: "Yes." },
    { kind: "usage", usage: { inputTokens: 7, outputTokens: 3, cachedTokens: 5 } },
    { kind: "done", reason: "stop" },
  ]);
});

test("responses: gives calls of functions, in pieces or whole", async () => {
  const item = { type: "function_call", id: "fc_1", call_id: "call_1", name: "f" };
  const added = { type: "response.output_item.added", output_index: 1, item };
  const pieces = [
    added,
    { type: "response.function_call_arguments.delta", output_index: 1, delta: '{"a"' },
    { type: "response.function_call_arguments.delta", output_index: 1, delta: ":1}" },
    { type: "response.function_call_arguments.done", output_index: 1, arguments: '{"a":1}' },
  ];
  const whole = [added, { type: "response.function_call_arguments.done", output_index: 1, arguments: '{"a":1}' }];
  const onlyDone = [{ type: "response.output_item.done", output_index: 1, item: { ...item, arguments: '{"a":1}' } }];
  for (const events of [pieces, whole, onlyDone]) {
    reply = stream([text("Wait."), ...events, completed]);
    const calls = (await generate()).flatMap((event) => (event.kind === "toolCall" ? [event] : []));
    assert.equal(calls.map(({ delta }) => delta).join(""), '{"a":1}');
    assert.ok(calls.every(({ callId, name, index }) => callId === "call_1" && name === "f" && index === 0));
  }
  assert.deepEqual((await generate()).at(-1), { kind: "done", reason: "toolCalls" });
});

test("responses: says why it ended too early", async () => {
  for (const [reason, told] of [
    ["max_output_tokens", "length"],
    ["content_filter", "contentFilter"],
  ]) {
    const response = { status: "incomplete", incomplete_details: { reason } };
    reply = stream([text("Yes"), { type: "response.incomplete", response } as { type: string }]);
    assert.deepEqual((await generate()).at(-1), { kind: "done", reason: told });
  }
});

test("responses: an error is told in its own words, in each shape", async () => {
  for (const event of [
    { type: "error", code: "server_error", message: "out of memory" },
    { type: "error", error: { message: "out of memory" } },
    { type: "response.failed", response: { error: { code: "x", message: "out of memory" } } },
  ]) {
    reply = stream([text("Y"), event]);
    await assert.rejects(generate(), /out of memory/);
  }
});

test("responses: a whole response to a stream request will do", async () => {
  const output = [
    { type: "message", content: [{ type: "output_text", text: "Yes." }] },
    { type: "function_call", call_id: "call_1", name: "f", arguments: "{}" },
  ];
  const whole = { ...completed.response, output };
  reply = { contentType: "application/json", parts: [JSON.stringify(whole)], nothing: [] };
  assert.deepEqual(kinds(await generate()), ["text", "toolCall", "usage", "done"]);
});

test("responses: the request says what was asked for, and stores nothing", async () => {
  reply = good;
  const tools = [{ name: "f" }];
  await generate({ ...request, tools, toolChoice: "required", maxOutputTokens: 5 });
  assert.deepEqual(body, {
    model: "m",
    input: [{ role: "user", content: [{ type: "input_text", text: "Hello?" }] }],
    instructions: "Be brief.",
    tools: [{ type: "function", name: "f", parameters: { type: "object", properties: {} }, strict: false }],
    tool_choice: "required",
    max_output_tokens: 16,
    stream: true,
    store: false,
  });
});

async function generate(asked = request): Promise<LlmEvent[]> {
  const events: LlmEvent[] = [];
  const llm = createResponses({ baseUrl: (await upstream).url, model: "m" });
  for await (const event of llm.generate(asked, never)) events.push(event);
  return events;
}

function kinds(events: readonly { readonly kind: string }[]): string[] {
  return events.map(({ kind }) => kind);
}
