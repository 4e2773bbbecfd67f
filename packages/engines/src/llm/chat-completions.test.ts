import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { LlmEvent, LlmRequest } from "@sluice/conversation";
import { testFaults } from "../contract/faults.ts";
import { type HttpReply, startHttpUpstream } from "../contract/upstream.ts";
import { type ChatCompletionsOptions, createChatCompletions } from "./chat-completions.ts";

const never = new AbortController().signal;
const request: LlmRequest = {
  instructions: "Be brief.",
  items: [{ id: "item_1", role: "user", parts: [{ kind: "text", text: "Hello?" }] }],
  tools: [],
  toolChoice: "auto",
  maxOutputTokens: "inf",
};

/** A stream of chunks with these deltas, ended as OpenAI does. */
function stream(deltas: readonly object[], { reason = "stop", done = true } = {}): HttpReply {
  const chunks = [
    ...deltas.map((delta) => ({ choices: [{ index: 0, delta, finish_reason: null }] })),
    ...(reason === "" ? [] : [{ choices: [{ index: 0, delta: {}, finish_reason: reason }] }]),
    { choices: [], usage: { prompt_tokens: 7, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 5 } } },
  ];
  const parts = chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
  return { contentType: "text/event-stream", parts: done ? [...parts, "data: [DONE]\n\n"] : parts, nothing: [] };
}

let reply = stream([{ role: "assistant", content: "" }, { content: "Hel" }, { content: "lo." }]);
const bodies: Record<string, unknown>[] = [];
const upstream = startHttpUpstream((_request, body) => {
  bodies.push(JSON.parse(body.toString("utf8")));
  return reply;
});
after(async () => (await upstream).close());

testFaults("chat completions", {
  start: () =>
    startHttpUpstream(() => stream([{ role: "assistant", content: "" }, { content: "Hel" }, { content: "lo." }])),
  call: ({ url, ...options }, signal) =>
    createChatCompletions({ baseUrl: url, model: "m", ...options }).generate(request, signal),
  check: (events) =>
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ["text", "text", "done", "usage"],
    ),
});

test("chat completions: gives text, the end, and what it cost", async () => {
  reply = stream([{ content: "Hel" }, { content: "lo." }]);
  assert.deepEqual(await generate(), [
    { kind: "text", delta: "Hel" },
    { kind: "text", delta: "lo." },
    { kind: "done", reason: "stop" },
    { kind: "usage", usage: { inputTokens: 7, outputTokens: 3, cachedTokens: 5 } },
  ]);
});

test("chat completions: reasoning is told apart, in fields and in tags", async () => {
  reply = stream([
    { reasoning_content: "a" },
    { reasoning: "b" },
    { content: "<thi" },
    { content: "nk>c</th" },
    { content: "ink>\n\nYes" },
    {
      content: [
        { type: "thinking", thinking: "d" },
        { type: "text", text: " <3" },
      ],
    },
  ]);
  const events = await generate();
  assert.equal(textOf(events, "text"), "Yes <3");
  assert.equal(textOf(events, "reasoning"), "abc");
});

test("chat completions: an end without [DONE], without a reason, or in silence is an end", async () => {
  reply = stream([{ content: "Yes." }], { reason: "", done: false });
  assert.equal(textOf(await generate(), "text"), "Yes.");
  const kept = stream([{ content: "Yes." }], { done: false });
  reply = { ...kept, parts: kept.parts.map((part) => String(part).replaceAll("\n", "\r\n")) };
  assert.deepEqual((await generate()).at(-2), { kind: "done", reason: "stop" });
});

test("chat completions: a whole completion to a stream request will do", async () => {
  const message = { content: "Yes.", tool_calls: [{ id: "call_1", function: { name: "f", arguments: { a: 1 } } }] };
  const body = {
    choices: [{ message, finish_reason: "tool_calls" }],
    usage: { prompt_tokens: 1, completion_tokens: 2 },
  };
  reply = { contentType: "application/json; charset=utf-8", parts: [JSON.stringify(body)], nothing: [] };
  assert.deepEqual(await generate(), [
    { kind: "text", delta: "Yes." },
    { kind: "toolCall", index: 0, callId: "call_1", name: "f", delta: '{"a":1}' },
    { kind: "done", reason: "toolCalls" },
    { kind: "usage", usage: { inputTokens: 1, outputTokens: 2 } },
  ]);
});

