/**
 * What strangers cost: garbage that looks like QUIC, and first packets of real handshakes from many addresses that never
 * go on, while calls go on beside them.
 *
 * `--garbage 200000`, `--initials 20000`, `--seconds 10` (the flood's length), `--calls 10`.
 */
import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { loadOpus, loadQuicEngine, type QuicEngine } from "@sluice/transceiver";
import { Caller, CallerEndpoint } from "../webtransport/caller.ts";
import type { FloodReport, FloodRequest } from "./quic-flood/server.ts";
import type { BenchOptions, BenchResult } from "./run.ts";

const MIB = 1024 * 1024;
const SOURCES = 100;
const FRAME_MS = 20;
/** Longer than a handshake may take. */
const SETTLE_MS = 12_000;

/** Runs the bench. */
export async function run({ flags }: BenchOptions): Promise<BenchResult> {
  const { engine } = loadQuicEngine();
  if (!engine) throw new Error("there is no QUIC engine here");
  const [garbage, initials] = [Number(flags.garbage ?? 200_000), Number(flags.initials ?? 20_000)];
  const [seconds, calls] = [Number(flags.seconds ?? 10), Number(flags.calls ?? 10)];
  const child = fork(join(import.meta.dirname, "quic-flood", "server.ts"), {
    execArgv: ["--conditions=sluice-source", "--expose-gc"],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const endpoint = await CallerEndpoint.open(engine);
  try {
    const { port, callers } = await call(child, endpoint, calls);
    const talk = new Talk(callers, await silentPacket());
    console.log(`making ${initials} first packets`);
    const firsts = makeInitials(engine, port, initials);
    await sleep(1000);
    const before = await look(child, true);
    console.log(`${garbage} garbage datagrams and ${initials} first packets within ${seconds} s`);
    const took = await flood(port, garbage, firsts, seconds);
    const during = await look(child, false);
    await sleep(SETTLE_MS);
    const frames = await talk.end();
    await sleep(500);
    const after = await look(child, true);
    const stats = callers.map((caller) => caller.stats());
    const sent = stats.reduce((sum, one) => sum + (one?.sentPackets ?? 0), 0);
    const lost = stats.reduce((sum, one) => sum + (one?.lostPackets ?? 0), 0);
    const { endpoint: quic, admission } = after.stats;
    return {
      metrics: {
        memory_growth_mib_peak: (during.peak - before.rss) / MIB,
        memory_growth_mib_after: (after.rss - before.rss) / MIB,
        live_packets_lost_percent: (lost / sent) * 100,
        live_frames_missing: frames - after.frames,
        live_calls_lost: callers.filter(({ closed }) => closed !== undefined).length,
      },
      rows: [{ garbage, initials, took_s: took / 1000, calls, frames, ...quic, ...admission }],
    };
  } finally {
    await endpoint.close();
    child.kill();
  }
}

async function ask<Kind extends FloodReport["kind"]>(child: ChildProcess, request: FloodRequest & { kind: Kind }) {
  child.send(request);
  const [report] = (await once(child, "message")) as [FloodReport];
  return report as Extract<FloodReport, { kind: Kind }>;
}

const look = (child: ChildProcess, collect: boolean) => ask(child, { kind: "look", collect });

async function call(child: ChildProcess, endpoint: CallerEndpoint, calls: number) {
  const callers: Caller[] = [];
  let port = 0;
  for (let n = 0; n < calls; n++) {
    const { answer } = await ask(child, { kind: "token" });
    port = Number(new URL(answer.url).port);
    callers.push(await Caller.connect(endpoint, { answer }));
  }
  return { port, callers };
}

async function silentPacket(): Promise<Uint8Array> {
  const encoder = await (await loadOpus()).createEncoder();
  const packet = encoder.encode(new Int16Array(480)).slice();
  encoder.free();
  return packet;
}

/** The calls that go on: a frame every 20 ms each. */
class Talk {
  readonly #timer: NodeJS.Timeout;
  readonly #callers: readonly Caller[];
  #sent = 0;

  constructor(callers: readonly Caller[], packet: Uint8Array) {
    this.#callers = callers;
    const began = performance.now();
    this.#timer = setInterval(() => {
      for (; began + this.#sent * FRAME_MS <= performance.now(); this.#sent++) {
        for (const caller of callers) caller.say({ time: this.#sent * 960, packet });
      }
    }, 5);
  }

  /** Frames that were said, by all. */
  async end(): Promise<number> {
    clearInterval(this.#timer);
    return this.#sent * this.#callers.length;
  }
}

/** First packets of handshakes, as a browser would begin them. */
function makeInitials(engine: QuicEngine, port: number, count: number): Uint8Array[] {
  const packets: Uint8Array[] = [];
  while (packets.length < count) {
    const endpoint = engine.createEndpoint({ connectionIds: { length: 8, mint: () => randomBytes(8) } });
    for (let n = 0; n < 500 && packets.length < count; n++) {
      endpoint.connect(performance.now(), { to: { address: "127.0.0.1", port }, certificateHashes: [] });
      packets.push(...endpoint.drainTransmits(performance.now()).map(({ packet }) => packet.slice()));
    }
  }
  return packets.slice(0, count);
}

async function flood(port: number, garbage: number, firsts: readonly Uint8Array[], seconds: number): Promise<number> {
  const sockets: Socket[] = [];
  for (let n = 0; n < SOURCES; n++) {
    const socket = createSocket("udp4");
    socket.bind(0, `127.0.1.${n + 1}`);
    await once(socket, "listening");
    socket.on("message", () => {}); // it hears what is answered, and does not care
    sockets.push(socket);
  }
  const began = performance.now();
  let [thrown, begun] = [0, 0];
  while (thrown < garbage || begun < firsts.length) {
    const share = Math.min(1, (performance.now() - began) / (seconds * 1000));
    for (; thrown < garbage * share; thrown++) {
      const packet = randomBytes(21 + (thrown % 1200));
      packet[0] = thrown % 2 === 0 ? 0x40 | (packet[0]! & 0x3f) : 0xc0 | (packet[0]! & 0x3f);
      if (thrown % 4 === 1) packet.writeUInt32BE(1, 1); // version 1: more of it is looked at
      sockets[thrown % SOURCES]!.send(packet, port, "127.0.0.1", () => {});
    }
    for (; begun < firsts.length * share; begun++) {
      sockets[(begun * 7) % SOURCES]!.send(firsts[begun]!, port, "127.0.0.1", () => {});
    }
    await sleep(1);
  }
  const took = performance.now() - began;
  for (const socket of sockets) socket.close();
  return took;
}
