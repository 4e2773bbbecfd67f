/**
 * A transceiver that is killed in the middle of an answer, and another one that goes on: a fleet of two behind a balancer and a
 * relay, a language model that tells a long story, and the SDK in a real browser.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Browser, Page } from "playwright-core";
import type * as Sdk from "../packages/client/src/index.ts";
import { bundleApp } from "./bundle.ts";
import {
  API_KEY,
  type Balancer,
  HOST,
  newKeys,
  type RedisProcess,
  type RelayProcess,
  startBalancer,
  startRedis,
  startRelay,
  startTransceiver,
  type TransceiverProcess,
  until,
} from "./fleet.ts";

/** A message as the language model is given it. */
export interface ModelMessage {
  readonly role: string;
  readonly content?: unknown;
}

/** A language model on loopback that tells a story without end, and notes what it was asked. */
export interface StoryModel {
  readonly url: string;
  /** What it was asked, oldest first. */
  readonly asked: readonly (readonly ModelMessage[])[];
  close(): void;
}

/** Two transceivers and all that is in front of them. */
export interface TakeoverFleet {
  readonly url: string;
  readonly model: StoryModel;
  readonly redis: RedisProcess;
  readonly transceivers: readonly [TransceiverProcess, TransceiverProcess];
  /** Prefers this one for whoever comes next. */
  prefer(index: 0 | 1): void;
  close(): Promise<void>;
}

/** What a killing did. */
export interface Takeover {
  /** From the kill until the client is connected to the other transceiver. */
  readonly connectedMs: number;
  /** From the kill until the agent is heard to go on. */
  readonly speakingMs: number;
  /** What the client had said before, and the model was not told again. */
  readonly forgotten: readonly string[];
  /** The agent's words before the kill, as the model was told them after it. */
  readonly agentSaid: string;
  /** The first item, as the transceiver that took over gave it. */
  readonly retrieved: string;
}

type Kind = "webtransport" | "webrtc" | "websocket";

declare global {
  interface Window {
    sluiceSdk: typeof Sdk;
    talk: Awaited<ReturnType<typeof Sdk.connect>>;
    noted: { readonly type: string; readonly at: number; readonly [field: string]: unknown }[];
  }
}

const WORDS = "and then the old captain walked slowly along the quiet harbour looking for his lost brown dog,".split(
  " ",
);

