/**
 * The caller's voice as talkspurt streams and datagrams bring it (docs/webtransport.md), on two clocks. *Early*: each
 * frame is decoded as it comes, by whichever way comes first, for voice activity; positions only move forward. *Ordered*:
 * talkspurt after talkspurt, every frame, for recognition: what is missing is on its way, so it is waited for and never
 * invented. A frame that is next in order is decoded once for both.
 */
import { type EarlyAudio, type Milli, type OrderedAudio, type Pcm, SAMPLES_PER_MS } from "@sluice/conversation";
import { type AudioFrame, decodeFrameDatagram, TalkspurtDecoder } from "@sluice/realtime";
import { FRAME_MS, type OpusDecoder } from "../media/opus.ts";
import { OPUS_TICKS_PER_MS, opusPacketTicks } from "../media/opus-packet.ts";
import { RateLimit } from "../websocket/rate-limit.ts";
import { NarrowPath } from "./narrow-path.ts";
import type { QuicStream } from "./quic-engine.ts";

/** What an uplink needs. */
export interface UplinkOptions {
  /** Decodes the ordered stream. */
  readonly decoder: OpusDecoder;
  /** Decodes what lies beyond a hole, for the early stream. */
  readonly earlyDecoder: OpusDecoder;
}

/** What one input brought; samples may be shared between the two and are not to be changed. */
export interface UplinkAudio {
  readonly early: readonly EarlyAudio[];
  readonly ordered: readonly OrderedAudio[];
}

/** Frames and datagrams since the session began. */
export interface UplinkCounts {
  /** Frames that recognition heard. */
  frames: number;
  /** Of them, those that a datagram brought before their stream. */
  byDatagram: number;
  /** Datagrams whose frame had come, or was too far ahead of everything. */
  uselessDatagrams: number;
  /** Packets that are no Opus. */
  malformed: number;
}

/** Why a session must end. */
export type UplinkFault = "malformed" | "tooMuch";

interface Talkspurt {
  readonly decoder: TalkspurtDecoder;
  /** Frames that came before it was their turn. */
  readonly waiting: AudioFrame[];
  ended: boolean;
}

/** Bytes of frames that wait for an earlier talkspurt: half a minute and more. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** How many talkspurts may be ahead of the one that is heard; a client has no more streams than that. */
const MAX_AHEAD = 64;
/** Frames decoded a second, for long: each once for either clock, by a client's clock that may be a little fast. */
const DECODES_PER_SECOND = 2.05 * (1000 / FRAME_MS);
/** And at once: two minutes that were stalled, or spoken before the connection was up. */
const BURST_DECODES = 120 * (1000 / FRAME_MS);
/** No datagram is this far ahead of what was heard. */
const MAX_DATAGRAM_LEAP = 60_000 * OPUS_TICKS_PER_MS;
/** The longest silence that is put where nothing was captured; beyond it, places step. */
const MAX_SILENCE_TICKS = 1000 * OPUS_TICKS_PER_MS;
/** A shorter packet is silence, or of a rate that leaves room as it is. */
const VOICED_BYTES = 50;
const TICKS_PER_SAMPLE = OPUS_TICKS_PER_MS / SAMPLES_PER_MS;

/** The receiver of one caller's voice. */
export class Uplink {
  readonly counts: UplinkCounts = { frames: 0, byDatagram: 0, uselessDatagrams: 0, malformed: 0 };
  readonly #options: UplinkOptions;
  readonly #rate: RateLimit;
  readonly #path = new NarrowPath();
  readonly #streams = new Map<QuicStream, Talkspurt>();
  readonly #talkspurts = new Map<number, Talkspurt>(); // known by their sequence, the current one and later
  #current = 0; // sequence of the talkspurt that is heard
  #lost = 0; // streams that were reset before they said which they are
  #waitingBytes = 0;
  #orderedEnd: number | undefined; // ticks; undefined before the first frame
  #earlyEnd = -1;
  #early: EarlyAudio[] = [];
  #ordered: OrderedAudio[] = [];
  #fault: UplinkFault | undefined;

  constructor(now: Milli, options: UplinkOptions) {
    this.#options = options;
    this.#rate = new RateLimit(now, DECODES_PER_SECOND, BURST_DECODES);
  }

