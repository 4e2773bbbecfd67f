/** A transceiver that is killed in the middle of an answer: another one goes on, over every pipe, and nothing is forgotten. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { microphoneWav, silence } from "../../lab/speech.ts";
import { bundleSdk, killMidAnswer, startTakeoverFleet, type TakeoverFleet } from "../../lab/takeover.ts";
import { loadQuicEngine } from "../../packages/transceiver/src/node/quic-engine.ts";
import { launchChromium } from "../chromium.ts";

const quic = loadQuicEngine();
let browser: Browser;
let fleet: TakeoverFleet;
let sdk: string;
before(async () => {
  const quiet = await microphoneWav([silence(5000)]);
  [browser, fleet, sdk] = await Promise.all([
    launchChromium({ microphoneWav: quiet, loop: true }),
    startTakeoverFleet(),
    bundleSdk(),
  ]);
});
after(async () => {
  await browser?.close();
  await fleet?.close();
});

let victim: 0 | 1 = 0;
for (const pipe of ["webtransport", "websocket", "webrtc"] as const) {
  const skip = pipe === "webtransport" && !quic.engine ? `not run: ${quic.reason}` : false;
  test(`over ${pipe}, a transceiver that is killed mid-answer is replaced by another that remembers`, {
    skip,
  }, async (t) => {
    const takeover = await killMidAnswer(browser, sdk, fleet, pipe, victim);
    victim = victim === 0 ? 1 : 0;
    t.diagnostic(
      `connected after ${takeover.connectedMs.toFixed(0)} ms, heard on after ${takeover.speakingMs.toFixed(0)} ms`,
    );
    assert.deepEqual(takeover.forgotten, []);
    assert.match(takeover.retrieved, /my name is Ada/);
    // Of the answer that was cut the agent knows what was heard, and no more.
    assert.match(takeover.agentSaid, /^and then the old captain/);
    assert.ok(takeover.agentSaid.length < 400, takeover.agentSaid);
  });
}
