/** Clients that were not made for Sluice, unmodified: only their URL is changed. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createServer } from "node:tls";
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { type SluiceProcess, startSluice } from "../../lab/sluice.ts";
import { microphoneWav, silence, speak } from "../../lab/speech.ts";
import { createDtlsIdentity } from "../../packages/transceiver/src/webrtc/dtls-certificate.ts";
import { launchChromium } from "../chromium.ts";

let server: SluiceProcess;
before(async () => {
  server = await startSluice();
});
after(() => server.stop());

/** Sends speech as a microphone would, in real time, and then the silence that ends the turn. */
async function talk(send: (pcm: Int16Array) => void, text: string): Promise<void> {
  for (const pcm of [await speak(text), silence(900)]) {
    for (let at = 0; at < pcm.length; at += 480) {
      send(pcm.slice(at, at + 480));
      await sleep(20);
    }
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let waited = 0; waited < 10_000; waited += 20) {
    if (condition()) return;
    await sleep(20);
  }
  assert.fail(`waited in vain until ${what}`);
}

test("@openai/agents-realtime over WebSocket: a voice turn, an interruption with truncation, a written turn", async () => {
  const url = `${server.url.replace("http", "ws")}/v1/realtime`;
  const transport = new OpenAIRealtimeWebSocket({ url });
  const session = new RealtimeSession(new RealtimeAgent({ name: "tester", instructions: "Repeat." }), { transport });
  const types: string[] = [];
  const errors: unknown[] = [];
  let interruptions = 0;
  transport.on("*", (event: { type: string }) => types.push(event.type));
  session.on("error", (error) => errors.push(error));
  session.on("audio_interrupted", () => interruptions++);
  await session.connect({ apiKey: "unused" });
  const say = (text: string) => talk((pcm) => session.sendAudio(pcm.buffer as ArrayBuffer), text);
  await say("Hello there, my friend.");
  await until("the answer is complete", () => types.includes("response.done"));
  await sleep(2000); // it came faster than it plays: now the client is in the middle of it
  await say("Stop.");
  await until("the answer was cut", () => types.includes("conversation.item.truncated"));
  await until("two answers are complete", () => types.filter((type) => type === "response.done").length === 2);
  session.sendMessage("hello in writing");
  await until("three answers are complete", () => types.filter((type) => type === "response.done").length === 3);
  const assistant = session.history.find((item) => item.type === "message" && item.role === "assistant");
  session.close();
  assert.deepEqual(errors, []);
  assert(interruptions >= 1, "the client knew that it was interrupted");
  assert.match(JSON.stringify(assistant), /your own words/);
  assert.doesNotMatch(JSON.stringify(assistant), /after you stopped/, "memory ends where the ear was");
});

test("npm openai's WebSocket class, over TLS: session, update, a written turn answered in text", async () => {
  const { certificate, privateKey } = createDtlsIdentity(Date.now());
  const pem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(certificate).toString("base64")}\n-----END CERTIFICATE-----`;
  const key = privateKey.export({ type: "pkcs8", format: "pem" });
  const { hostname, port } = new URL(server.url);
  const terminator = createServer({ cert: pem, key }, (socket) => {
    const plain = connectTcp(Number(port), hostname);
    socket.pipe(plain).pipe(socket);
    for (const one of [socket, plain])
      one.on("error", () => [socket, plain].forEach((either) => void either.destroy()));
  });
  await new Promise<void>((resolve) => terminator.listen(0, "127.0.0.1", resolve));
  const { port: tlsPort } = terminator.address() as { port: number };
  try {
    const client = new OpenAI({ apiKey: "unused", baseURL: `https://localhost:${tlsPort}/v1` });
    const rt = new OpenAIRealtimeWS({ model: "gpt-realtime", options: { rejectUnauthorized: false } }, client);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    rt.on("error", reject);
    rt.on("session.created", () => {
      rt.send({ type: "session.update", session: { type: "realtime", output_modalities: ["text"] } });
    });
    rt.on("session.updated", () => {
      const content = [{ type: "input_text" as const, text: "good morning" }];
      rt.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
      rt.send({ type: "response.create" });
    });
    rt.on("response.output_text.done", (event) => resolve(event.text));
    assert.match(await promise, /good morning/);
    rt.close();
  } finally {
    terminator.close();
  }
});

test("@openai/agents-realtime over WebRTC in a browser: it connects, hears an answer, and hangs up", async () => {
  const bundle = join(
    import.meta.dirname,
    "../../node_modules/@openai/agents-realtime/dist/bundle/openai-realtime-agents.umd.js",
  );
  const parts = [silence(1500), await speak("What a fine day it is."), silence(6000)];
  const browser = await launchChromium({ microphoneWav: await microphoneWav(parts) });
  try {
    const page = await (await browser.newContext({ bypassCSP: true })).newPage();
    await page.goto(server.url);
    await page.addScriptTag({ content: readFileSync(bundle, "utf8") });
    const types = await page.evaluate(async (url) => {
      // biome-ignore lint/suspicious/noExplicitAny: the bundle's global has no types
      const { RealtimeAgent, RealtimeSession, OpenAIRealtimeWebRTC } = (globalThis as any).OpenAIAgentsRealtime;
      const transport = new OpenAIRealtimeWebRTC({ baseUrl: `${url}/v1/realtime/calls`, useInsecureApiKey: true });
      const session = new RealtimeSession(new RealtimeAgent({ name: "tester", instructions: "Repeat." }), {
        transport,
      });
      const seen: string[] = [];
      transport.on("*", (event: { type: string }) => seen.push(event.type));
      await session.connect({ apiKey: "unused" });
      for (let waited = 0; waited < 12_000 && !seen.includes("output_audio_buffer.stopped"); waited += 100) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      session.close();
      return seen;
    }, server.url);
    for (const type of ["session.created", "input_audio_buffer.speech_started", "response.done"]) {
      assert(types.includes(type), `${type} among ${[...new Set(types)].join(", ")}`);
    }
    assert(types.indexOf("output_audio_buffer.started") < types.indexOf("output_audio_buffer.stopped"));
    assert(!types.includes("error"));
  } finally {
    await browser.close();
  }
});
