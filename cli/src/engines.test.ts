/** What the flags make of engines, seen from the servers' side. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { agentFlags } from "./agent-flags.ts";
import { createEngines, earsOf } from "./engines.ts";
import { readFlags } from "./flags.ts";

const never = new AbortController().signal;
const engines = (args: readonly string[], env = {}) => createEngines(readFlags(agentFlags, args, env), env);

/** Takes down every request, and refuses it; sockets are opened and say nothing. */
async function listen() {
  const seen: { url: string; authorization: string | undefined; body: string }[] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    seen.push({ url: request.url ?? "", authorization: request.headers.authorization, body });
    response.writeHead(400).end("{}");
  });
  const sockets = new WebSocketServer({ server });
  const messages: string[] = [];
  sockets.on("connection", (socket, request) => {
    seen.push({ url: request.url ?? "", authorization: request.headers.authorization, body: "" });
    socket.on("message", (data) => messages.push(String(data)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = () => {
    for (const socket of sockets.clients) socket.terminate();
    server.closeAllConnections();
    server.close();
  };
  return { host, seen, messages, [Symbol.dispose]: close };
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}

async function exhaust(source: AsyncIterable<unknown>): Promise<unknown> {
  try {
    for await (const _ of source);
    return undefined;
  } catch (error) {
    return error;
  }
}

const request = {
  instructions: "",
  items: [{ id: "a", role: "user" as const, parts: [{ kind: "text" as const, text: "Hi." }] }],
  tools: [],
  toolChoice: "auto" as const,
  maxOutputTokens: "inf" as const,
};

test("a language model is spoken to by the API that is named, with its own key", async () => {
  using server = await listen();
  const base = ["--llm", `http://${server.host}/v1`, "--llm-model", "m"];
  for (const [args, path] of [
    [[], "/v1/chat/completions"],
    [["--llm-api", "responses"], "/v1/responses"],
  ] as const) {
    const { llm } = engines([...base, ...args], { SLUICE_LLM_KEY: "k", OPENAI_API_KEY: "never" });
    await exhaust(llm!.engine.generate(request, never));
    assert.deepEqual([server.seen.at(-1)?.url, server.seen.at(-1)?.authorization], [path, "Bearer k"]);
  }
});

test("recognition is a request, or a socket in the dialect that is named, at the address beside the others", async () => {
  using server = await listen();
  const speech = new Int16Array(24_000).fill(1000);
  const hear = async (args: readonly string[], address = `http://${server.host}/v1`) => {
    const { stt } = engines([
      "--llm",
      address.replace(/^ws/, "http"),
      "--stt",
      address,
      "--stt-model",
      "m",
      "--stt-timeout",
      "60",
      ...args,
    ]);
    await exhaust(stt!.engine.transcribe(once(speech), {}, never));
    return server.seen.at(-1)?.url;
  };
  assert.equal(await hear([]), "/v1/audio/transcriptions");
  assert.equal(await hear(["--stt-api", "openai"]), "/v1/realtime?intent=transcription");
  assert.match(server.messages.join(""), /"type":"transcription"/);
  assert.equal(await hear(["--stt-api", "speaches"]), "/v1/realtime?model=m&intent=transcription");
  server.messages.length = 0;
  assert.equal(await hear(["--stt-api", "vllm"], `ws://${server.host}/v1/realtime`), "/v1/realtime");
  assert.match(server.messages.join(""), /"final":true/);
  assert.throws(() => engines(["--llm", "http://x/v1", "--stt", "ws://x/v1"]), /needs --stt-api/);
});

test("a second recognition has its own key and model, hears the same, and needs a first one", async () => {
  using server = await listen();
  const address = `http://${server.host}/v1`;
  const named = engines(
    ["--llm", address, "--stt", address, "--stt-fallback", address, "--stt-fallback-model", "other"],
    {
      SLUICE_STT_KEY: "one",
      SLUICE_STT_FALLBACK_KEY: "two",
    },
  );
  const speech = once(new Int16Array(24_000));
  await assert.rejects(async () => {
    for await (const _ of earsOf(named)!.transcribe(speech, {}, never));
  });
  assert.deepEqual(server.seen.map(({ authorization, body }) => [authorization, body.includes("other")]).toSorted(), [
    ["Bearer one", false],
    ["Bearer two", true],
  ]);
  assert.throws(() => engines(["--llm", address, "--stt-fallback", address]), /--stt-fallback needs a first one/);
});

test("a voice's format and every stage's patience are what the flags say", async () => {
  using server = await listen();
  const { tts } = engines([
    "--llm",
    "http://x/v1",
    "--tts",
    `http://${server.host}/v1`,
    "--tts-format",
    "wav",
    "--tts-voice",
    "v",
  ]);
  await exhaust(tts!.engine.speak(once("Hi."), {}, never));
  const { response_format, voice } = JSON.parse(server.seen.at(-1)!.body) as Record<string, string>;
  assert.deepEqual([response_format, voice], ["wav", "v"]);
  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as AddressInfo;
  const address = `http://127.0.0.1:${port}/v1`;
  const args = ["--llm", address, "--tts", address, "--llm-timeout", "50", "--tts-timeout", "70"];
  const patient = engines(args);
  assert.match(String(await exhaust(patient.llm!.engine.generate(request, never))), /within 50 ms/);
  assert.match(String(await exhaust(patient.tts!.engine.speak(once("Hi."), {}, never))), /within 70 ms/);
  silent.closeAllConnections();
  silent.close();
});

test("without an engine named there is none, and OpenAI is all three where its key is set", () => {
  assert.deepEqual(engines([]), {});
  const openai = engines([], { OPENAI_API_KEY: "k" });
  assert.deepEqual([openai.llm?.host, openai.stt?.host, openai.tts?.host], Array(3).fill("api.openai.com"));
  assert.throws(() => engines(["--stt", "http://x/v1"]), /need a language model/);
});
