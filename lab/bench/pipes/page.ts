/**
 * A stranger's page: the built client SDK, and nothing of Sluice's own around it. Its microphone is a device of tone words
 * that speaks when it is told to; what leaves it and what the ear gets is recorded by `lab/ear.ts`.
 */
import type { Browser, Page } from "playwright-core";
import { type EarRecording, installEar, takeRecording } from "../../ear.ts";
import { SPEAKING_MICROPHONE, servePage } from "../../stranger-page.ts";
import type { Pipe } from "./conditions.ts";

/** What a page knows of its call. */
export interface PageReport {
  readonly state: string;
  readonly events: readonly { readonly type: string; readonly at: number }[];
}

/** A page that may call. */
export interface CallerPage {
  readonly page: Page;
  /** From `connect()` to the session, by the page's clock. */
  connect(): Promise<number>;
  /** Says 48 kHz samples from now on. */
  say(pcm: Int16Array): Promise<void>;
  /** State, and all events so far. */
  report(): Promise<PageReport>;
  recording(): Promise<EarRecording>;
  close(): Promise<void>;
}

/** What a legacy receiver holds back, whatever comes. */
const LEGACY_PLAYOUT_MS = 200;

const LEGACY = `(() => {
  const Peer = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer {
    constructor(...args) {
      super(...args);
      this.addEventListener("track", ({ receiver }) => { receiver.jitterBufferTarget = ${LEGACY_PLAYOUT_MS}; });
    }
  };
})();`;

const APP = `
import { connect, prepare } from "sdk";
const KEPT = ["response.created", "output_audio_buffer.started", "output_audio_buffer.stopped", "output_audio_buffer.cleared", "response.done",
  "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "error"];
const call = { events: [], conversation: undefined };
window.__prepare = (options) => prepare(options);
window.__connect = async (options) => {
  const from = performance.now();
  call.conversation = await connect(options);
  const ms = performance.now() - from;
  call.conversation.on("event", (event) => { if (KEPT.includes(event.type)) call.events.push({ type: event.type, at: performance.now() }); });
  call.conversation.on("connectionState", ({ state }) => call.events.push({ type: state, at: performance.now() }));
  return ms;
};
window.__report = () => ({ state: call.conversation.connectionState, events: call.events });
window.__hangUp = () => call.conversation?.close();
`;

interface PageSide {
  __plugIn(): Promise<void>;
  __prepare(options: object): Promise<void>;
  __connect(options: object): Promise<number>;
  __say(pcm: string): void;
  __report(): PageReport;
  __hangUp(): void;
}

/** Serves the page; its address. */
export const serveCallerPage = () => servePage(APP);

/** How a page is opened. */
export interface PageOptions {
  /** Where the page is. */
  readonly place: string;
  /** Where it calls. */
  readonly url: string;
  readonly pipe: Pipe;
  /** The model to ask for. */
  readonly name: string;
  /** Whether it fetched ahead what a call needs; else only its connection to the server is warm. Default true. */
  readonly prepared?: boolean;
}

/** Opens a page in a context of its own and warms it up. */
export async function openPage(
  browser: Browser,
  { place, url, pipe, name, prepared = true }: PageOptions,
): Promise<CallerPage> {
  const context = await browser.newContext();
  await context.addInitScript(SPEAKING_MICROPHONE);
  await installEar(context);
  if (pipe === "legacy") await context.addInitScript(LEGACY);
  const page = await context.newPage();
  await page.goto(place);
  await page.waitForFunction(() => "__connect" in globalThis);
  const options = { url, model: name, transport: pipe === "webtransport" ? pipe : "webrtc" };
  await page.evaluate(
    ([target, isPrepared]) => (globalThis as unknown as PageSide).__prepare(isPrepared ? target : {}),
    [options, prepared] as const,
  );
  await page.evaluate(() => (globalThis as unknown as PageSide).__plugIn());
  // As any page has that asked its server for something before: a connection, and leave to ask (preflights are per URL).
  await page.evaluate(
    (target) => fetch(target, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }),
    `${url}/v1/realtime/calls?model=${name}`,
  );
  return {
    page,
    connect: () => page.evaluate((target) => (globalThis as unknown as PageSide).__connect(target), options),
    say: (pcm) =>
      page.evaluate(
        (text) => (globalThis as unknown as PageSide).__say(text),
        Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength).toString("base64"),
      ),
    report: () => page.evaluate(() => (globalThis as unknown as PageSide).__report()),
    recording: () => takeRecording(page),
    async close() {
      await page.evaluate(() => (globalThis as unknown as PageSide).__hangUp());
      await context.close();
    },
  };
}
