/**
 * Callers like a browser's, by libdatachannel: DTLS, SRTP, a data channel, Opus in RED with the frame before as
 * redundancy, as Chromium sends it to us.
 */
import { Audio, cleanup, PeerConnection, type Track } from "node-datachannel";
import { FRAME_MS, type OpenRequest, runCallers, TICKS_PER_FRAME } from "./callers.ts";
import { END_SILENCE_MS } from "./messages.ts";

const OPUS = 111;
const RED = 63;
const RTP_HEADER_SIZE = 12;
const OPEN_WITHIN_MS = 20_000;

interface Caller {
  readonly track: Track;
  readonly ssrc: number;
  heardAt: number;
  heardSequence: number;
}

const peers: PeerConnection[] = [];
/** RED's, of one turn. */
let payloads: readonly Buffer[] = [];

const heard = runCallers<Caller>({
  async prepare(frames) {
    payloads = frames.map((frame, at) => withRedundancy(frames.at(at - 1)!, frame));
  },
  connect,
  send({ track, ssrc }, sent, at) {
    const payload = payloads[at]!;
    const packet = Buffer.allocUnsafe(RTP_HEADER_SIZE + payload.length);
    packet[0] = 0x80;
    packet[1] = RED;
    packet.writeUInt16BE(sent & 0xffff, 2);
    packet.writeUInt32BE((sent * TICKS_PER_FRAME) >>> 0, 4);
    packet.writeUInt32BE(ssrc, 8);
    payload.copy(packet, RTP_HEADER_SIZE);
    track.sendMessageBinary(packet);
  },
  async close() {
    for (const peer of peers) peer.close();
    cleanup();
  },
});

/** RFC 2198: `before`, one frame older, and then `frame`. */
function withRedundancy(before: Uint8Array, frame: Uint8Array): Buffer {
  const header = Buffer.alloc(5);
  header[0] = 0x80 | OPUS;
  header.writeUIntBE((TICKS_PER_FRAME << 10) | before.length, 1, 3);
  header[4] = OPUS;
  return Buffer.concat([header, before, frame]);
}

async function connect(index: number, { url, transportOnly }: OpenRequest): Promise<Caller> {
  const peer = new PeerConnection(`caller ${index}`, {
    iceServers: [],
    bindAddress: "127.0.0.1",
    disableAutoNegotiation: true, // the offer is made once, with all in it
  });
  peers.push(peer);
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
  const caller: Caller = { track, ssrc, heardAt: 0, heardSequence: -1 };
  track.onMessage((packet) => hear(caller, packet));
  events.onMessage(() => {}); // they are read, as a page would
  peer.setRemoteDescription(answer, "answer");
  await opened;
  if (!transportOnly) events.sendMessage(JSON.stringify(SESSION_UPDATE));
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

function hear(caller: Caller, packet: Buffer): void {
  if (packet.length < RTP_HEADER_SIZE || (packet[1]! & 0x7f) > 0x7f - 1) return;
  if ((packet[1]! & 0x7f) >= 64 && (packet[1]! & 0x7f) <= 95) return; // RTCP (RFC 5761)
  const now = performance.now();
  const sequence = packet.readUInt16BE(2);
  heard.received += 1;
  const begins = (packet[1]! & 0x80) !== 0;
  if (!begins && sequence === ((caller.heardSequence + 1) & 0xffff))
    heard.gapErrors.push(Math.abs(now - caller.heardAt - FRAME_MS));
  caller.heardAt = now;
  caller.heardSequence = sequence;
}
