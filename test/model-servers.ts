/**
 * A language model, recognition and a voice as OpenAI-compatible servers on loopback, for tests: real HTTP, and a model
 * that does as it is told. It calls a function that is offered when it is asked for its subject, and tells the result.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { speak } from "../lab/speech.ts";

/** A request as it came. */
export interface Asked {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

/** The servers, at one address. */
export interface ModelServers {
  /** Up to /v1. */
  readonly url: string;
  readonly asked: Asked[];
  /** What recognition hears next, and from then on. */
  words: string;
  /** Status of every answer; 200 unless set. The key is quoted, as some servers do. */
  status: number;
  close(): void;
}

interface Message {
  readonly role: string;
  readonly content: unknown;
}

interface ChatRequest {
  readonly messages: readonly Message[];
  readonly tools?: readonly { readonly function: { readonly name: string } }[];
}

/** Starts them on a free port. */
export async function serveModels(words = "What is the capital of France?"): Promise<ModelServers> {
  const server = createServer((request, response) => void answer(request, response, models));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const models: ModelServers = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked: [],
    words,
    status: 200,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
  return models;
}

async function answer(request: IncomingMessage, response: ServerResponse, models: ModelServers): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks).toString("latin1");
  const path = request.url ?? "";
  const { authorization } = request.headers;
  models.asked.push({ path, authorization, body });
  if (models.status !== 200) {
    const key = authorization?.slice("Bearer ".length);
    const message = `Incorrect API key: ${key}. Not with ${JSON.stringify(request.headers)}`;
    response.writeHead(models.status).end(JSON.stringify({ error: { message } }));
  } else if (path.endsWith("/audio/transcriptions")) {
    response.setHeader("content-type", "application/json").end(JSON.stringify({ text: models.words }));
  } else if (path.endsWith("/chat/completions")) {
    await reply(response, JSON.parse(body) as ChatRequest);
  } else if (path.endsWith("/audio/speech")) {
    const pcm = await speak(String(JSON.parse(body).input));
    response.setHeader("content-type", "audio/pcm").end(Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength));
  } else response.writeHead(404).end();
}

async function reply(response: ServerResponse, { messages, tools = [] }: ChatRequest): Promise<void> {
  response.setHeader("content-type", "text/event-stream");
  const send = (choice: unknown) => response.write(`data: ${JSON.stringify({ choices: [choice] })}\n\n`);
  const last = messages.findLast(({ role }) => role !== "system");
  const asked = String(messages.findLast(({ role }) => role === "user")?.content ?? "").toLowerCase();
  const tool = tools.find(({ function: { name } }) => asked.includes(name.split("_").at(-1)!));
  if (tool && last?.role === "user") {
    const call = { index: 0, id: "call_1", function: { name: tool.function.name, arguments: "" } };
    send({ index: 0, delta: { tool_calls: [call] } });
    send({ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] } });
    send({ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '"Bergen","text":"milk"}' } }] } });
    send({ index: 0, delta: {}, finish_reason: "tool_calls" });
  } else {
    for (const content of textFor(last, asked).split(/(?<= )/)) {
      send({ index: 0, delta: { content } });
      await sleep(5);
    }
    send({ index: 0, delta: {}, finish_reason: "stop" });
  }
  response.end("data: [DONE]\n\n");
}

function textFor(last: Message | undefined, asked: string): string {
  if (last?.role === "tool") return `The answer is: ${last.content}`;
  if (asked.includes("story")) {
    return "Once upon a time there was a king. He had three daughters and a dragon. They lived by the sea and sang all day. ".repeat(
      12,
    );
  }
  return asked.includes("france") ? "Paris is the capital of France." : `You said: ${asked}`;
}
