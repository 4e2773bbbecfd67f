/**
 * The agent that the recovery bench calls, in a process of its own: the transceiver's media server behind relays, with
 * somebody who never stops talking, and who notes when each packet of the caller comes.
 */
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { durationMs, type Link, type LinkListener, type Pcm, type Utterance } from "@sluice/conversation";
import { createKeyRing, parseKeys, parseServerId } from "@sluice/routing";
import { loadOpus, Registrar, serveWebRtc } from "@sluice/transceiver";
import { pino } from "pino";
import { HOST } from "../../fleet.ts";
import { speak } from "../../speech.ts";
import type { AgentReport, AgentRequest, AgentSetup, HeardCall } from "./messages.ts";

const MONOLOGUE =
  "I talk and talk and talk, without a pause, so that whatever is missing is missed at once, and I go on";
const UTTERANCE: Utterance = { responseId: "resp_1", itemId: "item_1", outputIndex: 0, contentIndex: 0 };
const LEAD_MS = 2000;

const setup = JSON.parse(process.argv[2]!) as AgentSetup;
const keyRing = createKeyRing(parseKeys(setup.keys));
const serverId = parseServerId(setup.serverId)!;
const speech = await speak(MONOLOGUE);
const calls: Record[] = [];

interface Record {
  arrivals: number[];
  replaced: [at: number, ms: number][];
  ended: string | undefined;
}

const server = await serveWebRtc({
  udpPort: setup.udpPort,
  host: HOST,
  hops: { relays: [HOST] },
  keyRing,
  serverId,
  opus: await loadOpus(),
  now: () => performance.now(),
  log: pino({ level: "error" }),
});
if (setup.redis !== undefined) {
  new Registrar({
    url: setup.redis,
    keyRing,
    serverId,
    address: HOST,
    port: server.udpPort,
    quic: false,
    load: () => 0,
    log: (line) => console.error(`agent: ${line}`),
  });
}
const signaling = createServer(async (request, response) => {
  if (request.method !== "POST") return void response.writeHead(405).end();
  const { answer } = await server.answer(await text(request), converse, setup.relay);
  response.writeHead(201, { "content-type": "application/sdp" }).end(answer);
});
signaling.listen(0, HOST, () => {
  const address = signaling.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  report({ kind: "ready", url: `http://localhost:${address.port}/calls` });
});
process.on("message", ({ kind }: AgentRequest) => {
  if (kind !== "take") return;
  report({ kind: "taken", calls: calls.map((call) => ({ ...call })) satisfies HeardCall[] });
  for (const call of calls) [call.arrivals, call.replaced] = [[], []];
});
process.once("disconnect", () => process.exit(0));

/** Talks without end, and notes what is heard. */
function converse(link: Link): LinkListener {
  const call: Record = { arrivals: [], replaced: [], ended: undefined };
  calls.push(call);
  let playedMs = 0;
  const talk = (sentMs: number) => {
    for (; playedMs < sentMs + LEAD_MS; playedMs += durationMs(speech)) link.play(UTTERANCE, speech satisfies Pcm);
  };
  return {
    onOpen: () => talk(0),
    onMessage: () => {},
    onEarlyAudio: (now) => call.arrivals.push(performance.timeOrigin + now),
    onOrderedAudio(now, { pcm, origin }) {
      if (origin !== "received") call.replaced.push([performance.timeOrigin + now, durationMs(pcm)]);
    },
    onSent: (_now, _utterance, sentMs) => talk(sentMs),
    onUtteranceEnded: () => {},
    onClosed(_now, reason) {
      call.ended = reason;
    },
  };
}

function report(message: AgentReport): void {
  process.send!(message);
}
