/**
 * How much one relay worker forwards, beside nginx's stream proxy and the barest Node forwarder: 120-byte packets of 500
 * flows, delivered packets counted, the three alternating. Needs a C compiler for the load, and nginx with its stream
 * module (Debian: apt-get install nginx libnginx-mod-stream). `--coturn` adds coturn's TURN relay (Debian: coturn), and the
 * delay of each.
 */
import { type ChildProcess, execFile, execFileSync, fork, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import {
  createKeyRing,
  createServerId,
  decodeHop,
  encodeHop,
  formatBindingRequest,
  formatBindingSuccess,
  generateKey,
  icePassword,
  mintUfrag,
  parseStun,
} from "@sluice/routing";
import { hasBatches } from "@sluice/udp";
import type { BenchOptions, BenchResult } from "./run.ts";

const HOST = "127.0.0.1";
const FLOWS = 500;
const SIZE = 120;
const FIRST_PORT = 21_000;
const SINK_PORT = 20_999;
const RUN_MS = 2000;
/** A shared machine loses a packet now and then whoever forwards: this much still counts as none. */
const TOLERATED_LOSS = 0.001;
const LADDER = [
  15_000, 20_000, 25_000, 30_000, 35_000, 40_000, 45_000, 50_000, 55_000, 60_000, 70_000, 80_000, 100_000, 120_000,
  140_000, 160_000, 180_000, 200_000, 240_000,
];

interface Load {
  readonly sent: number;
  readonly received: number;
  readonly p50_us: number;
  readonly p99_us: number;
  readonly max_us: number;
}

/** `relay` as it runs here, in batches where the addon was built; `relay_dgram` always without it. */
type Name = "relay" | "relay_dgram" | "nginx" | "dgram" | "coturn";

interface Subject {
  readonly name: Name;
  readonly port: number;
  readonly process: ChildProcess;
  /** TURN channel that its packets go through. */
  readonly channel?: number;
  /** Makes it ready for load after a pause: flows idle out. */
  readonly prepare: () => Promise<void>;
}

/** Runs the bench; flags `rounds`, default 3, and `from`, packets a second that the search begins with, default the least. */
export async function run({ flags }: BenchOptions): Promise<BenchResult> {
  const rounds = Number(flags.rounds ?? 3);
  const from = Number(flags.from ?? 0);
  const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
  const load = compileLoad(folder);
  const subjects: Subject[] = [];
  try {
    subjects.push(await startRelay("relay", 20_001));
    if (hasBatches()) subjects.push(await startRelay("relay_dgram", 20_004));
    subjects.push(await startNginx(folder, 20_002), await startDgram(20_003));
    const withDelays = flags.coturn === "true";
    if (withDelays) subjects.push(await startCoturn(folder, 20_005));
    const rows: Record<string, number | string>[] = [];
    for (const subject of subjects) {
      await subject.prepare();
      await load(subject.port, 10_000, 1000, subject.channel); // the first run after a start is no measure
    }
    const relay = subjects[0]!;
    const rssBefore = rssOf(relay.process);
    for (let round = 1; round <= rounds; round++)
      for (const subject of subjects) {
        await subject.prepare();
        const pps = await capacity(subject, load, from);
        rows.push({ round, subject: subject.name, pps });
        console.error(`round ${round}: ${subject.name} ${pps} packets/s`);
      }
    const costs = new Map<string, number>();
    for (const subject of subjects) {
      await subject.prepare();
      costs.set(subject.name, await cpuPerPacket(subject, load));
    }
    const direct = await load(SINK_PORT, 20_000, 5000);
    await relay.prepare();
    const through = await load(relay.port, 20_000, 10_000);
    rows.push({ subject: "direct at 20k/s", ...direct }, { subject: "relay at 20k/s", ...through });
    if (withDelays)
      for (const { name, port, channel, prepare } of subjects.slice(1)) {
        await prepare();
        rows.push({ subject: `${name} at 20k/s`, ...(await load(port, 20_000, 4000, channel)) });
      }
    const median = (name: string) => {
      const found = rows.flatMap((row) => (row.subject === name && typeof row.pps === "number" ? [row.pps] : []));
      return found.sort((a, b) => a - b)[Math.floor(found.length / 2)] ?? 0;
    };
    return {
      metrics: {
        batches: hasBatches() ? 1 : 0,
        relay_pps: median("relay"),
        relay_pps_dgram: median(hasBatches() ? "relay_dgram" : "relay"),
        nginx_pps: median("nginx"),
        dgram_pps: median("dgram"),
        added_ms_p50: Math.max(0, through.p50_us - direct.p50_us) / 1000,
        added_ms_p99: Math.max(0, through.p99_us - direct.p50_us) / 1000,
        relay_cpu_us: costs.get("relay")!,
        relay_dgram_cpu_us: costs.get(hasBatches() ? "relay_dgram" : "relay")!,
        nginx_cpu_us: costs.get("nginx")!,
        dgram_cpu_us: costs.get("dgram")!,
        ...(withDelays ? { coturn_pps: median("coturn"), coturn_cpu_us: costs.get("coturn")! } : {}),
        lost_at_20k: through.sent - through.received,
        rss_mb: rssOf(relay.process),
        rss_growth_mb: rssOf(relay.process) - rssBefore,
      },
      rows,
    };
  } finally {
    for (const { process } of subjects) process.kill("SIGKILL");
  }
}

/** Microseconds of processor time, user and system, for each packet delivered at 10,000/s: steadier than a rate. */
async function cpuPerPacket({ port, process, channel }: Subject, load: LoadRunner): Promise<number> {
  const before = cpuMicroseconds(process);
  const { received } = await load(port, 10_000, 4000, channel);
  return (cpuMicroseconds(process) - before) / received;
}

function cpuMicroseconds({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000; // ticks of 10 ms
}

type LoadRunner = (port: number, pps: number, milliseconds: number, channel?: number) => Promise<Load>;

function compileLoad(folder: string): LoadRunner {
  const program = join(folder, "load");
  try {
    execFileSync("cc", ["-O2", "-o", program, join(import.meta.dirname, "relay/load.c")], { stdio: ["ignore", 2, 2] });
  } catch (cause) {
    throw new Error("the relay bench needs a C compiler (Debian: apt-get install gcc libc6-dev)", { cause });
  }
  return async (port, pps, milliseconds, channel) => {
    const turn = channel === undefined ? [] : [channel];
    const numbers = [port, SINK_PORT, FIRST_PORT, FLOWS, SIZE, pps, milliseconds, ...turn].map(String);
    const { stdout } = await promisify(execFile)(program, numbers);
    return JSON.parse(stdout);
  };
}

/** The highest rate of the ladder that comes through whole, from `from` upwards, or downwards where that is too much already. */
async function capacity(subject: Subject, load: LoadRunner, from: number): Promise<number> {
  const passes = async (pps: number) =>
    // Once more before it is called lost.
    (await attempt(subject, load, pps)) ?? (await attempt(subject, load, pps));
  let best = 0;
  for (const pps of LADDER.filter((rung) => rung >= from)) {
    const delivered = await passes(pps);
    if (delivered === undefined) break;
    best = delivered;
  }
  for (const pps of LADDER.filter((rung) => rung < from).reverse()) {
    if (best > 0) break;
    best = (await passes(pps)) ?? 0;
  }
  return best;
}

async function attempt({ name, port, channel }: Subject, load: LoadRunner, pps: number): Promise<number | undefined> {
  const result = await load(port, pps, RUN_MS, channel);
  const { sent, received } = result;
  console.error(`${name} at ${pps}: ${JSON.stringify(result)}`);
  // A generator that cannot keep the rate measures itself.
  if (sent < 0.98 * ((pps * RUN_MS) / 1000)) return undefined;
  return sent - received <= TOLERATED_LOSS * sent ? Math.round((received * 1000) / RUN_MS) : undefined;
}

async function startRelay(name: "relay" | "relay_dgram", port: number): Promise<Subject> {
  const key = generateKey(randomBytes);
  const serverId = createServerId(1, 1);
  const transceiver = { serverId, address: HOST, port: SINK_PORT };
  const options = {
    keys: [{ ...key, secret: Buffer.from(key.secret).toString("hex") }],
    directory: { cluster: 1, transceivers: [transceiver] },
    admission: { packetsPerSecond: 100_000, burst: 100_000 }, // all flows of this bench come from one address
    udp: name === "relay" ? "auto" : "dgram",
  };
  const prepare = () => openFlows(port, createKeyRing([key]), serverId);
  return { ...(await startNode(name, port, JSON.stringify(options))), prepare };
}

async function startDgram(port: number): Promise<Subject> {
  return startNode("dgram", port, "{}");
}

async function startNode(name: Name, port: number, options: string): Promise<Subject> {
  const child = fork(join(import.meta.dirname, "relay/subject.ts"), [name, `${port}`, `${SINK_PORT}`, options], {
    execArgv: ["--conditions=sluice-source"],
    stdio: ["ignore", 2, 2, "ipc"],
  });
  await once(child, "message");
  return { name, port, process: child, prepare: async () => undefined };
}

async function startNginx(folder: string, port: number): Promise<Subject> {
  const modulePath = "/usr/lib/nginx/modules/ngx_stream_module.so";
  const loading = existsSync(modulePath) ? `load_module ${modulePath};` : "";
  writeFileSync(
    join(folder, "nginx.conf"),
    `${loading} daemon off; master_process off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
     events { worker_connections 8192; }
     stream { server { listen ${HOST}:${port} udp rcvbuf=4m; proxy_pass ${HOST}:${SINK_PORT}; proxy_timeout 600s; } }`,
  );
  const child = spawn("nginx", ["-p", folder, "-c", join(folder, "nginx.conf")], { stdio: ["ignore", 2, 2] });
  const failed = once(child, "error").then(([cause]) => {
    throw new Error("the relay bench needs nginx (Debian: apt-get install nginx libnginx-mod-stream)", { cause });
  });
  await Promise.race([failed, sleep(500)]);
  if (child.exitCode !== null) throw new Error(`nginx ended: ${readFileSync(join(folder, "error.log"), "utf8")}`);
  return { name: "nginx", port, process: child, prepare: async () => undefined };
}

/** A TURN relay of one thread for this machine alone, with an allocation and a channel for each flow. */
async function startCoturn(folder: string, port: number): Promise<Subject> {
  const file = join(folder, "turnserver.conf");
  writeFileSync(
    file,
    `listening-ip=${HOST}\nrelay-ip=${HOST}\nlistening-port=${port}\nmin-port=22000\nmax-port=22999\nno-auth\nno-tcp\nno-tls\nno-dtls
no-cli\ncli-password=${randomBytes(12).toString("hex")}\nallow-loopback-peers\nrelay-threads=1\nrealm=lab\nno-stdout-log\nlog-file=${folder}/turn.log
simple-log\npidfile=${folder}/turn.pid\nuserdb=${folder}/turn.db\n`,
  );
  const child = spawn("turnserver", ["-c", file], { stdio: ["ignore", 2, 2] });
  const failed = once(child, "error").then(([cause]) => {
    throw new Error("--coturn needs coturn (Debian: apt-get install coturn)", { cause });
  });
  await Promise.race([failed, sleep(1500)]);
  if (child.exitCode !== null) throw new Error(`coturn ended with ${child.exitCode}`);
  let openedAt: number | undefined;
  const prepare = async () => {
    if (openedAt !== undefined && performance.now() - openedAt < CHANNEL_MS) return;
    await openChannels(port, openedAt === undefined ? ALLOCATE : REFRESH);
    openedAt = performance.now();
  };
  return { name: "coturn", port, process: child, prepare, channel: TURN_CHANNEL };
}

const TURN_CHANNEL = 0x4000;
/** Half of what an allocation and a channel last. */
const CHANNEL_MS = 300_000;
const ALLOCATE = 0x0003;
const REFRESH = 0x0004;

/** Allocates for every source port of the load, or once more, and binds the channel to the sink (RFC 8656 sections 7, 8 and 12). */
async function openChannels(port: number, allocate: typeof ALLOCATE | typeof REFRESH): Promise<void> {
  const cookie = 0x2112a442;
  const request = (type: number, ...attributes: Buffer[]) => {
    const body = Buffer.concat(attributes);
    const header = Buffer.alloc(8);
    header.writeUInt16BE(type, 0);
    header.writeUInt16BE(body.length, 2);
    header.writeUInt32BE(cookie, 4);
    return Buffer.concat([header, randomBytes(12), body]);
  };
  const attribute = (type: number, value: Buffer) => {
    const header = Buffer.alloc(4);
    header.writeUInt16BE(type, 0);
    header.writeUInt16BE(value.length, 2);
    return Buffer.concat([header, value]);
  };
  const peer = Buffer.alloc(8);
  peer[1] = 1; // IPv4
  peer.writeUInt16BE(SINK_PORT ^ (cookie >>> 16), 2);
  peer.writeUInt32BE((0x7f000001 ^ cookie) >>> 0, 4);
  const channel = Buffer.alloc(4);
  channel.writeUInt16BE(TURN_CHANNEL, 0);
  for (let flow = 0; flow < FLOWS; flow++) {
    const socket = createSocket("udp4").bind(FIRST_PORT + flow, HOST);
    await once(socket, "listening");
    for (const [type, ...attributes] of [
      [allocate, ...(allocate === ALLOCATE ? [attribute(0x0019, Buffer.of(17, 0, 0, 0))] : [])], // UDP
      [0x0009, attribute(0x000c, channel), attribute(0x0012, peer)], // ChannelBind
    ] as [number, ...Buffer[]][]) {
      socket.send(request(type, ...attributes), port, HOST);
      const [answer] = (await once(socket, "message", { signal: AbortSignal.timeout(2000) })) as [Buffer];
      if (answer.readUInt16BE(0) !== (type | 0x0100)) throw new Error(`coturn refused: ${answer.toString("hex")}`);
    }
    socket.close();
  }
}

/** Opens a flow for every source port of the load, as its client would, and answers as the transceiver would. */
async function openFlows(
  port: number,
  ring: ReturnType<typeof createKeyRing>,
  serverId: ReturnType<typeof createServerId>,
) {
  const transceiver = createSocket("udp4").bind(SINK_PORT, HOST);
  await once(transceiver, "listening");
  transceiver.on("message", (datagram, from) => {
    const hop = decodeHop(datagram)!;
    const { transactionId, serverUfrag } = parseStun(hop.payload)!;
    const password = icePassword(ring, serverUfrag!);
    const answer = formatBindingSuccess({ transactionId, address: HOST, port: hop.port, password });
    transceiver.send(encodeHop({ ...hop, unverified: false }, answer), from.port, from.address);
  });
  for (let flow = 0; flow < FLOWS; flow++) {
    const socket = createSocket("udp4").bind(FIRST_PORT + flow, HOST);
    await once(socket, "listening");
    const ufrag = mintUfrag(ring, { serverId, expiresAt: 4_000_000_000, random: randomBytes });
    const request = { transactionId: randomBytes(12), username: `${ufrag}:load`, password: icePassword(ring, ufrag) };
    socket.send(formatBindingRequest(request), port, HOST);
    await once(socket, "message", { signal: AbortSignal.timeout(2000) });
    socket.close();
  }
  transceiver.close();
  await once(transceiver, "close");
}

function rssOf({ pid }: ChildProcess): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) / 1024;
}
