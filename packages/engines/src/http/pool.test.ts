import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "./engine-error.ts";
import { HttpPool, type HttpRequest } from "./pool.ts";

const never = new AbortController().signal;

function request(url: string): HttpRequest {
  return { stage: "llm", url: new URL(url), method: "GET", headers: {}, connectMs: 50 };
}

async function portOf(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

test("gives a connection up that is not made in time, TLS included, or not wanted any more", async () => {
  const silent = createServer((socket) => socket.on("error", () => {})); // takes connections, and says nothing
  const url = `https://127.0.0.1:${await portOf(silent)}/`;
  const pool = new HttpPool();
  await assert.rejects(pool.request(request(url), never), (error) => {
    assert.ok(error instanceof EngineError && error.kind === "unreachable");
    assert.match(error.message, /did not accept the connection within 50 ms/);
    return true;
  });
  const controller = new AbortController();
  const waiting = pool.request({ ...request(url), connectMs: 60_000 }, controller.signal);
  controller.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  await pool.close();
  silent.close();
});

test("holds a server back that sends faster than anybody reads", async () => {
  const chunk = Buffer.alloc(64 * 1024);
  let sent = 0;
  const server = createHttpServer((_request, response) => {
    const write = () => {
      while (sent < 256 * 1024 * 1024 && !response.destroyed) {
        sent += chunk.length;
        if (!response.write(chunk)) return void response.once("drain", write);
      }
    };
    write();
  });
  const pool = new HttpPool();
  const response = await pool.request(request(`http://127.0.0.1:${await portOf(server)}/`), never);
  const reader = response.body[Symbol.asyncIterator]();
  await reader.next();
  let before = -1;
  for (let turn = 0; turn < 100 && before !== sent; turn++) {
    before = sent;
    await sleep(20);
  }
  assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes`); // what the kernel's buffers hold, and one of ours
  const held = sent;
  for (let turn = 0; turn < 10_000 && sent === held; turn++) await reader.next();
  assert.ok(sent > held); // it goes on when somebody reads
  response.cancel();
  await assert.rejects(async () => {
    for (;;) if ((await reader.next()).done) return;
  });
  await pool.close();
  server.close();
});
