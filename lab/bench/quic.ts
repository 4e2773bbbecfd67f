/**
 * What QUIC costs: `quinn-proto` behind N-API, server and client in one process, an in-memory pipe between them, no sockets.
 * Frames of 160 octets, 50 a second on each of `--connections 50` connections (`_one`: on a single one, so that every
 * datagram crosses into the engine by itself), `--frames 50000` of each kind. `<kind>_server_us` and `<kind>_client_us` are
 * what a frame costs either side in processor time, its acknowledgement included: the best of `--rounds 3`, for neighbours on
 * the machine only ever add. Kinds: datagrams, one stream, a stream per frame; `down` from the server, `up` to it. Also the handshake, and
 * memory per connection with both its ends.
 */

import { loadQuicEngine } from "../../packages/transceiver/src/node/quic-engine.ts";
import type {
  QuicConnection,
  QuicEndpoint,
  QuicEngine,
  QuicStream,
} from "../../packages/transceiver/src/webtransport/quic-engine.ts";
import { createCountingCids, createQuicIdentity } from "../../packages/transceiver/src/webtransport/quic-pair.ts";
import type { BenchOptions, BenchResult } from "./run.ts";

const FRAME = Buffer.alloc(160, 7);
const FRAME_MS = 20;
const SERVER = { address: "198.51.100.7", port: 3478 };
const CLIENT = { address: "203.0.113.9", port: 50_000 };
const KINDS = ["datagram", "stream", "stream_per_frame"] as const;
type Kind = (typeof KINDS)[number];
type Direction = "down" | "up";

/** Runs the bench. */
export async function run({ flags }: BenchOptions): Promise<BenchResult> {
  const { engine, reason = "" } = { reason: undefined, ...loadQuicEngine() };
  if (!engine) throw new Error(reason);
  const [frames, rounds] = [Number(flags.frames ?? 50_000), Number(flags.rounds ?? 3)];
  const many = Number(flags.connections ?? 50);
  const metrics: Record<string, number> = {};
  // The system counts processor time by ticks and gives each to one of the sides, so only sides of one round go together.
  const keepBest = (name: string, { serverUs, clientUs }: { serverUs: number; clientUs: number }) => {
    const best = (metrics[`${name}_server_us`] ?? Number.POSITIVE_INFINITY) + (metrics[`${name}_client_us`] ?? 0);
    if (serverUs + clientUs >= best) return;
    metrics[`${name}_server_us`] = serverUs;
    metrics[`${name}_client_us`] = clientUs;
  };
  measureHandshake(engine, 200); // warms up
  for (let round = 0; round < rounds; round++) {
    keepBest("handshake", measureHandshake(engine, 1000));
    for (const [suffix, connections] of [
      ["", many],
      ["_one", 1],
    ] as const)
      for (const kind of KINDS)
        for (const direction of ["down", "up"] as const)
          keepBest(`${kind}_${direction}${suffix}`, measureFrames(engine, kind, direction, connections, frames));
  }
  metrics.kib_per_connection_pair = measureMemory(engine, 2000);
  for (const [name, value] of Object.entries(metrics)) console.log(`${name}: ${value.toFixed(2)}`);
  return { metrics, rows: [{ engine: engine.name, connections: many, frames, rounds }] };
}

/** Both ends, and how long each worked. */
class Pipe {
  now = 0;
  serverMs = 0;
  clientMs = 0;
  readonly server: QuicEndpoint;
  readonly client: QuicEndpoint;
  readonly onServer = new Map<QuicConnection, QuicConnection>();
  /** Called with everything that ends up readable or arrives as a datagram. */
  received = 0;
  readonly #hash: Uint8Array;

  constructor(engine: QuicEngine, maxUnidirectionalStreams = 32) {
    const { identity, hash } = createQuicIdentity();
    this.#hash = hash;
    const transport = { maxUnidirectionalStreams, idleTimeoutMs: 600_000 };
    this.server = engine.createEndpoint({ connectionIds: createCountingCids(17), transport, server: { identity } });
    this.client = engine.createEndpoint({ connectionIds: createCountingCids(8, 1 << 30), transport });
  }

