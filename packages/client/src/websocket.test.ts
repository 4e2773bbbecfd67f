import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerUnreachable } from "./errors.ts";
import { WebSocketChannel } from "./websocket.ts";

test("a server that does not answer is told once, as that, and not as a connection that was lost", async () => {
  const told: unknown[] = [];
  const tell = (what: unknown) => void told.push(what);
  const listener = { onMessage: tell, onFrames: tell, onFinished: tell, onReset: tell, onClosed: tell };
  const url = new URL("ws://127.0.0.1:9/v1/realtime"); // discard: nobody listens
  const channel = new WebSocketChannel({ url, token: undefined, audio: true }, listener);
  await assert.rejects(channel.dial(), ServerUnreachable);
  assert.deepEqual(told, []);
});
