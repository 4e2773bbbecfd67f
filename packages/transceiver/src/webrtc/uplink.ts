/**
 * The caller's voice as RTP brings it, on two clocks. *Early*: each packet is decoded as it comes, for voice activity;
 * positions only move forward, and a hole stays a hole. *Ordered*: a repaired stream without holes, for recognition,
 * which waits for a missing packet (RED, reordering, retransmission), no longer than a bounded, adaptive time, and then
 * takes Opus's in-band FEC or invents what is missing. In order, one decoding serves both.
 *
 * Drive rule: after any call, `handleTimeout` is due at `pollTimeout()`, and `nextNack` is to be drained.
 */
import { type EarlyAudio, type Milli, type OrderedAudio, SAMPLES_PER_MS } from "@sluice/conversation";
import type { OpusDecoder } from "../media/opus.ts";
import { isOpusDtx, OPUS_TICKS_PER_MS, opusPacketHasFec, opusPacketTicks } from "../media/opus-packet.ts";
import { Reception } from "./reception.ts";
import { decodeRed } from "./red.ts";
import { RepairRequests } from "./repair-requests.ts";
import type { ReceptionReport, SenderReport } from "./rtcp.ts";
import { type RtpPacket, unwrapSequenceNumber, unwrapTimestamp } from "./rtp.ts";

/** What an uplink needs. */
export interface UplinkOptions {
  /** Decodes the ordered stream. */
  readonly decoder: OpusDecoder;
  /** Decodes what lies beyond a hole, for the early stream. */
  readonly earlyDecoder: OpusDecoder;
  readonly payloadTypes: { readonly opus: number; readonly red?: number | undefined };
  /** Whether the peer answers generic NACKs. */
  readonly nack: boolean;
  /** Shortest wait for a missing packet, default 20 ms: what reordering alone may need. */
  readonly minWaitMs?: Milli | undefined;
  /** Longest wait for a missing packet, default 200 ms: it delays recognition as much, never voice activity. */
  readonly maxWaitMs?: Milli | undefined;
}

/** What one call brought; samples may be shared between the two and are not to be changed. */
export interface UplinkAudio {
  readonly early: readonly EarlyAudio[];
  readonly ordered: readonly OrderedAudio[];
}

/** Packets by their fate: `received + repaired + fec + concealed` is what the caller's side sent. */
export interface UplinkCounts {
  /** Came themselves and in time. */
  received: number;
  /** Did not, or after RED had brought them: `repaired + fec + concealed`. */
  lost: number;
  /** Lost, but brought by RED or a retransmission. */
  repaired: number;
  /** Lost, but rebuilt from the packet after. */
  fec: number;
  /** Lost for good: invented. */
  concealed: number;
  /** Came after their place had been given up (counted as lost too). */
  late: number;
  /** Came again. */
  duplicate: number;
  /** Came in time, after packets sent later (counted as received too). */
  reordered: number;
  /** Not what was negotiated, or not readable. */
  malformed: number;
  /** Refused: the stream ran further ahead of the wall than any network holds back. */
  excess: number;
}

interface Entry {
  readonly sequenceNumber: number;
  /** Place of its first sample, in ticks, before {@link Uplink.#slip}. */
  readonly position: number;
  readonly arrivedAt: Milli;
  /** Empty for a packet that is no audio but has a place in the sequence. */
  readonly payload: Uint8Array;
  readonly ticks: number;
  readonly origin: "received" | "repaired";
}

interface Output {
  readonly early: EarlyAudio[];
  readonly ordered: OrderedAudio[];
}

