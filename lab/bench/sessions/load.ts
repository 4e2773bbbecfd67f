/**
 * Callers like a browser's, by libdatachannel: DTLS, SRTP, a data channel, Opus in RED with the frame before as
 * redundancy, as Chromium sends it to us. What they say is encoded once.
 */
import { loadOpus } from "@sluice/transceiver";
import { Audio, cleanup, PeerConnection, type Track } from "node-datachannel";
import { CYCLE_MS, END_SILENCE_MS, type LoadReport, type LoadRequest } from "./messages.ts";

const FRAME_MS = 20;
const SAMPLES_PER_FRAME = 480; // at 24 kHz
const TICKS_PER_FRAME = 960; // RTP's clock for Opus is 48 kHz
const OPUS = 111;
const RED = 63;
const RTP_HEADER_SIZE = 12;
const AT_ONCE = 8;
const OPEN_WITHIN_MS = 20_000;

interface Caller {
  readonly peer: PeerConnection;
  readonly track: Track;
  readonly ssrc: number;
  /** Frame of the cycle that this caller began with: callers take their turns evenly spread. */
  readonly offset: number;
  /** When the first packet is due; phases within a frame differ. */
  startMs: number;
  sent: number;
  heardAt: number;
  heardSequence: number;
}

const callers: Caller[] = [];
const gapErrors: number[] = [];
const lateness: number[] = [];
let payloads: Buffer[] = [];
let sent = 0;
let received = 0;
let measuredFrom = performance.now();
let cpuFrom = process.cpuUsage();
let timer: NodeJS.Timeout | undefined;

process.on("message", (request: LoadRequest) => {
  if (request.kind === "open") void open(request).then(() => report({ kind: "opened" }));
  else if (request.kind === "measure") measure();
  else close();
});

async function open({ caller, url, sessions, transportOnly }: LoadRequest & { kind: "open" }): Promise<void> {
  payloads = await encodeTurn(caller);
  timer = setInterval(sendDue, 1);
  const waiting = Array.from({ length: sessions }, (_, index) => index);
  const openNext = async () => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift())
      callers.push(await connect(url, index, sessions, transportOnly));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, openNext));
}

/** The RED payloads of one turn. */
async function encodeTurn(caller: Int16Array): Promise<Buffer[]> {
  const encoder = await (await loadOpus()).createEncoder({ mode: "voip", bitrate: 32_000 });
  const frames = Array.from({ length: CYCLE_MS / FRAME_MS }, (_, frame) =>
    Buffer.from(encoder.encode(caller.subarray(frame * SAMPLES_PER_FRAME, (frame + 1) * SAMPLES_PER_FRAME))),
  );
  encoder.free();
  return frames.map((frame, at) => withRedundancy(frames.at(at - 1)!, frame));
}

/** RFC 2198: `before`, one frame older, and then `frame`. */
function withRedundancy(before: Buffer, frame: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header[0] = 0x80 | OPUS;
  header.writeUIntBE((TICKS_PER_FRAME << 10) | before.length, 1, 3);
  header[4] = OPUS;
  return Buffer.concat([header, before, frame]);
}

async function connect(url: string, index: number, sessions: number, transportOnly: boolean): Promise<Caller> {
  const peer = new PeerConnection(`caller ${index}`, {
    iceServers: [],
    bindAddress: "127.0.0.1",
    disableAutoNegotiation: true, // the offer is made once, with all in it
  });
  const ssrc = index + 1;
  const audio = new Audio("0", "SendRecv");
  audio.addOpusCodec(OPUS);
  audio.addSSRC(ssrc, `caller${index}`, `stream${index}`, `track${index}`);
  const track = peer.addTrack(audio);
  const events = peer.createDataChannel("oai-events");
  const offer = await gathered(peer);
  const answered = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/sdp" },
    body: withRed(offer),
  });
  const answer = await answered.text();
  if (!answered.ok) throw new Error(answer);
  const opened = new Promise<void>((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Error(`caller ${index} was not connected: ${peer.state()}`)),
      OPEN_WITHIN_MS,
    );
    events.onOpen(() => {
      clearTimeout(late);
      resolve();
    });
  });
  const offset = Math.floor((index / sessions) * payloads.length);
  const caller: Caller = { peer, track, ssrc, offset, startMs: 0, sent: 0, heardAt: 0, heardSequence: -1 };
  track.onMessage((packet) => hear(caller, packet));
  events.onMessage(() => {}); // they are read, as a page would
  peer.setRemoteDescription(answer, "answer");
  await opened;
  if (!transportOnly) events.sendMessage(JSON.stringify(SESSION_UPDATE));
  caller.startMs = performance.now() + ((index * 7.919) % FRAME_MS);
  return caller;
}

