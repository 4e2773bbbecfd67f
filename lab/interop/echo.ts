/** A peer's echo server, measured by one instrument: setup, processor time of a packet, and words that survive loss. */
import { networkInterfaces } from "node:os";
import { concatenate, silence } from "../speech.ts";
import { wordErrors } from "../tone-speech/error-rate.ts";
import { wordsOf } from "../tone-speech/lexicon.ts";
import { transcribeTones } from "../tone-speech/listen.ts";
import { speakTones } from "../tone-speech/voice.ts";
import { type Answerer, Caller } from "./caller.ts";
import type { Peer } from "./peers.ts";
import { cpuMsOf, rssMbOf, type Server, startServer } from "./process.ts";
import { startJanus } from "./servers/janus.ts";
import { postTo, throughNetwork } from "./signaling.ts";
import { encodeFrames } from "./sound.ts";
import { PROMPT } from "./words.ts";

/** A server that runs, and how it is called. */
export interface EchoServer {
  readonly server: Server;
  readonly answer: Answerer;
  /** Where callers must send from to be answered. */
  readonly address: string;
}

/** What a round of load cost. */
export interface LoadFigures {
  readonly sessions: number;
  /** Median, from the offer's making to the open media path. */
  readonly setup_ms: number;
  readonly cpu_us_per_packet: number;
  readonly packets: number;
  /** Share of the packets sent that came back. */
  readonly echoed: number;
  readonly rss_mb: number;
}

/** What of the words came back through a network with `loss` in each direction. */
export interface LossFigures {
  readonly loss: number;
  readonly wer: number;
  readonly calls: number;
  readonly red: boolean;
  readonly nack: boolean;
}

const SETTLE_MS = 4000; // code is compiled, buffers have found their size
const DELAY_MS = 30;
const TRAILING_MS = 800;

/** Starts the echo server of `peer`. */
export async function startEcho({ server: command }: Peer): Promise<EchoServer> {
  // libnice binds to interfaces, of which Janus leaves loopback out: its callers come from the machine's own address.
  if (command === "janus") return { ...(await startJanus()), address: ownAddress() };
  const server = await startServer(command!);
  return { server, answer: postTo(server.firstLine), address: "127.0.0.1" };
}

/** Loads a server with `sessions` calls of 50 packets a second each way, of bare Opus. */
export async function measureLoad(
  { server, answer, address }: EchoServer,
  sessions: number,
  seconds: number,
): Promise<LoadFigures> {
  const frames = await encodeFrames(speakTones(PROMPT).pcm);
  const callers: Caller[] = [];
  try {
    for (let ssrc = 1; ssrc <= sessions; ssrc++) callers.push(await Caller.connect({ answer, address, ssrc }));
    for (const caller of callers) void caller.say(frames, true);
    await sleep(SETTLE_MS);
    const count = (key: "sent" | "received") => callers.reduce((sum, caller) => sum + caller[key], 0);
    const [cpu, sent, received] = [cpuMsOf(server.pid), count("sent"), count("received")];
    await sleep(seconds * 1000);
    const [cpuMs, went, came] = [cpuMsOf(server.pid) - cpu, count("sent") - sent, count("received") - received];
    return {
      sessions,
      setup_ms: median(callers.map(({ setupMs }) => setupMs)),
      cpu_us_per_packet: (cpuMs * 1000) / (went + came),
      packets: went + came,
      echoed: came / went,
      rss_mb: Math.round(rssMbOf(server.pid)),
    };
  } finally {
    for (const caller of callers) await caller.close();
  }
}

/** Says words in `calls` calls at once, each through a network of its own, 30 ms away, and hears what comes back. */
export async function measureEchoLoss({ answer }: EchoServer, loss: number, calls: number): Promise<LossFigures> {
  const frames = await encodeFrames(concatenate([silence(200), speakTones(PROMPT).pcm, silence(TRAILING_MS)]));
  const between = throughNetwork(answer, 1, { delayMs: DELAY_MS, loss });
  try {
    const errors = await Promise.all(
      Array.from({ length: calls }, async (_, index) => {
        const caller = await Caller.connect({ answer: between.answer, ssrc: index + 1, repair: true, listen: true });
        await caller.say(frames);
        await sleep(TRAILING_MS);
        const heard = transcribeTones(await caller.close()).split(" ");
        return { rate: wordErrors(wordsOf(PROMPT), heard).rate, ...caller.repairs };
      }),
    );
    const { red, nack } = errors[0]!;
    return { loss, wer: errors.reduce((sum, { rate }) => sum + rate, 0) / calls, calls, red, nack };
  } finally {
    between.close();
  }
}

/** The middle of `values`. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function ownAddress(): string {
  const found = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .find(({ family, internal }) => family === "IPv4" && !internal);
  if (!found) throw new Error("Janus needs an interface beside loopback");
  return found.address;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
