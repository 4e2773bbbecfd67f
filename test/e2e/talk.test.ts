/** The main job, as a person has it: the console page in a real browser, a spoken microphone, an answer by voice. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { EAR_RATE, installEar, takeRecording } from "../../lab/ear.ts";
import { quantile } from "../../lab/quantile.ts";
import { type SluiceProcess, startSluice } from "../../lab/sluice.ts";
import { microphoneWav, resample, silence, speak } from "../../lab/speech.ts";
import { findTurns } from "../../lab/turns.ts";
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

/** Opens the console with `parts` as what the microphone will hear, and begins to talk. */
async function visit(parts: readonly Int16Array[], url = server.url): Promise<Visit & AsyncDisposable> {
  const browser = await launchChromium({ microphoneWav: await microphoneWav(parts) });
  const context = await browser.newContext();
  await installEar(context);
  const page = await context.newPage();
  await page.goto(url);
  await page.click("#talk");
  return { page, browser, [Symbol.asyncDispose]: () => browser.close() };
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

test("a spoken sentence is answered in the caller's own voice, and the page shows where the time went", async () => {
  const sentence = await speak("The quick brown fox jumps over the lazy dog.");
  await using call = await visit([silence(1500), sentence, silence(9000)]);
  const { page } = call;
  await page.waitForFunction(() => document.querySelector("#state")?.textContent?.startsWith("connected"));
  await page.waitForTimeout(1500 + sentence.length / 24 + 7500);
  const recording = await takeRecording(page);
  const [turn] = findTurns(recording, [resample(sentence, 24_000, EAR_RATE)]);
  assert(turn, "the microphone was recorded");
  assert(turn.likeness >= 0.5, `the answer repeats what was said (likeness ${turn.likeness.toFixed(2)})`);
  assert((turn.mouthToEarMs ?? 500) >= 400, "the answer does not cut in before the turn is over");
  const page_says = (await page.locator("#transcript").textContent()) ?? "";
  assert.match(page_says, /I heard you for \d\.\d seconds/);
  const waterfall = (await page.locator("#waterfall").textContent()) ?? "";
  for (const stage of ["capture", "silence", "endpointing", "engine", "egress", "playout"])
    assert.match(waterfall, new RegExp(stage));
});

test("each of twenty interruptions silences the agent", async (t) => {
  const spoken = await Promise.all(["Hello there.", "How are you?", "Stop it, please."].map((text) => speak(text)));
  const parts = [silence(1500)];
  for (let turn = 0; turn <= 20; turn++) parts.push(spoken[turn % 3]!, silence(1800));
  await using call = await visit(parts);
  await call.page.waitForTimeout(parts.reduce((sum, part) => sum + part.length / 24, 0) + 2000);
  await picture(call.page);
  const needles = spoken.map((pcm) => resample(pcm, 24_000, EAR_RATE));
  const utterances = Array.from({ length: 21 }, (_, turn) => needles[turn % 3]!);
  const turns = findTurns(await takeRecording(call.page), utterances);
  assert.equal(turns.length, 21, "every utterance went through the microphone");
  const cuts = turns.flatMap((turn) => turn.cutMs ?? []);
  assert(cuts.length >= 18, `the agent was speaking when it was interrupted (${cuts.length} of 20 times)`);
  t.diagnostic(
    `silent ${quantile(cuts, 0.5).toFixed(0)} ms after the voice began, p95 ${quantile(cuts, 0.95).toFixed(0)} ms`,
  );
  // An agent that was not interrupted speaks for five seconds more. How soon it stops is `npm run bench -- turn`; here a
  // busy machine may be late once or twice.
  assert(quantile(cuts, 0.9) < 700, `interrupted after ${cuts.map((ms) => ms.toFixed(0)).join(", ")} ms`);
});

test("typed text is answered by voice", async () => {
  await using call = await visit([silence(6000)]);
  const { page } = call;
  await page.waitForSelector("#text:enabled");
  await page.fill("#text", "hello sluice");
  await page.press("#text", "Enter");
  await page.waitForFunction(() =>
    /hello sluice.*built-in/s.test(document.querySelector("#transcript")?.textContent ?? ""),
  );
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

test("a server that is gone is told in words, with a way to try again", async () => {
  const mortal = await startSluice();
  await using call = await visit([silence(8000)], mortal.url);
  const { page } = call;
  await page.waitForSelector("#text:enabled");
  assert.equal(await mortal.stop("SIGTERM"), 0, "a stop during a call is a clean exit");
  await page.waitForFunction(() => document.querySelector("#state")?.textContent === "not connected");
  assert.equal(await stateOf(page), "not connected");
  assert.match((await page.locator("#notice").textContent()) ?? "", /the server is shutting down/i);
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
