/**
 * The server of the pipes bench, in a process of its own: two whole transceivers, one as it is and one that repairs nothing
 * ("legacy"), with an agent of tone words that takes the same time for every answer, and a note of all that recognition got.
 */
import { durationMs, type LinkListener } from "@sluice/conversation";
import { createKeyRing, parseKeys, parseServerId } from "@sluice/routing";
import { loadQuicEngine, serveTransceiver } from "@sluice/transceiver";
import { pino } from "pino";
import { HOST } from "../../fleet.ts";
import { createToneAgent, createToneVad } from "../../tone-speech/engines.ts";
import { REBIND_TURN, TURNS } from "./conditions.ts";
import {
  type HeardCall,
  type HeardPiece,
  SERVER_IDS,
  type ServerReport,
  type ServerRequest,
  type ServerSetup,
} from "./messages.ts";
import { answerTo } from "./script.ts";

const exactly = (ms: number) => ({ p50: ms, source: "the same for every turn" });
const profile = {
  sttFinal: exactly(100),
  sttPartialEveryMs: 1e9,
  llmFirst: exactly(100),
  llmWord: exactly(1),
  ttsFirst: exactly(50),
  ttsRate: { realTimeFactor: 6, pieceMs: 200, source: "a voice that is much faster than speech" },
};

const setup = JSON.parse(process.argv[2]!) as ServerSetup;
const { engine, reason } = { reason: undefined, ...loadQuicEngine() };
if (!engine) throw new Error(reason);
let calls: HeardCall[] = [];

const serve = (which: "product" | "legacy") =>
  serveTransceiver({
    host: HOST,
    port: 0,
    udpPort: setup.udpPorts[which],
    advertise: [],
    relays: { from: [HOST], public: setup.lanes.map(({ region, port }) => ({ address: HOST, port, region })) },
    apiKey: undefined,
    keyRing: createKeyRing(parseKeys(setup.keys)),
    serverId: parseServerId(SERVER_IDS[which])!,
    engines: {
      vad: createToneVad(),
      speech: createToneAgent({ profile, seed: 1, reply: (heard) => answerTo([...TURNS, REBIND_TURN], heard) }),
    },
    model: "tones",
    version: "0",
    staticDir: undefined,
    webTransport: which === "product" ? { engine } : undefined,
    maxCalls: 100,
    log: pino({ level: process.env.SLUICE_LOG_LEVEL ?? "error" }, pino.destination(2)),
    study: { repair: which === "product", tap },
  });
const [product, legacy] = await Promise.all([serve("product"), serve("legacy")]);

process.on("message", ({ kind }: ServerRequest) => {
  if (kind !== "take") return;
  report({ kind: "taken", calls });
  calls = calls.filter(({ ended }) => ended === undefined);
});
process.once("disconnect", () => process.exit(0));
report({ kind: "ready", urls: { product: product.url, legacy: legacy.url } });

/** Notes what passes; the conversation is the product's own. */
function tap(listener: LinkListener, name: string | undefined): LinkListener {
  const call = { name, pieces: [] as HeardPiece[], arrivals: [] as number[], ended: undefined as string | undefined };
  calls.push(call);
  return {
    onOpen: (now) => listener.onOpen(now),
    onMessage: (now, text) => listener.onMessage(now, text),
    onEarlyAudio(now, audio) {
      call.arrivals.push(unixMs());
      listener.onEarlyAudio(now, audio);
    },
    onOrderedAudio(now, audio) {
      const { mediaMs, origin, pcm } = audio;
      if (durationMs(pcm) > 0) call.pieces.push({ mediaMs, origin, pcm: pcm.slice() });
      listener.onOrderedAudio(now, audio);
    },
    onSent: (...sent) => listener.onSent(...sent),
    onUtteranceEnded: (now, utterance) => listener.onUtteranceEnded(now, utterance),
    onClosed(now, why, lost) {
      call.ended = why;
      listener.onClosed(now, why, lost);
    },
  };
}

function unixMs(): number {
  return performance.timeOrigin + performance.now();
}

function report(message: ServerReport): void {
  process.send!(message);
}
