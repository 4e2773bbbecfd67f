/** Engines behind HTTP/2: chosen by ALPN, many requests on one connection, each cancelled by itself. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import type { LlmEvent, LlmRequest } from "@sluice/conversation";
import { createTestCertificate } from "../../../../test/certificate.ts";
import { createChatCompletions } from "../llm/chat-completions.ts";
import { HttpPool } from "./pool.ts";

const request: LlmRequest = { instructions: "", items: [], tools: [], toolChoice: "auto", maxOutputTokens: "inf" };
const data = (choice: unknown) => `data: ${JSON.stringify({ choices: [choice] })}\n\n`;

test("a model behind HTTP/2 streams, and giving one answer up leaves the others and the connection alone", async () => {
  const { cert, key } = createTestCertificate();
  setDefaultCACertificates([...getCACertificates("default"), cert]);
  const server = createSecureServer({ cert, key });
  let connections = 0;
  const open = new Set<ServerHttp2Stream>();
  server.on("session", (session) => {
    connections += 1;
    session.on("error", () => {});
  });
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    open.add(stream);
    stream.once("close", () => open.delete(stream));
    stream.respond({ ":status": 200, "content-type": "text/event-stream" });
    stream.write(data({ index: 0, delta: { content: "Hello" } }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const pool = new HttpPool();
  const baseUrl = `https://localhost:${(server.address() as AddressInfo).port}/v1`;
  const llm = createChatCompletions({ baseUrl, model: "m", pool });
  try {
    const given = new AbortController();
    const first = llm.generate(request, given.signal)[Symbol.asyncIterator]();
    assert.deepEqual((await first.next()).value, { kind: "text", delta: "Hello" });
    const second = llm.generate(request, new AbortController().signal)[Symbol.asyncIterator]();
    assert.deepEqual((await second.next()).value, { kind: "text", delta: "Hello" });
    assert.equal(open.size, 2);
    const [gone] = open;
    const reset = once(gone!, "close");
    given.abort();
    assert.equal((await first.next()).done, true);
    await reset;
    assert.equal(open.size, 1);
    const [left] = open;
    left!.write(data({ index: 0, delta: { content: " there." } }));
    left!.end(`${data({ index: 0, delta: {}, finish_reason: "stop" })}data: [DONE]\n\n`);
    const rest: LlmEvent[] = [];
    for (let next = await second.next(); next.done !== true; next = await second.next()) rest.push(next.value);
    assert.deepEqual(rest, [
      { kind: "text", delta: " there." },
      { kind: "done", reason: "stop" },
    ]);
    assert.equal(connections, 1, "one connection for all");
  } finally {
    await pool.close();
    server.close();
  }
});
