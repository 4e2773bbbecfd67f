/** What clients ask of a conversation beyond turns: functions, answers beside it, items with speech, ends before time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { clientPlayout, Scene, serverPlayout, tone } from "./testing.ts";

const functions = {
  tools: [
    { type: "function" as const, name: "look_up" },
    { type: "function" as const, name: "note" },
  ],
};
const ask = (scene: Scene) => {
  const content = [{ type: "input_text", text: "Well?" }];
  scene.client({ type: "conversation.item.create", item: { id: "q", type: "message", role: "user", content } });
  scene.client({ type: "response.create" });
};
const requestOf = (scene: Scene) => {
  const respond = scene.commands.findLast((command) => command.kind === "respond");
  assert(respond?.kind === "respond");
  return respond.request;
};

test("functions called together are each told whole, once, and only then as completed", () => {
  const scene = new Scene(clientPlayout, functions);
  ask(scene);
  scene.take();
  scene.engine({ kind: "transcript", delta: "One moment." });
  scene.engine({ kind: "audio", pcm: tone(100) });
  scene.engine({ kind: "toolCall", index: 0, callId: "call_a", name: "look_up", delta: '{"a"' });
  scene.engine({ kind: "toolCall", index: 1, callId: "", name: "note", delta: "{}" });
  scene.engine({ kind: "toolCall", index: 0, callId: "call_a", name: "look_up", delta: ":1}" });
  scene.finish();
  const events = scene.take();
  const done = events.flatMap((event) => (event.type === "response.function_call_arguments.done" ? [event] : []));
  assert.deepEqual(
    done.map(({ name, arguments: args, output_index }) => [name, args, output_index]),
    [
      ["look_up", '{"a":1}', 1],
      ["note", "{}", 2],
    ],
  );
  assert(done[1]!.call_id.startsWith("call_"), "a call without a name of its own gets one");
  const completed = events.filter(
    (event) =>
      /^response\.output_item\./.test(event.type) &&
      "item" in event &&
      event.item.type === "function_call" &&
      event.item.status === "completed",
  );
  assert.deepEqual(
    completed.map((event) => event.type),
    ["response.output_item.done", "response.output_item.done"],
  );
  const last = events.at(-1);
  assert(last?.type === "response.done" && last.response.output.length === 3);
});

test("what functions answered goes to the model with the calls, and nobody answers by itself", () => {
  const scene = new Scene(clientPlayout, functions);
  ask(scene);
  scene.engine({ kind: "toolCall", index: 0, callId: "call_a", name: "look_up", delta: "{}" });
  scene.finish();
  scene.client({
    type: "conversation.item.create",
    item: { type: "function_call_output", call_id: "call_a", output: "42" },
  });
  assert.equal(scene.commands.filter((command) => command.kind === "respond").length, 1);
  scene.client({ type: "response.create", response: { tool_choice: "none", parallel_tool_calls: false } });
  const { items, toolChoice, parallelToolCalls } = requestOf(scene);
  assert.deepEqual(
    items.map((item) => item.role),
    ["user", "toolCall", "toolResult"],
  );
  assert.deepEqual([toolChoice, parallelToolCalls], ["none", false]);
});

test("a call that an interruption cut is told as incomplete, and the model never sees half of it", () => {
  const scene = new Scene(clientPlayout, functions);
  ask(scene);
  scene.engine({ kind: "toolCall", index: 0, callId: "call_a", name: "look_up", delta: '{"a' });
  scene.take();
  scene.client({ type: "response.cancel" });
  const events = scene.take();
  assert(!events.some((event) => event.type === "response.function_call_arguments.done"));
  const item = events.find((event) => event.type === "response.output_item.done");
  assert(item?.type === "response.output_item.done" && item.item.type === "function_call");
  assert.equal(item.item.status, "incomplete");
  scene.client({ type: "response.create" });
  assert.deepEqual(
    requestOf(scene).items.map((one) => one.role),
    ["user"],
  );
});

test("a response beside the conversation runs while it does, sees what it was given, and leaves nothing behind", () => {
  const scene = new Scene(clientPlayout);
  ask(scene);
  scene.take();
  scene.client({
    type: "response.create",
    response: {
      conversation: "none",
      metadata: { topic: "aside" },
      output_modalities: ["text"],
      instructions: "Classify.",
      input: [{ type: "item_reference", id: "q" }],
    },
  });
  const request = requestOf(scene);
  assert.deepEqual([request.instructions, request.modality, request.outOfBand], ["Classify.", "text", true]);
  assert.deepEqual(
    request.items.map((item) => item.id),
    ["q"],
  );
  scene.engine({ kind: "text", delta: "question" });
  scene.finish();
  const events = scene.take();
  assert(!events.some((event) => event.type.startsWith("conversation.item.")));
  const done = events.at(-1);
  assert(done?.type === "response.done");
  assert.deepEqual([done.response.conversation_id, done.response.metadata], [null, { topic: "aside" }]);
  scene.client({ type: "response.create" });
  const [error] = scene.take();
  assert(error?.type === "error" && error.error.code === "conversation_already_has_active_response");
});

test("an answer that used up its length, or was filtered, is told as incomplete", () => {
  for (const [reason, said] of [
    ["maxOutputTokens", "max_output_tokens"],
    ["contentFilter", "content_filter"],
  ] as const) {
    const scene = new Scene(clientPlayout);
    ask(scene);
    scene.speak(100, "And so");
    scene.engine({ kind: "cutShort", reason });
    scene.finish();
    const done = scene.take().at(-1);
    assert(done?.type === "response.done");
    assert.deepEqual(
      [done.response.status, done.response.status_details],
      ["incomplete", { type: "incomplete", reason: said }],
    );
    assert.equal(done.response.output[0]?.status, "incomplete");
  }
});

test("speech in an item that a client wrote reaches the model, and is shown again to who may see audio", () => {
  const pcm = tone(300);
  const audio = Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength).toString("base64");
  for (const capabilities of [clientPlayout, serverPlayout]) {
    const scene = new Scene(capabilities);
    const item = { id: "said", type: "message", role: "user", content: [{ type: "input_audio", audio }] };
    scene.client({ type: "conversation.item.create", item });
    const added = scene.take().find((event) => event.type === "conversation.item.added");
    assert(added && !JSON.stringify(added).includes(audio), "not sent back unasked");
    scene.client({ type: "response.create" });
    const [said] = requestOf(scene).items;
    assert(said?.role === "user" && said.parts[0]?.kind === "audio");
    assert.deepEqual(said.parts[0].pcm, pcm);
    scene.take();
    scene.client({ type: "conversation.item.retrieve", item_id: "said" });
    assert.equal(JSON.stringify(scene.take()).includes(audio), capabilities === clientPlayout);
  }
  const scene = new Scene(clientPlayout);
  scene.take();
  const item = { type: "message", role: "user", content: [{ type: "input_audio", audio: "~" }] };
  scene.client({ type: "conversation.item.create", event_id: "e", item });
  const [error] = scene.take();
  assert(error?.type === "error" && error.error.event_id === "e");
});

test("settings that are only kept are accepted and shown as they are", () => {
  const scene = new Scene(clientPlayout);
  scene.take();
  const session = {
    type: "realtime",
    tracing: { workflow_name: "w", group_id: "g", metadata: { a: "b" } },
    truncation: { type: "retention_ratio", retention_ratio: 0.8, token_limits: { post_instructions: 100 } },
    prompt: { id: "pmpt_1", version: "2", variables: { name: "x" } },
    include: ["item.input_audio_transcription.logprobs"],
    reasoning: { effort: "low" },
    parallel_tool_calls: false,
    max_output_tokens: 300,
    audio: { input: { noise_reduction: { type: "far_field" } }, output: { speed: 1.2, voice: "verse" } },
  };
  scene.client({ type: "session.update", session });
  const [updated] = scene.take();
  assert(updated?.type === "session.updated");
  const { audio: _, ...flat } = session;
  for (const [name, value] of Object.entries(flat)) {
    assert.deepEqual((updated.session as unknown as Record<string, unknown>)[name], value, name);
  }
  ask(scene);
  const { speed, voice, reasoningEffort, parallelToolCalls, maxOutputTokens } = requestOf(scene);
  assert.deepEqual(
    [speed, voice, reasoningEffort, parallelToolCalls, maxOutputTokens],
    [1.2, "verse", "low", false, 300],
  );
});

test("nobody is shown the keys of an MCP server", () => {
  const scene = new Scene(clientPlayout);
  scene.take();
  const tool = { type: "mcp", server_label: "docs", authorization: "canary", headers: { "x-key": "canary" } };
  scene.client({ type: "session.update", session: { tools: [tool] } });
  const text = JSON.stringify(scene.take());
  assert.match(text, /"server_label":"docs"/);
  assert.doesNotMatch(text, /canary/);
});
