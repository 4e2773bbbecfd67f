/**
 * Turns over loopback in a real Chromium that drives the console page: from the click to the session, from mouth to ear,
 * and from an interrupting voice to silence. Every utterance of the microphone both interrupts the answer before it and
 * is answered itself. Measured on the recorded sound (`lab/ear.ts`); the stages are the server's and the page's own.
 */
import type { Browser, Page } from "playwright-core";
import { launchChromium } from "../../test/chromium.ts";
import { deviceLatency, EAR_RATE, installEar, takeRecording } from "../ear.ts";
import { quantile } from "../quantile.ts";
import { startSluice } from "../sluice.ts";
import { microphoneWav, resample, silence, speak } from "../speech.ts";
import { findTurns, type HeardTurn } from "../turns.ts";
import type { Bench } from "./run.ts";

const SILENCE_MS = 500; // what server_vad waits by default
const GAP_MS = 1900;
const UTTERANCES = ["Hello there.", "How are you?", "What is new?", "Tell me more.", "And then what?"];

interface TurnEvent {
  readonly total_ms: number;
  readonly clock: string;
  readonly stages: readonly { readonly name: string; readonly ms: number }[];
}

/** 50 turns (`--turns N`) in one call, and 20 set-ups (`--setups N`). */
export const run: Bench = async ({ flags }) => {
  const count = Number(flags.turns ?? 50);
  const setups = Number(flags.setups ?? 20);
  const server = await startSluice();
  try {
    const spoken = await Promise.all(UTTERANCES.map((text) => speak(text)));
    const parts = [silence(1500)];
    for (let turn = 0; turn <= count; turn++) parts.push(spoken[turn % spoken.length]!, silence(GAP_MS));
    const browser = await launchChromium({ microphoneWav: await microphoneWav(parts) });
    try {
      const setupMs = await measureSetups(browser, server.url, setups);
      const wavMs = parts.reduce((sum, part) => sum + part.length / 24, 0);
      return { ...summarise(await talk(browser, server.url, wavMs, spoken, count + 1), setupMs) };
    } finally {
      await browser.close();
    }
  } finally {
    await server.stop();
  }
};

interface Talk {
  readonly turns: readonly HeardTurn[];
  readonly events: readonly TurnEvent[];
  readonly deviceMs: number;
}

async function talk(browser: Browser, url: string, wavMs: number, spoken: readonly Int16Array[], count: number) {
  const page = await openPage(browser, url);
  await page.click("#talk");
  await page.waitForTimeout(wavMs + 3000);
  const recording = await takeRecording(page);
  const { outputMs, captureMs } = await deviceLatency(page);
  const events = await page.evaluate(() => (globalThis as unknown as { __turns: TurnEvent[] }).__turns);
  await page.context().close();
  const needles = spoken.map((pcm) => resample(pcm, 24_000, EAR_RATE));
  const turns = findTurns(
    recording,
    Array.from({ length: count }, (_, turn) => needles[turn % needles.length]!),
  );
  return { turns, events, deviceMs: outputMs + captureMs };
}

function summarise({ turns, events, deviceMs }: Talk, setupMs: readonly number[]) {
  // The first answer interrupts nothing and meets cold code: it is listed, not counted.
  const heard = turns.slice(1).filter((turn) => turn.mouthToEarMs !== undefined);
  const overhead = heard.map((turn) => turn.mouthToEarMs! + deviceMs - SILENCE_MS);
  const cuts = turns.flatMap((turn) => (turn.cutMs === undefined ? [] : [turn.cutMs + deviceMs]));
  const stage = (event: TurnEvent, ...names: string[]) =>
    event.stages.filter(({ name }) => names.includes(name)).reduce((sum, { ms }) => sum + ms, 0);
  const server = events.slice(1).map((event) => stage(event, "endpointing", "engine", "egress"));
  const names = ["capture", "silence", "endpointing", "engine", "egress", "playout"];
  const rows = names.map((name) => {
    const values = events.slice(1).map((event) => stage(event, name));
    return {
      stage: name,
      p50_ms: quantile(values, 0.5),
      p95_ms: quantile(values, 0.95),
      least_ms: Math.min(...values),
    };
  });
  const own = events.filter((event) => event.clock === "client").map((event) => event.total_ms - SILENCE_MS);
  console.error(`${heard.length} answers of ${turns.length - 1} found by ear, ${cuts.length} interruptions`);
  console.error(`browser devices: ${deviceMs.toFixed(1)} ms of capture and output latency, counted in`);
  return {
    metrics: {
      setup_ms_p50: quantile(setupMs, 0.5),
      setup_ms_p95: quantile(setupMs, 0.95),
      overhead_ms_p50: quantile(overhead, 0.5),
      overhead_ms_p95: quantile(overhead, 0.95),
      server_ms_p50: quantile(server, 0.5),
      server_ms_p95: quantile(server, 0.95),
      bargein_ms_p50: quantile(cuts, 0.5),
      bargein_ms_p95: quantile(cuts, 0.95),
      timeline_overhead_ms_p50: quantile(own, 0.5),
      turns: heard.length,
      bargeins: cuts.length,
      setups: setupMs.length,
    },
    rows,
  };
}

async function measureSetups(browser: Browser, url: string, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let setup = 0; setup <= count; setup++) {
    const page = await openPage(browser, url);
    await page.click("#talk");
    await page.waitForFunction(() => (globalThis as unknown as { __createdAt?: number }).__createdAt !== undefined);
    const ms = await page.evaluate(() => {
      const { __createdAt, __clickedAt } = globalThis as unknown as { __createdAt: number; __clickedAt: number };
      return __createdAt - __clickedAt;
    });
    if (setup > 0) times.push(ms); // the first warms the browser and the server
    await page.context().close();
  }
  return times;
}

async function openPage(browser: Browser, url: string): Promise<Page> {
  const context = await browser.newContext();
  await installEar(context);
  await context.addInitScript(WATCH);
  const page = await context.newPage();
  await page.goto(new URL("/?transport=webrtc", url).href); // the recording and the watch are of its connection
  await page.waitForSelector("#talk:enabled");
  return page;
}

// Watches the events channel from outside the page's code.
const WATCH = `(() => {
  window.__turns = [];
  addEventListener("click", (event) => { if (event.target.closest("#talk")) window.__clickedAt ??= performance.now(); }, true);
  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (...args) {
    const channel = create.apply(this, args);
    channel.addEventListener("message", ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "session.created") window.__createdAt ??= performance.now();
      if (event.type === "sluice.turn") window.__turns.push(event);
    });
    return channel;
  };
})();`;
