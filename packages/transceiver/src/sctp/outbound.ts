/**
 * The sending half of an association (RFC 9260 sections 6.1, 6.3 and 7.2, RFC 3758): messages cut into chunks as they leave,
 * kept until they are acknowledged, sent again when they are lost, or given up. Numbers of TSNs are unwrapped.
 */
import type { Milli } from "@sluice/conversation";
import { DATA_HEADER_SIZE, type Data, type ForwardTsn, type Sack } from "./chunks.ts";
import { CongestionWindow } from "./congestion.ts";
import { MessageQueue, type OutgoingMessage, type Queued } from "./message-queue.ts";
import { padded } from "./packet.ts";
import { RetransmissionTimeout } from "./rto.ts";
import { FIRST_EPOCH, unwrap32 } from "./serial.ts";

/** SACKs that report something missing before it is taken for lost (RFC 9260 section 7.2.4). */
const MISSES = 3;
/** Streams that one FORWARD TSN names. */
const MAX_FORWARDED_STREAMS = 128;

interface Sent {
  readonly data: Omit<Data, "immediate">;
  readonly message: Queued;
  /** Abandoned: given up (RFC 3758); acked: in a gap block, and it may be taken back. */
  state: "inFlight" | "lost" | "acked" | "abandoned";
  transmissions: number;
  sentAt: Milli;
  /** Which transmission of all it was, the first time and the last time. */
  readonly firstOrder: number;
  order: number;
  misses: number;
}

/** What a SACK acknowledges that none before it did. */
interface Found {
  bytes: number;
  /** The latest transmission that has certainly arrived; -1: none. */
  order: number;
  /** The last chunk of them that was sent once. */
  sample: Sent | undefined;
}

/** What is sent, and how it fares. */
export class Outbound {
  readonly rto = new RetransmissionTimeout();
  readonly #maxPayload: number;
  readonly #congestion: CongestionWindow;
  readonly #queue = new MessageQueue();
  readonly #sent: Sent[] = []; // consecutive TSNs, from the one after #acknowledged
  #acknowledged: number;
  #nextTsn: number;
  #peerWindow = 0;
  #peerForwards = false;
  #flight = 0; // bytes of chunks that are in flight
  #lost = 0; // chunks that are lost
  #sentBytes = 0;
  #order = 0;
  #urgent = false;
  #expiresAt: Milli | undefined; // T3-rtx
  #idleSince: Milli = -Infinity;
  #forwarded: number;
  #mustForward = false;

  /** `packetSize`: bytes of a packet without the common header. */
  constructor(initialTsn: number, packetSize: number) {
    this.#nextTsn = FIRST_EPOCH + initialTsn;
    this.#acknowledged = this.#nextTsn - 1;
    this.#forwarded = this.#acknowledged;
    this.#maxPayload = (packetSize & ~3) - DATA_HEADER_SIZE;
    this.#congestion = new CongestionWindow(packetSize);
  }

  /** The TSN of the last chunk that left. */
  get lastTsn(): number {
    return this.#nextTsn - 1;
  }

  /** Bytes that wait or are not acknowledged. */
  get bufferedBytes(): number {
    return this.#queue.bytes + this.#sentBytes;
  }

  /** Whether all was acknowledged. */
  get isDrained(): boolean {
    return this.#sent.length === 0 && this.#queue.isEmpty;
  }

  /** The peer is there: what its INIT says of its window, and whether it takes FORWARD TSN. */
  start(peerWindow: number, peerForwards: boolean): void {
    this.#peerWindow = peerWindow;
    this.#peerForwards = peerForwards;
  }

  /** Takes a message. */
  send(message: OutgoingMessage): void {
    this.#queue.push(message);
  }

  /** Whether part of a message of `stream` has not left. */
  hasWaiting(stream: number): boolean {
    return this.#queue.has(stream);
  }

  /** `streams` are counted anew (RFC 6525). */
  resetStreams(streams: readonly number[]): void {
    this.#queue.resetStreams(streams);
  }

  pollTimeout(): Milli | undefined {
    return this.#expiresAt;
  }

