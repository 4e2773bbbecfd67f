/** The user's own models behind `sluice start`: recognition, language model and voice by three OpenAI-compatible addresses. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startSluice } from "../../lab/sluice.ts";
import { silence, speak } from "../../lab/speech.ts";

interface Asked {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

const asked: Asked[] = [];
let models: Server;
let url: string;

/** A real HTTP server that answers as vLLM, speaches and Kokoro would. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks).toString("latin1");
  const path = request.url ?? "";
  asked.push({ path, authorization: request.headers.authorization, body });
  if (path.endsWith("/audio/transcriptions")) {
    response
      .setHeader("content-type", "application/json")
      .end(JSON.stringify({ text: "What is the capital of France?" }));
  } else if (path.endsWith("/chat/completions")) {
    response.setHeader("content-type", "text/event-stream");
    for (const content of ["Paris", " is", " the capital", " of France."]) {
      response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`);
      await sleep(10);
    }
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\n`);
    response.end("data: [DONE]\n\n");
  } else if (path.endsWith("/audio/speech")) {
    const pcm = await speak(String(JSON.parse(body).input));
    response.setHeader("content-type", "audio/pcm").end(Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength));
  } else response.writeHead(404).end();
}

before(async () => {
  models = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => models.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(models.address() as AddressInfo).port}/v1`;
});
after(() => models.close());

interface Event {
  readonly type: string;
  readonly transcript?: string;
  readonly response?: { readonly status: string };
}

/** Asks by voice over a WebSocket, and collects what comes until the answer is complete. */
async function ask(server: string) {
  const socket = new WebSocket(`${server.replace("http", "ws")}/v1/realtime`);
  const events: Event[] = [];
  const seen = (type: string) => events.find((event) => event.type === type);
  socket.onmessage = ({ data }) => events.push(JSON.parse(String(data)));
  await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));
  const session = { type: "realtime", audio: { input: { transcription: { model: "any" } } } };
  socket.send(JSON.stringify({ type: "session.update", session }));
  for (const pcm of [await speak("What is the capital of France?"), silence(1000)]) {
    for (let at = 0; at < pcm.length; at += 480) {
      const part = pcm.subarray(at, at + 480);
      const audio = Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("base64");
      socket.send(JSON.stringify({ type: "input_audio_buffer.append", audio }));
      await sleep(20);
    }
  }
  for (let waited = 0; waited < 10_000 && !seen("response.done"); waited += 50) await sleep(50);
  socket.close();
  return { seen };
}

test("a question is recognised, answered by the model, and spoken by the voice that were named", async () => {
  const server = await startSluice({
    args: ["--llm", url, "--stt", url, "--tts", url, "--llm-model", "llama"],
    env: { SLUICE_LLM_KEY: "llm-secret", OPENAI_API_KEY: "openai-secret" },
  });
  try {
    const { seen } = await ask(server.url);
    assert.equal(seen("response.done")?.response?.status, "completed");
    const words = seen("conversation.item.input_audio_transcription.completed")?.transcript;
    assert.equal(words, "What is the capital of France?");
    assert.equal(seen("response.output_audio_transcript.done")?.transcript?.trim(), "Paris is the capital of France.");
    assert(seen("response.output_audio.delta"), "it was spoken");
    const chat = asked.find(({ path }) => path.endsWith("/chat/completions"));
    assert.match(chat?.body ?? "", /capital of France/);
    assert.equal(chat?.authorization, "Bearer llm-secret");
    const speech = asked.find(({ path }) => path.endsWith("/audio/speech"));
    assert.equal(speech?.authorization, undefined, "OpenAI's key goes to OpenAI only");
    assert(!server.output().includes("secret"));
  } finally {
    await server.stop();
  }
});

test("another Realtime server answers where one is named: here, another Sluice", async () => {
  const upstream = await startSluice();
  const server = await startSluice({ args: ["--realtime", `${upstream.url.replace("http", "ws")}/v1/realtime`] });
  try {
    const { seen } = await ask(server.url);
    assert.equal(seen("response.done")?.response?.status, "completed", server.output());
    assert.match(seen("response.output_audio_transcript.done")?.transcript ?? "", /I heard you for/);
    assert(seen("response.output_audio.delta"), "it was spoken");
  } finally {
    await server.stop();
    await upstream.stop();
  }
});
