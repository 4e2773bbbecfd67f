/** Calls of one browser through a proxy and a relay to the agent, and what both ends get of each other. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { formatKeys, type KeyConfig } from "@sluice/routing";
import type { Browser } from "playwright-core";
import { type Caller, placeCall } from "../../caller.ts";
import { freeUdpPort, HOST } from "../../fleet.ts";
import { NetemProxy } from "../../netem-proxy/proxy.ts";
import type { AgentReport, AgentSetup, HeardCall } from "./messages.ts";

const SERVER_ID = "0.1";
const FRAME_MS = 20;

/** The agent's process. */
export interface Agent {
  /** Where offers go. */
  readonly url: string;
  /** What each call's uplink brought since the last time. */
  take(): Promise<readonly HeardCall[]>;
  close(): void;
}

/** Where a fleet's parts are, before they run. */
export interface Plan {
  readonly keys: readonly KeyConfig[];
  /** As relays are configured with the agent. */
  readonly transceiver: string;
  readonly udpPort: number;
}

/** Chooses where the agent will be. */
export async function makePlan(keys: readonly KeyConfig[]): Promise<Plan> {
  const udpPort = await freeUdpPort();
  return { keys, udpPort, transceiver: `${SERVER_ID}=${HOST}:${udpPort}` };
}

/** Starts the agent, whose answers send clients to the proxy at `port`; registered where there is Redis. */
export async function startAgent({ keys, udpPort }: Plan, port: number, redis: string | undefined): Promise<Agent> {
  const relay = { address: HOST, port };
  const setup: AgentSetup = { keys: formatKeys(keys), serverId: SERVER_ID, udpPort, relay, redis };
  const child = fork(join(import.meta.dirname, "agent.ts"), [JSON.stringify(setup)], {
    execArgv: ["--conditions=sluice-source"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ready = await next(child, "ready");
  return {
    url: ready.url,
    async take() {
      child.send({ kind: "take" });
      return (await next(child, "taken")).calls;
    },
    close: () => void child.kill("SIGKILL"),
  };
}

/** The proxy in front of the relay, which notes what it hands to the browser. */
export interface Watch {
  readonly proxy: NetemProxy;
  /** Arrivals of new RTP packets at each of the browser's ports since the last time. */
  take(): readonly Delivery[];
}

/** The downlink of one call; times are Unix milliseconds. */
export interface Delivery {
  /** When each packet came whose sequence number is the highest so far. */
  readonly arrivals: readonly (readonly [at: number, sequenceNumber: number])[];
}

/** Opens the proxy. */
export async function openWatch(relayPort: number): Promise<Watch> {
  const deliveries = new Map<number, [at: number, sequenceNumber: number][]>();
  const proxy = await NetemProxy.open({
    listen: { address: HOST, port: 0 },
    target: { address: HOST, port: relayPort },
    seed: 1,
    onDelivered(packet, { port }) {
      if (!isRtp(packet)) return;
      const noted = deliveries.get(port) ?? [];
      deliveries.set(port, noted);
      const last = noted.at(-1)?.[1];
      const step = (((packet[2]! << 8) | packet[3]!) - (last ?? 0)) & 0xffff;
      if (last !== undefined && (step === 0 || step > 0x8000)) return; // sent again
      noted.push([unixMs(), (last ?? 0) + step]);
    },
  });
  return {
    proxy,
    take: () => [...deliveries.values()].map((arrivals) => ({ arrivals: arrivals.splice(0) })),
  };
}

/** Opens `count` calls in one browser, one after the other. */
export async function openCalls(browser: Browser, url: string, count: number): Promise<readonly Caller[]> {
  const context = await browser.newContext();
  const callers: Caller[] = [];
  for (let call = 0; call < count; call++) callers.push(await placeCall(context, { url }));
  return callers;
}

/** Unix time that never steps back. */
export function unixMs(): number {
  return performance.timeOrigin + performance.now();
}

/** What one call lost in one direction. */
export interface Loss {
  /** Longest time without new audio, beyond the 20 ms of a packet. */
  readonly gapMs: number;
  /** Packets that never came themselves. */
  readonly lost: number;
}

/** What the transceiver missed of a caller between two times. */
export function uplinkLoss({ arrivals, replaced, ended }: HeardCall, fromMs: number, untilMs: number): Loss {
  if (ended !== undefined) throw new Error(`a call ended: ${ended}`);
  const missing = replaced.filter(([at]) => at >= fromMs && at <= untilMs).reduce((sum, [, ms]) => sum + ms, 0);
  return { gapMs: longestGap(arrivals, fromMs, untilMs), lost: Math.round(missing / FRAME_MS) };
}

/** What a caller missed of the agent between two times. */
export function downlinkLoss({ arrivals }: Delivery, fromMs: number, untilMs: number): Loss {
  const gapMs = longestGap(
    arrivals.map(([at]) => at),
    fromMs,
    untilMs,
  );
  const within = arrivals.filter(([at]) => at >= fromMs && at <= untilMs);
  const sent = within.length === 0 ? 0 : within.at(-1)![1] - within[0]![1] + 1;
  return { gapMs, lost: sent - within.length };
}

function longestGap(times: readonly number[], fromMs: number, untilMs: number): number {
  let [longest, last] = [0, fromMs];
  for (const at of times) {
    if (at < fromMs || at > untilMs) continue;
    longest = Math.max(longest, at - last);
    last = at;
  }
  return Math.max(0, Math.max(longest, untilMs - last) - FRAME_MS);
}

function isRtp(packet: Uint8Array): boolean {
  const type = packet[1]! & 0x7f;
  return packet[0]! >> 6 === 2 && (type < 64 || type > 95); // RFC 5761 section 4
}

async function next<K extends AgentReport["kind"]>(
  child: ChildProcess,
  kind: K,
): Promise<Extract<AgentReport, { kind: K }>> {
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the agent ended with code ${code}`);
  });
  ended.catch(() => undefined); // later ends are nobody's business
  for (;;) {
    const [message] = (await Promise.race([once(child, "message"), ended])) as [AgentReport];
    if (message.kind === kind) return message as Extract<AgentReport, { kind: K }>;
  }
}
