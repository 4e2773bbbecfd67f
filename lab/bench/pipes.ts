/**
 * Both pipes on bad networks, in a real Chromium that uses the client SDK as a stranger's page does: what of a prompt reaches
 * recognition as it was spoken, what of an answer reaches the ear, and when. Beside them *legacy*: WebRTC as its critics describe
 * it. Each call goes through a bad network of its own (`lab/netem-proxy`, seeded) and a relay.
 *
 *     npm run bench -- pipes --json [--quick] [--only blackout,rebind30] [--pipes webtransport] [--seed 1] [--rounds 1] [--at-once 3]
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Browser } from "playwright-core";
import { launchChromium } from "../../test/chromium.ts";
import { quantile } from "../quantile.ts";
import { type CallScore, type CallTake, judgeCall, placeCall } from "./pipes/call.ts";
import { CONDITIONS, type Condition, DELAY_MS, PIPES, type Pipe } from "./pipes/conditions.ts";
import type { HeardCall } from "./pipes/messages.ts";
import { type Lane, type Network, openNetwork } from "./pipes/network.ts";
import { openPage, serveCallerPage } from "./pipes/page.ts";
import { measureRebinding } from "./pipes/rebind.ts";
import type { Bench } from "./run.ts";

/** A cell of the table. */
interface Row {
  readonly pipe: Pipe;
  readonly condition: string;
  readonly loss?: number;
  readonly prompt_intact: number;
  readonly answer_intact: number;
  readonly mouth_to_ear_ms_p50: number;
  readonly mouth_to_ear_ms_p95: number;
  readonly gap_ms_max: number;
  readonly setup_rtts: number;
  readonly calls: number;
  readonly notes?: readonly string[];
}

/** Three times as far, one way. */
const FAR_MS = 150;

/** Runs the bench. */
export const run: Bench = async ({ flags }) => {
  const quick = flags.quick !== undefined;
  const [seed, rounds, atOnce] = [flags.seed ?? 1, flags.rounds ?? 1, flags["at-once"] ?? (quick ? 4 : 3)].map(
    Number,
  ) as [number, number, number];
  const only = flags.only?.split(",");
  const conditions = CONDITIONS.filter((one) =>
    only ? only.some((part) => one.name.includes(part)) : !quick || one.quick,
  );
  const pipes = PIPES.filter((pipe) => flags.pipes === undefined || flags.pipes.split(",").includes(pipe));
  const network = await openNetwork(atOnce, seed);
  const place = await serveCallerPage();
  const browser = await launchChromium();
  try {
    const scores: CallScore[] = [];
    const jobs = Array.from({ length: rounds }, () =>
      conditions.flatMap((condition) => pipes.map((pipe) => ({ condition, pipe }))),
    );
    const queue = jobs.flat();
    while (queue.length > 0) scores.push(...(await callTogether(browser, place.url, network, queue.splice(0, atOnce))));
    const rows = conditions.flatMap((condition) => pipes.map((pipe) => summarise(pipe, condition, scores)));
    const setups = flags.setups === "0" ? [] : await measureSetups(browser, place.url, network.lanes[0]!, pipes, quick);
    const wantsRebinding = only ? only.includes("rebind30") : !quick;
    const rebinding =
      wantsRebinding && pipes.includes("webtransport") ? [await measureRebinding(browser, place.url, network)] : [];
    for (const row of rebinding) console.error(JSON.stringify(row));
    const metrics = Object.fromEntries(setups.map(({ name, rtts }) => [name, rtts]));
    // A cell's own call is one sample; the row that is held to a bar has the median of several.
    return {
      metrics,
      rows: [
        ...rows.map((row) =>
          row.loss === 0 ? { ...row, setup_rtts: metrics[`setup_rtts_${row.pipe}`] ?? row.setup_rtts } : row,
        ),
        ...rebinding,
      ],
    };
  } finally {
    await browser.close();
    place.close();
    await network.close();
  }
};