/** Starts the model: some words at once, then one every 40 ms, for half a minute. */
export async function startStoryModel(): Promise<StoryModel> {
  const asked: (readonly ModelMessage[])[] = [];
  const server: Server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", async () => {
      const { messages = [] } = JSON.parse(body || "{}") as { messages?: ModelMessage[] };
      asked.push(messages);
      response.writeHead(200, { "content-type": "text/event-stream" });
      const say = (delta: object, finish_reason: string | null = null) =>
        response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`);
      for (let at = 0; at < 750 && !response.destroyed; at++) {
        say({ content: `${at === 0 ? "" : " "}${WORDS[at % WORDS.length]}${at % 16 === 15 ? "." : ""}` });
        if (at > 20) await sleep(40);
      }
      say({}, "stop");
      response.end("data: [DONE]\n\n");
    });
  });
  server.listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    url: `http://${HOST}:${port}/v1`,
    asked,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Starts all of it. */
export async function startTakeoverFleet(): Promise<TakeoverFleet> {
  const keys = newKeys();
  const [model, redis] = await Promise.all([startStoryModel(), startRedis()]);
  const relay: RelayProcess = await startRelay({ keys, redis: redis.url, grace: 0 });
  const start = (serverId: string) =>
    startTransceiver({
      keys,
      serverId,
      relays: [`${HOST}:${relay.port}`],
      redis: redis.url,
      args: [`--llm=${model.url}`],
    });
  const transceivers = await Promise.all([start("0.1"), start("0.2")]);
  let preferred: 0 | 1 = 0;
  const ports = () => [preferred, 1 - preferred].map((index) => Number(new URL(transceivers[index]!.url).port));
  const balancer: Balancer = await startBalancer(ports);
  await sleep(1500); // until the relay has read the registrations
  return {
    url: balancer.url,
    model,
    redis,
    transceivers,
    prefer(index) {
      preferred = index;
    },
    async close() {
      balancer.close();
      model.close();
      await Promise.all([...transceivers, relay, redis].map((program) => program.stop("SIGKILL")));
    },
  };
}

/** The SDK as one script for a page. */
export function bundleSdk(): Promise<string> {
  return bundleApp('import * as sdk from "sdk"; window.sluiceSdk = sdk;');
}

/** The transceiver that has the call: the balancer chooses it, but for QUIC's first packets, which the relay spreads. */
async function holderOf(fleet: TakeoverFleet): Promise<0 | 1> {
  const headers = { authorization: `Bearer ${API_KEY}` };
  const active = await Promise.all(
    fleet.transceivers.map(async ({ url }) =>
      /^session_active [1-9]/m.test(await (await fetch(`${url}/metrics`, { headers })).text()),
    ),
  );
  if (active[0] === active[1]) throw new Error("not one transceiver has the call");
  return active[0] ? 0 : 1;
}

/**
 * A conversation begins, and the transceiver that has it is killed in the middle of its second answer. Starts it again at the
 * end. `preferred`: where the balancer sends it.
 */
export async function killMidAnswer(
  browser: Browser,
  sdk: string,
  fleet: TakeoverFleet,
  kind: Kind,
  preferred: 0 | 1,
): Promise<Takeover> {
  fleet.prefer(preferred);
  const page = await browser.newPage();
  let victim = preferred;
  try {
    await open(page, sdk, fleet.url, kind);
    victim = await holderOf(fleet);
    const facts = [`my name is Ada ${victim}`, `my cat is called Turing ${Date.now() % 1000}`];
    await page.evaluate((words) => window.talk.sendText(words), facts[0]!);
    await heard(page, 1, 800);
    await page.evaluate((words) => {
      window.talk.interrupt();
      window.talk.sendText(words);
    }, facts[1]!);
    await heard(page, 2, 1500);
    const { asked } = fleet.model;
    const before = asked.length;
    const killedAt = await page.evaluate(() => performance.timeOrigin + performance.now());
    const exited = fleet.transceivers[victim].stop("SIGKILL");
    fleet.prefer(victim === 0 ? 1 : 0);
    const struckAt = Math.max(killedAt, performance.timeOrigin + performance.now());
    await exited;
    const noted = (type: string, after: number) =>
      page.evaluate(([wanted, since]) => window.noted.find((one) => one.type === wanted && one.at > since)?.at, [
        type,
        after,
      ] as const);
    await until("the client is connected again", async () => {
      const closed = await page.evaluate(() => window.noted.find(({ type }) => type === "closed")?.reason);
      if (closed !== undefined) throw new Error(`the conversation is over: ${closed}`);
      return (await noted("connected", struckAt)) !== undefined;
    });
    const connectedAt = (await noted("connected", struckAt))!;
    await until("the agent goes on", async () => (await noted("sluice.utterance.started", connectedAt)) !== undefined);
    const speakingAt = (await noted("sluice.utterance.started", connectedAt))!;
    const told = asked.slice(before).at(-1) ?? [];
    const text = JSON.stringify(told);
    return {
      connectedMs: connectedAt - struckAt,
      speakingMs: speakingAt - struckAt,
      forgotten: facts.filter((fact) => !text.includes(fact)),
      agentSaid: String(told.findLast(({ role }) => role === "assistant")?.content ?? ""),
      retrieved: await retrieveFirst(page),
    };
  } finally {
    await page.evaluate(() => window.talk?.close()).catch(() => undefined);
    await page.close();
    await fleet.transceivers[victim].stop("SIGKILL");
    await fleet.transceivers[victim].start();
  }
}

async function open(page: Page, sdk: string, url: string, kind: Kind): Promise<void> {
  await page.goto(`${url}/readyz`); // of the server's own origin, and without a page's scripts
  await page.addScriptTag({ type: "module", content: sdk });
  await page.waitForFunction(() => window.sluiceSdk !== undefined);
  await page.evaluate(
    async ([transport, token]) => {
      window.noted = [];
      const note = (type: string, fields: object) =>
        window.noted.push({ ...fields, type, at: performance.timeOrigin + performance.now() });
      window.talk = await window.sluiceSdk.connect({ transport, token, session: { instructions: "Tell a story." } });
      window.talk.on("event", (event) => note(event.type, event));
      window.talk.on("sent", (event) => note(`sent ${event.type}`, event));
      window.talk.on("connectionState", ({ state, reason }) => note(state, { reason: reason?.message }));
    },
    [kind, API_KEY] as const,
  );
}

/** Waits until `ms` of the `count`th utterance were heard. */
async function heard(page: Page, count: number, ms: number): Promise<void> {
  await page.waitForFunction(
    ([nth, position]) => {
      const items = [
        ...new Set(
          window.noted.filter(({ type }) => type === "sluice.utterance.started").map(({ item_id }) => item_id),
        ),
      ];
      const item = items[nth - 1];
      return window.noted.some(
        (one) =>
          one.type === "sent sluice.playout.report" && one.item_id === item && Number(one.position_ms) >= position,
      );
    },
    [count, ms] as const,
    { timeout: 20_000 },
  );
}

async function retrieveFirst(page: Page): Promise<string> {
  return page.evaluate(async () => {
    const first = window.noted.find(({ type }) => type === "conversation.item.added") as unknown as {
      item: { id: string };
    };
    const answer = new Promise<string>((resolve) => {
      window.talk.on("conversation.item.retrieved", ({ item }) => resolve(JSON.stringify(item)));
      // A report on an item that the crash cut short may be refused meanwhile: that is no answer to this.
      window.talk.on("error", ({ error }) => error.code?.includes("retrieve") && resolve(error.message));
    });
    window.talk.send({ type: "conversation.item.retrieve", item_id: first.item.id });
    return answer;
  });
}
