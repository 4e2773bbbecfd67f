/**
 * Callers over WebTransport, by the engine's client side: each frame on a talkspurt's stream and in a datagram, a talkspurt a
 * turn, and reports of what was played every 100 ms, as the SDK sends them.
 */
import type { WebTransportCallAnswer } from "@sluice/realtime";
import { loadQuicEngine } from "@sluice/transceiver";
import { Caller, CallerEndpoint } from "../../webtransport/caller.ts";
import { FRAME_MS, type OpenRequest, runCallers, TICKS_PER_FRAME } from "./callers.ts";
import { CALLER_MS, END_SILENCE_MS } from "./messages.ts";

const REPORT_FRAMES = 5;
/** Callers that share a socket: the server sees few addresses, but as many connections. */
const CALLERS_PER_SOCKET = 10;

interface Load {
  readonly caller: Caller;
  /** By how much the server's clock is ahead of ours. */
  clockOffset: number;
  /** What is being played: since when, and how much of it has come. */
  playing: { readonly itemId: string; readonly startedAt: number; frames: number } | undefined;
}

const endpoints: CallerEndpoint[] = [];
let packets: readonly Uint8Array[] = [];

// Speech comes ahead of the ear: it has no gaps to keep.
const heard = runCallers<Load>({
  async prepare(frames, { sessions }) {
    packets = frames;
    const { engine, reason } = { reason: "", ...loadQuicEngine() };
    if (!engine) throw new Error(reason);
    for (let n = 0; n < Math.ceil(sessions / CALLERS_PER_SOCKET); n++)
      endpoints.push(await CallerEndpoint.open(engine));
  },
  connect,
  send(load, sent, at, now) {
    if (at === 0 || at === CALLER_MS / FRAME_MS) load.caller.beginTalkspurt();
    load.caller.say({ time: sent * TICKS_PER_FRAME, packet: packets[at]! });
    if ((sent + 1) % REPORT_FRAMES === 0) reportPlayout(load, now);
  },
  async close() {
    await Promise.all(endpoints.map((endpoint) => endpoint.close()));
  },
});

async function connect(index: number, { url }: OpenRequest): Promise<Load> {
  const turn_detection = { type: "server_vad", silence_duration_ms: END_SILENCE_MS };
  const session = { type: "realtime", sluice: { timeline: true }, audio: { input: { turn_detection } } };
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ transport: "webtransport", session }),
  });
  if (!response.ok) throw new Error(await response.text());
  const answer = (await response.json()) as WebTransportCallAnswer;
  const caller = await Caller.connect(endpoints[Math.floor(index / CALLERS_PER_SOCKET)]!, { answer });
  const load: Load = { caller, clockOffset: 0, playing: undefined };
  caller.onEvent = (event) => {
    caller.events.length = 0; // they are read, as a page would
    if (event.type === "sluice.clock") load.clockOffset = Number(event.server_ms) - performance.now();
    if (event.type === "output_audio_buffer.cleared") load.playing = undefined;
  };
  caller.onFrame = (utterance) => {
    heard.received += 1;
    utterance.frames.length = 0;
    const itemId = utterance.header!.item_id;
    if (load.playing?.itemId !== itemId) load.playing = { itemId, startedAt: performance.now(), frames: 0 };
    load.playing.frames += 1;
  };
  caller.send({ type: "sluice.clock", client_ms: performance.now() });
  return load;
}

function reportPlayout(load: Load, now: number): void {
  const { playing, clockOffset, caller } = load;
  if (!playing) return;
  const position_ms = Math.min(playing.frames * FRAME_MS, now - playing.startedAt);
  const [started_ms, at_ms] = [playing.startedAt + clockOffset, now + clockOffset];
  caller.send({ type: "sluice.playout.report", item_id: playing.itemId, started_ms, position_ms, at_ms });
  if (position_ms >= playing.frames * FRAME_MS) load.playing = undefined;
}
