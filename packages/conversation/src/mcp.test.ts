/** Tools of MCP servers in a conversation: listed, called by us, approved by the client, and gone on from. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { McpTool, ServerEvent, SessionPatch } from "@sluice/realtime";
import { McpServers } from "./mcp.ts";
import { clientPlayout, Scene, tone } from "./testing.ts";
import type { ServerTool } from "./tool-server.ts";

const tool = (name: string, readOnly = false): ServerTool => ({ name, inputSchema: { type: "object" }, readOnly });
const docs: McpTool = { type: "mcp", server_label: "docs", server_url: "http://localhost:9/mcp" };
const typesOf = (events: readonly ServerEvent[]) => events.map((event) => event.type);

/** A conversation whose server has told its tools. */
function ready(settings: Partial<McpTool> = {}, configured: readonly McpTool[] = []) {
  const tools = configured.length > 0 ? [] : [{ ...docs, ...settings }];
  const scene = new Scene(clientPlayout, { tools: tools as SessionPatch["tools"] & object }, false, configured);
  scene.take();
  scene.listed("docs", [tool("search", true), tool("write")]);
  scene.take();
  return scene;
}

function ask(scene: Scene, response: Record<string, unknown> = {}) {
  const content = [{ type: "input_text", text: "Well?" }];
  scene.client({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  scene.client({ type: "response.create", response });
  scene.take();
}
const requestOf = (scene: Scene) => {
  const respond = scene.commands.findLast((command) => command.kind === "respond");
  assert(respond?.kind === "respond");
  return respond.request;
};
const respondsOf = (scene: Scene) => scene.commands.filter((command) => command.kind === "respond").length;
const callOf = (scene: Scene) => {
  const call = scene.commands.findLast((command) => command.kind === "callTool");
  assert(call?.kind === "callTool");
  return call;
};

test("a server named in a session is listed as an item of the conversation", () => {
  const scene = new Scene(clientPlayout);
  scene.take();
  scene.client({ type: "session.update", session: { tools: [docs] } });
  const events = scene.take();
  assert.deepEqual(typesOf(events), ["session.updated", "conversation.item.added", "mcp_list_tools.in_progress"]);
  scene.listed("docs", [{ ...tool("search", true), description: "Finds." }]);
  const [completed, done] = scene.take();
  assert.equal(completed?.type, "mcp_list_tools.completed");
  assert(done?.type === "conversation.item.done" && done.item.type === "mcp_list_tools");
  assert.deepEqual(done.item.tools, [
    { name: "search", description: "Finds.", input_schema: { type: "object" }, annotations: null },
  ]);
  scene.client({ type: "session.update", session: { tools: [{ ...docs, allowed_tools: ["search"] }] } });
  assert.deepEqual(scene.takeTypes(), ["session.updated"], "the same server is not asked twice");
  scene.client({ type: "session.update", session: { tools: [] } });
  assert(scene.commands.some((command) => command.kind === "dropTools"));
});

test("a server that cannot be listed is told so with the reason, and the conversation goes on without it", () => {
  const scene = new Scene(clientPlayout, { tools: [docs] as SessionPatch["tools"] & object });
  scene.take();
  scene.listed("docs", { code: "mcp_unreachable", message: "refused the connection" });
  const [failed, done] = scene.take();
  assert.equal(failed?.type, "mcp_list_tools.failed");
  assert(done?.type === "conversation.item.done" && done.item.type === "mcp_list_tools");
  assert.equal(done.item.error, "refused the connection");
  ask(scene);
  assert.deepEqual(requestOf(scene).tools, []);
});

test("a call is made by us, told step by step, and followed by an answer that knows the result", () => {
  const scene = ready({ require_approval: "never" });
  ask(scene);
  assert.deepEqual(
    requestOf(scene).tools?.map(({ name }) => name),
    ["search", "write"],
  );
  scene.engine({ kind: "transcript", delta: "Let me look." });
  scene.engine({ kind: "audio", pcm: tone(100) });
  scene.engine({ kind: "toolCall", index: 0, callId: "call_x", name: "search", delta: '{"q":' });
  scene.engine({ kind: "toolCall", index: 0, callId: "call_x", name: "search", delta: "1}" });
  scene.take();
  scene.finish();
  assert.deepEqual(scene.takeTypes(), [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.mcp_call_arguments.done",
    "response.mcp_call.in_progress",
  ]);
  assert(
    scene.commands.some((command) => command.kind === "endUtterance"),
    "what was said is over",
  );
  const { label, name, arguments: args } = callOf(scene);
  assert.deepEqual([label, name, args], ["docs", "search", '{"q":1}']);
  scene.outcome({ output: "found" });
  const events = scene.take();
  assert.deepEqual(typesOf(events), [
    "response.mcp_call.completed",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
    "response.created",
  ]);
  const item = events[1];
  assert(item?.type === "response.output_item.done" && item.item.type === "mcp_call");
  assert.deepEqual([item.item.output, item.item.error, item.item.arguments], ["found", null, '{"q":1}']);
  const [call, result] = requestOf(scene).items.slice(-2);
  assert(call?.role === "toolCall" && result?.role === "toolResult");
  assert.deepEqual([call.callId, result.callId, result.output], ["call_x", "call_x", "found"]);
  assert.equal(scene.commands.filter((command) => command.kind === "endUtterance").length, 1);
});

test("a call that fails is told as failed, and the model hears why", () => {
  const scene = ready({ require_approval: "never" });
  ask(scene);
  scene.engine({ kind: "toolCall", index: 0, callId: "call_x", name: "search", delta: "{}" });
  scene.finish();
  scene.take();
  const error = { type: "http_error" as const, code: 500, message: "broken" };
  scene.outcome({ error });
  const [failed, done] = scene.take();
  assert.equal(failed?.type, "response.mcp_call.failed");
  assert(done?.type === "response.output_item.done" && done.item.type === "mcp_call");
  assert.deepEqual([done.item.output, done.item.error], [null, error]);
  const result = requestOf(scene).items.at(-1);
  assert(result?.role === "toolResult");
  assert.match(result.output, /broken/);
});

test("a client that called functions, too, is waited for", () => {
  const scene = ready({ require_approval: "never" });
  ask(scene, { tools: [{ type: "function", name: "own" }] });
  scene.engine({ kind: "toolCall", index: 0, callId: "a", name: "own", delta: "{}" });
  scene.engine({ kind: "toolCall", index: 1, callId: "b", name: "search", delta: "{}" });
  scene.finish();
  scene.outcome({ output: "found" });
  assert.equal(respondsOf(scene), 1);
  assert.equal(scene.take().at(-1)?.type, "response.done");
});

test("without leave, as is the default, a call is asked about first, made once approved, and then gone on from", () => {
  const scene = ready();
  ask(scene);
  scene.engine({ kind: "toolCall", index: 0, callId: "call_x", name: "write", delta: '{"a":1}' });
  scene.finish();
  const events = scene.take();
  assert(!scene.commands.some((command) => command.kind === "callTool"));
  const question = events.find((event) => event.type === "conversation.item.done");
  assert(question?.type === "conversation.item.done" && question.item.type === "mcp_approval_request");
  assert.deepEqual([question.item.name, question.item.arguments], ["write", '{"a":1}']);
  const approval_request_id = question.item.id;
  const answer = { type: "mcp_approval_response", approval_request_id, approve: true };
  scene.client({ type: "conversation.item.create", item: answer });
  assert.deepEqual([callOf(scene).name, callOf(scene).arguments], ["write", '{"a":1}']);
  assert.deepEqual(scene.takeTypes(), [
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.mcp_call_arguments.done",
    "response.mcp_call.in_progress",
  ]);
  scene.outcome({ output: "written" });
  const after = scene.take();
  assert.deepEqual(typesOf(after).slice(-2), ["response.done", "response.created"]);
  const call = after.find((event) => event.type === "response.output_item.done");
  assert(call?.type === "response.output_item.done" && call.item.type === "mcp_call");
  assert.equal(call.item.approval_request_id, approval_request_id);
  assert.deepEqual(
    requestOf(scene).items.map((item) => item.role),
    ["user", "toolCall", "toolResult"],
  );
  scene.client({ type: "conversation.item.create", event_id: "twice", item: answer });
  const [error] = scene.take();
  assert(error?.type === "error" && error.error.event_id === "twice", "a question has one answer");
});

test("a refused call is never made, and the model is told", () => {
  const scene = ready();
  ask(scene);
  scene.engine({ kind: "toolCall", index: 0, callId: "call_x", name: "write", delta: "" });
  scene.finish();
  const question = scene.take().find((event) => event.type === "conversation.item.done");
  assert(question?.type === "conversation.item.done");
  const answer = {
    type: "mcp_approval_response",
    approval_request_id: question.item.id,
    approve: false,
    reason: "no!",
  };
  scene.client({ type: "conversation.item.create", item: answer });
  assert(!scene.commands.some((command) => command.kind === "callTool"));
  const result = requestOf(scene).items.at(-1);
  assert(result?.role === "toolResult" && /no!/.test(result.output));
});

test("an interruption gives a running call up, and its late answer changes nothing", () => {
  const scene = ready({ require_approval: "never" });
  ask(scene);
  scene.engine({ kind: "toolCall", index: 0, callId: "call_x", name: "search", delta: "{}" });
  scene.finish();
  scene.take();
  scene.client({ type: "response.cancel" });
  const events = scene.take();
  assert.equal(events.at(-1)?.type, "response.done");
  assert(typesOf(events).includes("response.mcp_call.failed"));
  assert(scene.commands.some((command) => command.kind === "abort"));
  scene.outcome({ output: "late" });
  assert.deepEqual(scene.takeTypes(), []);
  assert.equal(respondsOf(scene), 1);
});

test("an agent that calls tools for ever is made to say something", () => {
  const scene = ready({ require_approval: "never" });
  ask(scene);
  for (let round = 0; round < 12 && requestOf(scene).toolChoice !== "none"; round++) {
    scene.engine({ kind: "toolCall", index: 0, callId: "", name: "search", delta: "{}" });
    scene.finish();
    scene.outcome({ output: "again" });
  }
  assert.equal(requestOf(scene).toolChoice, "none");
});

test("configured servers are there without being named, and a session may narrow them but not by a response's whim", () => {
  const own: McpTool = { type: "mcp", server_label: "docs", require_approval: "never" };
  const scene = ready({}, [own]);
  ask(scene);
  assert.equal(requestOf(scene).tools?.length, 2);
  scene.finish();
  scene.client({ type: "session.update", session: { tools: [{ ...own, allowed_tools: ["search"] }] } });
  ask(scene);
  assert.deepEqual(
    requestOf(scene).tools?.map(({ name }) => name),
    ["search"],
  );
  scene.finish();
  scene.take();
  scene.client({ type: "response.create", response: { tools: [{ ...docs, server_label: "unknown" }] } });
  const [error] = scene.take();
  assert(error?.type === "error" && error.error.param === "response.tools");
});

test("filters choose tools by name and by whether they only read", () => {
  const offered = (settings: Partial<McpTool>) => {
    const servers = new McpServers([], () => "item_1");
    servers.configure([{ ...docs, ...settings }]);
    servers.handleListed("docs", "item_1", [tool("search", true), tool("write")]);
    const { tools, targets } = servers.offer([], []);
    return tools.map(({ name }) => (targets.get(name)?.needsApproval ? `${name}?` : name));
  };
  assert.deepEqual(offered({}), ["search?", "write?"]);
  assert.deepEqual(offered({ require_approval: "never" }), ["search", "write"]);
  assert.deepEqual(offered({ require_approval: { never: { read_only: true } } }), ["search", "write?"]);
  assert.deepEqual(offered({ require_approval: { always: { tool_names: ["write"] }, never: {} } }), [
    "search?",
    "write?",
  ]);
  assert.deepEqual(offered({ allowed_tools: ["write"] }), ["write?"]);
  assert.deepEqual(offered({ allowed_tools: { read_only: true }, require_approval: "never" }), ["search"]);
  assert.deepEqual(offered({ allowed_tools: [] }), []);
});

test("tools of one name are told apart by their server's label, in names that every API takes", () => {
  let id = 0;
  const servers = new McpServers([], () => `item_${++id}`);
  servers.configure([docs, { ...docs, server_label: "a b" }]);
  servers.handleListed("docs", "item_1", [tool("search")]);
  servers.handleListed("a b", "item_2", [tool("search"), tool("söme tool")]);
  const { tools, targets } = servers.offer([{ name: "search" }], []);
  assert.deepEqual(
    tools.map(({ name }) => name),
    ["search", "docs_search", "a_b_search", "s_me_tool"],
  );
  assert.equal(targets.get("s_me_tool")?.name, "söme tool");
});
