/** What the SDK does over every pipe, in a page of its own: tools, and what is said before the connection is up. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer, connect as dial } from "node:net";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { bundleApp } from "../../lab/bundle.ts";
import { type SluiceProcess, startSluice } from "../../lab/sluice.ts";
import { microphoneWav, silence, speak } from "../../lab/speech.ts";
import type * as Sdk from "../../packages/client/src/index.ts";
import { loadQuicEngine } from "../../packages/transceiver/src/node/quic-engine.ts";
import { launchChromium } from "../chromium.ts";

declare global {
  interface Window {
    sdk: typeof Sdk;
  }
}

const pipes = ["webrtc", "websocket", "webtransport"] as const;
const quic = loadQuicEngine();
const skipping = (pipe: string) => (pipe === "webtransport" && !quic.engine ? `not run: ${quic.reason}` : false);

let sdk: string;
before(async () => {
  sdk = await bundleApp('import * as sdk from "sdk"; window.sdk = sdk;');
});

async function open(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`${url}/readyz`); // of the server's own origin, and without a page's scripts
  await page.addScriptTag({ type: "module", content: sdk });
  await page.waitForFunction(() => window.sdk !== undefined);
  return page;
}

test("over every pipe the agent calls a tool of the page and goes on from what it answers", {
  concurrency: true,
}, async (t) => {
  const model = createHttpServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      const { messages = [] } = JSON.parse(body || "{}") as { messages?: { role: string; content?: string }[] };
      const told = messages.findLast(({ role }) => role === "tool")?.content;
      const call = {
        index: 0,
        id: "call_1",
        type: "function",
        function: { name: "weather", arguments: '{"city":"Rome"}' },
      };
      const deltas = told ? [{ content: `It is ${told} there.` }] : [{ tool_calls: [call] }];
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const delta of deltas) response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`);
      const finish = { index: 0, delta: {}, finish_reason: told ? "stop" : "tool_calls" };
      response.end(`data: ${JSON.stringify({ choices: [finish] })}\n\ndata: [DONE]\n\n`);
    });
  }).listen(0, "127.0.0.1");
  model.unref(); // a server that does not start must not leave the test waiting for this one
  await once(model, "listening");
  const { port } = model.address() as { port: number };
  const server = await startSluice({ args: ["--llm", `http://127.0.0.1:${port}/v1`] });
  const browser = await launchChromium();
  try {
    await Promise.all(
      pipes.map((pipe) =>
        t.test(pipe, { skip: skipping(pipe) }, async () => {
          const page = await open(browser, server.url);
          const said = await page.evaluate(async (transport) => {
            const tools = [{ type: "function" as const, name: "weather", parameters: { type: "object" } }];
            const conversation = await window.sdk.connect({
              transport,
              microphone: false,
              session: { output_modalities: ["text"], tools },
            });
            const asked: string[] = [];
            conversation.on("response.function_call_arguments.done", (call) => {
              asked.push(`${call.name}(${call.arguments})`);
              const item = { type: "function_call_output" as const, call_id: call.call_id, output: "sunny" };
              conversation.send({ type: "conversation.item.create", item });
            });
            const answer = new Promise<string>((resolve) => {
              conversation.on("response.done", ({ response }) => {
                if (response.output.some(({ type }) => type === "function_call"))
                  conversation.send({ type: "response.create" });
              });
              conversation.on("response.output_text.done", ({ text }) => resolve(text));
            });
            conversation.sendText("How is the weather in Rome?");
            const text = await answer;
            const { kind } = conversation.transport!;
            conversation.close();
            return { asked, text, kind };
          }, pipe);
          assert.deepEqual(said, { asked: ['weather({"city":"Rome"})'], text: "It is sunny there.", kind: pipe });
        }),
      ),
    );
  } finally {
    await browser.close();
    await server.stop();
    model.close();
  }
});

/** A TCP proxy that lets the first bytes wait. */
async function serveSlow(target: URL, delayMs: number): Promise<{ url: string; close(): void }> {
  const proxy = createServer((client) => {
    const upstream = dial(Number(target.port), "127.0.0.1");
    for (const socket of [client, upstream]) socket.on("error", () => socket.destroy());
    upstream.pipe(client);
    setTimeout(() => client.pipe(upstream), delayMs);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = proxy.address() as { port: number };
  return { url: `http://localhost:${port}`, close: () => proxy.close() };
}

test("what is said before the connection is up is heard, where the pipe is ours", { concurrency: true }, async (t) => {
  let server: SluiceProcess | undefined;
  after(() => server?.stop());
  server = await startSluice();
  const { url } = server;
  const slow = await serveSlow(new URL(url), 1500);
  const sentence = await speak("The quick brown fox jumps over the lazy dog.");
  const voicedMs = sentence.length / 24;
  const browser = await launchChromium({ microphoneWav: await microphoneWav([silence(200), sentence, silence(9000)]) });
  try {
    await Promise.all(
      (["websocket", "webtransport"] as const).map((pipe) =>
        t.test(pipe, { skip: skipping(pipe) }, async () => {
          const page = await open(browser, url);
          const turn = await page.evaluate(
            async ([transport, address]) => {
              const began = performance.now();
              const conversation = await window.sdk.connect({ transport, url: address });
              const connectedMs = performance.now() - began;
              // A busy machine may take a breath for the end of a turn: all turns of the sentence count.
              const turns = new Map<number, number>();
              conversation.on("sluice.turn", ({ turn, voiced_ms }) => turns.set(turn, voiced_ms));
              await new Promise((resolve) => setTimeout(resolve, 8000));
              const measured = [...turns.values()].reduce((sum, ms) => sum + ms, 0);
              conversation.close();
              return { connectedMs, measured };
            },
            [pipe, slow.url] as const,
          );
          assert(turn.connectedMs > 1400, `the connection took ${turn.connectedMs} ms`);
          // Of a sentence whose first 1.5 s were lost, 1.1 of 2.6 s are left.
          assert(turn.measured > voicedMs * 0.6, `${turn.measured} of ${voicedMs} ms were heard`);
        }),
      ),
    );
  } finally {
    await browser.close();
    slow.close();
    await server.stop();
  }
});
