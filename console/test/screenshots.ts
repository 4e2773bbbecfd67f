/**
 * Takes pictures of the built page in its states, in both widths and both colour schemes, without a server:
 * `node --conditions=sluice-source console/test/screenshots.ts DIRECTORY`
 */
import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { chromium, type Page } from "playwright-core";
import { type EventDraft, installLoopback, type Loopback } from "./loopback.ts";

declare global {
  interface Window {
    loopback: Loopback;
  }
}

const directory = process.argv[2] ?? "tmp";
await mkdir(directory, { recursive: true });
const types: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
const dist = new URL("../dist/", import.meta.url);
const server = createServer(async (request, response) => {
  const path = request.url === "/" ? "index.html" : (request.url ?? "").slice(1);
  try {
    const body = await readFile(new URL(path, dist));
    response.setHeader("content-type", types[extname(path)] ?? "text/plain").end(body);
  } catch {
    response.writeHead(404).end();
  }
}).listen(0);
const address = `http://localhost:${(server.address() as AddressInfo).port}/`;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
  ],
});
for (const colorScheme of ["light", "dark"] as const) {
  for (const width of [1280, 360]) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: width > 1000 ? 1000 : 780 } });
    const page = await context.newPage();
    page.on("pageerror", (error) => console.error("page:", error));
    await page.addInitScript(installLoopback);
    await page.goto(address);
    const shoot = (name: string) =>
      page.screenshot({ path: join(directory, `${name}-${width}-${colorScheme}.png`), fullPage: true });
    await shoot("idle");
    await page.click("#talk");
    await page.waitForSelector("#line[data-state=connected]");
    await converse(page);
    await page.waitForTimeout(1_500);
    await shoot("call");
    await lookAtLab(page);
    await shoot("lab");
    await context.close();
  }
}
const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
const page = await context.newPage();
await page.addInitScript(() => {
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("refused", "NotAllowedError"));
});
await page.goto(address);
await page.click("#talk");
await page.waitForSelector("#notice:not([hidden])");
await page.screenshot({ path: join(directory, "refused.png") });
await browser.close();
server.close();

async function lookAtLab(page: Page): Promise<void> {
  const emit = (event: EventDraft) => page.evaluate((it) => window.loopback.emit(it), event);
  await page.click("#tab-lab");
  await page.getByText("Cafe wifi").click();
  const stage = (engine: string, name: string, weight: number, p50: number, p90: number, p99: number) => ({
    ...{ engine, stage: name, weight },
    ...(weight < 20 ? { p50: null, p90: null, p99: null } : { p50, p90, p99 }),
  });
  await emit({
    type: "sluice.forecast",
    stages: [
      stage("speech", "turnEnd", 84, 548, 571, 640),
      stage("stt", "sttFinal", 84, 92, 161, 240),
      stage("llm", "firstToken", 84, 214, 371, 702),
      stage("llm", "tokenRate", 84, 71.3, 96.2, 110.4),
      stage("tts", "firstAudio", 84, 88, 132, 190),
      stage("speech", "lead", 12, 0, 0, 0),
    ],
  });
  const floor = { type: "sluice.floor" as const, ducked_after_ms: 64 };
  await emit({ ...floor, decision: "continue", reason: "noise", decided_after_ms: 190, voiced_ms: 128 });
  await emit({ ...floor, decision: "continue", reason: "hum", decided_after_ms: 204, voiced_ms: 192 });
  await emit({ ...floor, decision: "stop", reason: "speech", decided_after_ms: 131, voiced_ms: 131 });
  await page.waitForTimeout(1_200);
}

async function converse(page: Page): Promise<void> {
  const emit = (event: EventDraft) => page.evaluate((it) => window.loopback.emit(it), event);
  const lines = [
    [
      "Where does the time of a turn go?",
      "Where does the time of a turn go? I heard you for 1.9 seconds, and began 604 milliseconds after you stopped.",
    ],
    ["And if I interrupt you?", "And if I interrupt you? I heard you for one point"],
    ["", "I heard you for 0.8 seconds"],
  ] as const;
  for (let turn = 1; turn <= 23; turn++) {
    const response_id = `resp_${turn}`;
    const item_id = `item_a${turn}`;
    const wobble = (seed: number, least: number, span: number) => least + span * Math.abs(Math.sin(turn * seed)) ** 3;
    const stages = [
      { name: "capture" as const, ms: wobble(1.7, 22, 20) },
      { name: "silence" as const, ms: 500 },
      { name: "endpointing" as const, ms: wobble(2.3, 24, 40) },
      { name: "engine" as const, ms: wobble(3.1, 12, 160) },
      { name: "egress" as const, ms: wobble(0.9, 2, 3) },
      { name: "playout" as const, ms: wobble(4.7, 48, 40) },
    ];
    const said = lines[turn - 21];
    if (said) {
      const item = {
        id: `item_u${turn}`,
        object: "realtime.item" as const,
        type: "message" as const,
        role: "user" as const,
      };
      await emit({ type: "input_audio_buffer.speech_started", audio_start_ms: 300, item_id: item.id });
      await page.waitForTimeout(900);
      await emit({ type: "input_audio_buffer.speech_stopped", audio_end_ms: 1900, item_id: item.id });
      await emit({
        type: "conversation.item.done",
        previous_item_id: null,
        item: { ...item, status: "completed", content: [{ type: "input_audio", transcript: said[0] }] },
      });
      await page.evaluate(() => window.loopback.tone(true));
      await emit({ type: "output_audio_buffer.started", response_id });
      await emit({
        type: "response.output_audio_transcript.delta",
        response_id,
        item_id,
        output_index: 0,
        content_index: 0,
        delta: said[1],
      });
      await emit({
        type: "sluice.ledger",
        response_id,
        item_id,
        generated_ms: 5420,
        sent_ms: 3120,
        buffered_ms: 90,
        heard_ms: 3030,
        clock: "client",
      });
    }
    await emit({
      type: "sluice.turn",
      turn,
      input_item_id: `item_u${turn}`,
      response_id,
      item_id,
      clock: "client",
      total_ms: stages.reduce((sum, stage) => sum + stage.ms, 0),
      silence_ms: 500,
      stages,
      voiced_ms: 1900,
      packets: { received: 118, lost: 3, repaired: 2, fec: 1, concealed: 0 },
    });
    if (said && turn < 23) {
      await page.waitForTimeout(700);
      await page.evaluate(() => window.loopback.tone(false));
      if (turn === 22)
        await emit({ type: "conversation.item.truncated", item_id, content_index: 0, audio_end_ms: 3030 });
      await emit({ type: "output_audio_buffer.stopped", response_id });
      await page.waitForTimeout(400);
    }
  }
}
