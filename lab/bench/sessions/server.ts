/** The transceiver under load, in a process of its own: as `sluice start` runs it, with an agent of fixed speech. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Link, LinkListener, Pcm, SpeechToSpeech, Utterance } from "@sluice/conversation";
import { createSileroVad } from "@sluice/engines";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import {
  loadOpus,
  loadQuicEngine,
  type OpusCodec,
  type QuicEngine,
  serveTransceiver,
  serveWebRtc,
} from "@sluice/transceiver";
import pino from "pino";
import { WebTransportServer } from "../../../packages/transceiver/src/node/webtransport-server.ts";
import { type Dominant, startProfile } from "./cpu-profile.ts";
import { CYCLE_MS, type ServerReport, type ServerRequest } from "./messages.ts";

const CHUNK_SAMPLES = 2400; // 100 ms
const MOST_CALLS = 2000;
const now = () => performance.now();
const turns = { responses: 0, interrupted: 0 };
const identity = {
  keyRing: createKeyRing([generateKey(randomBytes)]),
  serverId: createServerId(1, 1),
  log: pino({ level: "error" }),
};

/** What is measured. */
interface Server {
  /** Where offers go. */
  readonly url: string;
  counts(): Promise<{ received: number; sent: number; sendErrors: number; pacingErrorMsP99: number }>;
}

process.once("message", async (request: ServerRequest) => {
  if (request.kind !== "start") return;
  const { transport, transportOnly, agent } = request;
  const quic = transport === "webtransport" ? loadQuicEngine() : undefined;
  if (quic && !quic.engine) throw new Error(quic.reason);
  const server = await (transportOnly ? serveTransport(agent, quic?.engine) : serveCalls(agent, quic?.engine));
  let from = { at: now(), cpu: process.cpuUsage(), waited: waitedMs(), ...(await server.counts()), ...turns };
  let endProfile: (() => Promise<Dominant>) | undefined;
  const measure = async (profile: boolean): Promise<ServerReport> => {
    const cpu = process.cpuUsage(from.cpu);
    const elapsedMs = now() - from.at;
    const dominant = await endProfile?.();
    const { received, sent, sendErrors, pacingErrorMsP99 } = await server.counts();
    const measured = {
      elapsedMs,
      cpuMs: (cpu.user + cpu.system) / 1000,
      waitedMs: waitedMs() - from.waited,
      rssMb: process.memoryUsage.rss() / 1e6,
      received: received - from.received,
      sent: sent - from.sent,
      sendErrors: sendErrors - from.sendErrors,
      pacingErrorMsP99,
      responses: turns.responses - from.responses,
      interrupted: turns.interrupted - from.interrupted,
    };
    endProfile = profile ? await startProfile() : undefined;
    from = {
      at: now(),
      cpu: process.cpuUsage(),
      waited: waitedMs(),
      received,
      sent,
      sendErrors,
      pacingErrorMsP99,
      ...turns,
    };
    return { kind: "measured", ...measured, dominant };
  };
  process.on("message", (next: ServerRequest) => {
    if (next.kind === "measure") void measure(next.profile).then(report);
    if (next.kind === "close") process.exit(0);
  });
  report({ kind: "started", url: server.url });
});

/** Whole calls: signaling, events, voice activity, turns, responses. */
async function serveCalls(agent: Pcm, engine: QuicEngine | undefined): Promise<Server> {
  const transceiver = await serveTransceiver({
    ...identity,
    webTransport: engine && { engine },
    host: "127.0.0.1",
    port: 0,
    udpPort: 0,
    advertise: ["127.0.0.1"],
    apiKey: undefined,
    engines: { vad: await createSileroVad(), speech: fixedSpeech(agent) },
    model: "bench",
    version: "0.0.0",
    staticDir: undefined,
    maxCalls: MOST_CALLS,
  });
  const origin = transceiver.url.replace("localhost", "127.0.0.1");
  return {
    url: `${origin}/v1/realtime/calls`,
    async counts() {
      const metrics = await (await fetch(`${origin}/metrics`)).text();
      const read = (name: string) =>
        Number(
          metrics
            .split("\n")
            .find((line) => line.startsWith(`${name} `))
            ?.split(" ")[1],
        );
      const packets = (reason: string) => read(`transceiver_udp_packets_total{reason="${reason}"}`);
      return {
        received: packets("received"),
        sent: packets("sent"),
        sendErrors: packets("sendErrors"),
        pacingErrorMsP99: read("pacing_error_seconds_p99") * 1000,
      };
    },
  };
}

