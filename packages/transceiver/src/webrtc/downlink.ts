/**
 * The agent's voice on its way to the ear: speech leaves in Opus frames of 20 ms at the pace of the RTP clock, encoded
 * when it is due, so that dropping what was not sent costs nothing.
 *
 * Drive rule: after any call, `nextFrame` is due at `pollTimeout()`; call it until that lies in the future. The first
 * frame after a pause is due at once and sets the phase of all that follow it.
 */
import { type Milli, type Pcm, SAMPLES_PER_MS, type Utterance } from "@sluice/conversation";
import { Gain } from "../media/gain.ts";
import { FRAME_MS, FRAME_SAMPLES, type OpusEncoder } from "../media/opus.ts";
import { OPUS_TICKS_PER_MS } from "../media/opus-packet.ts";
import { encodeRed, RED_MAX_BLOCK_SIZE, RED_MAX_TIMESTAMP_OFFSET, type RedBlock } from "./red.ts";
import type { ReceptionReport, SenderReport } from "./rtcp.ts";
import { encodeRtp } from "./rtp.ts";
import { RtpHistory } from "./rtp-history.ts";
import { SpeechQueue, type TakenSpeech } from "./speech-queue.ts";

/** What a downlink needs. */
export interface DownlinkOptions {
  readonly encoder: OpusEncoder;
  readonly ssrc: number;
  /** `red`: absent when not negotiated; with it every packet carries the frame before it again. */
  readonly payloadTypes: { readonly opus: number; readonly red?: number | undefined };
  /**
   * Sends each packet again with the next one, while packets are lost: for a peer that has neither RED nor NACK. Its SRTP drops
   * the second copy. Default false.
   */
  readonly repeats?: boolean | undefined;
  /** Random (RFC 3550 section 5.1). */
  readonly firstSequenceNumber: number;
  /** Random (RFC 3550 section 5.1). */
  readonly firstTimestamp: number;
  /** Speech that may wait to be sent, 48 kB a second; default 300,000 ms. More is dropped and counted. */
  readonly maxQueueMs?: Milli | undefined;
  /** `sleep`: each frame 20 ms after the one before left, so that every delay adds up. Default `clock`. */
  readonly pacing?: "clock" | "sleep" | undefined;
  /** A frame that is late by up to this much keeps its place; default 20 ms, see {@link DEFAULT_MAX_LATE_MS}. */
  readonly maxLateMs?: Milli | undefined;
}

/** What is due at one tick. */
export interface DownlinkFrame {
  /** To be protected and sent; `undefined` when there is only an end to report. */
  readonly packet: Buffer | undefined;
  /** The packet before it once more, to be sent first. */
  readonly repeated?: Buffer | undefined;
  /** How much of which utterance is out, this packet included; `undefined` when it carries silence. */
  readonly sent: SentSpeech | undefined;
  /** Utterances that are out to their end. */
  readonly ended: readonly Utterance[];
}

/** Progress of one utterance. */
export interface SentSpeech {
  readonly utterance: Utterance;
  readonly sentMs: Milli;
  /** RTP timestamp at which a decoder gives the utterance's first sample out: the encoder's look-ahead counts. */
  readonly rtpTimestamp: number;
}

type FrameSource = "faded" | "speech" | "silence";

const RTP_HEADER_SIZE = 12;
const FRAME_TICKS = FRAME_MS * OPUS_TICKS_PER_MS;
/** Silence after speech, so that the listener's jitter buffer ends on silence and not on concealment. */
const TRAILING_FRAMES = 5;
const TRAILING_FRAMES_AFTER_FLUSH = 3;
const FADE_SAMPLES = 10 * SAMPLES_PER_MS;
const STARVED_FADE_SAMPLES = 2.5 * SAMPLES_PER_MS;
/**
 * A frame that is late by up to this much keeps its place; after a longer stall speech goes on from now. Of WebRTC: The listener has
 * run dry by then anyway, and what it sees as jitter makes it hold back all speech for long: after one stall of 140 ms
 * that was made up for, Chromium's jitter buffer rose from 40 to 120 ms and stayed there turn after turn.
 */