  handleTimeout(now: Milli): void {
    if (this.#expiresAt === undefined || now < this.#expiresAt) return;
    this.rto.handleExpiry();
    this.#congestion.handleTimeout();
    for (const sent of this.#sent) if (sent.state === "inFlight") this.#lose(now, sent);
    this.#mustForward = true;
    this.#forward();
    this.#expiresAt = this.#sent.length > 0 ? now + this.rto.ms : undefined;
  }

  /** Takes a SACK; `false`: it acknowledges what was never sent. */
  handleSack(now: Milli, sack: Sack): boolean {
    const cumulative = unwrap32(this.#acknowledged, sack.cumulativeTsn);
    const highest = cumulative + (sack.gaps.at(-1)?.[1] ?? 0);
    if (cumulative < this.#acknowledged) return true; // an old one
    if (highest >= this.#nextTsn) return false;
    const flightBefore = this.#flight;
    const found: Found = { bytes: 0, order: -1, sample: undefined };
    const advanced = this.#acknowledge(cumulative, found);
    this.#readGaps(sack.gaps, found);
    if (found.sample) this.rto.handleMeasurement(now - found.sample.sentAt);
    if (found.bytes > 0 || advanced) this.rto.handleProgress();
    if (advanced) this.#congestion.handleProgress(cumulative, found.bytes, flightBefore);
    this.#countMisses(now, highest, found.order);
    this.#peerWindow = sack.receiveWindow;
    if (this.#sent.length === 0) {
      this.#expiresAt = undefined;
      this.#idleSince = now;
    } else if (advanced) this.#expiresAt = now + this.rto.ms;
    this.#forward();
    return true;
  }

  /** The next chunk that may leave and fits into `room`: one that was lost, or a new one. */
  nextData(now: Milli, room: number): Data | undefined {
    if (room <= DATA_HEADER_SIZE) return undefined;
    return this.#resend(now, room) ?? this.#sendNew(now, room);
  }

  /** The FORWARD TSN that is due (RFC 3758 section 3.5). */
  nextForwardTsn(): ForwardTsn | undefined {
    if (!this.#mustForward || this.#forwarded <= this.#acknowledged) return undefined;
    this.#mustForward = false;
    const ssns = new Map<number, number>();
    for (const { data, state } of this.#sent) {
      if (data.tsn > this.#forwarded) break;
      if (state === "abandoned" && !data.unordered) ssns.set(data.stream, data.ssn);
    }
    return { newCumulativeTsn: this.#forwarded, streams: [...ssns].map(([stream, ssn]) => ({ stream, ssn })) };
  }

  #resend(now: Milli, room: number): Data | undefined {
    if (this.#lost === 0 || (this.#flight >= this.#congestion.bytes && !this.#urgent)) return undefined;
    for (const [index, sent] of this.#sent.entries()) {
      if (sent.state !== "lost") continue;
      if (DATA_HEADER_SIZE + padded(sent.data.bytes.length) > room) return undefined;
      this.#urgent = false;
      this.#become(sent, "inFlight");
      sent.transmissions += 1;
      sent.misses = 0;
      sent.sentAt = now;
      sent.order = this.#order++;
      if (index === 0 || this.#expiresAt === undefined) this.#expiresAt = now + this.rto.ms;
      return { ...sent.data, immediate: true };
    }
    return undefined;
  }

  #sendNew(now: Milli, room: number): Data | undefined {
    const queued = this.#queue.first(now, this.#peerForwards);
    if (!queued) return undefined;
    if (this.#sent.length === 0 && now - this.#idleSince > this.rto.ms) this.#congestion.handleIdle();
    const size = Math.min(queued.remaining, this.#maxPayload);
    if (DATA_HEADER_SIZE + padded(size) > room || this.#flight >= this.#congestion.bytes) return undefined;
    // A closed window is tried with one chunk, so that its opening is not missed (RFC 9260 section 6.1, rule A).
    if (this.#flight > 0 && this.#flight + size > this.#peerWindow) return undefined;
    const data = { tsn: this.#nextTsn++, ...this.#queue.cut(size) };
    this.#track(data, queued, now);
    this.#flight += size;
    this.#sentBytes += size;
    this.#idleSince = now;
    this.#expiresAt ??= now + this.rto.ms;
    return { ...data, immediate: this.#queue.isEmpty };
  }

  #track(data: Sent["data"], message: Queued, now: Milli): void {
    this.#sent.push({
      data,
      message,
      state: "inFlight",
      transmissions: 1,
      sentAt: now,
      firstOrder: this.#order,
      order: this.#order++,
      misses: 0,
    });
  }

  /** Lets go of all up to `cumulative`; whether there was any. */
  #acknowledge(cumulative: number, found: Found): boolean {
    const count = cumulative - this.#acknowledged;
    for (const sent of this.#sent.splice(0, count)) {
      this.#find(sent, found);
      this.#sentBytes -= sent.data.bytes.length;
    }
    this.#acknowledged = cumulative;
    this.#forwarded = Math.max(this.#forwarded, cumulative);
    return count > 0;
  }

  /** Marks what gap blocks cover, and takes back what they no longer do (RFC 9260 section 6.2.1, D iv). */
  #readGaps(gaps: Sack["gaps"], found: Found): void {
    const covered = new Uint8Array(this.#sent.length);
    for (const [first, last] of gaps) covered.fill(1, first - 1, last);
    for (const [index, sent] of this.#sent.entries()) {
      if (covered[index]) {
        if (sent.state === "acked" || sent.state === "abandoned") continue;
        this.#find(sent, found);
      } else if (sent.state === "acked") this.#become(sent, "inFlight");
    }
  }

  #find(sent: Sent, found: Found): void {
    if (sent.state === "acked" || sent.state === "abandoned") return;
    this.#become(sent, "acked");
    found.bytes += sent.data.bytes.length;
    // Of one that was sent again nobody knows which came: neither a round trip, nor a later one that arrived.
    found.order = Math.max(found.order, sent.firstOrder);
    if (sent.transmissions === 1) found.sample = sent;
  }

  /**
   * Counts reports that a chunk is missing, of things that were sent after it was sent last: so unlike in RFC 9260 section
   * 7.2.4 one that was lost a second time need not wait for the timer. With little on the way fewer reports must do (RFC 5827).
   */
  #countMisses(now: Milli, highest: number, order: number): void {
    if (order < 0) return;
    const few = this.#queue.isEmpty ? Math.max(1, Math.min(MISSES, this.#sent.length - 1)) : MISSES;
    for (const sent of this.#sent) {
      if (sent.data.tsn > highest) break;
      if (sent.state !== "inFlight" || sent.order > order) continue;
      sent.misses += 1;
      if (sent.misses < few) continue;
      this.#lose(now, sent);
      if (this.#congestion.handleLoss(this.lastTsn)) this.#urgent = true;
    }
  }

  #lose(now: Milli, sent: Sent): void {
    this.#become(sent, "lost");
    const { maxRetransmits = Infinity, expiresAt = Infinity } = sent.message;
    if (!this.#peerForwards || (sent.transmissions <= maxRetransmits && now < expiresAt)) return;
    // What never left takes a TSN that is skipped: the chunks that did may all be acknowledged, and the peer waits for the end.
    const rest = this.#queue.abandon(sent.message);
    if (rest) this.#track({ tsn: this.#nextTsn++, ...rest }, sent.message, now);
    for (const each of this.#sent)
      if (each.message === sent.message && each.state !== "acked") this.#become(each, "abandoned");
  }

  #become(sent: Sent, state: Sent["state"]): void {
    const size = sent.data.bytes.length;
    this.#flight += (state === "inFlight" ? size : 0) - (sent.state === "inFlight" ? size : 0);
    this.#lost += (state === "lost" ? 1 : 0) - (sent.state === "lost" ? 1 : 0);
    sent.state = state;
  }

  /** Moves the point up to which the peer need not wait (RFC 3758 section 3.5, C2). */
  #forward(): void {
    if (!this.#peerForwards) return;
    const streams = new Set<number>();
    for (const { data, state } of this.#sent) {
      if (state !== "abandoned" && state !== "acked") break;
      if (state === "acked") continue;
      streams.add(data.stream);
      if (streams.size > MAX_FORWARDED_STREAMS) break;
      if (data.tsn <= this.#forwarded) continue;
      this.#forwarded = data.tsn;
      this.#mustForward = true;
    }
  }
}
