/**
 * A NAT that gives a caller a new port every 2 s, 30 times, while the caller speaks for half a minute and is answered for half
 * a minute: how long nothing comes after each, either way, and what of the words was lost.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Browser } from "playwright-core";
import { quantile } from "../../quantile.ts";
import { DELAY_MS, REBIND_TURN } from "./conditions.ts";
import type { Network } from "./network.ts";
import { openPage } from "./page.ts";
import { hearPrompt, hearWords, longestGap, scoreAnswer, scorePrompt } from "./score.ts";
import { lengthMs, speakPrompt } from "./script.ts";

const REBINDS = 30;
const EVERY_MS = 2000;
/** What comes this long after a rebinding has nothing to do with it any more. */
const WATCH_MS = 1900;
const FRAME_MS = 20;
const NAME = "rebind30";

/** The row of the bench. */
export async function measureRebinding(browser: Browser, place: string, { lanes, take }: Network) {
  const lane = lanes[0]!;
  lane.become({ delayMs: 0 });
  const caller = await openPage(browser, { place, url: lane.urls.product, pipe: "webtransport", name: NAME });
  lane.become({ delayMs: DELAY_MS });
  await caller.connect();
  await sleep(1000);
  const { prompt, answer } = REBIND_TURN;
  await caller.say(speakPrompt(prompt));
  const spokenUntil = performance.now() + lengthMs(prompt.length);
  const rebinds: number[] = [];
  for (let count = 0; count < REBINDS; count++) {
    // The second half is for the answer.
    if (count === REBINDS / 2) await sleep(Math.max(0, spokenUntil - performance.now()) + 1500);
    await sleep(EVERY_MS);
    rebinds.push(performance.now());
    lane.proxy.rebind();
  }
  await sleep(Math.max(3000, lengthMs(answer.length) - (REBINDS / 2) * EVERY_MS + 3000));
  const recording = await caller.recording();
  const { state } = await caller.report();
  const calls = (await take()).filter(({ name }) => name === NAME);
  const delivered = [...lane.delivered];
  await caller.close();
  const pieces = calls.flatMap((call) => call.pieces);
  const ear = hearWords(recording.ear);
  const promptScore = scorePrompt(prompt, pieces, hearPrompt(pieces));
  const answerScore = scoreAnswer(answer, recording.ear, ear);
  const arrivals = calls.flatMap((call) => call.arrivals).map((at) => at - performance.timeOrigin);
  const up = rebinds.map((at) => silenceAfter(at, arrivals));
  const down = rebinds.map((at) => silenceAfter(at, delivered));
  return {
    pipe: "webtransport",
    condition: NAME,
    rebinds: REBINDS,
    connections: calls.length,
    state,
    prompt_intact: promptScore.intact / promptScore.frames,
    answer_intact: answerScore.intact / answerScore.frames,
    gap_ms_max: longestGap(answer, recording.ear, ear)?.ms ?? Number.NaN,
    resumed_ms_p50: quantile([...up, ...down], 0.5),
    resumed_ms_max: Math.max(...up, ...down),
    resumed_up_ms_max: Math.max(...up),
    resumed_down_ms_max: Math.max(...down),
    // What is allowed: a round trip and 200 ms.
    allowed_ms: 2 * DELAY_MS + 200,
  };
}

/** The longest time without a packet that began or ended within the watch, beyond a frame. */
function silenceAfter(at: number, times: readonly number[]): number {
  const near = times.filter((time) => time >= at - FRAME_MS && time <= at + WATCH_MS).sort((a, b) => a - b);
  let longest = near.length === 0 ? WATCH_MS : near[0]! - at;
  for (let i = 1; i < near.length; i++) longest = Math.max(longest, near[i]! - near[i - 1]!);
  return Math.max(0, longest - FRAME_MS);
}
