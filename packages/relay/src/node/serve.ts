/** `sluice relay` as a function: workers, directory, cache and metrics, until told to stop. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createKeyRing, type KeyConfig } from "@sluice/routing";
import type { UdpMode } from "@sluice/udp";
import type { DirectoryOptions } from "../directory.ts";
import type { FlowTableOptions } from "../flow-table.ts";
import type { MetricsServer } from "./metrics.ts";
import type { WorkerReport } from "./protocol.ts";
import { Workers } from "./workers.ts";

/** Settings of a relay. */
export interface RelayOptions {
  /** Numeric address to listen on. Default `0.0.0.0`. */
  readonly host?: string | undefined;
  /** UDP port; 0 takes any. Default 3478. */
  readonly port?: number | undefined;
  /**
   * UDP port towards transceivers, of the first worker; the others take those after it. It stays the same over a restart,
   * so that transceivers reach clients before those are heard again. Default: the port after `port`; 0 takes any.
   */
  readonly upstreamPort?: number | undefined;
  /** One per core that may be spent on it. Default 1: in the main thread. */
  readonly workers?: number | undefined;
  /** The fleet's keys; the relay only reads with them. */
  readonly keys: readonly KeyConfig[];
  /** This relay, the transceivers that are configured, and the other relays. */
  readonly directory: DirectoryOptions;
  /** `redis://...`: registered transceivers, and an earlier recovery after a restart. Default: none. */
  readonly redis?: string | undefined;
  /** Where `/metrics`, `/healthz` and `/readyz` are served. Default: nowhere. */
  readonly metrics?: { readonly host: string; readonly port: number } | undefined;
  /** Packets a second, and at once, of a source outside its calls. */
  readonly admission?: { readonly packetsPerSecond?: number; readonly burst?: number } | undefined;
  /** Capacity of the flow table of each worker. */
  readonly flows?: FlowTableOptions | undefined;
  /** Signs the hop to transceivers. Default false. */
  readonly hopTag?: boolean | undefined;
  /** How long {@link RelayServer.drain} waits for the last call. Default 120 s: any relay can carry a call on. */
  readonly drainMs?: number | undefined;
  /** Whether datagrams move in batches. Default `auto`: where the native addon was built. */
  readonly udp?: UdpMode | undefined;
  /** Gets one line for each event that an operator wants to know of. */
  readonly log?: ((line: string) => void) | undefined;
}

/** A running relay. */
export interface RelayServer {
  readonly port: number;
  /** Whether its workers move datagrams in batches. */
  readonly batches: boolean;
  readonly metricsPort: number | undefined;
  /** The numbers of every worker so far. */
  reports(): Promise<readonly WorkerReport[]>;
  /** Says "not ready", forwards until nobody has sent for 5 s or the time is up, then closes. */
  drain(): Promise<void>;
  /** Closes at once. */
  close(): Promise<void>;
  /** Ends one of several workers as a crash would; another takes its place. For drills. */
  killWorker(index: number): Promise<void>;
}

const POLL_MS = 1000;
/** How long a start waits for Redis, so that registered transceivers are known from the first packet on. */
const CONNECT_MS = 500;
const QUIET_MS = 5000;

/** Runs a relay until `signal` aborts or it is closed. Rejects when it cannot listen. */
export async function serveRelay(options: RelayOptions, signal?: AbortSignal): Promise<RelayServer> {
  const { keys, directory, redis, drainMs = 120_000, log = () => undefined } = options;
  const { host = "0.0.0.0", port = 3478, workers: count = 1, flows, hopTag = false } = options;
  const ring = createKeyRing(keys);
  // What is not configured is not loaded: the client of Redis alone takes 20 MB.
  const cache =
    redis === undefined
      ? undefined
      : new (await import("./cache.ts")).Cache({ url: redis, ring, cluster: directory.cluster, log });
  const admission = { ...options.admission, seed: randomBytes(4).readUInt32LE() };
  const reusePort = count > 1;
  const upstreamPort = options.upstreamPort ?? (port === 0 || port + count > 65_535 ? 0 : port + 1);
  const workers = new Workers({
    setup: {
      host,
      port,
      upstreamPort,
      reusePort,
      keys,
      directory,
      admission,
      flows,
      hopTag,
      cache: cache !== undefined,
      udp: options.udp,
    },
    count,
    log,
    onMessage: async (message, reply) => {
      if (message.kind === "remember") await cache?.remember(message.address, message.port, message.serverId);
      if (message.kind !== "lookUp") return;
      const { lookup } = message;
      reply({ kind: "found", lookup, serverId: await cache?.lookUp(lookup.address, lookup.port) });
    },
  });
  // Whoever knows no transceiver sends nothing on: until Redis was read, that is who has none configured.
  const configured = directory.transceivers?.length ?? 0;
  const state = { draining: false, closed: false, knows: cache === undefined || configured > 0 };
  const poll = async () => {
    const now = performance.timeOrigin + performance.now();
    const transceivers = await cache?.registrations(now);
    state.knows ||= transceivers !== undefined;
    workers.broadcast(transceivers ? { kind: "registrations", transceivers } : { kind: "registryLost" });
  };
  const opened = cache?.open(CONNECT_MS);
  const polling = cache && setInterval(poll, POLL_MS);
  let metrics: MetricsServer | undefined;

  const close = async () => {
    if (state.closed) return;
    state.closed = true;
    clearInterval(polling);
    metrics?.close();
    await workers.close();
    cache?.close();
  };
  try {
    await workers.open();
    const source = {
      reports: () => workers.reports(),
      get workers() {
        return workers.listening;
      },
      get ready() {
        return workers.listening === count && state.knows;
      },
      get draining() {
        return state.draining;
      },
      cache,
    };
    if (options.metrics) {
      const { serveMetrics } = await import("./metrics.ts");
      metrics = await serveMetrics(source, options.metrics.host, options.metrics.port);
    }
  } catch (error) {
    await close();
    throw error;
  }
  signal?.addEventListener("abort", () => void close(), { once: true });
  if (signal?.aborted) await close();
  await opened;
  if (cache) await poll();

  const received = async () => (await workers.reports()).reduce((sum, { stats }) => sum + stats.rxUp, 0);
  return {
    port: workers.port,
    batches: workers.batches,
    metricsPort: metrics?.port,
    reports: () => workers.reports(),
    close,
    killWorker: (index) => workers.kill(index),
    async drain() {
      state.draining = true;
      const ends = performance.now() + drainMs;
      for (let before = await received(); !state.closed && performance.now() < ends; ) {
        await sleep(Math.min(QUIET_MS, Math.max(0, ends - performance.now())), undefined, { ref: false });
        const after = await received();
        if (after === before) break;
        before = after;
      }
      await close();
    },
  };
}
