/**
 * Keys reach who they are for and nobody else: every kind of key is a canary here, every engine fails and quotes its key
 * back, and then all that a person or a program can read of the server is searched.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { startSluice } from "../lab/sluice.ts";
import { silence, speak } from "../lab/speech.ts";
import { serveMcp } from "./mcp-server.ts";
import { serveModels } from "./model-servers.ts";

const CANARY = "canary";
const key = (name: string) => `${CANARY}-${name}-5f3a9c`;

test("no key reaches a log, an event, a metric, an HTTP answer or the page", async (t) => {
  const models = await serveModels();
  const mcp = await serveMcp({ token: key("other") });
  const folder = mkdtempSync(join(tmpdir(), "sluice-secrets-"));
  t.after(async () => {
    models.close();
    await mcp.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const config = { mcp: [{ label: "notes", url: mcp.url, authorization: key("mcp-config") }] };
  writeFileSync(join(folder, "config.ts"), `export default ${JSON.stringify(config)};`);
  const server = await startSluice({
    args: [
      ...["--llm", models.url, "--stt", models.url, "--tts", models.url, "--log-level", "trace"],
      ...["--config", join(folder, "config.ts"), "--mcp-hosts", new URL(mcp.url).host],
    ],
    env: {
      SLUICE_API_KEY: key("api"),
      SLUICE_LLM_KEY: key("llm"),
      SLUICE_STT_KEY: key("stt"),
      SLUICE_TTS_KEY: key("tts"),
      OPENAI_API_KEY: key("openai"),
    },
  });
  const headers = { authorization: `Bearer ${key("api")}`, "content-type": "application/json" };
  const read: string[] = [];
  const fetched = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${server.url}${path}`, init);
    read.push(JSON.stringify([...response.headers]), await response.text());
  };
  try {
    const tools = [
      {
        type: "mcp",
        server_label: "docs",
        server_url: mcp.url,
        authorization: key("mcp"),
        headers: { "x-key": key("header") },
      },
    ];
    const events: string[] = [];
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/v1/realtime`, { headers });
    socket.on("message", (data) => events.push(String(data)));
    await new Promise((resolve) => socket.once("open", resolve));
    const send = (event: unknown) => socket.send(JSON.stringify(event));
    const count = (type: string) => events.filter((event) => event.includes(`"type":"${type}"`)).length;
    const transcription = { model: "any" };
    send({
      type: "session.update",
      session: { type: "realtime", tools, sluice: { timeline: true }, audio: { input: { transcription } } },
    });
    // A turn that succeeds, then each way to fail.
    const write = async () => {
      const before = count("response.done");
      const content = [{ type: "input_text", text: "France?" }];
      send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
      send({ type: "response.create" });
      for (let waited = 0; waited < 15_000 && count("response.done") === before; waited += 20) await sleep(20);
    };
    await write();
    for (models.status of [401, 400, 500]) await write();
    models.status = 401;
    for (const pcm of [await speak("Hello there."), silence(900)]) {
      for (let at = 0; at < pcm.length; at += 4800) {
        const part = pcm.subarray(at, at + 4800);
        const audio = Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("base64");
        send({ type: "input_audio_buffer.append", audio });
      }
    }
    const failed = "conversation.item.input_audio_transcription.failed";
    for (let waited = 0; waited < 15_000 && count(failed) === 0; waited += 20) await sleep(20);
    assert.equal(count(failed), 1, "recognition failed, and was told so");
    for (let waited = 0; waited < 10_000 && count("mcp_list_tools.failed") < 2; waited += 20) await sleep(20);
    assert.equal(count("mcp_list_tools.failed"), 2, "both MCP servers refused their keys");
    assert(events.some((event) => event.includes('"status":"failed"')));
    socket.close();

    const mint = JSON.stringify({ session: { type: "realtime", tools } });
    await fetched("/v1/realtime/client_secrets", { method: "POST", headers, body: mint });
    await fetched("/v1/realtime/client_secrets", { method: "POST", headers, body: "{" });
    await fetched("/v1/realtime/calls", {
      method: "POST",
      headers: { ...headers, "content-type": "application/sdp" },
      body: "v=0",
    });
    await fetched("/v1/realtime", { headers: { authorization: `Bearer ${key("wrong")}` } });
    await fetched("/metrics", { headers });
    for (const path of ["/", "/openapi.json", "/healthz", "/readyz"]) await fetched(path);
    const secret = /"value":"ek_([^."]+)/.exec(read.join(""))?.[1];
    assert(secret, "a secret was minted");
    read.push(Buffer.from(secret, "base64url").toString());

    for (const [what, text] of [
      ["an event", events.join("\n")],
      ["an HTTP answer", read.join("\n")],
      ["the log", server.output()],
    ] as const) {
      const at = text.indexOf(CANARY);
      assert.equal(at, -1, `in ${what}: …${text.slice(Math.max(0, at - 200), at + 80)}`);
    }
    // And the keys did go where they belong.
    const sent = (path: string) => models.asked.find((one) => one.path.endsWith(path))?.authorization;
    assert.equal(sent("/chat/completions"), `Bearer ${key("llm")}`);
    assert.equal(sent("/audio/speech"), `Bearer ${key("tts")}`);
    assert.equal(sent("/audio/transcriptions"), `Bearer ${key("stt")}`);
    assert(mcp.requests.some((request) => request.authorization === `Bearer ${key("mcp")}`));
    assert(!JSON.stringify([models.asked, mcp.requests]).includes(key("openai")), "OpenAI's key goes to OpenAI only");
  } finally {
    await server.stop();
  }
  const at = server.output().indexOf(CANARY);
  assert.equal(at, -1, `in the log at the end: …${server.output().slice(Math.max(0, at - 200), at + 80)}`);
});
