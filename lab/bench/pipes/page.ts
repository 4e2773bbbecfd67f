/**
 * A stranger's page: the built client SDK, and nothing of Sluice's own around it. Its microphone is a device of tone words
 * that speaks when it is told to; what leaves it and what the ear gets is recorded by `lab/ear.ts`.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { build, type Rolldown } from "vite";
import { type EarRecording, installEar, takeRecording } from "../../ear.ts";
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

const SDK = join(import.meta.dirname, "..", "..", "..", "packages", "client", "src", "index.ts");
/** What a legacy receiver holds back, whatever comes. */
const LEGACY_PLAYOUT_MS = 200;

// Before the ear, which listens to what this gives. Plain JavaScript on purpose: it is sent as text.
const MICROPHONE = `(() => {
  let graph;
  const open = () => graph ??= (() => {
    const context = new AudioContext({ sampleRate: 48000 });
    const out = context.createMediaStreamDestination();
    out.channelCount = 1;
    const quiet = context.createConstantSource();
    quiet.offset.value = 0;
    quiet.connect(out);
    quiet.start();
    return { context, out };
  })();
  // A device is there before anybody asks for it.
  window.__plugIn = () => open().context.resume();
  navigator.mediaDevices.getUserMedia = async () => {
    const { context, out } = open();
    await context.resume();
    return out.stream.clone();
  };
  window.__say = (text) => {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    const pcm = new Int16Array(bytes.buffer);
    const { context, out } = open();
    const sound = context.createBuffer(1, pcm.length, 48000);
    sound.getChannelData(0).set(Float32Array.from(pcm, (sample) => sample / 32768));
    const source = context.createBufferSource();
    source.buffer = sound;
    source.connect(out);
    source.start();
  };
})();`;

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
export async function servePage(): Promise<{ readonly url: string; close(): void }> {
  const script = await bundle();
  const server = createServer((request, response) => {
    const isScript = request.url === "/app.js";
    response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
    response.end(
      isScript ? script : '<!doctype html><title>a stranger</title><script type="module" src="/app.js"></script>',
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: () => server.close().closeAllConnections(),
  };
}

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
  await context.addInitScript(MICROPHONE);
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

async function bundle(): Promise<string> {
  const result = (await build({
    configFile: false,
    logLevel: "silent",
    resolve: { conditions: ["sluice-source", "module", "browser"] },
    plugins: [
      {
        name: "app",
        resolveId: (id) => (id === "app" ? "\0app" : id === "sdk" ? SDK : undefined),
        load: (id) => (id === "\0app" ? APP : undefined),
      },
    ],
    build: { write: false, target: "es2024", rollupOptions: { input: "app", external: ["libopus-wasm"] } },
  })) as Rolldown.RolldownOutput | Rolldown.RolldownOutput[];
  const [output] = Array.isArray(result) ? result : [result];
  return output!.output.map((file) => (file.type === "chunk" ? file.code : "")).join("");
}
