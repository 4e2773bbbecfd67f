/** The main job, as a person has it: the console page in a real browser, a spoken microphone, an answer by voice. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { EAR_RATE, installEar, takeRecording } from "../../lab/ear.ts";
import { quantile } from "../../lab/quantile.ts";
import { type SluiceProcess, startSluice } from "../../lab/sluice.ts";
import { microphoneWav, resample, silence, speak } from "../../lab/speech.ts";
import { findTurns } from "../../lab/turns.ts";
import { loadQuicEngine } from "../../packages/transceiver/src/node/quic-engine.ts";
import { launchChromium } from "../chromium.ts";

let server: SluiceProcess;
before(async () => {
  server = await startSluice();
});
after(() => server.stop());

interface Visit {
  readonly page: Page;
  readonly browser: Browser;
}

/** The pipes that a page can talk over; each test of talking runs over all of them, side by side in one browser. */
const pipes = ["webrtc", "websocket", "webtransport"] as const;
type Pipe = (typeof pipes)[number];

/** Opens the console with `parts` as what the microphone will hear, and begins to talk. */
async function visit(parts: readonly Int16Array[], url = server.url): Promise<Visit & AsyncDisposable> {
  const browser = await launchChromium({ microphoneWav: await microphoneWav(parts) });
  return { ...(await call(browser, url)), [Symbol.asyncDispose]: () => browser.close() };
}

async function call(browser: Browser, url: string): Promise<Visit> {
  const context = await browser.newContext();
  await installEar(context);
  const page = await context.newPage();
  await page.goto(url);
  await page.click("#talk");
  return { page, browser };
}

/** The README's pictures, when they are asked for: `SLUICE_SCREENSHOTS=docs npm test -- talk`. */
async function picture(page: Page): Promise<void> {
  const folder = process.env.SLUICE_SCREENSHOTS;
  if (!folder) return;
  for (const [name, width, height] of [
    ["console", 1280, 1040],
    ["console-phone", 360, 1400],
  ] as const) {
    await page.setViewportSize({ width, height });
    await page.waitForTimeout(300);
    await page.screenshot({ path: `${folder}/${name}.png` });
  }
}

const stateOf = (page: Page) => page.locator("#state").textContent();

test("over every pipe a sentence is answered in the caller's own voice, and each of eight interruptions silences the agent", {
  concurrency: true,
}, async (t) => {
  const sentence = await speak("The quick brown fox jumps over the lazy dog.");
  const spoken = await Promise.all(["Hello there.", "How are you?", "Stop it, please."].map((text) => speak(text)));
  // The whole answer to the first, then one word after another into the agent's own.
  const parts = [silence(1500), sentence, silence(8500)];
  for (let turn = 0; turn <= 8; turn++) parts.push(spoken[turn % 3]!, silence(1800));
  const browser = await launchChromium({ microphoneWav: await microphoneWav(parts) });
  try {
    const interruptions = Array.from({ length: 9 }, (_, turn) => spoken[turn % 3]!);
    const lengthMs = parts.reduce((sum, part) => sum + part.length / 24, 0);
    await Promise.all(
      pipes.map((pipe) =>
        t.test(pipe, { skip: skipping(pipe) }, async (t) => {
          const { page } = await call(browser, `${server.url}/?transport=${pipe}`);
          const events = await follow(page);
          await page.waitForFunction(() => document.querySelector("#state")?.textContent?.startsWith("connected"));
          assert.equal(await page.locator("#pipe-now").textContent(), names[pipe]);
          const began = Date.now();
          await page.waitForFunction(() =>
            /I heard you for \d\.\d seconds/.test(document.querySelector("#transcript")?.textContent ?? ""),
          );
          await page.waitForTimeout(lengthMs + 2000 - (Date.now() - began));
          if (pipe === "webrtc") await picture(page);
          const recording = await takeRecording(page);
          const [answered] = findTurns(recording, [resample(sentence, 24_000, EAR_RATE)]);
          assert(answered, "the sentence went through the microphone");
          const later = Math.round((answered.endMs + 7000) * (EAR_RATE / 1000));
          const { mouth, ear } = recording;
          const rest = { ...recording, mouth: mouth.subarray(later), ear: ear.subarray(later) };
          const turns = findTurns(
            rest,
            interruptions.map((pcm) => resample(pcm, 24_000, EAR_RATE)),
          );
          assert.equal(turns.length, 9, "every word went through the microphone");
          assert(
            answered.likeness >= 0.35,
            `the answer repeats what was said (likeness ${answered.likeness.toFixed(2)})`,
          );
          assert((answered.mouthToEarMs ?? 500) >= 400, "the answer does not cut in before the turn is over");
          const cuts = turns.flatMap((turn) => turn.cutMs ?? []);
          assert(cuts.length >= 4, `the agent was speaking when it was interrupted (${cuts.length} of 8 times)`);
          t.diagnostic(
            `silent ${quantile(cuts, 0.5).toFixed(0)} ms after the voice began, p95 ${quantile(cuts, 0.95).toFixed(0)} ms`,
          );
          // An agent that was not interrupted speaks for five seconds more. How soon it stops is `npm run bench -- turn`;
          // here a busy machine may be late once or twice.
          assert(quantile(cuts, 0.9) < 1500, `interrupted after ${cuts.map((ms) => ms.toFixed(0)).join(", ")} ms`);
          // What was cut is cut in the agent's memory, too, where the ear was and not where the sending was.
          const said = await events();
          // The page measured mouth and ear itself, so the stages reach from one to the other.
          const whole = said.filter((event) => event.type === "sluice.turn" && event.clock === "client");
          assert(whole.length > 0, "turns were measured at mouth and ear");
          const stages = whole[0]!.stages?.map(({ name }) => name);
          assert.deepEqual(stages, ["capture", "silence", "endpointing", "engine", "egress", "playout"]);
          // A client that holds the speech says where it stopped: the last word on an item is the true one.
          const truncated = new Map(
            said
              .filter(({ type }) => type === "conversation.item.truncated")
              .map(({ item_id, audio_end_ms }) => [item_id, audio_end_ms]),
          );
          assert(truncated.size >= 1, `${truncated.size} answers were truncated`);
          // The first cut ends the long answer; the others came 2.5 s after one another, and each answer after a pause.
          for (const audioEndMs of [...truncated.values()].slice(1)) {
            assert(audioEndMs! <= 3300, `${audioEndMs} ms of an answer that was cut earlier`);
          }
          await page.context().close();
        }),
      ),
    );
  } finally {
    await browser.close();
  }
});

