/**
 * The way of the bench's calls: pages ask through a front (a CDN, a round trip away) and send through a bad network of their
 * own to one relay, behind which are the transceivers. Front and network together are a lane; each carries one call at a time.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { Impairments } from "@sluice/netem";
import { formatKeys } from "@sluice/routing";
import { freeUdpPort, HOST, newKeys, startRelay } from "../../fleet.ts";
import { NetemProxy } from "../../netem-proxy/proxy.ts";
import { type HeardCall, SERVER_IDS, type ServerReport, type ServerSetup } from "./messages.ts";

/** One caller's way. */
export interface Lane {
  readonly proxy: NetemProxy;
  /** Where pages ask for calls. */
  readonly urls: Readonly<Record<"product" | "legacy", string>>;
  /** `performance.now()` of every datagram that the page's side got, since the last {@link Lane.become}. */
  readonly delivered: readonly number[];
  /** Makes the network another one. Requests take its delay, and are never lost. */
  become(impairments: Impairments): void;
}

/** Lanes and what is behind them. */
export interface Network {
  readonly lanes: readonly Lane[];
  /** What the server heard since the last time. */
  take(): Promise<readonly HeardCall[]>;
  close(): Promise<void>;
}

/** Opens `count` lanes. */
export async function openNetwork(count: number, seed: number): Promise<Network> {
  const keys = newKeys();
  const udpPorts = { product: await freeUdpPort(), legacy: await freeUdpPort() };
  const [product, legacy] = (["product", "legacy"] as const).map(
    (which) => `${SERVER_IDS[which]}=${HOST}:${udpPorts[which]}`,
  );
  // The legacy has no QUIC: first packets of new clients are not for it.
  const relay = await startRelay({ keys, transceivers: [product!, `${legacy}/webrtc`] });
  const proxies = await Promise.all(Array.from({ length: count }, (_, lane) => openProxy(relay.port, seed + lane)));
  const regions = proxies.map(({ proxy }, lane) => ({ region: `lane-${lane}`, port: proxy.port }));
  const setup: ServerSetup = { keys: formatKeys(keys), udpPorts, lanes: regions };
  const child = fork(join(import.meta.dirname, "server.ts"), [JSON.stringify(setup)], {
    execArgv: ["--conditions=sluice-source"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    serialization: "advanced", // samples, not JSON
  });
  const { urls } = await next(child, "ready");
  const fronts: Server[] = [];
  const lanes = await Promise.all(
    proxies.map(async ({ proxy, delivered }, lane): Promise<Lane> => {
      let delayMs = 0;
      const open = async (target: string) => {
        const front = createFront(target, `lane-${lane}`, () => delayMs);
        fronts.push(front);
        front.listen(0, HOST);
        await once(front, "listening");
        return `http://localhost:${(front.address() as AddressInfo).port}`;
      };
      return {
        proxy,
        delivered,
        urls: { product: await open(urls.product), legacy: await open(urls.legacy) },
        become(impairments) {
          delayMs = impairments.delayMs ?? 0;
          proxy.impair({ up: impairments, down: impairments });
          delivered.length = 0;
        },
      };
    }),
  );
  return {
    lanes,
    async take() {
      child.send({ kind: "take" });
      return (await next(child, "taken")).calls;
    },
    async close() {
      for (const front of fronts) front.close().closeAllConnections();
      for (const { proxy } of proxies) proxy.close();
      child.kill("SIGKILL");
      await relay.stop("SIGKILL");
    },
  };
}

async function openProxy(relayPort: number, seed: number) {
  const delivered: number[] = [];
  const proxy = await NetemProxy.open({
    listen: { address: HOST, port: 0 },
    target: { address: HOST, port: relayPort },
    seed,
    onDelivered: () => void delivered.push(performance.now()),
  });
  return { proxy, delivered };
}

const HOP_HEADERS = ["connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host"];

/** Passes requests on, late by the network's delay each way, and says where they came from, as a CDN does. */
function createFront(target: string, region: string, delayMs: () => number): Server {
  return createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const pass = async () => {
      const body = await buffer(request);
      await sleep(delayMs());
      const headers = new Headers({ "x-region": region });
      for (const [name, value] of Object.entries(request.headers)) {
        if (typeof value === "string" && !HOP_HEADERS.includes(name)) headers.set(name, value);
      }
      const init = { method: request.method ?? "GET", headers, ...(body.length > 0 && { body }) };
      const answer = await fetch(target + request.url, init);
      const bytes = Buffer.from(await answer.arrayBuffer());
      await sleep(delayMs());
      for (const [name, value] of answer.headers) if (!HOP_HEADERS.includes(name)) response.setHeader(name, value);
      response.writeHead(answer.status).end(bytes);
    };
    pass().catch(() => response.destroy());
  });
}

async function next<K extends ServerReport["kind"]>(child: ChildProcess, kind: K) {
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the server ended with code ${code}`);
  });
  ended.catch(() => undefined); // later ends are nobody's business
  for (;;) {
    const [message] = (await Promise.race([once(child, "message"), ended])) as [ServerReport];
    if (message.kind === kind) return message as Extract<ServerReport, { kind: K }>;
  }
}
