/**
 * A fleet on loopback: relays, transceivers and Redis as processes of their own, run by the `sluice` command, which can
 * be killed, paused and started again while calls go on.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { formatKeys, generateKey, type KeyConfig } from "@sluice/routing";
import { createClient } from "redis";

/** What every process of a fleet here listens on. */
export const HOST = "127.0.0.1";

/** The key that clients of a fleet's transceivers send. */
export const API_KEY = "sk-fleet-on-loopback";

const MAIN = join(import.meta.dirname, "..", "cli", "src", "main.ts");
const START_MS = 30_000;

/** A process that comes back where it was. */
export interface Restartable {
  readonly child: ChildProcess;
  /** What it printed last, up to 100,000 characters, since it was started. */
  output(): string;
  /** Sends a signal. */
  signal(signal: NodeJS.Signals): void;
  /** Ends it by `signal` (default SIGTERM); its exit code, `null` when the signal itself ended it. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
  /** Starts it again, with the same flags and ports, and other keys where given; resolves when it says that it is ready. */
  start(keys?: readonly KeyConfig[]): Promise<void>;
}

/** How {@link startRelay} runs `sluice relay`. */
export interface RelayProcessOptions {
  readonly keys: readonly KeyConfig[];
  /** Such as `["0.1=127.0.0.1:4000"]`. */
  readonly transceivers?: readonly string[];
  readonly redis?: string;
  readonly workers?: number;
  /** Seconds that it forwards on after SIGTERM. */
  readonly grace?: number;
}

/** A running relay. */
export interface RelayProcess extends Restartable {
  /** Where clients send to. */
  readonly port: number;
  /** Such as `http://127.0.0.1:9464`: metrics and health. */
  readonly metricsUrl: string;
}

/** How {@link startTransceiver} runs `sluice transceiver`. */
export interface TransceiverProcessOptions {
  readonly keys: readonly KeyConfig[];
  readonly serverId: string;
  /** What its answers tell clients to send to. */
  readonly relays: readonly string[];
  readonly redis?: string;
  /** Where relays are configured to find it; default: any. */
  readonly udpPort?: number;
  /** Seconds that calls may go on after SIGTERM. */
  readonly grace?: number;
  /** More flags, such as those of engines. */
  readonly args?: readonly string[];
}

/** A running transceiver. */
export interface TransceiverProcess extends Restartable {
  readonly url: string;
  readonly udpPort: number;
}

/** A running Redis. */
export interface RedisProcess extends Restartable {
  readonly url: string;
  /** Forgets everything; only before it was stopped. */
  flush(): Promise<void>;
  /** Puts what nobody expects under every key that relays and transceivers use; only before it was stopped. */
  poison(): Promise<void>;
}

/** A new key ring of `count` keys, the one that mints first. */
export function newKeys(count = 1): KeyConfig[] {
  return Array.from({ length: count }, (_, rotation) => generateKey(randomBytes, rotation));
}

/** Starts a relay and waits until it forwards. */
export async function startRelay(options: RelayProcessOptions): Promise<RelayProcess> {
  const { keys, transceivers = [], redis, workers = 1, grace = 2 } = options;
  const [port, metricsPort] = [await freeUdpPort(), await freeTcpPort()];
  const flags = ["relay", `--host=${HOST}`, `--port=${port}`, `--workers=${workers}`, `--grace=${grace}`];
  flags.push(`--metrics=${HOST}:${metricsPort}`);
  if (transceivers.length > 0) flags.push(`--transceivers=${transceivers.join(",")}`);
  if (redis !== undefined) flags.push(`--redis=${redis}`);
  const program = await runSluice(flags, { SLUICE_KEYS: formatKeys(keys) }, /metrics {4}/);
  return Object.assign(program, { port, metricsUrl: `http://${HOST}:${metricsPort}` });
}

/** Starts a transceiver and waits until it answers. */
export async function startTransceiver(options: TransceiverProcessOptions): Promise<TransceiverProcess> {
  const { keys, serverId, relays, redis, grace = 30, args = [] } = options;
  const udpPort = options.udpPort ?? (await freeUdpPort());
  const port = await freeTcpPort();
  const flags = ["transceiver", `--host=${HOST}`, `--port=${port}`, `--udp-port=${udpPort}`, "--log-level=warn"];
  flags.push(
    `--server-id=${serverId}`,
    `--relays=${relays.join(",")}`,
    `--relays-from=${HOST}`,
    `--grace=${grace}`,
    ...args,
  );
  if (redis !== undefined) flags.push(`--redis=${redis}`, `--register-as=${HOST}`);
  const environment = { SLUICE_KEYS: formatKeys(keys), SLUICE_API_KEY: API_KEY };
  const program = await runSluice(flags, environment, /media {6}/);
  return Object.assign(program, { url: `http://localhost:${port}`, udpPort });
}