const DEFAULT_MIN_WAIT_MS: Milli = 20;
const DEFAULT_MAX_WAIT_MS: Milli = 200;
/** Packets that may wait beyond a hole. */
const MAX_WAITING = 100;
/** RFC 3550 section A.1: a larger step is believed only when the next packet confirms it. */
const MAX_DROPOUT = 3000;
const MAX_MISORDER = 1000;
/** Another SSRC takes over only from one that fell silent. */
const SSRC_SILENCE_MS: Milli = 100;
/** Silence or concealment put into one gap; what is longer is a step in `mediaMs`. */
const MAX_FILL_TICKS = 10_000 * OPUS_TICKS_PER_MS;
/** Timestamps may run ahead of the wall by this much before they count as restarted. */
const TIMESTAMP_TOLERANCE_TICKS = 500 * OPUS_TICKS_PER_MS;
/** libopus has faded to silence by then. */
const MAX_INVENTED_TICKS = 200 * OPUS_TICKS_PER_MS;
/** What concealment comes in multiples of: 2.5 ms. */
const OPUS_GRANULE_TICKS = 2.5 * OPUS_TICKS_PER_MS;
/** Audio that may come faster than it was spoken: more than a stalled network lets loose at once. */
const MAX_AHEAD_TICKS = 30_000 * OPUS_TICKS_PER_MS;
/** The peer's clock may be this much faster than ours. */
const MAX_CLOCK_RATIO = 1.01;
/** With DTX, silence is heard early this much behind the wall, and for no longer than a sender pauses (400 ms). */
const DTX_LAG_MS: Milli = 20;
const DTX_MAX_TICKS = 500 * OPUS_TICKS_PER_MS;
const DTX_STEP_TICKS = 20 * OPUS_TICKS_PER_MS;
const DEFAULT_PACKET_TICKS = 20 * OPUS_TICKS_PER_MS;
const TICKS_PER_SAMPLE = OPUS_TICKS_PER_MS / SAMPLES_PER_MS;
/** Forgets half of the longest repair seen in about 3 s of packets. */
const REPAIR_MEMORY = 0.995;
const MAX_GIVEN_UP = 64;

/** The RTP receiver of one session. */
export class Uplink {
  readonly #options: UplinkOptions;
  readonly #minWaitMs: Milli;
  readonly #maxWaitMs: Milli;
  readonly #requests: RepairRequests;
  readonly #waiting = new Map<number, Entry>();
  readonly #givenUp = new Map<number, Milli>(); // since when each was missing
  readonly #totals = noCounts();
  #counts = noCounts();
  #reception: Reception | undefined;
  #next: number | undefined; // unwrapped sequence number that the ordered stream needs
  #highest = 0;
  #timestamp = 0; // unwrapped, of the packet with the highest sequence number
  #position = 0; // of that packet
  #advancedAt: Milli = 0; // when it came
  #strayNext: number | undefined; // would confirm a restart
  #lastArrivalAt: Milli = 0;
  #slip = 0; // by how much timestamps fell short of what was heard
  #orderedEnd = 0; // ticks
  #earlyEnd = 0; // ticks
  #packetTicks = DEFAULT_PACKET_TICKS;
  #holeSince: Milli | undefined;
  #repairMs: Milli = 0; // longest that a missing packet took lately
  #aheadTicks = 0; // of the wall, forgiven as time passes
  #interrupted = false; // packets were refused: what comes next follows nothing
  #dtx: { readonly at: Milli; readonly from: number } | undefined; // arrival and end of the pause's last packet
  #nacks: number[] = [];

  constructor(options: UplinkOptions) {
    this.#options = options;
    this.#minWaitMs = options.minWaitMs ?? DEFAULT_MIN_WAIT_MS;
    this.#maxWaitMs = options.maxWaitMs ?? DEFAULT_MAX_WAIT_MS;
    this.#requests = new RepairRequests(options.nack);
  }

  /** The stream being received. */
  get ssrc(): number | undefined {
    return this.#reception?.ssrc;
  }

  /** Interarrival jitter of the stream. */
  get jitterMs(): Milli {
    return this.#reception?.jitterMs ?? 0;
  }

