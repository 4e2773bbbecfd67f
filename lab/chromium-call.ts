/**
 * A call of a real Chromium over a bad network: a stranger's page with the built client SDK, whose microphone says what it is
 * told to when it is told to, on this machine with the transceiver and the network's proxy. It is in the caller's hand like one
 * in virtual time (`call.ts`), and gives the same account of itself.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { SpeechToSpeech, TurnTimeline } from "@sluice/conversation";
import type { NetworkProfile } from "@sluice/netem";
import type { ServerEvent } from "@sluice/realtime";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import { loadQuicEngine, serveTransceiver } from "@sluice/transceiver";
import type { Browser, Page } from "playwright-core";
import { launchChromium } from "../test/chromium.ts";
import type { CallEvent } from "./call.ts";
import { deviceLatency, EAR_RATE, installEar, takeRecording } from "./ear.ts";
import { HOST } from "./fleet.ts";
import { NetemProxy } from "./netem-proxy/proxy.ts";
import type { HeardCall } from "./score.ts";
import type { CallInHand } from "./script.ts";
import { resample } from "./speech.ts";
import { SPEAKING_MICROPHONE, servePage } from "./stranger-page.ts";
import { createToneVad } from "./tone-speech/engines.ts";

/** Pipes whose packets the proxy can harm. */
export const REAL_PIPES = ["webrtc", "webtransport"] as const;

/** One of {@link REAL_PIPES}. */
export type RealPipe = (typeof REAL_PIPES)[number];

/** How a call is to be. */
export interface RealCallOptions {
  /** Decides what befalls packets, by their order; when they come is this machine's affair. */
  readonly seed: number;
  readonly network: NetworkProfile;
  readonly speech: SpeechToSpeech;
  /** Settings of the session, as a client sends them. */
  readonly session: Readonly<Record<string, unknown>>;
  readonly pipe: RealPipe;
}

/** What became of a call. */
export interface RealCallRecord extends HeardCall {
  /** The microphone, on the clock of the ear. */
  readonly mouth: Int16Array;
  readonly sampleRate: number;
  /** When the mouth's first sample was spoken. */
  readonly mouthStartedAt: number;
}

/** An address of loopback for each path that a call is on. */
const path = (count: number) => `127.0.0.${count}`;

// Bundled with the SDK and sent as text.
const APP = `
import { connect } from "sdk";
let conversation;
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
window.__connect = async (options) => {
  conversation = await connect(options);
  conversation.on("event", (event) => window.__note({ at: performance.now(), event }));
};
window.__sayInto = async (pcm, afterMs, withinMs) => {
  const late = performance.now() + withinMs;
  while (conversation.outputLevel() < 0.004 && performance.now() < late) await wait(10);
  await wait(afterMs);
  return window.__say(pcm);
};
window.__hangUp = () => conversation?.close();
`;

interface PageSide {
  __connect(options: object): Promise<void>;
  __say(pcm: string): number;
  __sayInto(pcm: string, afterMs: number, withinMs: number): Promise<number>;
  __hangUp(): void;
}

/** Places a call, lets `drive` lead it, hangs up, and tells what was said and heard. Needs Chromium. */
export async function placeRealCall(
  options: RealCallOptions,
  drive: (call: CallInHand) => Promise<void>,
): Promise<RealCallRecord> {
  const server = await serve(options);
  const place = await servePage(APP).catch(async (cause) => {
    await server.close();
    throw cause;
  });
  let browser: Browser | undefined;
  try {
    browser = await launchChromium();
    const context = await browser.newContext();
    await context.addInitScript(SPEAKING_MICROPHONE);
    await installEar(context);
    const page = await context.newPage();
    const events: CallEvent[] = [];
    await page.exposeFunction("__note", (event: CallEvent) => void events.push(event));
    await page.goto(place.url);
    await page.waitForFunction(() => "__connect" in globalThis);
    const settings = { url: server.url, transport: options.pipe, session: options.session };
    await page.evaluate((target) => (globalThis as unknown as PageSide).__connect(target), settings);
    await drive(await inHand(page, events, server.proxy));
    const record = await recordOf(page, events);
    await page.evaluate(() => (globalThis as unknown as PageSide).__hangUp());
    return record;
  } finally {
    await browser?.close();
    place.close();
    await server.close();
  }
}

