/** The doctor at loopback servers that are well, refuse, know no such model, are slow, or make no sound. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createEspeak, createMcpServers, type Espeak } from "@sluice/engines";
import { agentFlags } from "./agent-flags.ts";
import { examine, type Finding, formatFinding } from "./doctor.ts";
import { readFlags } from "./flags.ts";

interface Health {
  readonly status?: number;
  readonly waitMs?: number;
  /** Every address is a web page. */
  readonly page?: boolean;
  readonly mute?: boolean;
  readonly words?: string;
}

let espeak: Espeak | undefined;
before(async () => {
  espeak = await createEspeak();
});
after(() => espeak?.close());

/** A server of all three APIs, as well as `health` says. */
async function serve(health: Health = {}) {
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const path = request.url ?? "";
    if (path.endsWith("/models")) return response.end(JSON.stringify({ data: [{ id: "llama3.3" }, { id: "qwen" }] }));
    if (health.status) {
      const said = `no good: ${request.headers.authorization}`;
      return response.writeHead(health.status).end(JSON.stringify({ error: { message: said } }));
    }
    if (health.page) return response.setHeader("content-type", "text/html").end("<!doctype html><h1>Welcome</h1>");
    await sleep(health.waitMs ?? 0);
    if (path.endsWith("/audio/transcriptions")) {
      return response
        .setHeader("content-type", "application/json")
        .end(JSON.stringify({ text: health.words ?? "What is the capital of France?" }));
    }
    if (path.endsWith("/audio/speech")) {
      const samples = Int16Array.from({ length: 24_000 }, (_, i) => (health.mute ? 0 : 8000 * Math.sin(i / 8)));
      return response.setHeader("content-type", "audio/pcm").end(Buffer.from(samples.buffer));
    }
    response.setHeader("content-type", "text/event-stream");
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "Paris." } }] })}\n\n`);
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\n`);
    return response.end("data: [DONE]\n\n");
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/v1`, port, [Symbol.dispose]: () => void server.close() };
}

async function findings(args: readonly string[], env = {}, options = {}): Promise<readonly Finding[]> {
  const all: Finding[] = [];
  const settings = readFlags(agentFlags, args, env);
  for await (const finding of examine(settings, { env, espeak, ...options })) all.push(finding);
  return all;
}
const verdicts = (all: readonly Finding[]) => all.map(({ part, verdict }) => `${part} ${verdict}`);
const linesOf = (all: readonly Finding[], part: string) => all.find((one) => one.part === part)?.lines.join("\n") ?? "";

test("engines that are well are told with what they took, from real answers", async () => {
  using server = await serve();
  const all = await findings(["--llm", server.url, "--stt", server.url, "--tts", server.url]);
  assert.deepEqual(verdicts(all), ["language model ok", "speech recognition ok", "speech synthesis ok"]);
  assert.match(
    linesOf(all, "language model"),
    /gpt-4\.1-mini at 127\.0\.0\.1:\d+: first word after \d+ ms \(\d+ ms at first\)/,
  );
  assert.match(linesOf(all, "language model"), /it said: Paris\./);
  assert.match(linesOf(all, "speech recognition"), /transcribed in \d+ ms/);
  assert.match(linesOf(all, "speech synthesis"), /first sound after \d+ ms .* times as fast as speech/);
  assert.match(formatFinding(all[0]!), /^ {2}ok {4}language model {6}gpt/);
});

test("a server that is not there is told so", async () => {
  const gone = await serve();
  gone[Symbol.dispose]();
  const all = await findings(["--llm", gone.url]);
  assert.equal(all[0]?.verdict, "failed");
  assert.match(linesOf(all, "language model"), /refused the connection: is it running\? \(ECONNREFUSED\)/);
});

test("a refused key is told apart from one that was never set, and is never shown", async () => {
  using server = await serve({ status: 401 });
  assert.match(linesOf(await findings(["--llm", server.url]), "language model"), /set SLUICE_LLM_KEY: no key was sent/);
  const all = await findings(["--llm", server.url], { SLUICE_LLM_KEY: "sk-canary-1234567" });
  assert.match(linesOf(all, "language model"), /SLUICE_LLM_KEY is set, but this server does not take it/);
  assert.doesNotMatch(JSON.stringify(all), /canary/);
});

test("a model that the server has not is told with those that it has", async () => {
  using server = await serve({ status: 404 });
  const lines = linesOf(await findings(["--llm", server.url, "--llm-model", "lama"]), "language model");
  assert.match(lines, /no such model/);
  assert.match(lines, /its models are: llama3\.3, qwen; choose by --llm-model/);
});

test("a web page is told apart from an API, and a server that failed sends to its log", async () => {
  using page = await serve({ page: true });
  const all = await findings(["--llm", page.url, "--stt", page.url, "--tts", page.url]);
  for (const { verdict, lines } of all) {
    assert.equal(verdict, "failed");
    assert.match(lines.join("\n"), /has a page for people at \/v1\/.*, no API\ndoes this address speak/);
  }
  using broken = await serve({ status: 500 });
  assert.match(linesOf(await findings(["--llm", broken.url]), "language model"), /HTTP 500.*\nlook at its log/);
});

test("a slow engine is told so, and one that never answers is given up with what would allow it more", async () => {
  using slow = await serve({ waitMs: 100 });
  const all = await findings(["--llm", slow.url], {}, { slow: { llm: 50, stt: 50, tts: 50, realtime: 50 } });
  assert.equal(all[0]?.verdict, "slow");
  assert.match(linesOf(all, "language model"), /more than 50 ms: callers will hear the pause/);
  using stalled = await serve({ waitMs: 5000 });
  const given = await findings(["--llm", stalled.url, "--llm-timeout", "200"]);
  assert.equal(given[0]?.verdict, "failed");
  assert.match(linesOf(given, "language model"), /within 200 ms\n.*--llm-timeout/);
});

test("speech without a sound, and recognition without the words, are no success", async () => {
  using server = await serve({ mute: true, words: "" });
  const all = await findings(["--llm", server.url, "--stt", server.url, "--tts", server.url]);
  assert.deepEqual(verdicts(all).slice(1), ["speech recognition failed", "speech synthesis failed"]);
  assert.match(linesOf(all, "speech synthesis"), /no sound in it/);
  assert.match(linesOf(all, "speech recognition"), /heard no words/);
  using wrong = await serve({ words: "Tomatoes." });
  const heard = linesOf(await findings(["--llm", wrong.url, "--stt", wrong.url]), "speech recognition");
  assert.match(heard, /it heard: Tomatoes\.\nbut what was said is: What is the capital/);
});

test("MCP servers are asked for their tools, and what is missing is told in words", async () => {
  const program = join(import.meta.dirname, "../../test/mcp-server.ts");
  const mcp = createMcpServers({
    servers: [
      { label: "notes", command: process.execPath, args: [program] },
      { label: "gone", command: "/no/such/program" },
    ],
  });
  try {
    const all = await findings([], {}, { mcp });
    assert.deepEqual(verdicts(all), ["agent ok", "MCP server ok", "MCP server failed"]);
    assert.match(all[1]!.lines[0]!, /notes: 5 tools after \d+ ms: weather/);
    assert.match(all[2]!.lines[0]!, /gone could not connect.*ENOENT/);
  } finally {
    await mcp.close();
  }
});
