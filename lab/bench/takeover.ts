/**
 * `npm run bench -- takeover --json [--kills 10] [--only webrtc]`: a transceiver is killed in the middle of an answer, again and
 * again, over each pipe of real Chromium; a relay and a balancer in front, Redis behind. Told are the time until the client is
 * connected to the other transceiver, the time until the agent is heard to go on, and what was forgotten.
 */
import { launchChromium } from "../../test/chromium.ts";
import { quantile } from "../quantile.ts";
import { microphoneWav, silence } from "../speech.ts";
import { bundleSdk, killMidAnswer, startTakeoverFleet, type Takeover } from "../takeover.ts";
import type { Bench } from "./run.ts";

const PIPES = ["webtransport", "websocket", "webrtc"] as const;

/** Kills 10 times per pipe (`--kills N`). */
export const run: Bench = async ({ flags }) => {
  const kills = Number(flags.kills ?? 10);
  const wav = await microphoneWav([silence(5000)]);
  const browser = await launchChromium({ microphoneWav: wav, loop: true });
  const fleet = await startTakeoverFleet();
  const rows: Record<string, number | string>[] = [];
  const all: Takeover[] = [];
  let failed = 0;
  try {
    const sdk = await bundleSdk();
    let victim: 0 | 1 = 0;
    for (const pipe of PIPES.filter((kind) => kind.includes(flags.only ?? ""))) {
      const done: Takeover[] = [];
      let lost = 0;
      for (let at = 0; at < kills; at++) {
        await killMidAnswer(browser, sdk, fleet, pipe, victim).then(
          (takeover) => done.push(takeover),
          (error: unknown) => {
            lost += 1;
            console.error(`${pipe}: ${error}`);
          },
        );
        victim = victim === 0 ? 1 : 0;
      }
      const row = { pipe, kills, failed: lost, ...describe(done) };
      console.error(JSON.stringify(row));
      rows.push(row);
      all.push(...done);
      failed += lost;
    }
  } finally {
    await browser.close();
    await fleet.close();
  }
  return { metrics: { kills: all.length + failed, failed, ...describe(all) }, rows };
};

function describe(takeovers: readonly Takeover[]): Record<string, number> {
  const connected = takeovers.map(({ connectedMs }) => connectedMs);
  const speaking = takeovers.map(({ speakingMs }) => speakingMs);
  return {
    takeover_ms_p50: quantile(connected, 0.5),
    takeover_ms_p95: quantile(connected, 0.95),
    speaking_ms_p50: quantile(speaking, 0.5),
    speaking_ms_p95: quantile(speaking, 0.95),
    forgotten: takeovers.filter(({ forgotten, retrieved }) => forgotten.length > 0 || !retrieved.includes("Ada"))
      .length,
  };
}
