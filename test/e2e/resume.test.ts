/** A connection that dies in the middle of an answer, in a real browser: the conversation goes on, and nothing is said twice. */
import assert from "node:assert/strict";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { type SluiceProcess, startSluice } from "../../lab/sluice.ts";
import { microphoneWav, silence, speak } from "../../lab/speech.ts";
import { launchChromium } from "../chromium.ts";

let server: SluiceProcess;
before(async () => {
  server = await startSluice();
});
after(() => server.stop());

/** A TCP proxy in front of the server that cuts what goes through it. */
async function serveCuttable(target: URL): Promise<{ url: string; cut(): number; close(): void }> {
  const sockets = new Set<Socket>();
  const proxy: Server = createServer((client) => {
    const upstream = dial(Number(target.port), "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const { port } = proxy.address() as { port: number };
  return {
    url: `http://localhost:${port}`,
    cut() {
      const count = sockets.size;
      for (const socket of sockets) socket.resetAndDestroy();
      return count;
    },
    close: () => proxy.close(),
  };
}

interface Said {
  readonly type: string;
  readonly [field: string]: unknown;
}

async function saidTo(page: Page): Promise<readonly Said[]> {
  return page.evaluate(() => (window as unknown as { said: Said[] }).said);
}

test("a WebSocket that is cut while the agent answers is replaced, and the answer is heard on", async () => {
  const wire = await serveCuttable(new URL(server.url));
  const sentence = await speak("The quick brown fox jumps over the lazy dog, and nobody sees it.");
  const browser = await launchChromium({
    microphoneWav: await microphoneWav([silence(1200), sentence, silence(20_000)]),
  });
  try {
    const page = await browser.newPage();
    await page.addInitScript(() => {
      const said: unknown[] = [];
      Object.assign(window, { said });
      addEventListener("sluice:event", (event) => said.push((event as CustomEvent).detail));
    });
    await page.goto(`${wire.url}/?transport=websocket`);
    await page.click("#talk");
    const speaks = () =>
      (window as unknown as { said: Said[] }).said.some(({ type }) => type === "sluice.utterance.started");
    await page.waitForFunction(speaks, undefined, { timeout: 20_000 });
    await page.waitForTimeout(1000);
    assert(wire.cut() > 0, "something was cut");
    await page.waitForFunction(
      () => document.querySelector("#state")?.textContent?.startsWith("connected"),
      undefined,
      {
        timeout: 10_000,
      },
    );
    const stopped = () =>
      (window as unknown as { said: Said[] }).said.some(({ type }) => type === "output_audio_buffer.stopped");
    await page.waitForFunction(stopped, undefined, { timeout: 20_000 });
    const events = await saidTo(page);
    const count = (type: string) => events.filter((event) => event.type === type).length;
    assert.equal(count("session.created"), 0, "no other session was begun");
    for (const type of ["response.created", "response.done", "output_audio_buffer.stopped", "sluice.turn"]) {
      assert.equal(count(type), 1, `${type} came once`);
    }
    // Heard to its end: the ledger has it, and no event of the answer came twice.
    const ids = events.map(({ event_id }) => event_id);
    assert.equal(new Set(ids).size, ids.length, "no event came twice");
    const ledger = events.findLast(({ type }) => type === "sluice.ledger");
    assert(Number(ledger?.heard_ms) > 2500, `the ledger knows that ${ledger?.heard_ms} ms were heard`);
    // And the conversation goes on over the new connection.
    await page.fill("#text", "are you still there");
    await page.press("#text", "Enter");
    await page.waitForFunction(() =>
      /are you still there.*built-in/s.test(document.querySelector("#transcript")?.textContent ?? ""),
    );
  } finally {
    await browser.close();
    wire.close();
  }
});
