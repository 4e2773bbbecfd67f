/** The lab tab, as a person has it: a bad network chosen and pipes changed in the middle of a conversation, which goes on. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { type SluiceProcess, startSluice } from "../../lab/sluice.ts";
import { microphoneWav, silence, speak } from "../../lab/speech.ts";
import { loadQuicEngine } from "../../packages/transceiver/src/node/quic-engine.ts";
import { launchChromium } from "../chromium.ts";

let server: SluiceProcess;
before(async () => {
  server = await startSluice();
});
after(() => server.stop());

interface Said {
  readonly type: string;
  readonly heard_ms?: number;
  readonly session?: { readonly audio: { readonly input: { readonly turn_detection: { readonly type: string } } } };
}

/** The README's picture, when it is asked for: `SLUICE_SCREENSHOTS=docs npm test -- e2e/lab`. */
async function picture(page: Page): Promise<void> {
  const folder = process.env.SLUICE_SCREENSHOTS;
  if (!folder) return;
  for (const [name, width] of [
    ["console-lab", 1280],
    ["console-lab-phone", 360],
  ] as const) {
    await page.setViewportSize({ width, height: 1000 });
    await page.waitForTimeout(1100);
    await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  }
}

test("on a network from the lab, a conversation changes its pipe while the agent speaks, and goes on", async (t) => {
  const sentence = await speak("The quick brown fox jumps over the lazy dog.");
  const again = await speak("Are you still there?");
  const browser = await launchChromium({
    microphoneWav: await microphoneWav([silence(1500), sentence, silence(7000), again, silence(4000)]),
  });
  try {
    const page = await browser.newPage();
    await page.addInitScript(() => {
      const said: unknown[] = [];
      Object.assign(window, { said });
      addEventListener("sluice:event", (event) => said.push((event as CustomEvent).detail));
    });
    const said = () => page.evaluate(() => (window as unknown as { said: Said[] }).said);
    const until = (type: string, count = 1) =>
      page.waitForFunction(
        ([wanted, least]) =>
          (window as unknown as { said: Said[] }).said.filter((event) => event.type === wanted).length >= Number(least),
        [type, count] as const,
        { timeout: 20_000 },
      );
    const note = (text: RegExp) =>
      page.waitForFunction(
        (source) => new RegExp(source).test(document.querySelector("#lab-note")?.textContent ?? ""),
        text.source,
        { timeout: 10_000 },
      );
    await page.goto(`${server.url}/?transport=webrtc`);
    await page.focus("#tab-talk");
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.getAttribute("#tab-lab", "aria-selected"), "true");
    assert.match(page.url(), /tab=lab/);
    await page.getByRole("radio", { name: /Cafe wifi/ }).waitFor();
    await page.click("#talk");
    await page.waitForFunction(() => document.querySelector("#state")?.textContent?.startsWith("connected"));
    // The call goes straight; it is moved onto the network that is chosen.
    await page.getByText("Cafe wifi").click();
    await note(/goes through Cafe wifi now/);
    await page.waitForFunction(() =>
      /[1-9]\d* datagrams carried/.test(document.querySelector("#network")?.textContent ?? ""),
    );
    await until("sluice.utterance.started");
    await page.waitForTimeout(600);
    for (const [kind, name] of [
      ["websocket", "WebSocket"],
      ...(loadQuicEngine().engine ? [["webtransport", "WebTransport"] as const] : []),
      ["webrtc", "WebRTC"],
    ] as const) {
      await page.locator("#lab-pipe").getByText(name).click();
      await page.waitForFunction((text) => document.querySelector("#pipe-now")?.textContent === text, name);
      await note(/went over within|goes around/);
      t.diagnostic(`${kind}: ${await page.locator("#lab-note").textContent()}`);
      await page.waitForTimeout(400);
    }
    await until("output_audio_buffer.stopped");
    // And what is said afterwards is heard, and answered.
    await until("sluice.turn", 2);
    await page.waitForTimeout(1000);
    await picture(page);
    const updates = (await said()).filter(({ type }) => type === "session.updated").length;
    await page.selectOption("#turn-end", "semantic");
    await until("session.updated", updates + 1);
    const events = await said();
    const held = events.findLast(({ type }) => type === "session.updated")?.session;
    assert.equal(held?.audio.input.turn_detection.type, "semantic_vad", "what ends a turn changes in mid-call");
    assert.match(page.url(), /turn=semantic/);
    const count = (type: string) => events.filter((event) => event.type === type).length;
    assert.equal(count("session.created"), 0, "no other session was begun");
    assert.equal(count("response.created"), 2, "the answer under way was not begun anew");
    const heard = Math.max(...events.map(({ heard_ms = 0 }) => heard_ms));
    assert(heard > 2500, `${heard} ms of an answer were heard`);
    assert(count("sluice.forecast") >= 1, "the forecast came");
    assert.match((await page.locator("#minute table").textContent()) ?? "", /sent, received[1-9]/);
  } finally {
    await browser.close();
  }
});