const DEFAULT_MAX_LATE_MS: Milli = 20;
const DEFAULT_MAX_QUEUE_MS: Milli = 300_000;
/** Repeated are packets until so much speech went without a report of a loss. */
const REPEATS_FOR_MS: Milli = 10_000;
const MAX_SENDER_REPORTS = 16;
/** Seconds from 1900 (NTP) to 1970 (Unix). */
const NTP_OFFSET_S = 2_208_988_800;

/** The RTP sender of one session. */
export class Downlink {
  readonly #options: DownlinkOptions;
  readonly #queue: SpeechQueue;
  readonly #history = new RtpHistory();
  readonly #frame = new Int16Array(FRAME_SAMPLES);
  readonly #senderReports = new Map<number, Milli>();
  #sequenceNumber: number;
  #nextFrameAt: Milli | undefined; // undefined while the line pauses
  #lastFrameAt: Milli | undefined;
  #timestamp: number; // of the last frame, unwrapped
  #origin: { readonly at: Milli; readonly timestamp: number } | undefined;
  #marker = true;
  #trailing = 0;
  #faded: Pcm | undefined; // what is left of flushed speech
  #previous: { readonly payload: Uint8Array; readonly timestamp: number } | undefined;
  #lastPacket: Buffer | undefined;
  #goodMs: Milli = 0;
  readonly #gain = new Gain();
  #packetCount = 0;
  #octetCount = 0;
  #roundTripMs: Milli | undefined;
  #lossPercent: number | undefined;

  constructor(options: DownlinkOptions) {
    this.#options = options;
    this.#queue = new SpeechQueue(options.maxQueueMs ?? DEFAULT_MAX_QUEUE_MS);
    this.#sequenceNumber = options.firstSequenceNumber & 0xffff;
    this.#timestamp = options.firstTimestamp;
  }

  /** As the peer's last report told, `undefined` before one. */
  get roundTripMs(): Milli | undefined {
    return this.#roundTripMs;
  }

  /** Share of our packets that the peer says it lost, smoothed; `undefined` before its first report. */
  get lossPercent(): number | undefined {
    return this.#lossPercent;
  }

  /** Speech that waits to be sent. */
  get queuedMs(): Milli {
    return this.#queue.queuedSamples / SAMPLES_PER_MS;
  }

  /** Speech refused because the queue was full. */
  get droppedMs(): Milli {
    return this.#queue.droppedSamples / SAMPLES_PER_MS;
  }

  /** Appends speech; the queue keeps `pcm`. The next utterance begins where the one before runs dry. */
  play(now: Milli, utterance: Utterance, pcm: Pcm): void {
    this.#queue.append(utterance, pcm);
    this.#wake(now);
  }

  /** No more speech will come for `utterance`. */
  endUtterance(now: Milli, utterance: Utterance): void {
    this.#queue.end(utterance);
    this.#wake(now);
  }

  /** Drops all that was not sent; what would have come next fades within 10 ms. */
  flush(): void {
    if (this.#isSpeaking && this.#faded === undefined) {
      const next = new Int16Array(FRAME_SAMPLES);
      if (this.#queue.take(next, this.#timestamp) !== undefined) {
        fadeOut(next, 0, FADE_SAMPLES);
        this.#gain.apply(next); // now: a gain that is set for what follows is not for what ends here
        this.#faded = next;
      }
    }
    this.#queue.clear();
    this.#trailing = Math.min(this.#trailing, TRAILING_FRAMES_AFTER_FLUSH);
  }

  /** Moves the gain of speech to `target` (1: as it is) over `rampMs`, from the next frame that leaves on. */
  setGain(target: number, rampMs: Milli): void {
    this.#gain.ramp(target, rampMs);
  }

  /** When the next frame is due; `undefined` while there is nothing to send. */
  pollTimeout(): Milli | undefined {
    return this.#nextFrameAt;
  }

