/**
 * The caller's end of a WebRTC call in virtual time, as a stock browser is one: Opus every 20 ms with RED, retransmission
 * when asked, checks of the path, a jitter buffer, requests for what is missing. It records what went in and what came out.
 */
import { formatBindingRequest, formatBindingSuccess, parseStun } from "@sluice/routing";
import type { OpusCodec } from "@sluice/transceiver";
import { Reception } from "../../packages/transceiver/src/webrtc/reception.ts";
import { decodeRed, encodeRed } from "../../packages/transceiver/src/webrtc/red.ts";
import { RepairRequests } from "../../packages/transceiver/src/webrtc/repair-requests.ts";
import { decodeRtcp, encodeNack, encodeReceiverReport } from "../../packages/transceiver/src/webrtc/rtcp.ts";
import {
  decodeRtp,
  encodeRtp,
  unwrapSequenceNumber,
  unwrapTimestamp,
} from "../../packages/transceiver/src/webrtc/rtp.ts";
import { RtpHistory } from "../../packages/transceiver/src/webrtc/rtp-history.ts";
import { createSrtpContext } from "../../packages/transceiver/src/webrtc/srtp.ts";
import { EventsChannel, record, SERVER_KEYS } from "./channel.ts";
import { JitterBuffer } from "./jitter-buffer.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** How a phone is. */
export interface PhoneOptions {
  readonly time: VirtualTime;
  readonly opus: OpusCodec;
  readonly serverUfrag: string;
  readonly serverPassword: string;
  readonly random: (size: number) => Uint8Array;
  /** Default: RED and NACK, as browsers do when the answer asks for them. */
  readonly repair?: boolean;
  /** Waits always this long before it plays. Default: adaptive. */
  readonly fixedPlayoutMs?: number;
  readonly send: (packet: Uint8Array) => void;
  readonly onEvent: (event: { readonly type: string }) => void;
  /** A frame of the microphone, whole at `endMs`. */
  readonly onMouth?: (frame: Int16Array, endMs: number) => void;
}

/** What a phone offers: the credentials that the server checks its path with. */
export const PHONE_ICE = { ufrag: "phone", password: "a-password-of-the-caller" } as const;

/** Payload types, as Chromium has them. */
export const PAYLOAD_TYPES = { opus: 111, red: 63 } as const;

const FRAME_MS = 20;
const FRAME_SAMPLES = 480;
const FRAME_TICKS = 960;
const CHECK_EVERY_MS = 2660; // Chromium's interval of a stable pair
const CHECK_SILENT_MS = 62; // and when nothing comes
const SILENT_AFTER_MS = 2500;
const REPORT_EVERY_MS = 1000;