  /** Whether the client sends more than the path carries: at a lower rate it might fit. */
  get isNarrow(): boolean {
    return this.#path.isNarrow;
  }

  /** Whether the path has room for datagrams. */
  get hasRoom(): boolean {
    return this.#path.hasRoom;
  }

  /** A round trip was seen. */
  handleRoundTrip(now: Milli, rttMs: Milli): void {
    this.#path.handleRoundTrip(now, rttMs);
  }

  /** Whether one is to be asked for now. */
  takeAsk(now: Milli): boolean {
    return this.#path.takeAsk(now);
  }

  /** What the client did that ends its session. */
  get fault(): UplinkFault | undefined {
    return this.#fault;
  }

  /** More of a talkspurt's stream, its kind taken off. */
  handleStream(now: Milli, stream: QuicStream, data: Uint8Array, isEnd: boolean): UplinkAudio {
    const talkspurt = this.#streams.get(stream) ?? this.#open(stream);
    const frames = talkspurt.decoder.push(data);
    const { sequence } = talkspurt.decoder;
    if (!frames || (isEnd && !talkspurt.decoder.isBetween)) this.#fault ??= "malformed";
    else if (sequence !== undefined && this.#claim(sequence, talkspurt)) {
      for (const frame of frames) this.#take(now, sequence, talkspurt, frame);
      this.#time(now, frames);
    }
    if (isEnd) this.#end(now, stream, talkspurt);
    return this.#output();
  }

  /** The client gave a talkspurt up: what came of it counts. */
  handleReset(now: Milli, stream: QuicStream): UplinkAudio {
    const talkspurt = this.#streams.get(stream) ?? this.#open(stream);
    if (talkspurt.decoder.sequence === undefined) this.#lost += 1;
    this.#end(now, stream, talkspurt);
    return this.#output();
  }

  handleDatagram(now: Milli, data: Uint8Array): UplinkAudio {
    const frame = decodeFrameDatagram(data);
    if (frame) this.#time(now, [frame]);
    const ticks = frame && ticksOf(frame);
    if (!frame || ticks === undefined) this.counts.malformed += 1;
    else if (frame.time === this.#orderedEnd) {
      this.counts.byDatagram += 1;
      this.#hear(now, frame, ticks);
    } else if (this.#isAhead(frame.time)) this.#hearEarly(now, frame, ticks);
    else this.counts.uselessDatagrams += 1;
    return this.#output();
  }

  /** How late the newest that came is. Its place is when it was captured, on the client's clock. Silence shows no room. */
  #time(now: Milli, frames: readonly AudioFrame[]): void {
    const newest = frames.at(-1);
    if (!newest) return;
    const voice = frames.reduce((sum, { packet }) => sum + (packet.length < VOICED_BYTES ? 0 : packet.length), 0);
    this.#path.handleFrame(now, now - newest.time / OPUS_TICKS_PER_MS, voice);
  }

