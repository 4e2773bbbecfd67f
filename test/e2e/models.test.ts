/** The user's own models behind `sluice start`: recognition, language model and voice by three OpenAI-compatible addresses. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startSluice } from "../../lab/sluice.ts";
import { silence, speak } from "../../lab/speech.ts";
import { type ModelServers, serveModels } from "../model-servers.ts";

let models: ModelServers;
before(async () => {
  models = await serveModels();
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
  const session = {
    type: "realtime",
    audio: { input: { transcription: { model: "any" } }, output: { speed: 1.25, voice: "verse" } },
  };
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
    args: ["--llm", models.url, "--stt", models.url, "--tts", models.url, "--llm-model", "llama"],
    env: { SLUICE_LLM_KEY: "llm-secret", OPENAI_API_KEY: "openai-secret" },
  });
  try {
    const { seen } = await ask(server.url);
    assert.equal(seen("response.done")?.response?.status, "completed");
    const words = seen("conversation.item.input_audio_transcription.completed")?.transcript;
    assert.equal(words, "What is the capital of France?");
    assert.equal(seen("response.output_audio_transcript.done")?.transcript?.trim(), "Paris is the capital of France.");
    assert(seen("response.output_audio.delta"), "it was spoken");
    const { asked } = models;
    const chat = asked.find(({ path }) => path.endsWith("/chat/completions"));
    assert.match(chat?.body ?? "", /capital of France/);
    assert.equal(chat?.authorization, "Bearer llm-secret");
    const speech = asked.find(({ path }) => path.endsWith("/audio/speech"));
    assert.equal(speech?.authorization, undefined, "OpenAI's key goes to OpenAI only");
    const { speed, voice } = JSON.parse(speech?.body ?? "{}") as { speed?: number; voice?: string };
    assert.deepEqual([speed, voice], [1.25, "verse"], "the session's pace and voice reach the synthesis");
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

test("recognition by a socket while the caller speaks: here, by another Sluice's transcription sessions", async () => {
  // Our own transcription sessions are what the `openai` dialect speaks to.
  const upstream = await startSluice({ args: ["--llm", models.url, "--stt", models.url] });
  const args = ["--llm", models.url, "--stt", `${upstream.url}/v1`, "--stt-api", "openai", "--tts", models.url];
  const server = await startSluice({ args });
  try {
    const { seen } = await ask(server.url);
    assert.equal(seen("response.done")?.response?.status, "completed", server.output());
    const words = seen("conversation.item.input_audio_transcription.completed")?.transcript;
    assert.equal(words, "What is the capital of France?");
    assert.equal(seen("response.output_audio_transcript.done")?.transcript?.trim(), "Paris is the capital of France.");
  } finally {
    await server.stop();
    await upstream.stop();
  }
});
