/** A page of nothing but the published `@moq/publish` and `@moq/watch` talks to the agent and hears it. */
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
import { until } from "../../lab/fleet.ts";
import { startSluice } from "../../lab/sluice.ts";
import { microphoneWav, resample, silence, speak } from "../../lab/speech.ts";
import { findTurns } from "../../lab/turns.ts";
import { launchChromium } from "../chromium.ts";

const loaded = loadQuicEngine();
const skip = loaded.engine ? false : loaded.reason;
const PAGE = `<!doctype html><title>moq</title>
<moq-publish name="caller.hang" source="camera" invisible></moq-publish>
<moq-watch name="agent.hang" volume="1" latency-min="100"></moq-watch>
<script type="module" src="/page.js"></script>`;

interface Report {
  readonly events: readonly { readonly type: string; readonly delta?: string }[];
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

const report = (page: Page) => page.evaluate(() => (globalThis as unknown as { report(): Report }).report());

test("a stock page of @moq/publish and @moq/watch is heard, answered in its own voice, and may interrupt", {
  skip,
}, async (t) => {
  const [sentence, stop] = await Promise.all([
    speak("The quick brown fox jumps over the lazy dog."),
    speak("Stop it, please."),
  ]);
  const [sluice, url, wav] = await Promise.all([
    startSluice(),
    servePage(t),
    microphoneWav([silence(2500), sentence, silence(10_000), sentence, silence(2000), stop, silence(4000)]),
  ]);
  t.after(() => sluice.stop());
  const browser = await launchChromium({ microphoneWav: wav });
  t.after(() => browser.close());
  const context = await browser.newContext();
  await installEar(context);
  const page = await context.newPage();
  const said: string[] = [];
  page.on("console", (message) => said.push(message.text()));
  await page.goto(url);
  const status = await page.evaluate(
    (server) => (globalThis as unknown as { call(url: string, session: object): Promise<number> }).call(server, {}),
    sluice.url,
  );
  assert.equal(status, 201);
  try {
    await until("both elements are in the call", async () => {
      const { publishes, watches } = await report(page);
      return publishes !== undefined && watches !== undefined;
    });
    const types = async () => (await report(page)).events.map(({ type }) => type);
    await until(
      "the answer has been spoken",
      async () => (await types()).includes("output_audio_buffer.stopped"),
      25_000,
    );
    await until("it was interrupted", async () => (await types()).includes("output_audio_buffer.cleared"), 20_000);
  } finally {
    t.diagnostic(
      JSON.stringify(
        (await report(page)).events
          .filter(({ type }) => /speech_|output_audio_buffer|truncated|transcript.done|response.done/.test(type))
          .map((e) => ({ ...e, response: undefined })),
      ),
    );
    t.diagnostic(said.join("\n"));
    t.diagnostic(sluice.output());
  }
  await page.waitForTimeout(3000);
  const recording = await takeRecording(page);
  const utterances = [sentence, sentence, stop].map((pcm) => resample(pcm, 24_000, EAR_RATE));
  const turns = findTurns(recording, utterances);
  t.diagnostic(JSON.stringify(turns));
  const { events, publishes, watches } = await report(page);
  const fs = await import("node:fs");
  fs.writeFileSync("/tmp/moq-ear.raw", Buffer.from(recording.ear.buffer));
  fs.writeFileSync("/tmp/moq-mouth.raw", Buffer.from(recording.mouth.buffer));
  t.diagnostic(`${publishes} ${watches}`);
  assert.equal(events[0]?.type, "session.created");
  assert(turns[0]!.likeness > 0.8);
});