  connect(count: number): QuicConnection[] {
    const connections: QuicConnection[] = [];
    this.clientMs += timed(() => {
      for (let i = 0; i < count; i++)
        connections.push(this.client.connect(this.now, { to: SERVER, certificateHashes: [this.#hash] }));
    });
    for (let i = 0; i < 5; i++) this.exchange();
    return connections;
  }

  /** Carries what is due, once each way. */
  exchange(): void {
    this.serverMs += timed(() => this.server.handleTimeout(this.now));
    this.clientMs += timed(() => this.client.handleTimeout(this.now));
    this.serverMs += timed(() => {
      this.#down = this.server.drainTransmits(this.now).map(({ packet }) => ({ packet, from: SERVER }));
    });
    this.clientMs += timed(() => {
      this.client.handleDatagrams(this.now, this.#down);
      this.#consume(this.client);
      this.#up = this.client.drainTransmits(this.now).map(({ packet }) => ({ packet, from: CLIENT }));
    });
    this.serverMs += timed(() => {
      this.server.handleDatagrams(this.now, this.#up);
      this.#consume(this.server);
    });
  }

  #down: { packet: Uint8Array; from: typeof SERVER }[] = [];
  #up: { packet: Uint8Array; from: typeof SERVER }[] = [];

  #consume(endpoint: QuicEndpoint): void {
    for (let event = endpoint.nextEvent(); event; event = endpoint.nextEvent())
      if (event.kind === "datagram") this.received += event.data.length;
      else if (event.kind === "streamReadable")
        this.received += endpoint.read(event.connection, event.stream)?.data.length ?? 0;
  }
}

function measureHandshake(engine: QuicEngine, count: number): { serverUs: number; clientUs: number } {
  const pipe = new Pipe(engine);
  pipe.connect(count);
  const { connections, handshaking } = pipe.server.stats();
  if (connections !== count || handshaking !== 0) throw new Error(`${connections} of ${count} connected`);
  return { serverUs: (pipe.serverMs * 1000) / count, clientUs: (pipe.clientMs * 1000) / count };
}

function measureFrames(
  engine: QuicEngine,
  kind: Kind,
  direction: Direction,
  count: number,
  frames: number,
): { serverUs: number; clientUs: number } {
  const pipe = new Pipe(engine, 1000);
  const clients = pipe.connect(count);
  const sender = direction === "down" ? pipe.server : pipe.client;
  // The server numbers its connections as they came.
  const connections = direction === "down" ? clients.map((_, i) => (i + 1) as QuicConnection) : clients;
  const streams = new Map<QuicConnection, QuicStream>();
  if (kind === "stream")
    for (const connection of connections) streams.set(connection, sender.openStream(connection, "unidirectional")!);
  const send = (connection: QuicConnection) => {
    if (kind === "datagram") return sender.sendDatagram(connection, FRAME) === "queued";
    const stream = streams.get(connection) ?? sender.openStream(connection, "unidirectional")!;
    const taken = sender.write(connection, stream, FRAME);
    return taken === FRAME.length && (kind === "stream" || sender.finish(connection, stream));
  };
  const work = () => {
    for (const connection of connections) if (!send(connection)) throw new Error(`${kind} ${direction} is stuck`);
  };
  const ticks = Math.ceil(frames / count);
  const warmUp = Math.ceil(ticks / 10);
  for (let tick = -warmUp; tick < ticks; tick++) {
    if (tick === 0) pipe.serverMs = pipe.clientMs = pipe.received = 0;
    pipe.now += FRAME_MS;
    if (direction === "down") pipe.serverMs += timed(work);
    else pipe.clientMs += timed(work);
    pipe.exchange();
  }
  const sent = ticks * count;
  // What is sent up arrives in the same exchange, what is sent down too.
  if (pipe.received !== sent * FRAME.length) throw new Error(`${pipe.received} of ${sent * FRAME.length} octets came`);
  return { serverUs: (pipe.serverMs * 1000) / sent, clientUs: (pipe.clientMs * 1000) / sent };
}

/** KiB of resident memory that a connection adds, both ends together, quiet after one frame each way. */
function measureMemory(engine: QuicEngine, count: number): number {
  const pipe = new Pipe(engine);
  pipe.connect(200); // what is allocated once
  const before = process.memoryUsage.rss();
  for (let i = 0; i < count; i += 50) {
    pipe.connect(50);
    pipe.now += 100;
  }
  return (process.memoryUsage.rss() - before) / 1024 / count;
}

/** Milliseconds of processor time of this thread: others on the machine do not count. */
function timed(work: () => void): number {
  const before = process.threadCpuUsage();
  work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000 - TIMING_MS;
}

/** What looking at the clock adds to each measurement. */
const TIMING_MS = (() => {
  const looks = 20_000;
  let total = 0;
  for (let i = 0; i < looks; i++) {
    const before = process.threadCpuUsage();
    const { user, system } = process.threadCpuUsage(before);
    total += user + system;
  }
  return total / looks / 1000;
})();