const SESSION_UPDATE = {
  type: "session.update",
  session: {
    type: "realtime",
    audio: { input: { turn_detection: { type: "server_vad", silence_duration_ms: END_SILENCE_MS } } },
  },
};

function gathered(peer: PeerConnection): Promise<string> {
  return new Promise((resolve) => {
    peer.onGatheringStateChange((state) => {
      if (state === "complete") resolve(peer.localDescription()?.sdp ?? "");
    });
    peer.setLocalDescription("offer");
  });
}

/** Offers RED before Opus, which libdatachannel cannot by itself. */
function withRed(sdp: string): string {
  return sdp
    .replace(/(m=audio \d+ \S+) /, `$1 ${RED} `)
    .replace(/a=rtpmap:111 /, `a=rtpmap:${RED} red/48000/2\r\na=fmtp:${RED} ${OPUS}/${OPUS}\r\na=rtpmap:111 `);
}

function sendDue(): void {
  const now = performance.now();
  for (const caller of callers) {
    for (let due = caller.startMs + caller.sent * FRAME_MS; due <= now; due += FRAME_MS) {
      lateness.push(now - due);
      const payload = payloads[(caller.offset + caller.sent) % payloads.length]!;
      const packet = Buffer.allocUnsafe(RTP_HEADER_SIZE + payload.length);
      packet[0] = 0x80;
      packet[1] = RED;
      packet.writeUInt16BE(caller.sent & 0xffff, 2);
      packet.writeUInt32BE((caller.sent * TICKS_PER_FRAME) >>> 0, 4);
      packet.writeUInt32BE(caller.ssrc, 8);
      payload.copy(packet, RTP_HEADER_SIZE);
      caller.track.sendMessageBinary(packet);
      caller.sent += 1;
      sent += 1;
    }
  }
}

function hear(caller: Caller, packet: Buffer): void {
  if (packet.length < RTP_HEADER_SIZE || (packet[1]! & 0x7f) > 0x7f - 1) return;
  if ((packet[1]! & 0x7f) >= 64 && (packet[1]! & 0x7f) <= 95) return; // RTCP (RFC 5761)
  const now = performance.now();
  const sequence = packet.readUInt16BE(2);
  received += 1;
  const begins = (packet[1]! & 0x80) !== 0;
  if (!begins && sequence === ((caller.heardSequence + 1) & 0xffff))
    gapErrors.push(Math.abs(now - caller.heardAt - FRAME_MS));
  caller.heardAt = now;
  caller.heardSequence = sequence;
}

function measure(): void {
  const now = performance.now();
  const { user, system } = process.cpuUsage(cpuFrom);
  report({
    kind: "measured",
    elapsedMs: now - measuredFrom,
    cpuMs: (user + system) / 1000,
    sent,
    received,
    gapErrorMsP99: quantile(gapErrors, 0.99),
    lateMsP99: quantile(lateness, 0.99),
  });
  measuredFrom = now;
  cpuFrom = process.cpuUsage();
  [sent, received] = [0, 0];
  gapErrors.length = 0;
  lateness.length = 0;
}

function close(): void {
  clearInterval(timer);
  for (const { peer } of callers) peer.close();
  process.disconnect?.();
  cleanup();
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function report(message: LoadReport): void {
  process.send?.(message);
}