/** A phone in a call. */
export class Phone {
  readonly ssrc = 0x11223344;
  readonly #options: PhoneOptions;
  readonly #egress = createSrtpContext({
    profile: SERVER_KEYS.profile,
    masterKey: SERVER_KEYS.remoteKey,
    masterSalt: SERVER_KEYS.remoteSalt,
  });
  readonly #ingress = createSrtpContext({
    profile: SERVER_KEYS.profile,
    masterKey: SERVER_KEYS.localKey,
    masterSalt: SERVER_KEYS.localSalt,
  });
  readonly #channel: EventsChannel;
  readonly #history = new RtpHistory();
  readonly #repairs: RepairRequests;
  readonly #mouth: Int16Array[] = [];
  readonly #ear: Int16Array[] = [];
  readonly #receivedFrames: boolean[] = [];
  #played: { readonly atMs: number; readonly rtpTimestamp: number; readonly latencyMs: number } | undefined;
  #speech: { readonly pcm: Int16Array; at: number } | undefined;
  #encoder!: Awaited<ReturnType<OpusCodec["createEncoder"]>>;
  #decoder!: Awaited<ReturnType<OpusCodec["createDecoder"]>>;
  #buffer!: JitterBuffer;
  #reception: Reception | undefined;
  #highest = 0;
  #timestamp = 0;
  #records = 0;
  #frame = 0;
  #previous: Uint8Array | undefined;
  #startedAt = 0;
  #heardAt = 0;
  #connected = false;
  #hungUp = false;

  constructor(options: PhoneOptions) {
    this.#options = options;
    this.#repairs = new RepairRequests(options.repair !== false);
    this.#channel = new EventsChannel(
      (packet) => this.#options.send(record("data", this.#records++, packet)),
      (text) => options.onEvent(JSON.parse(text)),
    );
  }

  /** Loads the codecs. */
  async open(): Promise<void> {
    const { opus, fixedPlayoutMs } = this.#options;
    this.#encoder = await opus.createEncoder({ mode: "voip", bitrate: 32_000 });
    this.#decoder = await opus.createDecoder();
    this.#buffer = new JitterBuffer({
      decoder: this.#decoder,
      ...(fixedPlayoutMs === undefined ? {} : { fixedMs: fixedPlayoutMs }),
    });
  }

  /** Calls: checks the path, then says hello until somebody answers. */
  dial(): void {
    const { time } = this.#options;
    this.#startedAt = time.now();
    this.#heardAt = time.now();
    const check = () => {
      if (this.#hungUp) return;
      this.#check();
      const silent = time.now() - this.#heardAt > SILENT_AFTER_MS || !this.#connected;
      time.at(time.now() + (silent ? CHECK_SILENT_MS : CHECK_EVERY_MS), check);
    };
    check();
    const tick = () => {
      if (this.#hungUp) return;
      this.#frameDue();
      time.at(this.#startedAt + this.#frame * FRAME_MS, tick);
    };
    tick();
    const report = () => {
      if (this.#hungUp) return;
      this.#report();
      time.at(time.now() + REPORT_EVERY_MS, report);
    };
    time.at(time.now() + REPORT_EVERY_MS, report);
  }

  /** Says `pcm` (24 kHz) from the next frame on; the time at which its first sample leaves the mouth. */
  say(pcm: Int16Array): number {
    this.#speech = { pcm, at: 0 };
    return this.#startedAt + this.#frame * FRAME_MS;
  }

  /** Sends an event. */
  sendEvent(event: { readonly type: string }): void {
    this.#channel.send(JSON.stringify(event));
  }

  /** What the mouth said and the ear heard, from the moment of dialling; 24 kHz. */
  recording(): {
    readonly mouth: Int16Array;
    readonly ear: Int16Array;
    /** Per 20 ms of the ear, whether a packet was played: else it was silence, or invented. */
    readonly played: readonly boolean[];
    readonly startedAt: number;
  } {
    return { mouth: join(this.#mouth), ear: join(this.#ear), played: this.#receivedFrames, startedAt: this.#startedAt };
  }

  /** Loudness of the ear's last 20 ms, of full scale. */
  earLevel(): number {
    const last = this.#ear.at(-1);
    if (!last) return 0;
    return Math.sqrt(last.reduce((sum, sample) => sum + sample * sample, 0) / last.length) / 32_768;
  }

  /** What the loudspeaker plays just now, for the client's own timeline. */
  played(): { readonly atMs: number; readonly rtpTimestamp: number; readonly latencyMs: number } | undefined {
    return this.#played;
  }

  /** Frames that the ear played, invented and threw away. */
  get playoutCounts(): Readonly<JitterBuffer["counts"]> {
    return this.#buffer.counts;
  }

  /** Ends the call and frees the codecs. */
  hangUp(): void {
    this.#hungUp = true;
    this.#channel.close();
    this.#encoder.free();
    this.#decoder.free();
  }

  /** Takes a datagram off the wire. */
  handlePacket(packet: Uint8Array): void {
    if (this.#hungUp) return;
    this.#heardAt = this.#options.time.now();
    const first = packet[0]!;
    if (first < 4) this.#handleStun(packet);
    else if (first < 64) this.#handleRecord(packet);
    else if (packet[1]! >= 192 && packet[1]! <= 223) this.#handleRtcp(packet);
    else this.#handleRtp(packet);
  }

  #check(): void {
    const { serverUfrag, serverPassword, random, send } = this.#options;
    const username = `${serverUfrag}:${PHONE_ICE.ufrag}`;
    send(formatBindingRequest({ transactionId: random(12), username, password: serverPassword, useCandidate: true }));
    if (this.#connected) return;
    send(record("hello", this.#records++, Uint8Array.of(1)));
    if (this.#records > 1) send(record("finished", this.#records++, Uint8Array.of(1))); // the answer may be what was lost
  }

  #handleStun(packet: Uint8Array): void {
    const message = parseStun(packet);
    if (message?.class !== "request") return;
    // The server asks back before media follows us to a new address.
    const { transactionId } = message;
    this.#options.send(
      formatBindingSuccess({ transactionId, address: "192.0.2.1", port: 1, password: PHONE_ICE.password }),
    );
  }

  #handleRecord(packet: Uint8Array): void {
    if (packet[0] === 22) this.#connected = true;
    else this.#channel.handlePacket(packet.subarray(13));
  }

  #handleRtcp(packet: Uint8Array): void {
    const plain = this.#ingress.unprotectRtcp(packet);
    for (const each of (plain && decodeRtcp(plain)) ?? []) {
      if (each.kind === "senderReport") this.#reception?.handleSenderReport(this.#options.time.now(), each);
      if (each.kind !== "nack" || this.#options.repair === false) continue;
      for (const again of this.#history.take(this.#options.time.now(), each.sequenceNumbers, 10))
        this.#options.send(this.#egress.protectRtp(again));
    }
  }

  #handleRtp(packet: Uint8Array): void {
    const plain = this.#ingress.unprotectRtp(packet);
    const rtp = plain && decodeRtp(plain);
    if (!rtp) return;
    const now = this.#options.time.now();
    this.#reception ??= new Reception(rtp.ssrc, 48);
    const number = this.#highest === 0 ? rtp.sequenceNumber : unwrapSequenceNumber(this.#highest, rtp.sequenceNumber);
    const timestamp = this.#timestamp === 0 ? rtp.timestamp : unwrapTimestamp(this.#timestamp, rtp.timestamp);
    this.#reception.handlePacket(now, number, timestamp);
    if (number > this.#highest) {
      if (this.#highest > 0)
        for (let missing = this.#highest + 1; missing < number; missing++) this.#repairs.handleMissing(now, missing);
      this.#highest = number;
      this.#timestamp = timestamp;
    } else this.#repairs.settle(now, number);
    if (rtp.payloadType !== PAYLOAD_TYPES.red) this.#buffer.handleFrame(now, timestamp, rtp.payload);
    else {
      const red = decodeRed(rtp.payload);
      for (const { timestampOffset, payload } of red?.redundant ?? [])
        this.#buffer.handleFrame(now, timestamp - timestampOffset, payload, true);
      if (red) this.#buffer.handleFrame(now, timestamp, red.primary.payload);
    }
  }

  #frameDue(): void {
    const { time, repair } = this.#options;
    const now = time.now();
    const before = this.#buffer.counts.played;
    this.#ear.push(this.#buffer.play(now));
    this.#receivedFrames.push(this.#buffer.counts.played > before);
    const { playedTimestamp } = this.#buffer;
    if (playedTimestamp !== undefined) this.#played = { atMs: now, rtpTimestamp: playedTimestamp >>> 0, latencyMs: 0 };
    const pcm = new Int16Array(FRAME_SAMPLES);
    if (this.#speech) {
      const { pcm: speech, at } = this.#speech;
      pcm.set(speech.subarray(at, at + FRAME_SAMPLES));
      this.#speech.at += FRAME_SAMPLES;
      if (this.#speech.at >= speech.length) this.#speech = undefined;
    }
    this.#mouth.push(pcm);
    const frame = this.#frame++;
    const missing = this.#repairs.takeDue(now);
    if (missing.length > 0) this.#requestAgain(missing);
    // A frame is whole, and leaves, when its last sample was spoken.
    time.at(now + FRAME_MS, () => {
      this.#options.onMouth?.(pcm, now + FRAME_MS);
      this.#sendFrame(frame, pcm, repair !== false);
    });
  }

  #sendFrame(frame: number, pcm: Int16Array, red: boolean): void {
    if (this.#hungUp || !this.#connected) return;
    const primary = { payloadType: PAYLOAD_TYPES.opus, payload: this.#encoder.encode(pcm) };
    const redundant = this.#previous
      ? [{ payloadType: PAYLOAD_TYPES.opus, timestampOffset: FRAME_TICKS, payload: this.#previous }]
      : [];
    const packet = encodeRtp({
      marker: frame === 0,
      sequenceNumber: frame & 0xffff,
      timestamp: (frame * FRAME_TICKS) >>> 0,
      ssrc: this.ssrc,
      payloadType: red ? PAYLOAD_TYPES.red : PAYLOAD_TYPES.opus,
      payload: red ? encodeRed({ redundant, primary }) : primary.payload,
    });
    this.#previous = primary.payload;
    this.#history.record(this.#options.time.now(), frame & 0xffff, packet);
    this.#options.send(this.#egress.protectRtp(packet));
  }

  #requestAgain(sequenceNumbers: readonly number[]): void {
    if (!this.#reception) return;
    const nack = encodeNack({ senderSsrc: this.ssrc, mediaSsrc: this.#reception.ssrc, sequenceNumbers });
    const report = encodeReceiverReport({ ssrc: this.ssrc, reports: [] }, "phone");
    this.#options.send(this.#egress.protectRtcp(Buffer.concat([report, nack])));
  }

  #report(): void {
    const now = this.#options.time.now();
    const block = this.#reception?.report(now);
    if (!this.#connected) return;
    // No sender reports: the server takes its round trip from these.
    const report = encodeReceiverReport({ ssrc: this.ssrc, reports: block ? [block] : [] }, "phone");
    this.#options.send(this.#egress.protectRtcp(report));
  }
}

function join(pieces: readonly Int16Array[]): Int16Array {
  const whole = new Int16Array(pieces.length * FRAME_SAMPLES);
  for (const [at, piece] of pieces.entries()) whole.set(piece, at * FRAME_SAMPLES);
  return whole;
}
