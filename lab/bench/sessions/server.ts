/** The transceiver under load, in a process of its own: what `sluice start` runs, with an agent of fixed speech. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Link, LinkListener, Pcm, SpeechToSpeech, Utterance } from "@sluice/conversation";
import { createSileroVad } from "@sluice/engines";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import { loadOpus, type OpusCodec, serveWebRtc } from "@sluice/transceiver";
import pino from "pino";
import { Calls, createId } from "../../../packages/transceiver/src/node/calls.ts";
import { Metrics } from "../../../packages/transceiver/src/node/metrics.ts";
import { type Dominant, startProfile } from "./cpu-profile.ts";
import { CYCLE_MS, type ServerReport, type ServerRequest } from "./messages.ts";

const CHUNK = 2400; // 100 ms
const now = () => performance.now();
const counts = { responses: 0, interrupted: 0 };

process.on("message", (request: ServerRequest) => {
  if (request.kind === "start") void start(request.transportOnly, request.agent);
});

async function start(transportOnly: boolean, agent: Pcm): Promise<void> {
  const opus = transportOnly ? withoutDecoding(await loadOpus()) : await loadOpus();
  const log = pino({ level: "error" });
  const server = await serveWebRtc({
    udpPort: 0,
    host: "127.0.0.1",
    keyRing: createKeyRing([generateKey(randomBytes)]),
    serverId: createServerId(1, 1),
    opus,
    maxSessions: 2000,
    now,
    log,
  });
  const accept = transportOnly ? player(agent) : await conversations(agent, log);
  const http = createServer(async (request, response) => {
    try {
      const { answer } = await server.answer(await text(request), accept);
      response.end(answer);
    } catch (error) {
      response.writeHead(400).end(String(error));
    }
  }).listen(0, "127.0.0.1");
  await once(http, "listening");

  let from = { at: now(), cpu: process.cpuUsage(), udp: { ...server.stats().udp }, ...counts };
  let endProfile: (() => Promise<Dominant>) | undefined;
  const measure = async (profile: boolean) => {
    const { udp, pacingErrorMsP99 } = server.stats();
    const cpu = process.cpuUsage(from.cpu);
    const measured = {
      kind: "measured" as const,
      elapsedMs: now() - from.at,
      cpuMs: (cpu.user + cpu.system) / 1000,
      rssMb: process.memoryUsage.rss() / 1e6,
      received: udp.received - from.udp.received,
      sent: udp.sent - from.udp.sent,
      sendErrors: udp.sendErrors - from.udp.sendErrors,
      pacingErrorMsP99,
      responses: counts.responses - from.responses,
      interrupted: counts.interrupted - from.interrupted,
    };
    const dominant = await endProfile?.();
    endProfile = profile ? await startProfile() : undefined;
    report({ ...measured, dominant });
    from = { at: now(), cpu: process.cpuUsage(), udp: { ...server.stats().udp }, ...counts };
  };
  process.on("message", (request: ServerRequest) => {
    if (request.kind === "measure") void measure(request.profile);
    if (request.kind === "close") process.exit(0);
  });
  report({ kind: "started", port: (http.address() as AddressInfo).port });
}

/** Whole calls: events, voice activity, turns, responses. */
async function conversations(agent: Pcm, log: pino.Logger): Promise<(link: Link) => LinkListener> {
  const engines = { vad: await createSileroVad(), speech: fixedSpeech(agent) };
  const limits = { maxCalls: 2000, maxDurationMs: 3_600_000 };
  const metrics: Metrics = new Metrics(() => calls.size);
  const calls = new Calls({ engines, model: "bench", now, log, ...limits }, () => metrics);
  return (link) => calls.begin(link, { id: createId("rtc"), pipe: "webrtc", model: undefined, defaults: [] });
}

function fixedSpeech(agent: Pcm): SpeechToSpeech {
  return {
    description: "Says the same at every turn.",
    open: () => ({
      async *respond(_request, signal) {
        counts.responses += 1;
        yield { kind: "transcript", delta: "I hear you well." };
        for (let at = 0; at < agent.length && !signal.aborted; at += CHUNK)
          yield { kind: "audio", pcm: agent.subarray(at, at + CHUNK) };
        signal.addEventListener("abort", () => {
          counts.interrupted += 1;
        });
      },
      close: () => {},
    }),
  };
}

/** No conversation: the agent speaks in its half of every turn, whatever it hears. */
function player(agent: Pcm): (link: Link) => LinkListener {
  let opened = 0;
  return (link) => {
    let turn = 0;
    let timer: NodeJS.Timeout | undefined;
    const play = () => {
      const itemId = `item_${turn++}`;
      const utterance: Utterance = { responseId: `resp_${turn}`, itemId, outputIndex: 0, contentIndex: 0 };
      link.play(utterance, agent);
      link.endUtterance(utterance);
    };
    return {
      onOpen() {
        setTimeout(
          () => {
            play();
            timer = setInterval(play, CYCLE_MS);
          },
          (opened++ * 1009) % CYCLE_MS,
        );
      },
      onMessage() {},
      onEarlyAudio() {},
      onOrderedAudio() {},
      onSent() {},
      onUtteranceEnded() {},
      onClosed: () => clearInterval(timer),
    };
  };
}

/** Packets are received, decrypted, repaired and ordered, but what is in them is taken for 20 ms of silence. */
function withoutDecoding(opus: OpusCodec): OpusCodec {
  const frame = new Int16Array(480);
  const decoder = { decode: () => frame, decodeFec: () => frame, conceal: () => frame, free() {} };
  return { ...opus, createDecoder: async () => decoder };
}

function report(message: ServerReport): void {
  process.send?.(message);
}
