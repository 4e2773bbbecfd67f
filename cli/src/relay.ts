/** `sluice relay`: one public UDP address for a fleet. */
import { serveRelay } from "@sluice/relay";
import type { RelaySettings } from "./commands.ts";
import { UsageError } from "./flags.ts";
import type { Running } from "./running.ts";

/** Starts a relay; throws {@link UsageError} for what the user can mend. */
export async function startRelay(settings: RelaySettings, version: string): Promise<Running> {
  if (settings.transceivers.length === 0 && settings.redis === undefined) {
    throw new UsageError("a relay needs somebody to send to: --transceivers, or --redis where they register");
  }
  const relay = await serveRelay({
    host: settings.host,
    port: settings.port,
    upstreamPort: settings["upstream-port"],
    workers: settings.workers,
    keys: settings.keys,
    directory: {
      cluster: settings.cluster,
      relayNumber: settings.number,
      transceivers: settings.transceivers,
      relays: settings.peers,
    },
    redis: settings.redis,
    metrics: { host: settings.metrics.address, port: settings.metrics.port },
    udp: settings.udp,
    hopTag: settings["hop-tag"],
    drainMs: settings.grace * 1000,
    log: (line) => process.stderr.write(`${line}\n`),
  }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "EADDRINUSE") throw cause;
    throw new UsageError(`${cause.message}: stop that program, or choose another --port or --metrics`, { cause });
  });
  const workers = `${settings.workers} ${settings.workers === 1 ? "worker" : "workers"}`;
  const lines = [
    `sluice ${version}, relay of cluster ${settings.cluster}`,
    "",
    `  clients    udp ${settings.host}:${relay.port}, ${workers}, ${relay.batches ? "in batches" : "one by one"}`,
    `  metrics    http://${settings.metrics.address}:${relay.metricsPort ?? settings.metrics.port}/metrics`,
  ];
  return { greeting: `${lines.join("\n")}\n`, stop: () => relay.drain() };
}