const names: Readonly<Record<Pipe, string>> = {
  webrtc: "WebRTC",
  websocket: "WebSocket",
  webtransport: "WebTransport",
};

/** Why a pipe cannot be tried here, if it cannot. */
function skipping(pipe: Pipe): string | false {
  const quic = loadQuicEngine();
  return pipe === "webtransport" && !quic.engine ? `not run: ${quic.reason}` : false;
}

/** The page's own log of events says what the server said; returns a reader of it. */
async function follow(page: Page): Promise<() => Promise<readonly LoggedEvent[]>> {
  await page.evaluate(() => {
    const kept: LoggedEvent[] = [];
    Object.assign(window, { logged: kept });
    addEventListener("sluice:event", (event) => kept.push((event as CustomEvent<LoggedEvent>).detail));
  });
  return () => page.evaluate(() => (window as unknown as { logged: LoggedEvent[] }).logged);
}

interface LoggedEvent {
  readonly type: string;
  readonly item_id?: string;
  readonly audio_end_ms?: number;
  readonly clock?: string;
  readonly stages?: readonly { readonly name: string }[];
}

test("typed text is answered by voice", async () => {
  await using call = await visit([silence(6000)]);
  const { page } = call;
  await page.waitForSelector("#text:enabled");
  await page.fill("#text", "hello sluice");
  await page.press("#text", "Enter");
  await page.waitForFunction(() =>
    /hello sluice.*built-in/s.test(document.querySelector("#transcript")?.textContent ?? ""),
  );
  // The keys that the page promises work wherever they are not for writing or choosing.
  await page.focus("#pipe");
  await page.keyboard.press("t");
  assert.match((await stateOf(page)) ?? "", /^connected/, "a letter chooses in a list");
  await page.focus("#interrupt");
  await page.keyboard.press("t");
  await page.waitForFunction(() => document.querySelector("#state")?.textContent === "not connected");
});

test("a microphone that is refused is told in words, and writing still works", async () => {
  const browser = await launchChromium({ args: ["--deny-permission-prompts"] });
  try {
    const context = await browser.newContext();
    await context.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("denied", "NotAllowedError"));
    });
    const page = await context.newPage();
    await page.goto(server.url);
    await page.click("#talk");
    await page.waitForSelector("#notice:not([hidden])");
    assert.match((await page.locator("#notice").textContent()) ?? "", /microphone/i);
    await page.getByText("Go on in writing").click();
    await page.waitForSelector("#text:enabled");
  } finally {
    await browser.close();
  }
});

test("a server that is silent for a while is waited for, and one that is gone is told in words, with a way to try again", async () => {
  const mortal = await startSluice();
  await using call = await visit([silence(8000)], mortal.url);
  const { page } = call;
  await page.waitForSelector("#text:enabled");
  const stateIs = (text: string) =>
    page.waitForFunction((wanted) => document.querySelector("#state")?.textContent?.includes(wanted), text);
  mortal.child.kill("SIGSTOP");
  await stateIs("reconnecting");
  assert(await page.locator("#notice").isHidden(), "what mends itself asks for nothing");
  mortal.child.kill("SIGCONT");
  await stateIs("connected, speak");
  assert(await page.locator("#notice").isHidden());
  assert.equal(await mortal.stop("SIGTERM"), 0, "a stop during a call is a clean exit");
  await page.waitForFunction(() => document.querySelector("#state")?.textContent === "not connected");
  assert.equal(await stateOf(page), "not connected");
  // The page may hear of the loss before the goodbye, and ask a server that is not quite gone to go on.
  const said = (await page.locator("#notice").textContent()) ?? "";
  assert.match(said, /the server is shutting down|the server has let the conversation go/i);
  await page.click("#talk");
  await page.waitForFunction(() => /does not answer/.test(document.querySelector("#notice")?.textContent ?? ""));
  assert.match((await page.locator("#notice").textContent()) ?? "", /try again/i);
});

test("a server with a key asks for it on the page, refuses a wrong one, and takes the right one", async () => {
  const locked = await startSluice({ env: { SLUICE_API_KEY: "open-sesame" } });
  try {
    await using call = await visit([silence(8000)], locked.url);
    const { page } = call;
    for (const key of ["closed-sesame", "open-sesame"]) {
      await page.waitForSelector("#notice input");
      assert.match((await page.locator("#notice").textContent()) ?? "", /wants a key/);
      await page.fill("#notice input", key);
      await page.press("#notice input", "Enter");
    }
    await page.waitForSelector("#text:enabled");
    assert(!locked.output().includes("sesame"), "no key is logged");
  } finally {
    await locked.stop();
  }
});