test("chat completions: calls of functions are put together in each manner of numbering them", async () => {
  const piece = (call: object) => ({ tool_calls: [call] });
  const calls: readonly (readonly object[])[] = [
    // OpenAI: id and name once, then pieces by index, two calls side by side.
    [
      piece({ index: 0, id: "a", type: "function", function: { name: "f", arguments: "" } }),
      piece({ index: 1, id: "b", type: "function", function: { name: "g", arguments: "{" } }),
      piece({ index: 0, function: { arguments: "{}" } }),
      piece({ index: 1, function: { arguments: "}" } }),
    ],
    // Whole calls in one chunk, without an index.
    [
      {
        tool_calls: [
          { id: "a", function: { name: "f", arguments: "{}" } },
          { id: "b", function: { name: "g", arguments: "{}" } },
        ],
      },
    ],
    // Every call has index 0.
    [
      piece({ index: 0, id: "a", function: { name: "f", arguments: "{}" } }),
      piece({ index: 0, id: "b", function: { name: "g", arguments: "{}" } }),
    ],
    // The name comes again with every piece, and the id with none but the first.
    [
      piece({ index: 0, id: "a", function: { name: "f", arguments: "{" } }),
      piece({ index: 0, function: { name: "f", arguments: "}" } }),
      piece({ index: 1, id: "b", function: { name: "g", arguments: "{" } }),
      piece({ index: 1, function: { name: "g", arguments: "}" } }),
    ],
  ];
  for (const deltas of calls) {
    reply = stream(deltas, { reason: "stop" });
    const events = await generate();
    const whole = new Map<string, string>();
    for (const event of events)
      if (event.kind === "toolCall") {
        const key = `${event.index} ${event.callId} ${event.name}`;
        whole.set(key, (whole.get(key) ?? "") + event.delta);
      }
    assert.deepEqual(Object.fromEntries(whole), { "0 a f": "{}", "1 b g": "{}" });
    assert.ok(events.some((event) => event.kind === "done" && event.reason === "toolCalls"));
  }
});

test("chat completions: an error in the stream is told in its own words", async () => {
  for (const error of [
    { error: { message: "out of memory" } },
    { error: "out of memory" },
    { object: "error", message: "out of memory" },
  ]) {
    reply = { contentType: "text/event-stream", parts: [`data: ${JSON.stringify(error)}\n\n`], nothing: [] };
    await assert.rejects(generate(), /out of memory/);
  }
});

test("chat completions: characters cut in two and comments do no harm", async () => {
  const bytes = Buffer.from(`: keep-alive\n\n${stream([{ content: "Grüße 🙂" }]).parts.join("")}`);
  reply = { contentType: "text/event-stream", parts: [...bytes].map((byte) => Buffer.from([byte])), nothing: [] };
  assert.equal(textOf(await generate(), "text"), "Grüße 🙂");
});

test("chat completions: the request says what was asked for", async () => {
  reply = stream([{ content: "Yes." }]);
  const tools = [{ name: "f", description: "d", parameters: { type: "object" } }];
  await generate({ ...request, tools, toolChoice: { name: "f" }, maxOutputTokens: 50 }, { body: { temperature: 0.2 } });
  assert.deepEqual(bodies.at(-1), {
    model: "m",
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello?" },
    ],
    stream: true,
    stream_options: { include_usage: true },
    tools: [{ type: "function", function: { name: "f", description: "d", parameters: { type: "object" } } }],
    tool_choice: { type: "function", function: { name: "f" } },
    max_tokens: 50,
    temperature: 0.2,
  });
});

test("chat completions: connections serve turn after turn", async () => {
  const own = await startHttpUpstream(() => stream([{ content: "Yes." }]));
  const llm = createChatCompletions({ baseUrl: own.url, model: "m" });
  await llm.warm?.(never);
  for (let turn = 0; turn < 5; turn++) for await (const _ of llm.generate(request, never));
  const { connections } = own;
  await own.close();
  assert.ok(connections <= 2, `${connections}`); // the end of one reply may still be on its way
});

async function generate(asked = request, options: Partial<ChatCompletionsOptions> = {}): Promise<LlmEvent[]> {
  const llm = createChatCompletions({ baseUrl: (await upstream).url, model: "m", ...options });
  const events: LlmEvent[] = [];
  for await (const event of llm.generate(asked, never)) events.push(event);
  return events;
}

function textOf(events: readonly LlmEvent[], kind: "text" | "reasoning"): string {
  return events.map((event) => (event.kind === kind ? event.delta : "")).join("");
}