/** A transceiver whose media goes through the bad network. */
async function serve({ seed, network, speech, pipe }: RealCallOptions) {
  const { engine, reason } = { reason: undefined, ...loadQuicEngine() };
  if (pipe === "webtransport" && !engine) throw new Error(reason);
  let proxy: NetemProxy | undefined;
  const transceiver = await serveTransceiver({
    host: HOST,
    port: 0,
    udpPort: 0,
    advertise: [], // its default: Chromium does not come to 127.0.0.1 alone
    apiKey: undefined,
    keyRing: createKeyRing([generateKey(randomBytes, 0)]),
    serverId: createServerId(1, 1),
    engines: { vad: createToneVad(), speech },
    model: "tones",
    version: "0",
    staticDir: undefined,
    webTransport: engine && { engine },
    lab: () => ({
      get place() {
        return proxy && { address: HOST, port: proxy.port };
      },
      state: async () => ({ profiles: [], profile: null, packets: { carried: 0, dropped: 0 } }),
      apply: async () => undefined,
      close: async () => proxy?.close(),
    }),
    maxCalls: 4,
    log: quietLog(),
  });
  proxy = await NetemProxy.open({
    listen: { address: HOST, port: 0 },
    target: { address: HOST, port: transceiver.udpPort },
    seed,
    up: network.up,
    down: network.down,
    ...(network.rebindEveryMs === undefined ? {} : { rebindEveryMs: network.rebindEveryMs }),
  });
  return { url: transceiver.url, proxy, close: () => transceiver.close("the call is over") };
}

async function inHand(page: Page, events: readonly CallEvent[], proxy: NetemProxy): Promise<CallInHand> {
  const offsetMs = await clockOffset(page);
  let paths = 1;
  return {
    now: () => performance.now() + offsetMs,
    sleep: (ms) => sleep(Math.max(0, ms)),
    events,
    say: (pcm) => page.evaluate((text) => (globalThis as unknown as PageSide).__say(text), asText(pcm)),
    sayInto: (pcm, afterMs, withinMs) =>
      page.evaluate(([text, after, within]) => (globalThis as unknown as PageSide).__sayInto(text, after, within), [
        asText(pcm),
        afterMs,
        withinMs,
      ] as const),
    become: (network) => proxy.become(network),
    rebind: () => proxy.rebind(),
    changePath: () => proxy.changePath(path(++paths)),
  };
}

/** The page's clock less ours, by the quickest of a few questions. */
async function clockOffset(page: Page): Promise<number> {
  let [best, offset] = [Number.POSITIVE_INFINITY, 0];
  for (let count = 0; count < 8; count++) {
    const asked = performance.now();
    const there = await page.evaluate(() => performance.now());
    const took = performance.now() - asked;
    if (took < best) [best, offset] = [took, there - asked - took / 2];
  }
  return offset;
}

async function recordOf(page: Page, told: readonly CallEvent[]): Promise<RealCallRecord> {
  const { mouth, ear, startedMs } = await takeRecording(page);
  const { outputMs } = await deviceLatency(page);
  const events = onOneClock(told);
  return {
    mouth,
    ear,
    sampleRate: EAR_RATE,
    startedAt: startedMs + outputMs, // at the air
    mouthStartedAt: startedMs,
    events,
    turns: events.flatMap(({ event }) => (event.type === "sluice.turn" ? { timeline: timelineOf(event) } : [])),
  };
}

/** The server's instants on the page's clock, by the quickest of the exchanges that the SDK made. */
function onOneClock(told: readonly CallEvent[]): CallEvent[] {
  let [best, offset] = [Number.POSITIVE_INFINITY, 0];
  for (const { at, event } of told) {
    if (event.type !== "sluice.clock" || at - event.client_ms >= best) continue;
    best = at - event.client_ms;
    offset = (at + event.client_ms) / 2 - event.server_ms;
  }
  return told.map(({ at, event }) =>
    event.type === "sluice.utterance.started"
      ? { at, event: { ...event, sent_ms: event.sent_ms + offset } }
      : { at, event },
  );
}

function timelineOf(event: Extract<ServerEvent, { type: "sluice.turn" }>) {
  const { clock, total_ms: totalMs, stages } = event;
  return { clock, totalMs, stages: stages as TurnTimeline["stages"] };
}

function asText(pcm: Int16Array): string {
  const samples = resample(pcm, 24_000, EAR_RATE);
  return Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength).toString("base64");
}

function quietLog(): Parameters<typeof serveTransceiver>[0]["log"] {
  const quiet = () => {};
  const log = {
    info: quiet,
    warn: quiet, // what bad networks do
    debug: quiet,
    trace: quiet,
    error: console.error,
    child: () => log,
  } as unknown as ReturnType<typeof quietLog>;
  return log;
}