/** No conversations: the agent speaks in its half of every turn, whatever it hears, and nothing is decoded. */
async function serveTransport(agent: Pcm, engine: QuicEngine | undefined): Promise<Server> {
  const opus = withoutDecoding(await loadOpus());
  const server = await serveWebRtc({
    ...identity,
    udpPort: 0,
    host: "127.0.0.1",
    opus,
    maxSessions: MOST_CALLS,
    now,
    onQuic: engine && ((packet, from, confirm) => webTransport?.handleDatagram(packet, from, confirm)),
  });
  const accept = player(agent);
  const webTransport =
    engine &&
    new WebTransportServer({
      ...identity,
      engine,
      opus,
      onlyLoopback: true,
      maxSessions: MOST_CALLS,
      hasRoom: () => true,
      accept,
      send: (packet, to) => server.send(packet, to),
      createEventId: () => "event",
      now,
    });
  const http = createServer(async (request, response) => {
    try {
      const asked = await text(request);
      const wish = { settings: [], model: undefined, leadMs: 10_000, origin: undefined, place: server.places[0]! };
      if (webTransport) response.end(JSON.stringify(webTransport.open(wish)));
      else response.end((await server.answer(asked, accept)).answer);
    } catch (error) {
      response.writeHead(400).end(String(error));
    }
  }).listen(0, "127.0.0.1");
  await once(http, "listening");
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    async counts() {
      const { udp, pacingErrorMsP99 } = server.stats();
      return { ...udp, pacingErrorMsP99 };
    },
  };
}

function fixedSpeech(agent: Pcm): SpeechToSpeech {
  return {
    description: "Says the same at every turn.",
    open: () => ({
      async *respond(_request, signal) {
        turns.responses += 1;
        signal.addEventListener("abort", () => {
          turns.interrupted += 1;
        });
        yield { kind: "transcript", delta: "The quick brown fox." };
        for (let at = 0; at < agent.length && !signal.aborted; at += CHUNK_SAMPLES)
          yield { kind: "audio", pcm: agent.subarray(at, at + CHUNK_SAMPLES) };
      },
      close: () => {},
    }),
  };
}

function player(agent: Pcm): (link: Link) => LinkListener {
  let opened = 0;
  return (link) => {
    let turn = 0;
    let timer: NodeJS.Timeout | undefined;
    const play = () => {
      turn += 1;
      const utterance: Utterance = { responseId: `r${turn}`, itemId: `i${turn}`, outputIndex: 0, contentIndex: 0 };
      link.play(utterance, agent);
      link.endUtterance(utterance);
      timer = setTimeout(play, CYCLE_MS);
    };
    return {
      onOpen() {
        timer = setTimeout(play, (opened++ * 1009) % CYCLE_MS); // the agents' turns are spread evenly too
      },
      onMessage() {},
      onEarlyAudio() {},
      onOrderedAudio() {},
      onSent() {},
      onUtteranceEnded() {},
      onClosed: () => clearTimeout(timer),
    };
  };
}

/** Packets are received, decrypted, repaired and ordered, but what is in them is taken for 20 ms of silence. */
function withoutDecoding(opus: OpusCodec): OpusCodec {
  const frame = new Int16Array(480);
  const decoder = { decode: () => frame, decodeFec: () => frame, conceal: () => frame, free() {} };
  return { ...opus, createDecoder: async () => decoder };
}

/** Of the main thread, since it began (Linux, `proc_pid_schedstat`). */
function waitedMs(): number {
  try {
    return Number(readFileSync(`/proc/${process.pid}/task/${process.pid}/schedstat`, "utf8").split(" ")[1]) / 1e6;
  } catch {
    return Number.NaN;
  }
}

function report(message: ServerReport): void {
  process.send?.(message);
}