  #isAhead(time: number): boolean {
    return time >= this.#earlyEnd && (this.#earlyEnd < 0 || time <= this.#earlyEnd + MAX_DATAGRAM_LEAP);
  }

  #open(stream: QuicStream): Talkspurt {
    const talkspurt = { decoder: new TalkspurtDecoder(), waiting: [], ended: false };
    this.#streams.set(stream, talkspurt);
    return talkspurt;
  }

  /** Takes a talkspurt's place in the order; false, and a fault, when it cannot be there. */
  #claim(sequence: number, talkspurt: Talkspurt): boolean {
    const known = this.#talkspurts.get(sequence);
    if (known === talkspurt) return true;
    if (known || sequence < this.#current || sequence > this.#current + MAX_AHEAD) {
      this.#fault ??= "malformed";
      return false;
    }
    this.#talkspurts.set(sequence, talkspurt);
    return true;
  }

  #take(now: Milli, sequence: number, talkspurt: Talkspurt, frame: AudioFrame): void {
    if (this.#fault) return;
    const ticks = ticksOf(frame);
    if (ticks === undefined) {
      this.counts.malformed += 1;
      return;
    }
    if (sequence === this.#current && talkspurt.waiting.length === 0) return this.#hear(now, frame, ticks);
    if (frame.time >= this.#earlyEnd) this.#hearEarly(now, frame, ticks);
    this.#waitingBytes += frame.packet.length + FRAME_OVERHEAD;
    talkspurt.waiting.push({ time: frame.time, packet: frame.packet.slice() });
    if (this.#waitingBytes > MAX_WAITING_BYTES) this.#fault ??= "tooMuch";
  }

  #end(now: Milli, stream: QuicStream, talkspurt: Talkspurt): void {
    this.#streams.delete(stream);
    talkspurt.ended = true;
    this.#advance(now);
  }

  /** Goes on to the next talkspurt while the one that is heard is complete. */
  #advance(now: Milli): void {
    while (!this.#fault) {
      const current = this.#talkspurts.get(this.#current);
      const isLost = !current && this.#lost > 0 && this.#talkspurts.size > 0;
      if (isLost) this.#lost -= 1;
      else if (!current?.ended) return;
      this.#talkspurts.delete(this.#current);
      this.#current += 1;
      this.#catchUp(now);
    }
  }

  /** Hears what of the current talkspurt waited for its turn. */
  #catchUp(now: Milli): void {
    const current = this.#talkspurts.get(this.#current);
    for (const frame of current?.waiting.splice(0) ?? []) {
      this.#waitingBytes -= frame.packet.length + FRAME_OVERHEAD;
      const ticks = ticksOf(frame);
      if (ticks !== undefined) this.#hear(now, frame, ticks);
    }
  }

  /** The next frame in order: for recognition, and for voice activity unless that had it. */
  #hear(now: Milli, frame: AudioFrame, ticks: number): void {
    if (this.#orderedEnd !== undefined && frame.time < this.#orderedEnd) return; // a datagram was quicker
    if (!this.#admit(now)) return;
    this.#fillTo(frame.time);
    const pcm = this.#decode(this.#options.decoder, frame);
    this.#orderedEnd = frame.time + ticks;
    if (!pcm) return;
    this.counts.frames += 1;
    const mediaMs = frame.time / OPUS_TICKS_PER_MS;
    this.#ordered.push({ pcm, mediaMs, origin: "received" });
    if (frame.time >= this.#earlyEnd) {
      this.#earlyEnd = this.#orderedEnd;
      this.#early.push({ pcm, mediaMs });
    }
  }

  #hearEarly(now: Milli, frame: AudioFrame, ticks: number): void {
    if (!this.#admit(now)) return;
    const pcm = this.#decode(this.#options.earlyDecoder, frame);
    if (!pcm) return;
    this.#earlyEnd = frame.time + ticks;
    this.#early.push({ pcm, mediaMs: frame.time / OPUS_TICKS_PER_MS });
  }

  /** Puts silence where nothing was captured, so that recognition hears the pause. */
  #fillTo(time: number): void {
    const from = this.#orderedEnd;
    if (from === undefined || time <= from) return;
    const samples = Math.floor(Math.min(time - from, MAX_SILENCE_TICKS) / TICKS_PER_SAMPLE);
    if (samples > 0) {
      this.#ordered.push({ pcm: new Int16Array(samples), mediaMs: from / OPUS_TICKS_PER_MS, origin: "concealed" });
    }
  }

  #decode(decoder: OpusDecoder, { packet }: AudioFrame): Pcm | undefined {
    const pcm = packet.length === 0 ? decoder.conceal(FRAME_MS) : decoder.decode(packet);
    if (!pcm) this.counts.malformed += 1;
    return pcm;
  }

  #admit(now: Milli): boolean {
    if (this.#rate.take(now, 1)) return true;
    this.#fault ??= "tooMuch";
    return false;
  }

  #output(): UplinkAudio {
    const output = { early: this.#early, ordered: this.#ordered };
    this.#early = [];
    this.#ordered = [];
    return output;
  }
}

/** What a waiting frame costs beside its packet. */
const FRAME_OVERHEAD = 64;
const DTX_TICKS = FRAME_MS * OPUS_TICKS_PER_MS;

function ticksOf({ packet }: AudioFrame): number | undefined {
  return packet.length === 0 ? DTX_TICKS : opusPacketTicks(packet);
}