/** Starts a Redis that keeps nothing on disk. */
export async function startRedis(): Promise<RedisProcess> {
  const port = await freeTcpPort();
  const url = `redis://${HOST}:${port}`;
  const flags = ["--port", `${port}`, "--bind", HOST, "--save", "", "--appendonly", "no"];
  const program = await run("redis-server", flags, {}, /Ready to accept connections/);
  const client = createClient({ url, socket: { reconnectStrategy: false } });
  client.on("error", () => {}); // it is there to be killed
  await client.connect();
  return Object.assign(program, {
    url,
    async flush() {
      await client.flushAll();
    },
    async poison() {
      for (const key of await client.keys("sluice:*")) {
        await client.del(key);
        if (key.startsWith("sluice:flow:")) await client.rPush(key, "wrong type");
        else await client.set(key, "wrong type");
      }
    },
  });
}

/** A balancer in front of the API of several transceivers. */
export interface Balancer {
  readonly url: string;
  close(): void;
}

/** Gives each TCP connection to the first of `ports` that takes it, as a load balancer does that prefers one. */
export async function startBalancer(ports: () => readonly number[]): Promise<Balancer> {
  const sockets = new Set<Socket>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    track(client);
    const dialNext = ([port, ...others]: readonly number[]) => {
      if (port === undefined) return client.resetAndDestroy();
      const upstream = dial(port, HOST);
      upstream.once("error", () => dialNext(others));
      upstream.once("connect", () => {
        upstream.removeAllListeners("error");
        track(upstream);
        upstream.on("close", () => client.destroy());
        client.on("close", () => upstream.destroy());
        client.pipe(upstream).pipe(client);
      });
    };
    dialNext(ports());
  });
  server.listen(0, HOST);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://localhost:${port}`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A UDP port that nobody has now. */
export async function freeUdpPort(): Promise<number> {
  const socket = createSocket("udp4");
  socket.bind(0, HOST);
  await once(socket, "listening");
  const { port } = socket.address();
  await new Promise<void>((closed) => socket.close(closed));
  return port;
}

/** A TCP port that nobody has now. */
export async function freeTcpPort(): Promise<number> {
  const server = createServer();
  server.listen(0, HOST);
  await once(server, "listening");
  const address = server.address();
  await new Promise<unknown>((closed) => server.close(closed));
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}

/** Waits until `isDone`, which may ask others; `limitMs` at most. */
export async function until(what: string, isDone: () => boolean | Promise<boolean>, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await isDone())) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(20);
  }
}

function runSluice(flags: readonly string[], environment: Readonly<Record<string, string>>, ready: RegExp) {
  return run(process.execPath, ["--conditions=sluice-source", MAIN, ...flags], environment, ready);
}

/** Runs a program until it prints `ready`. */
async function run(
  command: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  ready: RegExp,
): Promise<Restartable> {
  let printed = "";
  const launch = async (changes: Readonly<Record<string, string>>) => {
    const env = { ...process.env, ...environment, ...changes };
    const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    printed = "";
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const take = (chunk: Buffer) => {
      printed = (printed + chunk.toString()).slice(-100_000);
      if (ready.test(printed)) resolve();
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${args[1]} ${args[2]} ended with code ${code}:\n${printed}`)));
    const timer = setTimeout(() => reject(new Error(`${args[2]} was not ready in time:\n${printed}`)), START_MS);
    await promise.finally(() => clearTimeout(timer));
    return child;
  };
  let child = await launch({});
  return {
    get child() {
      return child;
    },
    output: () => printed,
    signal: (signal) => void child.kill(signal),
    async stop(signal = "SIGTERM") {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exited = once(child, "exit");
      child.kill(signal);
      if (signal === "SIGKILL" || signal === "SIGTERM") child.kill("SIGCONT"); // it may be paused
      const [code] = await exited;
      return code as number | null;
    },
    async start(keys) {
      child = await launch(keys ? { SLUICE_KEYS: formatKeys(keys) } : {});
    },
  };
}