  /** How long a missing packet would be waited for now. */
  get waitMs(): Milli {
    const wait = Math.max(this.#repairMs * 1.25, this.#requests.answerMs, this.#minWaitMs);
    return Math.min(wait, this.#maxWaitMs);
  }

  /** Counts since the session began. */
  get totals(): Readonly<UplinkCounts> {
    return this.#totals;
  }

  /** Counts since the last call. */
  takeCounts(): UplinkCounts {
    const counts = this.#counts;
    this.#counts = noCounts();
    return counts;
  }

  /** Takes a packet and returns what can be heard of it and because of it. */
  handleRtp(now: Milli, packet: RtpPacket): UplinkAudio {
    const output: Output = { early: [], ordered: [] };
    this.#expire(now, output);
    if (this.#isExcess(now)) {
      this.#count("excess");
      this.#interrupted = true;
      return output;
    }
    if (!this.#follow(now, packet, output)) return output;
    const sequenceNumber = unwrapSequenceNumber(this.#highest, packet.sequenceNumber);
    const timestamp = unwrapTimestamp(this.#timestamp, packet.timestamp);
    this.#reception!.handlePacket(now, sequenceNumber, timestamp);
    if (sequenceNumber > this.#highest) this.#advance(now, sequenceNumber, timestamp);
    this.#accept(now, sequenceNumber, this.#positionOf(sequenceNumber, timestamp), packet);
    this.#lastArrivalAt = now;
    this.#dtx = undefined;
    this.#release(output);
    this.#hearEarly(now, output);
    this.#requestRepairs(now);
    if (this.#waiting.size === 0 && isOpusDtx(packet.payload)) this.#dtx = { at: now, from: this.#orderedEnd };
    return output;
  }

  /** Gives up what has been missing for too long, and lets a pause of DTX be heard as it lasts. */
  handleTimeout(now: Milli): UplinkAudio {
    const output: Output = { early: [], ordered: [] };
    this.#expire(now, output);
    this.#hearSilence(now, output);
    this.#requestRepairs(now);
    return output;
  }

  pollTimeout(): Milli | undefined {
    const hole = this.#holeSince === undefined ? Infinity : this.#holeSince + this.waitMs;
    const earliest = Math.min(hole, this.#requests.pollTimeout() ?? Infinity, this.#nextSilenceAt());
    return earliest === Infinity ? undefined : earliest;
  }

  /** Sequence numbers to ask the peer for, once. */
  nextNack(): number[] | undefined {
    if (this.#nacks.length === 0) return undefined;
    const nacks = this.#nacks;
    this.#nacks = [];
    return nacks;
  }

  handleSenderReport(now: Milli, report: SenderReport): void {
    if (report.ssrc === this.ssrc) this.#reception?.handleSenderReport(now, report);
  }

  /** The round trip to the peer, from RTCP or from ICE. */
  handleRoundTrip(roundTripMs: Milli): void {
    this.#requests.handleRoundTrip(roundTripMs);
  }

  /** The report block on this stream since the last one. */
  receptionReport(now: Milli): ReceptionReport | undefined {
    return this.#reception?.report(now);
  }

  /** Whether `packet` belongs to the stream that is followed, which it may start or restart. */
  #follow(now: Milli, packet: RtpPacket, output: Output): boolean {
    if (this.#interrupted) {
      this.#start(now, packet, output);
      return true;
    }
    if (this.#reception?.ssrc !== packet.ssrc) {
      if (this.#reception !== undefined && now - this.#lastArrivalAt < SSRC_SILENCE_MS) {
        this.#count("malformed");
        return false;
      }
      this.#start(now, packet, output);
      return true;
    }
    const step = unwrapSequenceNumber(this.#highest, packet.sequenceNumber) - this.#highest;
    if (step <= MAX_DROPOUT && step >= -MAX_MISORDER) {
      this.#strayNext = undefined;
      return true;
    }
    if (packet.sequenceNumber === this.#strayNext) {
      this.#start(now, packet, output);
      return true;
    }
    this.#strayNext = (packet.sequenceNumber + 1) & 0xffff;
    this.#count("late");
    return false;
  }

  /** Begins a stream; its place in the caller's audio follows the wall. */
  #start(now: Milli, packet: RtpPacket, output: Output): void {
    while (this.#waiting.size > 0) this.#giveUp(output);
    this.#requests.clear();
    this.#givenUp.clear();
    this.#strayNext = undefined;
    this.#interrupted = false;
    const pausedTicks = this.#reception === undefined ? 0 : (now - this.#lastArrivalAt) * OPUS_TICKS_PER_MS;
    this.#reception = new Reception(packet.ssrc, OPUS_TICKS_PER_MS);
    this.#next = packet.sequenceNumber;
    this.#highest = packet.sequenceNumber;
    this.#timestamp = packet.timestamp;
    this.#advancedAt = now;
    this.#position = this.#orderedEnd + Math.max(0, Math.round(pausedTicks) - this.#packetTicks);
    this.#slip = 0;
  }

  /**
   * Takes up the newest packet and notes what it has overtaken. A timestamp that stepped back, or ahead of the wall,
   * has restarted: then positions go on from the packet before.
   */
  #advance(now: Milli, sequenceNumber: number, timestamp: number): void {
    const steps = sequenceNumber - this.#highest;
    const passedTicks = Math.round((now - this.#advancedAt) * OPUS_TICKS_PER_MS);
    const usualTicks = Math.max(steps * this.#packetTicks, passedTicks);
    const ticks = timestamp - this.#timestamp;
    const isPlausible = ticks > 0 && ticks <= usualTicks + TIMESTAMP_TOLERANCE_TICKS;
    this.#position += isPlausible
      ? ticks
      : Math.max(steps * this.#packetTicks, passedTicks - TIMESTAMP_TOLERANCE_TICKS);
    if (steps <= MAX_WAITING) {
      for (let missing = this.#highest + 1; missing < sequenceNumber; missing++)
        this.#requests.handleMissing(now, missing);
    }
    this.#highest = sequenceNumber;
    this.#timestamp = timestamp;
    this.#advancedAt = now;
  }

  /** Place of a packet relative to the newest; by its number where its timestamp cannot be meant so. */
  #positionOf(sequenceNumber: number, timestamp: number): number {
    const before = this.#timestamp - timestamp;
    const isPlausible = before >= 0 && before <= MAX_FILL_TICKS && before > 0 === sequenceNumber < this.#highest;
    return this.#position - (isPlausible ? before : (this.#highest - sequenceNumber) * this.#packetTicks);
  }

  /** Puts the packet, and the earlier ones that RED brings again, in their places. */
  #accept(now: Milli, sequenceNumber: number, position: number, packet: RtpPacket): void {
    const { opus, red } = this.#options.payloadTypes;
    let payload = packet.payload;
    if (packet.payloadType === red) {
      const blocks = decodeRed(payload);
      if (blocks === undefined || blocks.primary.payloadType !== opus) return this.#count("malformed");
      const count = blocks.redundant.length;
      blocks.redundant.forEach((block, index) => {
        if (block.payloadType !== opus || block.payload.length === 0) return;
        const earlier = sequenceNumber - (count - index);
        this.#place(now, earlier, position - block.timestampOffset, block.payload, true);
      });
      payload = blocks.primary.payload;
    } else if (packet.payloadType !== opus) {
      this.#count("malformed");
      payload = NO_AUDIO;
    }
    this.#place(now, sequenceNumber, position, payload, false);
  }

  #place(now: Milli, sequenceNumber: number, position: number, payload: Uint8Array, redundant: boolean): void {
    if (sequenceNumber < this.#next! || this.#waiting.has(sequenceNumber)) {
      if (!redundant) this.#countUnneeded(now, sequenceNumber);
      return;
    }
    const ticks = payload.length === 0 ? 0 : opusPacketTicks(payload);
    if (ticks === undefined) return this.#count("malformed");
    const missed = this.#requests.settle(now, sequenceNumber);
    // What RED brings says nothing of how late packets come.
    if (missed !== undefined && !redundant) this.#repairMs = Math.max(this.#repairMs, missed.missedMs);
    const repaired = redundant || missed?.arrival === "retransmitted";
    if (missed !== undefined && !repaired) this.#count("reordered");
    const origin = repaired ? "repaired" : "received";
    this.#waiting.set(sequenceNumber, { sequenceNumber, position, arrivedAt: now, payload, ticks, origin });
  }

  #countUnneeded(now: Milli, sequenceNumber: number): void {
    const since = this.#givenUp.get(sequenceNumber);
    if (since === undefined) return this.#count("duplicate");
    this.#givenUp.delete(sequenceNumber);
    this.#count("late");
    this.#repairMs = Math.min(this.#maxWaitMs, Math.max(this.#repairMs, now - since));
  }

  /** Releases what is in order, and finds the hole before the rest. */
  #release(output: Output): void {
    for (;;) {
      for (let entry = this.#waiting.get(this.#next!); entry !== undefined; entry = this.#waiting.get(this.#next!)) {
        this.#waiting.delete(entry.sequenceNumber);
        this.#next = entry.sequenceNumber + 1;
        this.#releaseOne(entry, output);
      }
      if (this.#highest - this.#next! < MAX_WAITING || this.#waiting.size === 0) break;
      this.#skipToNext(output);
    }
    this.#holeSince = undefined;
    for (const { arrivedAt } of this.#waiting.values()) {
      this.#holeSince = Math.min(this.#holeSince ?? Infinity, arrivedAt);
    }
  }

  #releaseOne(entry: Entry, output: Output): void {
    this.#fillSilence(entry, 0, output);
    this.#repairMs *= REPAIR_MEMORY;
    if (entry.ticks === 0) return;
    this.#packetTicks = entry.ticks;
    const pcm = this.#options.decoder.decode(entry.payload);
    if (pcm === undefined) {
      this.#count("lost", "concealed");
      return this.#invent(entry.ticks, output);
    }
    this.#count(entry.origin);
    if (entry.origin === "repaired") this.#count("lost");
    this.#emit(pcm, entry.origin, output);
  }

  #expire(now: Milli, output: Output): void {
    while (this.#holeSince !== undefined && now >= this.#holeSince + this.waitMs) this.#giveUp(output);
  }

  #giveUp(output: Output): void {
    this.#skipToNext(output);
    this.#release(output);
  }

  /** Fills the hole before the first waiting packet: FEC from that packet, silence if any was meant, else inventions. */
  #skipToNext(output: Output): void {
    let following: Entry | undefined;
    for (const entry of this.#waiting.values()) {
      if (following === undefined || entry.sequenceNumber < following.sequenceNumber) following = entry;
    }
    if (following === undefined) return;
    const missing = following.sequenceNumber - this.#next!;
    for (let sequenceNumber = this.#next!; sequenceNumber < following.sequenceNumber; sequenceNumber++) {
      this.#requests.giveUp(sequenceNumber);
      this.#rememberGivenUp(sequenceNumber, following.arrivedAt);
    }
    this.#next = following.sequenceNumber;
    const lostTicks = Math.min(missing * this.#packetTicks, this.#gapTicks(following));
    const ticks = Math.min(lostTicks, MAX_FILL_TICKS);
    const fecTicks = Math.min(this.#packetTicks, ticks);
    const fec =
      fecTicks >= OPUS_GRANULE_TICKS && fecTicks % OPUS_GRANULE_TICKS === 0 && opusPacketHasFec(following.payload);
    this.#invent(fec ? ticks - fecTicks : ticks, output);
    this.#fillSilence(following, fec ? fecTicks : 0, output);
    const pcm = fec ? this.#options.decoder.decodeFec(following.payload, fecTicks / OPUS_TICKS_PER_MS) : undefined;
    if (pcm !== undefined) this.#emit(pcm, "fec", output);
    else if (fec) this.#invent(fecTicks, output);
    for (let index = 0; index < missing; index++) {
      this.#count("lost", pcm !== undefined && index === 0 ? "fec" : "concealed");
    }
  }

  #rememberGivenUp(sequenceNumber: number, since: Milli): void {
    this.#givenUp.set(sequenceNumber, since);
    if (this.#givenUp.size > MAX_GIVEN_UP) this.#givenUp.delete(this.#givenUp.keys().next().value!);
  }

  /** Ticks between what is out and `entry`, which slips where the two would overlap. */
  #gapTicks(entry: Entry): number {
    this.#slip = Math.max(this.#slip, this.#orderedEnd - entry.position);
    return entry.position + this.#slip - this.#orderedEnd;
  }

  /** Fills up to `reserveTicks` before `entry` with the silence that the caller's side did not send. */
  #fillSilence(entry: Entry, reserveTicks: number, output: Output): void {
    const gap = this.#gapTicks(entry) - reserveTicks;
    if (gap < TICKS_PER_SAMPLE) return;
    const fill = Math.min(gap, MAX_FILL_TICKS);
    this.#orderedEnd += gap - fill;
    this.#emit(silence(fill), "received", output);
  }

  /** Emits `ticks` of what may have been said: libopus's guess, then silence. */
  #invent(ticks: number, output: Output): void {
    let rest = ticks;
    let invented = 0;
    while (rest >= OPUS_GRANULE_TICKS && invented < MAX_INVENTED_TICKS) {
      const piece = Math.min(rest, this.#packetTicks);
      const whole = piece - (piece % OPUS_GRANULE_TICKS);
      this.#emit(this.#options.decoder.conceal(whole / OPUS_TICKS_PER_MS), "concealed", output);
      rest -= whole;
      invented += whole;
    }
    if (rest >= TICKS_PER_SAMPLE) this.#emit(silence(rest), "concealed", output);
  }

  /** Appends to the ordered stream, and to the early one as far as it has not heard that part. */
  #emit(pcm: Int16Array, origin: OrderedAudio["origin"], output: Output): void {
    const mediaMs = this.#orderedEnd / OPUS_TICKS_PER_MS;
    output.ordered.push({ pcm, mediaMs, origin });
    const heard = this.#orderedEnd >= this.#earlyEnd;
    this.#orderedEnd += pcm.length * TICKS_PER_SAMPLE;
    this.#aheadTicks += pcm.length * TICKS_PER_SAMPLE;
    if (!heard) return;
    output.early.push({ pcm, mediaMs });
    this.#earlyEnd = this.#orderedEnd;
  }

  /** Lets voice activity hear what came now and has to wait. */
  #hearEarly(now: Milli, output: Output): void {
    for (const entry of this.#waiting.values()) {
      const position = entry.position + this.#slip;
      if (entry.arrivedAt !== now || entry.ticks === 0 || position < this.#earlyEnd) continue;
      const pcm = this.#options.earlyDecoder.decode(entry.payload);
      if (pcm === undefined) continue;
      output.early.push({ pcm, mediaMs: position / OPUS_TICKS_PER_MS });
      this.#earlyEnd = position + pcm.length * TICKS_PER_SAMPLE;
    }
  }

  /** When voice activity is to hear the next piece of a pause that the caller's side does not send. */
  #nextSilenceAt(): Milli {
    if (this.#dtx === undefined || this.#earlyEnd - this.#dtx.from >= DTX_MAX_TICKS) return Infinity;
    return this.#dtx.at + DTX_LAG_MS + (this.#earlyEnd + DTX_STEP_TICKS - this.#dtx.from) / OPUS_TICKS_PER_MS;
  }

  #hearSilence(now: Milli, output: Output): void {
    while (now >= this.#nextSilenceAt()) {
      output.early.push({ pcm: silence(DTX_STEP_TICKS), mediaMs: this.#earlyEnd / OPUS_TICKS_PER_MS });
      this.#earlyEnd += DTX_STEP_TICKS;
    }
  }

  /** A peer that floods us gets the wall's pace, and recognition is not paid for more. */
  #isExcess(now: Milli): boolean {
    const passed = (now - this.#lastArrivalAt) * OPUS_TICKS_PER_MS * MAX_CLOCK_RATIO;
    if (this.#aheadTicks - passed > MAX_AHEAD_TICKS) return true;
    this.#aheadTicks = Math.max(0, this.#aheadTicks - passed);
    return false;
  }

  #requestRepairs(now: Milli): void {
    const due = this.#requests.takeDue(now);
    if (due.length > 0) this.#nacks.push(...due);
  }

  #count(...fates: (keyof UplinkCounts)[]): void {
    for (const fate of fates) {
      this.#counts[fate] += 1;
      this.#totals[fate] += 1;
    }
  }
}

const NO_AUDIO = new Uint8Array(0);

function noCounts(): UplinkCounts {
  return {
    received: 0,
    lost: 0,
    repaired: 0,
    fec: 0,
    concealed: 0,
    late: 0,
    duplicate: 0,
    reordered: 0,
    malformed: 0,
    excess: 0,
  };
}

function silence(ticks: number): Int16Array {
  return new Int16Array(Math.floor(ticks / TICKS_PER_SAMPLE));
}
