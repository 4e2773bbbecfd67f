/** A page of nothing but the published `@moq/publish` and `@moq/watch` talks to the agent and hears it, through a relay. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { loadQuicEngine } from "@sluice/transceiver";
import type { Page } from "playwright-core";
import { build } from "vite";
import { EAR_RATE, installEar, takeRecording } from "../../lab/ear.ts";
import { API_KEY, freeUdpPort, HOST, newKeys, startRelay, startTransceiver, until } from "../../lab/fleet.ts";
import { envelope, findIn, microphoneWav, resample, silence, speak } from "../../lab/speech.ts";
import { launchChromium } from "../chromium.ts";

const loaded = loadQuicEngine();
const skip = loaded.engine ? false : loaded.reason;
/** The player's buffer is long, so that a machine that stands still for a moment tears nothing. */
const PAGE = `<!doctype html><title>moq</title>
<moq-publish name="caller.hang" source="camera" invisible></moq-publish>
<moq-watch name="agent.hang" volume="1" latency="500"></moq-watch>
<script type="module" src="/page.js"></script>`;

interface Report {
  readonly events: readonly { readonly type: string; readonly audio_end_ms?: number; readonly transcript?: string }[];
  readonly publishes?: string;
  readonly watches?: string;
}

/** The page as a bundler makes it of the packages, on a server of its own. */
async function servePage(t: TestContext): Promise<string> {
  const entry = join(import.meta.dirname, "..", "moq", "page.js");
  const options = { write: false, minify: false, rollupOptions: { input: entry } } as const;
  const built = await build({ configFile: false, logLevel: "error", root: join(entry, ".."), build: options });
  const outputs = [built].flat().flatMap((one) => ("output" in one ? one.output : []));
  const files = new Map(outputs.map((one) => [`/${one.fileName}`, "code" in one ? one.code : one.source]));
  const main = outputs.find((one) => "isEntry" in one && one.isEntry)!.fileName;
  const server = createServer(({ url = "/" }, response) => {
    const file = files.get(url);
    response.writeHead(200, { "content-type": file === undefined ? "text/html" : "text/javascript" });
    response.end(file ?? PAGE.replace("/page.js", `/${main}`));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `http://localhost:${(server.address() as AddressInfo).port}/`;
}

/** How much alike the loudness over time of a recording and of speech in it is, and where, in milliseconds. */
function likeness(ear: Int16Array, speech: Int16Array): { readonly score: number; readonly atMs: number } {
  const { score, lag } = findIn(envelope(resample(ear, EAR_RATE, 24_000), 24_000), envelope(speech, 24_000));
  return { score, atMs: lag * 10 };
}

const report = (page: Page) => page.evaluate(() => (globalThis as unknown as { report(): Report }).report());

test("a stock page of @moq/publish and @moq/watch is heard, answered in its own voice, and may interrupt", {
  skip,
}, async (t) => {
  const [sentence, stop] = await Promise.all([
    speak("The quick brown fox jumps over the lazy dog."),
    speak("Stop it, please."),
  ]);
  // The parrot repeats the sentence, then speaks on by itself, which the second utterance interrupts.
  const [keys, udpPort] = [newKeys(), await freeUdpPort()];
  const relay = await startRelay({ keys, transceivers: [`0.1=${HOST}:${udpPort}`], grace: 0 });
  t.after(() => relay.stop("SIGKILL"));
  const [sluice, url, wav] = await Promise.all([
    startTransceiver({ keys, serverId: "0.1", udpPort, relays: [`${HOST}:${relay.port}`] }),
    servePage(t),
    microphoneWav([silence(2500), sentence, silence(4800), stop, silence(5000)]),
  ]);
  t.after(() => sluice.stop("SIGKILL"));
  const browser = await launchChromium({ microphoneWav: wav });
  t.after(() => browser.close());
  const context = await browser.newContext();
  await installEar(context);
  const page = await context.newPage();
  await page.goto(url);
  const status = await page.evaluate(
    ([server, key]) => (globalThis as unknown as { call(...given: unknown[]): Promise<number> }).call(server, key, {}),
    [sluice.url, API_KEY] as const,
  );
  assert.equal(status, 201);
  const count = async (type: string) => (await report(page)).events.filter((event) => event.type === type).length;
  await until("it was interrupted", async () => (await count("output_audio_buffer.cleared")) === 1, 25_000);
  await until("it answers again", async () => (await count("output_audio_buffer.started")) === 2, 10_000);
  await page.waitForTimeout(2000);
  const { ear } = await takeRecording(page);
  const { events, publishes, watches } = await report(page);
  assert.equal(events[0]?.type, "session.created", "the events are those from the beginning");
  const truncated = events.find(({ type }) => type === "conversation.item.truncated");
  assert.ok((truncated?.audio_end_ms ?? 0) > sentence.length / 24, "the answer was cut in its second part");
  const [first, second] = [likeness(ear, sentence), likeness(ear, stop)];
  t.diagnostic(`published over ${publishes}, watched over ${watches}; likeness ${JSON.stringify({ first, second })}`);
  assert.ok(first.score > 0.6, "the whole sentence is played");
  assert.ok(second.score > 0.6 && second.atMs > first.atMs + sentence.length / 24, "and what interrupted, after it");
  const metrics = await (await fetch(`${relay.metricsUrl}/metrics`)).text();
  assert.match(metrics, /relay_flow_confirmed [1-9]/, "it went through the relay");
  assert.ok(!/moq|subscribe|announce/.test(sluice.output().replace(/^.*quic .*$/gm, "")), "strangers write no log");
});
