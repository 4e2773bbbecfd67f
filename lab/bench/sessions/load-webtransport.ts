/**
 * Callers over WebTransport, by the engine's client side: each frame on a talkspurt's stream and in a datagram, a talkspurt a
 * turn, and reports of what was played every 100 ms, as the SDK sends them. What they say is encoded once.
 */
import type { WebTransportCallAnswer } from "@sluice/realtime";
import { loadOpus, loadQuicEngine } from "@sluice/transceiver";
import { Caller, CallerEndpoint } from "../../webtransport/caller.ts";
import { CALLER_MS, CYCLE_MS, END_SILENCE_MS, type LoadReport, type LoadRequest } from "./messages.ts";

const FRAME_MS = 20;
const SAMPLES_PER_FRAME = 480; // at 24 kHz
const TICKS_PER_FRAME = 960;
const CYCLE_FRAMES = CYCLE_MS / FRAME_MS;
const REPORT_FRAMES = 5;
const AT_ONCE = 8;
/** Callers that share a socket: the server sees few addresses, but as many connections. */
const CALLERS_PER_SOCKET = 10;

interface Load {
  readonly caller: Caller;
  readonly offset: number;
  startMs: number;
  sent: number;
  /** By how much the server's clock is ahead of ours. */
  clockOffset: number;
  /** What is being played: since when, and how much of it has come. */
  playing: { readonly itemId: string; readonly startedAt: number; frames: number } | undefined;
}

const loads: Load[] = [];
const lateness: number[] = [];
const endpoints: CallerEndpoint[] = [];
let packets: Uint8Array[] = [];
let sent = 0;
let received = 0;
let measuredFrom = performance.now();
let cpuFrom = process.cpuUsage();
let timer: NodeJS.Timeout | undefined;

process.on("message", (request: LoadRequest) => {
  if (request.kind === "open") void open(request).then(() => report({ kind: "opened" }));
  else if (request.kind === "measure") measure();
  else void close();
});

async function open({ caller, url, sessions }: LoadRequest & { kind: "open" }): Promise<void> {
  packets = await encodeTurn(caller);
  const { engine, reason } = { reason: "", ...loadQuicEngine() };
  if (!engine) throw new Error(reason);
  for (let n = 0; n < Math.ceil(sessions / CALLERS_PER_SOCKET); n++) endpoints.push(await CallerEndpoint.open(engine));
  timer = setInterval(sendDue, 1);
  const waiting = Array.from({ length: sessions }, (_, index) => index);
  const openNext = async () => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift())
      loads.push(await connect(url, index, sessions));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, openNext));
}

async function encodeTurn(caller: Int16Array): Promise<Uint8Array[]> {
  const encoder = await (await loadOpus()).createEncoder({ mode: "voip", bitrate: 32_000 });
  const frames = Array.from({ length: CYCLE_FRAMES }, (_, frame) =>
    encoder.encode(caller.subarray(frame * SAMPLES_PER_FRAME, (frame + 1) * SAMPLES_PER_FRAME)).slice(),
  );
  encoder.free();
  return frames;
}

async function connect(url: string, index: number, sessions: number): Promise<Load> {
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
  const offset = Math.floor((index / sessions) * CYCLE_FRAMES);
  const load: Load = { caller, offset, startMs: 0, sent: 0, clockOffset: 0, playing: undefined };
  caller.onEvent = (event) => {
    caller.events.length = 0; // they are read, as a page would
    if (event.type === "sluice.clock") load.clockOffset = Number(event.server_ms) - performance.now();
    if (event.type === "output_audio_buffer.cleared") load.playing = undefined;
  };
  caller.onFrame = (utterance) => {
    received += 1;
    utterance.frames.length = 0;
    const itemId = utterance.header!.item_id;
    if (load.playing?.itemId !== itemId) load.playing = { itemId, startedAt: performance.now(), frames: 0 };
    load.playing.frames += 1;
  };
  caller.send({ type: "sluice.clock", client_ms: performance.now() });
  load.startMs = performance.now() + ((index * 7.919) % FRAME_MS);
  return load;
}

function sendDue(): void {
  const now = performance.now();
  for (const load of loads) {
    for (let due = load.startMs + load.sent * FRAME_MS; due <= now; due += FRAME_MS) {
      lateness.push(now - due);
      const at = (load.offset + load.sent) % CYCLE_FRAMES;
      if (at === 0 || at === CALLER_MS / FRAME_MS) load.caller.beginTalkspurt();
      load.caller.say({ time: load.sent * TICKS_PER_FRAME, packet: packets[at]! });
      load.sent += 1;
      sent += 1;
      if (load.sent % REPORT_FRAMES === 0) reportPlayout(load, now);
    }
  }
}

function reportPlayout(load: Load, now: number): void {
  const { playing, clockOffset, caller } = load;
  if (!playing) return;
  const position_ms = Math.min(playing.frames * FRAME_MS, now - playing.startedAt);
  const [started_ms, at_ms] = [playing.startedAt + clockOffset, now + clockOffset];
  caller.send({ type: "sluice.playout.report", item_id: playing.itemId, started_ms, position_ms, at_ms });
  if (position_ms >= playing.frames * FRAME_MS) load.playing = undefined;
}

function measure(): void {
  const now = performance.now();
  const { user, system } = process.cpuUsage(cpuFrom);
  const late = lateness.toSorted((a, b) => a - b);
  report({
    kind: "measured",
    elapsedMs: now - measuredFrom,
    cpuMs: (user + system) / 1000,
    sent,
    received,
    gapErrorMsP99: Number.NaN, // speech comes ahead of the ear: it has no gaps to keep
    lateMsP99: late[Math.floor(late.length * 0.99)] ?? Number.NaN,
  });
  measuredFrom = now;
  cpuFrom = process.cpuUsage();
  [sent, received] = [0, 0];
  lateness.length = 0;
}

async function close(): Promise<void> {
  clearInterval(timer);
  await Promise.all(endpoints.map((endpoint) => endpoint.close()));
  process.disconnect?.();
}

function report(message: LoadReport): void {
  process.send?.(message);
}