async function callTogether(
  browser: Browser,
  place: string,
  { lanes, take }: Network,
  jobs: readonly { readonly condition: Condition; readonly pipe: Pipe }[],
): Promise<CallScore[]> {
  const takes: CallTake[] = await Promise.all(
    jobs.map(({ condition, pipe }, lane) => placeCall(browser, place, lanes[lane]!, pipe, condition)),
  );
  const heard: readonly HeardCall[] = await take();
  return takes.map((one) => {
    const score = judgeCall(one, heard);
    const { prompt, answer, gap, setupRtts, note } = score;
    console.error(
      `${one.pipe}, ${one.condition.name}: prompt ${percent(prompt)}, answer ${percent(answer)}, gap ${gap?.ms.toFixed(0)} ms at ${gap?.atMs.toFixed(0)}, ` +
        `mouth to ear ${score.mouthToEarMs.map((ms) => ms.toFixed(0)).join(" ")} ms, ${setupRtts?.toFixed(2) ?? "no"} round trips${note ? `; ${note}` : ""}`,
    );
    return score;
  });
}

const percent = ({ frames, intact }: { readonly frames: number; readonly intact: number }) =>
  `${((100 * intact) / frames).toFixed(2)} %`;

function summarise(pipe: Pipe, condition: Condition, all: readonly CallScore[]): Row {
  const scores = all.filter((score) => score.pipe === pipe && score.condition === condition);
  const share = (of: "prompt" | "answer") =>
    scores.reduce((sum, score) => sum + score[of].intact, 0) / scores.reduce((sum, score) => sum + score[of].frames, 0);
  const delays = scores.flatMap((score) => score.mouthToEarMs);
  const notes = scores.flatMap(({ note }) => note ?? []);
  return {
    pipe,
    condition: condition.name,
    ...(condition.loss !== undefined && { loss: condition.loss }),
    prompt_intact: share("prompt"),
    answer_intact: share("answer"),
    mouth_to_ear_ms_p50: quantile(delays, 0.5),
    mouth_to_ear_ms_p95: quantile(delays, 0.95),
    gap_ms_max: Math.max(...scores.map(({ gap }) => gap?.ms ?? Number.NaN)),
    setup_rtts: quantile(
      scores.flatMap(({ setupRtts }) => setupRtts ?? []),
      0.5,
    ),
    calls: scores.length,
    ...(notes.length > 0 && { notes }),
  };
}

/**
 * Set-ups alone, one after the other, on a page that is warm. `setup_rtts_…` is all of the time in round trips of 100 ms, what the
 * browser and a busy machine take included; `…_slope` is by how many round trips it grows with the round trip, which
 * nothing but waiting for the other side does.
 */
async function measureSetups(browser: Browser, place: string, lane: Lane, pipes: readonly Pipe[], quick: boolean) {
  const results: { name: string; rtts: number }[] = [];
  const setUp = async (pipe: Pipe, prepared: boolean, delayMs: number) => {
    lane.become({ delayMs: 0 });
    const url = lane.urls[pipe === "legacy" ? "legacy" : "product"];
    const page = await openPage(browser, { place, url, pipe, name: "setup", prepared });
    await sleep(300);
    lane.become({ delayMs });
    const ms = await page.connect();
    await page.close();
    return ms;
  };
  const measure = async (name: string, pipe: Pipe, prepared: boolean) => {
    const [near, far]: [number[], number[]] = [[], []];
    // In turn, so that what else the machine does meets both alike.
    for (let count = quick ? 4 : 8; count > 0; count--) {
      near.push(await setUp(pipe, prepared, DELAY_MS));
      far.push(await setUp(pipe, prepared, FAR_MS));
    }
    const [nearMs, farMs] = [quantile(near, 0.5), quantile(far, 0.5)];
    results.push({ name, rtts: nearMs / (2 * DELAY_MS) });
    results.push({ name: `${name}_slope`, rtts: (farMs - nearMs) / (2 * (FAR_MS - DELAY_MS)) });
  };
  for (const pipe of pipes.filter((one) => one !== "legacy")) await measure(`setup_rtts_${pipe}`, pipe, true);
  if (pipes.includes("webtransport")) await measure("setup_rtts_webtransport_unprepared", "webtransport", false);
  for (const { name, rtts } of results) console.error(`${name}: ${rtts.toFixed(2)}`);
  return results;
}