  /** The frame that is due at `now`, if any. */
  nextFrame(now: Milli): DownlinkFrame | undefined {
    if (this.#nextFrameAt === undefined || now < this.#nextFrameAt) return undefined;
    if (now - this.#nextFrameAt > (this.#options.maxLateMs ?? DEFAULT_MAX_LATE_MS)) this.#anchor(now);
    const ended = this.#queue.takeEnded();
    const source = this.#nextSource();
    const at = this.#options.pacing === "sleep" ? now : this.#nextFrameAt;
    if (source !== undefined) return this.#sendFrame(at, source, ended);
    this.#nextFrameAt = undefined;
    return ended.length === 0 ? undefined : { packet: undefined, sent: undefined, ended };
  }

  /** The packets of the last 5 s that the peer asks for again; bounded to 100 a second. */
  handleNack(now: Milli, sequenceNumbers: readonly number[]): Buffer[] {
    return this.#history.take(now, sequenceNumbers, (this.#roundTripMs ?? 0) / 2);
  }

  /** What the peer says of our stream: its loss sets the in-band FEC, its timing the round trip. */
  handleReceptionReport(now: Milli, report: ReceptionReport): void {
    if (report.ssrc !== this.#options.ssrc) return;
    const loss = (report.fractionLost * 100) / 256;
    if (loss > 0) this.#goodMs = 0;
    this.#lossPercent = this.#lossPercent === undefined ? loss : this.#lossPercent * 0.7 + loss * 0.3;
    this.#options.encoder.setPacketLossPercent(Math.ceil(this.#lossPercent));
    const sentAt = this.#senderReports.get(report.lastSenderReport);
    if (sentAt === undefined || report.lastSenderReport === 0) return;
    const roundTripMs = Math.max(0, now - sentAt - (report.delaySinceLastSenderReport * 1000) / 65536);
    this.#roundTripMs = this.#roundTripMs === undefined ? roundTripMs : this.#roundTripMs * 0.75 + roundTripMs * 0.25;
  }

  /** What to tell the peer of our stream at `now`, which is `unixMs` by the wall; `undefined` before the first frame. */
  senderReport(now: Milli, unixMs: Milli): SenderReport | undefined {
    if (this.#origin === undefined) return undefined;
    const seconds = Math.floor(unixMs / 1000);
    const ntp = {
      seconds: (seconds + NTP_OFFSET_S) >>> 0,
      fraction: Math.floor((unixMs / 1000 - seconds) * 0x100000000) >>> 0,
    };
    const middle = (((ntp.seconds & 0xffff) << 16) | (ntp.fraction >>> 16)) >>> 0;
    this.#senderReports.set(middle, now);
    if (this.#senderReports.size > MAX_SENDER_REPORTS) {
      this.#senderReports.delete(this.#senderReports.keys().next().value!);
    }
    return {
      ssrc: this.#options.ssrc,
      ntp,
      rtpTimestamp: this.#timestampAt(now) >>> 0,
      packetCount: this.#packetCount,
      octetCount: this.#octetCount,
      reports: [],
    };
  }

  /** Starts the line when there is something to say and it pauses. */
  #wake(now: Milli): void {
    if (this.#nextFrameAt !== undefined || !this.#queue.isReady(FRAME_SAMPLES)) return;
    this.#anchor(Math.max(now, this.#lastFrameAt === undefined ? now : this.#lastFrameAt + FRAME_MS));
    this.#trailing = 0;
  }

  /** Lets a talkspurt begin at `at`: its timestamp follows the wall, so that pauses keep their length at the ear. */
  #anchor(at: Milli): void {
    this.#nextFrameAt = at;
    this.#marker = true;
    this.#origin ??= { at, timestamp: this.#timestamp };
    // #sendFrame adds the frame before it sends.
    const first = this.#lastFrameAt === undefined ? this.#timestamp : this.#timestamp + FRAME_TICKS;
    this.#timestamp = Math.max(this.#timestampAt(at), first) - FRAME_TICKS;
  }

  #timestampAt(at: Milli): number {
    const origin = this.#origin!;
    return origin.timestamp + Math.round((at - origin.at) * OPUS_TICKS_PER_MS);
  }

  /** Faded speech before new speech before silence. */
  #nextSource(): FrameSource | undefined {
    if (this.#faded !== undefined) return "faded";
    if (this.#queue.isReady(FRAME_SAMPLES) || (this.#isSpeaking && this.#queue.queuedSamples > 0)) return "speech";
    return this.#trailing > 0 ? "silence" : undefined;
  }

  /** Whether the last frame held speech and the line goes on. */
  get #isSpeaking(): boolean {
    return this.#nextFrameAt !== undefined && this.#trailing === TRAILING_FRAMES;
  }

  #sendFrame(at: Milli, source: FrameSource, ended: readonly Utterance[]): DownlinkFrame {
    this.#timestamp += FRAME_TICKS;
    const speech = this.#fillFrame(source);
    const payload = this.#options.encoder.encode(this.#frame);
    const packet = this.#packetize(payload);
    const repeated = this.#options.repeats && this.#goodMs < REPEATS_FOR_MS ? this.#lastPacket : undefined;
    this.#goodMs += FRAME_MS;
    this.#history.record(at, this.#sequenceNumber, packet);
    this.#sequenceNumber = (this.#sequenceNumber + 1) & 0xffff;
    this.#packetCount = (this.#packetCount + 1) >>> 0;
    this.#octetCount = (this.#octetCount + packet.length - RTP_HEADER_SIZE) >>> 0;
    this.#marker = false;
    this.#previous = { payload, timestamp: this.#timestamp };
    this.#lastFrameAt = at;
    const goesOn = this.#trailing > 0 || this.#queue.isReady(FRAME_SAMPLES);
    this.#nextFrameAt = goesOn ? at + FRAME_MS : undefined;
    this.#lastPacket = goesOn ? packet : undefined;
    return {
      packet,
      repeated,
      sent: speech && {
        utterance: speech.utterance,
        sentMs: speech.sentSamples / SAMPLES_PER_MS,
        rtpTimestamp: (speech.firstTimestamp + this.#options.encoder.lookaheadMs * OPUS_TICKS_PER_MS) >>> 0,
      },
      ended: speech === undefined ? ended : [...ended, ...this.#queue.takeEnded()],
    };
  }

  #fillFrame(source: FrameSource): TakenSpeech | undefined {
    if (source === "speech") {
      const speech = this.#queue.take(this.#frame, this.#timestamp >>> 0);
      if (speech?.starved) {
        const spoken = Math.max(0, speech.samples - STARVED_FADE_SAMPLES);
        fadeOut(this.#frame, spoken, speech.samples - spoken);
      }
      this.#gain.apply(this.#frame);
      this.#trailing = TRAILING_FRAMES;
      return speech;
    }
    if (source === "faded" && this.#faded !== undefined) {
      this.#frame.set(this.#faded);
      this.#faded = undefined;
    } else {
      this.#frame.fill(0);
      this.#trailing -= 1;
    }
    return undefined;
  }

  #packetize(payload: Uint8Array): Buffer {
    const { ssrc, payloadTypes } = this.#options;
    const header = {
      marker: this.#marker,
      sequenceNumber: this.#sequenceNumber,
      timestamp: this.#timestamp >>> 0,
      ssrc,
    };
    if (payloadTypes.red === undefined) return encodeRtp({ ...header, payloadType: payloadTypes.opus, payload });
    const redundant: RedBlock[] = [];
    if (this.#previous !== undefined) {
      const timestampOffset = this.#timestamp - this.#previous.timestamp;
      const fits = timestampOffset <= RED_MAX_TIMESTAMP_OFFSET && this.#previous.payload.length <= RED_MAX_BLOCK_SIZE;
      if (fits) redundant.push({ payloadType: payloadTypes.opus, timestampOffset, payload: this.#previous.payload });
    }
    const red = encodeRed({ redundant, primary: { payloadType: payloadTypes.opus, payload } });
    return encodeRtp({ ...header, payloadType: payloadTypes.red, payload: red });
  }
}

/** Ramps `pcm` down to zero from `from` on within `length` samples, and silences the rest. */
function fadeOut(pcm: Pcm, from: number, length: number): void {
  for (let i = from; i < pcm.length; i++) pcm[i] = pcm[i]! * Math.max(0, 1 - (i - from) / length);
}
