/**
 * A caller by libdatachannel that treats every server alike: it offers what Chromium offers (RED before Opus, retransmission),
 * uses of it what the answer takes, and records what comes back.
 */
import { Audio, type DataChannel, PeerConnection, type Track } from "node-datachannel";
import { encodeRed } from "../../packages/transceiver/src/webrtc/red.ts";
import { RepairRequests } from "../../packages/transceiver/src/webrtc/repair-requests.ts";
import { decodeRtcp, encodeNack, encodeReceiverReport } from "../../packages/transceiver/src/webrtc/rtcp.ts";
import { decodeRtp, encodeRtp, unwrapSequenceNumber } from "../../packages/transceiver/src/webrtc/rtp.ts";
import { RtpHistory } from "../../packages/transceiver/src/webrtc/rtp-history.ts";
import { Ear, FRAME_MS, FRAME_TICKS, PAYLOAD_TYPES } from "./sound.ts";

/** Answers an offer. */
export type Answerer = (offer: string) => Promise<string>;

/** How a caller is. */
export interface CallerOptions {
  readonly answer: Answerer;
  /** Its stream; each caller of one server has another one. */
  readonly ssrc: number;
  /** Where it sends from. Default 127.0.0.1. */
  readonly address?: string;
  /** RED and retransmission, where the answer takes them. Default false: bare Opus. */
  readonly repair?: boolean;
  /** Also a data channel `oai-events`; told of each message. */
  readonly onEvent?: (text: string) => void;
  /** Records what comes. Default false: packets are only counted. */
  readonly listen?: boolean;
}

const CONNECT_MS = 20_000;
const HISTORY_SPACING_MS = 10;

/** A caller in a call. */
export class Caller {
  /** From the making of the offer to the open media path (and data channel, where there is one). */
  setupMs = 0;
  sent = 0;
  received = 0;
  /** What of the repair the answer took. */
  readonly repairs = { red: false, nack: false };
  readonly #options: CallerOptions;
  readonly #peer: PeerConnection;
  readonly #track: Track;
  readonly #channel: DataChannel | undefined;
  readonly #history = new RtpHistory();
  #requests = new RepairRequests(false);
  #ear: Ear | undefined;
  #highest: number | undefined;
  #remoteSsrc = 0;
  #frames:
    | { readonly list: readonly Uint8Array[]; readonly startedAt: number; at: number; done: () => void }
    | undefined;
  #timer: NodeJS.Timeout | undefined;
  #sequence = 1;

