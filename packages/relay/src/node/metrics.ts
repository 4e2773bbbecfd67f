/** The relay's numbers for Prometheus, and its health, on a TCP port of their own. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Cache } from "./cache.ts";
import type { WorkerReport } from "./protocol.ts";

/** What the endpoint asks of the relay. */
export interface MetricsSource {
  /** Every worker's report, those of workers that ended included. */
  reports(): Promise<readonly WorkerReport[]>;
  /** Workers that run. */
  readonly workers: number;
  /** Packets are being forwarded by every worker. */
  readonly ready: boolean;
  readonly draining: boolean;
  readonly cache: Cache | undefined;
}

/** Serves `/metrics`, `/healthz` and `/readyz` until closed. */
export async function serveMetrics(source: MetricsSource, host: string, port: number): Promise<MetricsServer> {
  const { registry, update } = createRegistry(source);
  const server = createServer(async (request, response) => {
    const answer = (status: number, text: string, type = "text/plain; charset=utf-8") =>
      response.writeHead(status, { "content-type": type }).end(text);
    switch (request.url?.split("?")[0]) {
      case "/metrics":
        try {
          update(await source.reports());
          answer(200, await registry.metrics(), registry.contentType);
        } catch (error) {
          answer(500, `${error}\n`);
        }
        break;
      case "/healthz":
        answer(200, "ok\n");
        break;
      case "/readyz":
        if (source.draining) answer(503, "draining\n");
        else answer(source.ready ? 200 : 503, source.ready ? "ok\n" : "starting\n");
        break;
      default:
        answer(404, "not found\n");
    }
  });
  server.headersTimeout = 5000;
  server.requestTimeout = 5000;
  server.maxConnections = 64;
  server.listen(port, host);
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, close: () => closeServer(server) };
}

/** A running endpoint. */
export interface MetricsServer {
  readonly port: number;
  close(): void;
}

function closeServer(server: Server): void {
  server.close();
  server.closeAllConnections();
}

function createRegistry(source: MetricsSource): {
  registry: Registry;
  update: (reports: readonly WorkerReport[]) => void;
} {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers: [registry] });
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers: [registry] });
  const received = counter("relay_rx_packets", "Packets received", ["direction"]);
  const sent = counter("relay_tx_packets", "Packets forwarded", ["direction"]);
  const dropped = counter("relay_drop_packets", "Packets dropped", ["reason"]);
  const recovered = counter("relay_recover_total", "Flows of unknown addresses found", ["via"]);
  const copies = counter("relay_probation_copies_total", "Downlink packets copied to an address on probation");
  const sendErrors = counter("relay_send_errors_total", "Datagrams that the kernel would not take");
  const evicted = counter("relay_flow_evicted_total", "Flows that had to go for want of room");
  const redis = counter("relay_redis_total", "Commands to Redis", ["outcome"]);
  const confirmed = gauge("relay_flow_confirmed", "Flows that a transceiver has answered, the fullest worker's");
  const tentative = gauge("relay_flow_tentative", "Flows that no transceiver has answered yet");
  const lag = gauge("event_loop_lag_seconds", "99th percentile since the last scrape, the slowest worker's");
  const workers = gauge("relay_workers", "Workers that run");
  const counters = [received, sent, dropped, recovered, copies, sendErrors, evicted, redis];
  const update = (reports: readonly WorkerReport[]): void => {
    for (const metric of counters) metric.reset();
    for (const { stats, sendErrors: errors } of reports) {
      received.inc({ direction: "up" }, stats.rxUp);
      received.inc({ direction: "down" }, stats.rxDown);
      sent.inc({ direction: "up" }, stats.txUp);
      sent.inc({ direction: "down" }, stats.txDown);
      for (const [reason, count] of Object.entries(stats.drops)) dropped.inc({ reason }, count);
      for (const [via, count] of Object.entries(stats.recovered)) recovered.inc({ via }, count);
      copies.inc(stats.probationCopies);
      evicted.inc(stats.flowsEvicted);
      sendErrors.inc(errors);
    }
    for (const [outcome, count] of Object.entries(source.cache?.counters ?? {})) redis.inc({ outcome }, count);
    workers.set(source.workers);
    confirmed.set(Math.max(0, ...reports.map((report) => report.confirmed)));
    tentative.set(reports.reduce((sum, report) => sum + report.tentative, 0));
    lag.set(Math.max(0, ...reports.map((report) => report.eventLoopLagMs)) / 1000);
  };
  return { registry, update };
}
