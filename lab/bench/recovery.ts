/**
 * How soon calls are whole again when the fleet around them fails. Real Chromium calls, all in one browser, talk without
 * a pause to an agent that does the same, through a proxy and a relay; then something happens. Uplink: packets with new
 * audio as the transceiver takes them. Downlink: RTP packets as they are handed to the browser's own socket. A gap is the
 * longest time without one, beyond the 20 ms of a packet; on a busy machine the control row shows what is not the event's.
 *
 *     npm run bench -- recovery --json [--calls 10] [--at-once 5] [--pause 30] [--only rebinding]
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Browser } from "playwright-core";
import { launchChromium } from "../../test/chromium.ts";
import { newKeys, startRedis } from "../fleet.ts";
import { quantile } from "../quantile.ts";
import { microphoneWav, speak } from "../speech.ts";
import {
  downlinkLoss,
  type Loss,
  makePlan,
  openCalls,
  openWatch,
  startAgent,
  unixMs,
  uplinkLoss,
} from "./recovery/calls.ts";
import { type Bar, CONTROL, type Fleet, type RecoveryEvent, recoveryEvents } from "./recovery/events.ts";
import type { Bench } from "./run.ts";

const SETTLE_MS = 4000;
/** Two packets: where the bar is nothing at all, what is allowed, unless nothing at all takes longer on this machine. */
const NOISE_MS = 40;

/** What one call lost to one event. */
interface Casualty {
  readonly uplink: Loss;
  readonly downlink: Loss;
  /** How long the relay was away. */
  readonly awayMs: number;
  readonly concealedMs: number;
}

/** Every event over 10 calls (`--calls N`), 5 of them at once (`--at-once N`). */
export const run: Bench = async ({ flags }) => {
  const calls = Number(flags.calls ?? 10);
  const atOnce = Math.min(calls, Number(flags["at-once"] ?? 5));
  const pauseMs = Number(flags.pause ?? 30) * 1000;
  const events = recoveryEvents(pauseMs).filter(({ name }) => name.includes(flags.only ?? ""));
  const wav = await microphoneWav([await speak("I talk and talk and talk, without a pause, as the other side does.")]);
  const browser = await launchChromium({ microphoneWav: wav, loop: true });
  try {
    const rows: EventRow[] = [];
    let noiseMs = NOISE_MS;
    for (const event of events) {
      const casualties: Casualty[] = [];
      while (casualties.length < calls) casualties.push(...(await suffer(browser, event, atOnce, pauseMs)));
      if (event.name === CONTROL) noiseMs = Math.max(noiseMs, ...casualties.map(worstGapMs));
      const row = summarise(event, casualties, noiseMs);
      console.error(JSON.stringify(row));
      rows.push(row);
    }
    const missed = rows.filter(({ uplink_ok, downlink_ok }) => uplink_ok === false || downlink_ok === false).length;
    return { metrics: { events: rows.length, events_missing_a_bar: missed, calls_per_event: calls }, rows };
  } finally {
    await browser.close();
  }
};

/** Lets `event` happen to `count` calls. */
async function suffer(browser: Browser, event: RecoveryEvent, count: number, pauseMs: number): Promise<Casualty[]> {
  const plan = await makePlan(newKeys());
  const redis = event.redis ? await startRedis() : undefined;
  const relays = await event.start(plan, redis?.url);
  const watch = await openWatch(relays.ports[0]!);
  const agent = await startAgent(plan, watch.proxy.port, redis?.url);
  try {
    const callers = await openCalls(browser, agent.url, count);
    await sleep(SETTLE_MS);
    const before = await Promise.all(callers.map((caller) => caller.report()));
    await agent.take();
    watch.take();
    await sleep(100);
    const struckAt = unixMs();
    const fleet: Fleet = { relays, proxy: watch.proxy, redis, pauseMs };
    const awayMs = await event.strike(fleet);
    await sleep(Math.max(0, struckAt + event.watchMs - unixMs()));
    const endedAt = unixMs();
    const heard = await agent.take();
    const delivered = watch.take();
    const after = await Promise.all(callers.map((caller) => caller.report()));
    if (heard.length !== count || delivered.length !== count) throw new Error("a call is missing");
    await callers[0]!.page.context().close();
    return heard.map((call, index) => ({
      uplink: uplinkLoss(call, struckAt - 60, endedAt),
      downlink: downlinkLoss(delivered[index]!, struckAt - 60, endedAt),
      awayMs,
      concealedMs: after[index]!.concealedMs - before[index]!.concealedMs,
    }));
  } finally {
    agent.close();
    watch.proxy.close();
    await relays.close();
    await redis?.stop("SIGKILL");
  }
}

interface EventRow {
  readonly event: string;
  readonly calls: number;
  readonly away_ms: number;
  readonly uplink_ok: boolean | undefined;
  readonly downlink_ok: boolean | undefined;
  readonly [detail: string]: unknown;
}

function worstGapMs({ uplink, downlink }: Casualty): number {
  return Math.max(uplink.gapMs, downlink.gapMs);
}

function summarise(event: RecoveryEvent, casualties: readonly Casualty[], noiseMs: number): EventRow {
  const uplink = casualties.map((call) => ({ ...call.uplink, awayMs: call.awayMs }));
  const downlink = casualties.map((call) => ({ ...call.downlink, awayMs: call.awayMs }));
  return {
    event: event.name,
    calls: casualties.length,
    away_ms: rounded(Math.max(...casualties.map(({ awayMs }) => awayMs))),
    ...describe("uplink", uplink),
    uplink_bar: tell(event.uplink, noiseMs),
    uplink_ok: event.uplink && isMet(event.uplink, uplink, noiseMs),
    ...describe("downlink", downlink),
    downlink_bar: tell(event.downlink, noiseMs),
    downlink_ok: event.downlink && isMet(event.downlink, downlink, noiseMs),
    concealed_ms_p50: rounded(
      quantile(
        casualties.map(({ concealedMs }) => concealedMs),
        0.5,
      ),
    ),
  };
}

type Suffered = Loss & { readonly awayMs: number };

function describe(direction: string, losses: readonly Suffered[]): Record<string, number> {
  const gaps = losses.map(({ gapMs }) => gapMs);
  return {
    [`${direction}_gap_ms_p50`]: rounded(quantile(gaps, 0.5)),
    [`${direction}_gap_ms_p95`]: rounded(quantile(gaps, 0.95)),
    [`${direction}_gap_ms_max`]: rounded(Math.max(...gaps)),
    [`${direction}_lost_p50`]: quantile(
      losses.map(({ lost }) => lost),
      0.5,
    ),
    [`${direction}_lost_max`]: Math.max(...losses.map(({ lost }) => lost)),
  };
}

function tell(bar: Bar | undefined, noiseMs: number): string {
  if (!bar) return "";
  if ("lost" in bar)
    return bar.lost === 0 ? `no packet lost, gap <= ${rounded(noiseMs)} ms` : `<= ${bar.lost} packets lost`;
  return `<= ${bar.restart ? "restart + " : ""}${bar.gapMs} ms${bar.quantile === 1 ? "" : " p95"}`;
}

function isMet(bar: Bar, losses: readonly Suffered[], noiseMs: number): boolean {
  if ("lost" in bar) return losses.every(({ lost, gapMs }) => lost <= bar.lost && (bar.lost > 0 || gapMs <= noiseMs));
  const over = losses.map(({ gapMs, awayMs }) => gapMs - (bar.restart ? awayMs : 0));
  return quantile(over, bar.quantile) <= bar.gapMs;
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