  private constructor(options: CallerOptions) {
    this.#options = options;
    this.#peer = new PeerConnection(`caller ${options.ssrc}`, {
      iceServers: [],
      bindAddress: options.address ?? "127.0.0.1",
      disableAutoNegotiation: true,
    });
    const audio = new Audio("0", "SendRecv");
    audio.addOpusCodec(PAYLOAD_TYPES.opus);
    audio.addSSRC(options.ssrc, `caller${options.ssrc}`, `stream${options.ssrc}`, `track${options.ssrc}`);
    this.#track = this.#peer.addTrack(audio);
    this.#track.onMessage((packet) => this.#handlePacket(packet));
    this.#channel = options.onEvent && this.#peer.createDataChannel("oai-events");
    this.#channel?.onMessage((message) => options.onEvent!(String(message)));
  }

  /** Calls, and waits until media flows; throws when it does not in 20 s. */
  static async connect(options: CallerOptions): Promise<Caller> {
    const startedAt = performance.now();
    const caller = new Caller(options);
    try {
      if (options.listen) caller.#ear = new Ear();
      await caller.#connect();
      caller.setupMs = performance.now() - startedAt;
      return caller;
    } catch (error) {
      await caller.close();
      throw error;
    }
  }

  /** Sends a text message. */
  sendEvent(event: { readonly type: string }): void {
    this.#channel?.sendMessage(JSON.stringify(event));
  }

  /** Sends `frames` one every 20 ms from now on, over and over if `repeat`; fulfilled when the last is out. */
  say(frames: readonly Uint8Array[], repeat = false): Promise<void> {
    return new Promise((done) => {
      this.#frames = {
        list: frames,
        startedAt: performance.now() + ((this.#options.ssrc * 7.919) % FRAME_MS),
        at: 0,
        done,
      };
      this.#timer ??= setInterval(() => this.#sendDue(repeat), 2);
    });
  }

  /** Sends nothing more. */
  hush(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#frames?.done();
    this.#frames = undefined;
  }

  /** Hangs up; what was heard (24 kHz), nothing unless it listened. */
  async close(): Promise<Int16Array> {
    this.hush();
    this.#peer.close();
    return (await this.#ear?.play()) ?? new Int16Array(0);
  }

  async #connect(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {}); // it may fail before there is an answer, and so before anybody waits for it
    const late = setTimeout(
      () => reject(new Error(`not connected in ${CONNECT_MS} ms: ${this.#peer.state()}`)),
      CONNECT_MS,
    );
    const check = () => {
      if (this.#track.isOpen() && this.#channel?.isOpen() !== false) resolve();
    };
    this.#track.onOpen(check);
    this.#channel?.onOpen(check);
    this.#peer.onStateChange((state) => {
      if (state === "failed") reject(new Error("the peer connection failed"));
    });
    try {
      const offer = await this.#gather();
      const answer = await this.#options.answer(this.#options.repair ? withRepair(offer) : offer);
      this.repairs.red = this.#options.repair === true && /a=rtpmap:63 red\//i.test(answer);
      this.repairs.nack = this.#options.repair === true && /a=rtcp-fb:(111|\*) nack\s*$/m.test(answer);
      this.#requests = new RepairRequests(this.repairs.nack);
      this.#peer.setRemoteDescription(answer, "answer");
      await promise;
    } finally {
      clearTimeout(late);
    }
  }

  #gather(): Promise<string> {
    return new Promise((resolve) => {
      this.#peer.onGatheringStateChange((state) => {
        if (state === "complete") resolve(this.#peer.localDescription()?.sdp ?? "");
      });
      this.#peer.setLocalDescription("offer");
    });
  }

  #sendDue(repeat: boolean): void {
    const now = performance.now();
    const missing = this.#requests.takeDue(now);
    if (missing.length > 0) this.#requestAgain(missing);
    while (this.#frames && this.#frames.startedAt + this.#frames.at * FRAME_MS <= now) {
      const { list, at, done } = this.#frames;
      if (at >= list.length && !repeat) {
        this.#frames = undefined;
        done();
        return;
      }
      this.#send(now, list[at % list.length]!, at === 0 ? undefined : list[(at - 1) % list.length]!);
      this.#frames.at += 1;
    }
  }

  #send(now: number, frame: Uint8Array, before: Uint8Array | undefined): void {
    const { opus, red } = PAYLOAD_TYPES;
    const redundant = before ? [{ payloadType: opus, timestampOffset: FRAME_TICKS, payload: before }] : [];
    const payload = this.repairs.red ? encodeRed({ redundant, primary: { payloadType: opus, payload: frame } }) : frame;
    const sequenceNumber = this.#sequence & 0xffff;
    const packet = encodeRtp({
      marker: before === undefined,
      payloadType: this.repairs.red ? red : opus,
      sequenceNumber,
      timestamp: (this.#sequence * FRAME_TICKS) >>> 0,
      ssrc: this.#options.ssrc,
      payload,
    });
    this.#sequence += 1;
    if (this.repairs.nack) this.#history.record(now, sequenceNumber, packet);
    this.#track.sendMessageBinary(packet);
    this.sent += 1;
  }

  #handlePacket(packet: Buffer): void {
    const type = packet[1]! & 0x7f;
    if (type >= 64 && type <= 95) return this.#handleRtcp(packet);
    const rtp = decodeRtp(packet);
    if (!rtp) return;
    this.received += 1;
    if (!this.#ear) return;
    this.#remoteSsrc = rtp.ssrc;
    const now = performance.now();
    const number =
      this.#highest === undefined ? rtp.sequenceNumber : unwrapSequenceNumber(this.#highest, rtp.sequenceNumber);
    if (this.#highest === undefined || number > this.#highest) {
      for (let missing = (this.#highest ?? number) + 1; missing < number; missing++)
        this.#requests.handleMissing(now, missing);
      this.#highest = number;
    } else this.#requests.settle(now, number);
    this.#ear.handleRtp(rtp);
  }

  #handleRtcp(packet: Buffer): void {
    if (!this.repairs.nack) return;
    const now = performance.now();
    for (const each of decodeRtcp(packet) ?? [])
      if (each.kind === "nack")
        for (const again of this.#history.take(now, each.sequenceNumbers, HISTORY_SPACING_MS))
          this.#track.sendMessageBinary(again);
  }

  #requestAgain(sequenceNumbers: readonly number[]): void {
    const nack = encodeNack({ senderSsrc: this.#options.ssrc, mediaSsrc: this.#remoteSsrc, sequenceNumbers });
    const report = encodeReceiverReport({ ssrc: this.#options.ssrc, reports: [] }, "caller");
    this.#track.sendMessageBinary(Buffer.concat([report, nack]));
  }
}

/** Offers RED before Opus, and retransmission, which libdatachannel cannot by itself. */
function withRepair(sdp: string): string {
  const { opus, red } = PAYLOAD_TYPES;
  return sdp
    .replace(/(m=audio \d+ \S+) /, `$1 ${red} `)
    .replace(
      `a=rtpmap:${opus} `,
      `a=rtpmap:${red} red/48000/2\r\na=fmtp:${red} ${opus}/${opus}\r\na=rtcp-fb:${opus} nack\r\na=rtpmap:${opus} `,
    );
}
