/** Against real MCP servers: a program on its standard streams, and Streamable HTTP on loopback. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { ToolServer } from "@sluice/conversation";
import { notes, serveMcp } from "../../../../test/mcp-server.ts";
import { checkUrl } from "./hosts.ts";
import { createMcpServers, type McpServerConfig } from "./servers.ts";

const never = new AbortController().signal;
const PROGRAM = join(import.meta.dirname, "../../../../test/mcp-server.ts");
const program: McpServerConfig = {
  label: "notes",
  command: process.execPath,
  args: ["--conditions=sluice-source", PROGRAM],
  env: { NOTES_KEY: "secret-of-notes" },
};

async function exercise(server: ToolServer): Promise<void> {
  const tools = await server.list(never);
  const weather = tools.find(({ name }) => name === "weather");
  assert.equal(weather?.readOnly, true);
  assert.equal(weather.description, "The weather in a city.");
  assert.match(JSON.stringify(weather.inputSchema), /"city"/);
  assert.equal(tools.find(({ name }) => name === "note")?.readOnly, false);
  assert.deepEqual(await server.call("weather", '{"city":"Bergen"}', never), { output: "It is raining in Bergen." });
  assert.deepEqual(await server.call("fail", "", never), {
    error: { type: "tool_execution_error", message: "no luck" },
  });
  const garbled = await server.call("weather", "{", never);
  assert("error" in garbled && garbled.error.type === "protocol_error");
  const wrong = await server.call("weather", "{}", never);
  assert("error" in wrong, "what the server's own check refuses is an error, too");
  const started = performance.now();
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 20);
  assert("error" in (await server.call("slow", "", abort.signal)));
  assert(performance.now() - started < 5000, "an abort ends a call");
}

test("a program is started once for all conversations, sees no variables but harmless ones, and ends with us", async () => {
  process.env.SLUICE_TEST_CANARY = "canary";
  const servers = createMcpServers({ servers: [program] });
  assert.deepEqual(servers.configured, [{ type: "mcp", server_label: "notes", require_approval: "never" }]);
  try {
    const [one, other] = await Promise.all([
      servers.open({ label: "notes" }, never),
      servers.open({ label: "notes" }, never),
    ]);
    await exercise(one);
    one.close();
    const outcome = await other.call("environment", "", never);
    assert("output" in outcome);
    assert.doesNotMatch(outcome.output, /canary/);
    assert.match(outcome.output, /NOTES_KEY/);
  } finally {
    delete process.env.SLUICE_TEST_CANARY;
    await servers.close();
  }
  await assert.rejects(servers.open({ label: "notes" }, never), /shutting down/);
});

test("a server over HTTP gets its token and headers, and nobody else does", async () => {
  const server = await serveMcp({ token: "canary-token" });
  const { host } = new URL(server.url);
  const servers = createMcpServers({ allowedHosts: [host] });
  try {
    const spec = { label: "docs", url: server.url, authorization: "canary-token", headers: { "x-tenant": "a" } };
    const opened = await servers.open(spec, never);
    await exercise(opened);
    await opened.call("note", '{"text":"milk"}', never);
    assert.equal(notes.at(-1), "milk");
    assert.equal(server.requests.at(-1)?.["x-tenant"], "a");
    opened.close();
    const refused = servers.open({ ...spec, authorization: "canary-wrong" }, never);
    await assert.rejects(refused, (error: Error) => {
      assert.match(error.message, /could not connect/);
      assert.doesNotMatch(error.message, /canary/);
      return true;
    });
  } finally {
    await servers.close();
    await server.close();
  }
});

test("a server that is away is told so in words, and is found when it comes back", async () => {
  const server = await serveMcp();
  const servers = createMcpServers({ servers: [{ label: "docs", url: server.url }] });
  const opened = await servers.open({ label: "docs" }, never);
  assert((await opened.list(never)).length > 0);
  await server.close();
  const outcome = await opened.call("weather", '{"city":"Bergen"}', never);
  assert(
    "error" in outcome && /ECONNREFUSED|fetch failed|ECONNRESET/.test(outcome.error.message),
    JSON.stringify(outcome),
  );
  await servers.close();
  const missing = createMcpServers({ servers: [{ label: "none", command: "/no/such/program" }] });
  await assert.rejects(missing.open({ label: "none" }, never), /could not connect.*ENOENT/);
  await missing.close();
});

test("a session leads this server to no host that its operator did not allow, not even by a redirect", async () => {
  const inner = await serveMcp();
  const outer = await serveMcp({ redirect: inner.url });
  const closed = createMcpServers();
  const open = createMcpServers({ allowedHosts: [new URL(outer.url).host] });
  try {
    await assert.rejects(closed.open({ label: "x", url: inner.url }, never), /operator has to allow/);
    await assert.rejects(open.open({ label: "x", url: outer.url }, never), /could not connect/);
    assert.equal(inner.requests.length, 0);
    await assert.rejects(closed.open({ label: "x" }, never), /no MCP server 'x' is configured/);
  } finally {
    await Promise.all([closed.close(), open.close(), inner.close(), outer.close()]);
  }
});

test("hosts are matched whole, with their port", () => {
  const allows = (pattern: string, url: string) => {
    try {
      return checkUrl(url, [pattern]) instanceof URL;
    } catch {
      return false;
    }
  };
  assert(allows("tools.example", "https://tools.example/mcp"));
  assert(allows("TOOLS.example", "https://Tools.example/mcp"));
  assert(allows("localhost:3001", "http://localhost:3001/mcp"));
  assert(allows("localhost:*", "http://localhost:99/mcp"));
  assert(allows("*.example", "https://a.b.example/"));
  for (const [pattern, url] of [
    ["tools.example", "https://tools.example:8443/"],
    ["tools.example", "https://tools.example.evil/"],
    ["tools.example", "https://eviltools.example/"],
    ["tools.example", "https://user:key@tools.example/"],
    ["tools.example", "file://tools.example/etc/passwd"],
    ["*.example", "https://example/"],
    ["*.example", "https://evilexample/"],
    ["localhost:3001", "http://127.0.0.1:3001/"],
    ["localhost:3001", "http://localhost:3002/"],
    ["127.0.0.1", "http://169.254.169.254/"],
  ] as const) {
    assert(!allows(pattern, url), `${pattern} does not mean ${url}`);
  }
});
