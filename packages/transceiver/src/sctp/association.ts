/**
 * One SCTP association (RFC 9260) over DTLS (RFC 8261): one path, both ends may begin at once, messages with partial
 * reliability (RFC 3758) and streams that can be reset (RFC 6525). Never reads a clock. Drive rule: one input, then take
 * packets and events until there are none, then wait for `pollTimeout()`.
 */
import type { Milli } from "@sluice/conversation";
import {
  decodeData,
  decodeForwardTsn,
  decodeInit,
  decodeSack,
  encodeData,
  encodeForwardTsn,
  encodeInit,
  encodeSack,
  type Init,
} from "./chunks.ts";
import { openCookie, sealCookie } from "./cookie.ts";
import type { OutgoingMessage } from "./message-queue.ts";
import { Outbound } from "./outbound.ts";
import {
  CHUNK,
  type Chunk,
  COMMON_HEADER_SIZE,
  decodeParameters,
  decodeSctpPacket,
  encodeChunk,
  encodeParameter,
  encodeSctpPacket,
  type SctpPacket,
  viewOf,
} from "./packet.ts";
import { type Message, Reassembly } from "./reassembly.ts";
import { ReceivedTsns } from "./received-tsns.ts";
import { StreamResets } from "./stream-resets.ts";

/** How an association is. */
export interface AssociationOptions {
  readonly localPort: number;
  readonly remotePort: number;
  /** Unpredictable bytes: of tags, first TSNs, and the key of cookies. */
  readonly random: (size: number) => Uint8Array;
  /** Bytes of the longest message that is delivered. */
  readonly maxMessageSize: number;
  /** Bytes of a packet. Default 1,160: 1,200 bytes of UDP less what DTLS adds (37), in words. */
  readonly mtu?: number;
}

/** What happened. */
export type AssociationEvent =
  | { readonly kind: "established" }
  | { readonly kind: "message"; readonly message: Message }
  /** The peer's streams begin anew: their data channels are closed. None listed: all. */
  | { readonly kind: "streamsReset"; readonly streams: readonly number[] }
  /** Nothing follows. */
  | { readonly kind: "closed"; readonly reason: string };

/** What came and was of no use. */
export interface AssociationCounts {
  /** Packets and chunks that are not well-formed, or not of this association. */
  malformed: number;
  /** Chunks for which there was no room. */
  refused: number;
}

type State =
  | "listening"
  | "cookieWait"
  | "cookieEchoed"
  | "established"
  | "shutdownPending"
  | "shutdownSent"
  | "shutdownReceived"
  | "shutdownAckSent"
  | "closed";

const MTU = 1_160;
/** Streams each way: one is used. */
const MAX_STREAMS = 1_024;
/** Bytes that we hold for messages that are not whole, or whose turn has not come: two of the longest. */
const RECEIVE_WINDOW = 512 * 1024;
/** Chunks that we hold for them, as small ones cost more than their bytes. */
const MAX_HELD_CHUNKS = 4_096;
/** How long a SACK may wait for another packet or for data to go with. RFC: 200 ms, which peers would take for the path's. */
const SACK_DELAY_MS = 20;
/**
 * When our part of the handshake is sent again while the peer has not gone on: it would ask after RTO.Initial, which is 3 s with
 * usrsctp, aiortc and werift (RFC 2960).
 */
const REPEATS_MS = [60, 200] as const;
/** INIT waits no longer than this for its answer, the first times: what it costs is a packet of 81 bytes. */
const FIRST_ASKS_MS = 250;
const FIRST_ASKS = 3;
/** A cookie that comes back later than this tells of a loss, not of the round trip. */
const MAX_COOKIE_TRIP_MS = 400;
/** Answers that wait to leave; a peer that asks for more in one packet gets none. */
const MAX_ANSWERS = 16;
/** Bytes that the longest of our SACKs, FORWARD TSNs and reset requests take; a packet with less room goes without. */
const MAX_SACK_SIZE = 848;
const MAX_FORWARD_SIZE = 520;
const MAX_REQUEST_SIZE = 276;
const HEARTBEAT_MS = 30_000;
/** Tries of INIT and of SHUTDOWN, about a minute. */
const MAX_TRIES = 32;

/** Error causes (RFC 9260 section 3.3.10). */
const CAUSE = { invalidStream: 1, staleCookie: 3, unrecognizedChunk: 6, noUserData: 9, userAbort: 12, violation: 13 };
const TAG_IS_THE_PEERS = 1; // the T bit of ABORT and SHUTDOWN COMPLETE

/** What is known of the peer once it has said it. */
interface Peer {
  readonly tag: number;
  readonly inboundStreams: number;
  readonly outboundStreams: number;
  readonly takesResets: boolean;
  readonly received: ReceivedTsns;
  readonly reassembly: Reassembly;
  readonly resets: StreamResets;
}

/** One end of an association. */
export class Association {
  readonly counts: AssociationCounts = { malformed: 0, refused: 0 };
  readonly #options: AssociationOptions;
  readonly #room: number;
  readonly #tag: number;
  readonly #initialTsn: number;
  readonly #cookieKey: Uint8Array;
  readonly #outbound: Outbound;
  readonly #events: AssociationEvent[] = [];
  /** Chunks to send; those with a tag go alone. */
  readonly #answers: { readonly chunk: Uint8Array; readonly tag?: number }[] = [];
  #state: State = "listening";
  #peer: Peer | undefined;
  /** T1-init, T1-cookie or T2-shutdown: what is sent until it is answered. */
  #asking: { readonly chunk: () => Uint8Array; readonly tag: number; at: Milli; tries: number } | undefined;
  /** INIT ACK or COOKIE ACK, which may have been lost. */
  #repeat: { readonly chunk: Uint8Array; readonly tag: number; readonly answeredAt: Milli; count: number } | undefined;
  #sackAt: Milli | undefined;
  #packetsUnsacked = 0;
  #heartbeatAt = Infinity;
  #heartbeat: { readonly nonce: number; readonly sentAt: Milli } | undefined;

  constructor(options: AssociationOptions) {
    this.#options = options;
    this.#room = (options.mtu ?? MTU) - COMMON_HEADER_SIZE;
    const random = viewOf(options.random(8));
    this.#tag = random.getUint32(0) || 1;
    this.#initialTsn = random.getUint32(4);
    this.#cookieKey = options.random(32);
    this.#outbound = new Outbound(this.#initialTsn, this.#room);
  }

  /** Whether messages go both ways. */
  get isEstablished(): boolean {
    return this.#state === "established";
  }

  /** Messages that were longer than they may be. */
  get tooLong(): number {
    return this.#peer?.reassembly.tooLong ?? 0;
  }

  /** Bytes that wait to leave or to be acknowledged. */
  get bufferedBytes(): number {
    return this.#outbound.bufferedBytes;
  }

  /** Our verification tag: what the peer's packets bear. */
  get tag(): number {
    return this.#tag;
  }

  /** Bytes that are held of messages that are not whole, or whose turn has not come. */
  get heldBytes(): number {
    return this.#peer?.reassembly.heldBytes ?? 0;
  }

  /** The smoothed round trip; `undefined` before the first. */
  get roundTripMs(): Milli | undefined {
    return this.#outbound.rto.roundTripMs;
  }

  /** Begins the association. The peer may do so as well, at the same time. */
  connect(now: Milli): void {
    if (this.#state !== "listening" || this.#peer) return;
    this.#state = "cookieWait";
    this.#ask(now, () => encodeInit(CHUNK.init, this.#init(this.#tag)), 0);
  }

  /** Sends a message; `false`: not while the association or the stream ends, nor on a stream that the peer does not take. */
  send(_now: Milli, message: OutgoingMessage): boolean {
    const { stream, bytes } = message;
    if (this.#isEnding || bytes.length === 0 || stream >= (this.#peer?.outboundStreams ?? MAX_STREAMS)) return false;
    if (this.#peer?.resets.isPending(stream)) return false;
    this.#outbound.send(message);
    return true;
  }

  /** Begins a stream of ours anew once what was sent on it has left; a peer that does not know of it is not asked. */
  resetStream(stream: number): void {
    if (this.#peer?.takesResets) this.#peer.resets.want(stream);
  }

  /** Ends the association once all is acknowledged. */
  shutdown(now: Milli): void {
    if (this.#state !== "established") return;
    this.#state = "shutdownPending";
    this.#proceed(now);
  }

  /** Ends the association at once: one more packet tells the peer. There is no event. */
  abort(): void {
    if (this.#state === "closed") return;
    this.#answers.length = 0;
    if (this.#peer)
      this.#answers.push({
        chunk: encodeChunk(CHUNK.abort, 0, encodeParameter(CAUSE.userAbort, new Uint8Array(0))),
        tag: this.#peer.tag,
      });
    this.#end();
  }

  pollTimeout(): Milli | undefined {
    if (this.#state === "closed") return undefined;
    const due = Math.min(
      this.#asking?.at ?? Infinity,
      this.#repeat ? this.#repeatAt(this.#repeat) : Infinity,
      this.#sackAt ?? Infinity,
      this.#heartbeatAt,
      this.#outbound.pollTimeout() ?? Infinity,
      this.#peer?.resets.pollTimeout() ?? Infinity,
    );
    return due === Infinity ? undefined : due;
  }

  handleTimeout(now: Milli): void {
    if (this.#state === "closed") return;
    this.#outbound.handleTimeout(now);
    if (now >= this.#heartbeatAt) this.#sendHeartbeat(now);
    const repeat = this.#repeat;
    if (repeat && now >= this.#repeatAt(repeat)) {
      repeat.count += 1;
      if (repeat.count === REPEATS_MS.length) this.#repeat = undefined;
      this.#answer(repeat.chunk, repeat.tag);
    }
    const asking = this.#asking;
    if (!asking || now < asking.at) return;
    asking.tries += 1;
    if (asking.tries > MAX_TRIES) return this.#giveUp();
    this.#outbound.rto.handleExpiry();
    asking.at = now + this.#patience(asking.tries);
    this.#answer(asking.chunk(), asking.tag);
  }

  /** Takes a packet out of DTLS. */
  handlePacket(now: Milli, bytes: Uint8Array): void {
    if (this.#state === "closed") return;
    const packet = decodeSctpPacket(bytes);
    if (packet && this.#isOurs(packet)) this.#handleChunks(now, packet);
    else this.counts.malformed += 1;
  }

  /** The next packet to send now. */
  nextPacket(now: Milli): Uint8Array | undefined {
    const tagged = this.#answers.findIndex(({ tag }) => tag !== undefined);
    if (tagged >= 0) {
      const { chunk, tag } = this.#answers.splice(tagged, 1)[0]!;
      return this.#format(tag!, [chunk]);
    }
    const peer = this.#peer;
    if (!peer || this.#state === "closed") return undefined;
    const control: Uint8Array[] = [];
    let room = this.#room;
    while (this.#answers.length > 0 && this.#answers[0]!.chunk.length <= room) {
      const { chunk } = this.#answers.shift()!;
      control.push(chunk);
      room -= chunk.length;
    }
    const data = this.#answers.length === 0 ? this.#fill(now, peer, room, control) : [];
    // Data comes last: peers abort over anything behind it (RFC 9260 section 6.10).
    return control.length + data.length > 0 ? this.#format(peer.tag, [...control, ...data]) : undefined;
  }

  /** The next thing that happened. */
  nextEvent(): AssociationEvent | undefined {
    return this.#events.shift();
  }

  get #isEnding(): boolean {
    return this.#state === "closed" || this.#state.startsWith("shutdown");
  }

  /** Adds SACK, FORWARD TSN and requests to `control`; gives the data that fits behind them. */
  #fill(now: Milli, peer: Peer, size: number, control: Uint8Array[]): Uint8Array[] {
    let room = size;
    const add = (chunk: Uint8Array) => {
      control.push(chunk);
      room -= chunk.length;
    };
    if (this.#sackAt !== undefined && now >= this.#sackAt && room >= MAX_SACK_SIZE) add(this.#takeSack(peer));
    if (!this.#maySend) return [];
    const forward = room >= MAX_FORWARD_SIZE && this.#outbound.nextForwardTsn();
    if (forward) add(encodeForwardTsn(forward));
    const { rto, lastTsn } = this.#outbound;
    const hasWaiting = (stream: number) => this.#outbound.hasWaiting(stream);
    const request = room >= MAX_REQUEST_SIZE && peer.resets.nextRequest(now, rto.ms, lastTsn, hasWaiting);
    if (request) add(request);
    const data: Uint8Array[] = [];
    for (let next = this.#outbound.nextData(now, room); next; next = this.#outbound.nextData(now, room)) {
      data.push(encodeData(next));
      room -= data.at(-1)!.length;
    }
    // A SACK that waits goes with anything that leaves.
    if (control.length + data.length > 0 && this.#sackAt !== undefined && room >= MAX_SACK_SIZE)
      add(this.#takeSack(peer));
    return data;
  }

  get #maySend(): boolean {
    return this.#state === "established" || this.#state === "shutdownPending" || this.#state === "shutdownReceived";
  }

  #takeSack(peer: Peer): Uint8Array {
    const { received, reassembly } = peer;
    this.#sackAt = undefined;
    this.#packetsUnsacked = 0;
    return encodeSack({
      cumulativeTsn: received.cumulative,
      receiveWindow: Math.max(0, RECEIVE_WINDOW - reassembly.heldBytes),
      gaps: received.gaps(),
      duplicates: received.takeDuplicates(),
    });
  }

  #format(verificationTag: number, chunks: readonly Uint8Array[]): Uint8Array {
    const { localPort: sourcePort, remotePort: destinationPort } = this.#options;
    return encodeSctpPacket({ sourcePort, destinationPort, verificationTag }, chunks);
  }

  #answer(chunk: Uint8Array, tag?: number): void {
    if (chunk.length > this.#room) return; // to a heartbeat that is longer than a packet
    if (this.#answers.length < MAX_ANSWERS) this.#answers.push(tag === undefined ? { chunk } : { chunk, tag });
  }

  /** Whether ports and verification tag are right (RFC 9260 section 8.5). */
  #isOurs({ sourcePort, destinationPort, verificationTag, chunks }: SctpPacket): boolean {
    const { localPort, remotePort } = this.#options;
    if (destinationPort !== localPort || sourcePort !== remotePort) return false;
    const { type, flags } = chunks[0]!;
    if (type === CHUNK.init) return verificationTag === 0 && chunks.length === 1;
    if (type === CHUNK.cookieEcho) return true; // the cookie says which
    if ((type === CHUNK.abort || type === CHUNK.shutdownComplete) && flags & TAG_IS_THE_PEERS)
      return verificationTag === this.#peer?.tag;
    return verificationTag === this.#tag;
  }

  #handleChunks(now: Milli, packet: SctpPacket): void {
    let hasData = false;
    for (const [index, chunk] of packet.chunks.entries()) {
      if (this.#state === "closed") return;
      if (chunk.type === CHUNK.data) hasData = true;
      if (index > 0 && (chunk.type === CHUNK.init || chunk.type === CHUNK.initAck || chunk.type === CHUNK.cookieEcho)) {
        this.counts.malformed += 1;
        return;
      }
      if (this.#handleChunk(now, chunk, packet.verificationTag)) continue;
      this.counts.malformed += 1;
      break;
    }
    if (hasData && this.#peer) this.#scheduleSack(now);
    this.#proceed(now);
  }

  /** Takes a chunk; `false`: it is malformed, or the rest of the packet is not to be looked at. */
  #handleChunk(now: Milli, { type, flags, value }: Chunk, tag: number): boolean {
    switch (type) {
      case CHUNK.init:
        return this.#handleInit(now, value);
      case CHUNK.initAck:
        return this.#handleInitAck(now, value);
      case CHUNK.cookieEcho:
        return this.#handleCookieEcho(now, value, tag);
      case CHUNK.cookieAck:
        if (this.#state === "cookieEchoed") this.#establish(now);
        return true;
      case CHUNK.abort:
        this.#close("the peer aborted SCTP");
        return true;
      case CHUNK.shutdownComplete:
        if (this.#state === "shutdownAckSent") this.#close("the peer ended SCTP");
        return true;
      case CHUNK.error:
        return this.#handleError(now, value);
      default:
        return this.#peer !== undefined && this.#handleAssociated(now, this.#peer, type, flags, value);
    }
  }

  /** Takes a chunk that only a peer with an association sends. */
  #handleAssociated(now: Milli, peer: Peer, type: number, flags: number, value: Uint8Array): boolean {
    switch (type) {
      case CHUNK.data:
        return this.#handleData(now, peer, flags, value);
      case CHUNK.sack: {
        const sack = decodeSack(value);
        if (sack && !this.#outbound.handleSack(now, sack))
          this.#fail(CAUSE.violation, "the peer acknowledged what was not sent");
        return sack !== undefined;
      }
      case CHUNK.forwardTsn:
        return this.#handleForwardTsn(now, peer, value);
      case CHUNK.heartbeat:
        this.#answer(encodeChunk(CHUNK.heartbeatAck, 0, value));
        return true;
      case CHUNK.heartbeatAck:
        return this.#handleHeartbeatAck(now, value);
      case CHUNK.reconfig: {
        const { resets, received } = peer;
        const outcome = resets.handleReconfig(now, this.#outbound.rto.ms, value, received.cumulative);
        if (!outcome) return false;
        for (const reply of outcome.replies) this.#answer(reply);
        if (outcome.outgoing) this.#outbound.resetStreams(outcome.outgoing);
        if (outcome.incoming) {
          peer.reassembly.resetStreams(outcome.incoming);
          this.#events.push({ kind: "streamsReset", streams: outcome.incoming });
        }
        return true;
      }
      case CHUNK.shutdown:
        return this.#handleShutdown(now, value);
      case CHUNK.shutdownAck:
        if (this.#state !== "shutdownSent" && this.#state !== "shutdownAckSent") return true;
        this.#answer(encodeChunk(CHUNK.shutdownComplete, 0), peer.tag);
        this.#close("SCTP was shut down");
        return true;
      default:
        // The two highest bits say what is to become of a chunk that nobody knows (RFC 9260 section 3.2).
        if (type & 0x40) {
          const cause = encodeParameter(CAUSE.unrecognizedChunk, encodeChunk(type, flags, value.subarray(0, 64)));
          this.#answer(encodeChunk(CHUNK.error, 0, cause));
        }
        return (type & 0x80) !== 0;
    }
  }

  #init(tag: number, more: Partial<Init> = {}): Init {
    return {
      tag,
      receiveWindow: RECEIVE_WINDOW,
      outboundStreams: MAX_STREAMS,
      inboundStreams: MAX_STREAMS,
      initialTsn: this.#initialTsn,
      forwardTsn: true,
      reconfig: true,
      ...more,
    };
  }

  /** Answers INIT, and remembers nothing of it but the answer (RFC 9260 section 5.1; 5.2.1 and 5.2.2 where there is an association). */
  #handleInit(now: Milli, value: Uint8Array): boolean {
    const init = decodeInit(value);
    if (!init) return false;
    if (this.#state === "shutdownAckSent") return true; // asked again by its timer
    const isOpening = this.#state === "listening" || this.#state === "cookieWait" || this.#state === "cookieEchoed";
    // A tag that is not ours: only a peer that has forgotten us comes back with it, and that ends the association.
    const localTag = isOpening ? this.#tag : viewOf(this.#options.random(4)).getUint32(0) || 1;
    const tieTags = this.#peer ? ([this.#tag, this.#peer.tag] as const) : ([0, 0] as const);
    const cookie = sealCookie(this.#cookieKey, now, { localTag, tieTags, peer: init });
    const ack = this.#init(localTag, { cookie, ...(init.unrecognized && { unrecognized: init.unrecognized }) });
    const chunk = encodeInit(CHUNK.initAck, ack);
    this.#answer(chunk, init.tag);
    if (isOpening) this.#repeat = { chunk, tag: init.tag, answeredAt: now, count: 0 };
    return true;
  }

  #handleInitAck(now: Milli, value: Uint8Array): boolean {
    if (this.#state !== "cookieWait") return true;
    const init = decodeInit(value);
    if (!init?.cookie) return false;
    const { cookie } = init;
    this.#adopt(init);
    this.#state = "cookieEchoed";
    this.#outbound.rto.handleProgress();
    this.#ask(now, () => encodeChunk(CHUNK.cookieEcho, 0, cookie), init.tag);
    return true;
  }

  /** Begins the association that a cookie of ours describes (RFC 9260 section 5.2.4, table 12). */
  #handleCookieEcho(now: Milli, value: Uint8Array, tag: number): boolean {
    const cookie = openCookie(this.#cookieKey, now, value);
    if (cookie === undefined) return false;
    if (cookie === "stale") {
      this.#answer(encodeChunk(CHUNK.error, 0, encodeParameter(CAUSE.staleCookie, new Uint8Array(4))), tag);
      return true;
    }
    if (cookie.localTag !== tag) return false;
    const isLocal = cookie.localTag === this.#tag;
    const isPeers = cookie.peer.tag === this.#peer?.tag;
    if (!isLocal) {
      // Case A: both tags are new, and it knows the old ones.
      const isRestart = !isPeers && cookie.tieTags[0] === this.#tag && cookie.tieTags[1] === this.#peer?.tag;
      if (isRestart) this.#fail(CAUSE.userAbort, "the peer began SCTP anew");
      return true; // case C
    }
    const isOpening = this.#state === "listening" || this.#state === "cookieWait" || this.#state === "cookieEchoed";
    const answer = encodeChunk(CHUNK.cookieAck, 0);
    if (isOpening) {
      if (!isPeers) this.#adopt(cookie.peer); // case B, or the first there is
      this.#establish(now);
      // Since the first INIT ACK of this cookie: too long where that was lost, never too short.
      const tookMs = (Math.floor(now) - cookie.sealedAt) >>> 0;
      if (tookMs <= MAX_COOKIE_TRIP_MS) this.#outbound.rto.handleMeasurement(tookMs);
      this.#repeat = { chunk: answer, tag: cookie.peer.tag, answeredAt: now, count: 0 };
    } else if (!isPeers) return true;
    this.#answer(answer); // case D
    return true;
  }

  #adopt(init: Init): void {
    this.#peer = {
      tag: init.tag,
      inboundStreams: Math.min(MAX_STREAMS, init.outboundStreams),
      outboundStreams: Math.min(MAX_STREAMS, init.inboundStreams),
      takesResets: init.reconfig,
      received: new ReceivedTsns(init.initialTsn),
      reassembly: new Reassembly(this.#options.maxMessageSize),
      resets: new StreamResets(this.#initialTsn, init.initialTsn),
    };
    this.#outbound.start(init.receiveWindow, init.forwardTsn);
  }

  #establish(now: Milli): void {
    this.#state = "established";
    this.#asking = undefined;
    this.#repeat = undefined;
    this.#outbound.rto.handleProgress();
    this.#scheduleHeartbeat(now);
    this.#events.push({ kind: "established" });
  }

  #handleData(now: Milli, peer: Peer, flags: number, value: Uint8Array): boolean {
    if (this.#state === "cookieEchoed") this.#establish(now); // its COOKIE ACK was lost
    this.#repeat = undefined;
    const { received, reassembly } = peer;
    const data = decodeData(flags, value);
    if (!data) return false;
    if (data.bytes.length === 0) {
      this.#fail(CAUSE.noUserData, "the peer sent a chunk without data");
      return true;
    }
    const tsn = received.unwrap(data.tsn);
    const verdict = received.judge(tsn);
    if (verdict !== "new" || data.immediate) this.#sackAt = now;
    if (verdict === "duplicate") return true;
    const isFull =
      reassembly.heldBytes + data.bytes.length > RECEIVE_WINDOW || reassembly.heldChunks >= MAX_HELD_CHUNKS;
    // What is next in line is taken all the same, as only it frees what is held.
    if (verdict === "tooFar" || (isFull && tsn !== received.cumulative + 1)) {
      this.counts.refused += 1;
      this.#sackAt = now;
      return true;
    }
    if (reassembly.heldBytes > 2 * RECEIVE_WINDOW || reassembly.heldChunks > 2 * MAX_HELD_CHUNKS) {
      this.#fail(CAUSE.violation, "the peer overran the receive window");
      return true;
    }
    received.add(tsn);
    if (data.stream >= peer.inboundStreams) {
      const cause = new Uint8Array(4);
      viewOf(cause).setUint16(0, data.stream);
      this.#answer(encodeChunk(CHUNK.error, 0, encodeParameter(CAUSE.invalidStream, cause)));
    } else if (!reassembly.handleData(tsn, data)) {
      this.#fail(CAUSE.violation, "the peer mixed up its messages");
    }
    this.#deliver(reassembly);
    return true;
  }

  #handleForwardTsn(now: Milli, { received, reassembly, inboundStreams }: Peer, value: Uint8Array): boolean {
    const forward = decodeForwardTsn(value);
    if (!forward) return false;
    this.#sackAt = now;
    const tsn = received.unwrap(forward.newCumulativeTsn);
    if (!received.skipTo(tsn)) return true;
    reassembly.handleForward(
      tsn,
      forward.streams.filter(({ stream }) => stream < inboundStreams),
    );
    this.#deliver(reassembly);
    return true;
  }

  #deliver(reassembly: Reassembly): void {
    for (let message = reassembly.nextMessage(); message; message = reassembly.nextMessage())
      this.#events.push({ kind: "message", message });
  }

  /** A packet brought data: every second one is acknowledged at once, as is what came out of order (RFC 9260 section 6.2). */
  #scheduleSack(now: Milli): void {
    this.#packetsUnsacked += 1;
    const isUrgent = this.#packetsUnsacked >= 2 || this.#peer?.received.hasGaps || this.#state === "shutdownSent";
    this.#sackAt = Math.min(this.#sackAt ?? Infinity, isUrgent ? now : now + SACK_DELAY_MS);
  }

  #handleShutdown(now: Milli, value: Uint8Array): boolean {
    if (value.length !== 4) return false;
    if (!this.#peer || this.#state === "cookieWait" || this.#state === "cookieEchoed" || this.#state === "listening")
      return true;
    const sack = { cumulativeTsn: viewOf(value).getUint32(0), receiveWindow: RECEIVE_WINDOW, gaps: [], duplicates: [] };
    if (!this.#outbound.handleSack(now, sack)) {
      this.#fail(CAUSE.violation, "the peer acknowledged what was not sent");
      return true;
    }
    if (this.#state === "shutdownSent")
      this.#sendShutdownAck(now); // both ended at once
    else if (this.#state !== "shutdownAckSent") this.#state = "shutdownReceived";
    return true;
  }

  /** Goes on with an end that waited until all was acknowledged. */
  #proceed(now: Milli): void {
    if (!this.#peer || !this.#outbound.isDrained) return;
    const { received, tag } = this.#peer;
    if (this.#state === "shutdownPending") {
      this.#state = "shutdownSent";
      this.#ask(
        now,
        () => {
          const value = new Uint8Array(4);
          viewOf(value).setUint32(0, received.cumulative >>> 0);
          return encodeChunk(CHUNK.shutdown, 0, value);
        },
        tag,
      );
    } else if (this.#state === "shutdownReceived") this.#sendShutdownAck(now);
  }

  #sendShutdownAck(now: Milli): void {
    this.#state = "shutdownAckSent";
    this.#ask(now, () => encodeChunk(CHUNK.shutdownAck, 0), this.#peer!.tag);
  }

  /** Sends a chunk, again and again until it is answered. */
  #ask(now: Milli, chunk: () => Uint8Array, tag: number): void {
    this.#asking = { chunk, tag, at: now + this.#patience(1), tries: 1 };
    this.#answer(chunk(), tag);
  }

  /** How long the `tries`th question waits for its answer. */
  #patience(tries: number): Milli {
    return tries <= FIRST_ASKS ? Math.min(FIRST_ASKS_MS, this.#outbound.rto.ms) : this.#outbound.rto.ms;
  }

  #repeatAt({ answeredAt, count }: { readonly answeredAt: Milli; readonly count: number }): Milli {
    return answeredAt + REPEATS_MS[count]!;
  }

  /** Nobody answered. A peer that comes later is still welcome; one that has gone in the middle of its end is not. */
  #giveUp(): void {
    this.#asking = undefined;
    if (this.#isEnding) return this.#close("the peer did not end SCTP");
    this.#peer = undefined;
    this.#state = "listening";
  }

  #handleError(now: Milli, value: Uint8Array): boolean {
    const causes = decodeParameters(value);
    if (!causes) return false;
    if (this.#state === "cookieEchoed" && causes.some(({ type }) => type === CAUSE.staleCookie)) {
      this.#state = "cookieWait";
      this.#peer = undefined;
      this.#ask(now, () => encodeInit(CHUNK.init, this.#init(this.#tag)), 0);
    }
    return true; // whatever else it complains of, we cannot mend
  }

  #scheduleHeartbeat(now: Milli): void {
    // Spread over half an interval, so that sessions do not fall into step (RFC 9260 section 8.3).
    this.#heartbeatAt = now + HEARTBEAT_MS * (0.75 + this.#options.random(1)[0]! / 512);
  }

  /** Measures the path while nothing else does; whether the peer is alive is ICE's to say (RFC 7675). */
  #sendHeartbeat(now: Milli): void {
    this.#scheduleHeartbeat(now);
    if (this.#state !== "established" || !this.#outbound.isDrained) return;
    const info = this.#options.random(4);
    this.#heartbeat = { nonce: viewOf(info).getUint32(0), sentAt: now };
    this.#answer(encodeChunk(CHUNK.heartbeat, 0, encodeParameter(1, info)));
  }

  #handleHeartbeatAck(now: Milli, value: Uint8Array): boolean {
    const info = decodeParameters(value)?.[0]?.value;
    if (info?.length !== 4) return false;
    if (this.#heartbeat?.nonce !== viewOf(info).getUint32(0)) return true;
    this.#outbound.rto.handleMeasurement(now - this.#heartbeat.sentAt);
    this.#heartbeat = undefined;
    return true;
  }

  /** The peer breaks the protocol. */
  #fail(cause: number, reason: string): void {
    const peer = this.#peer;
    this.#close(reason);
    if (!peer) return;
    this.#answers.length = 0;
    this.#answer(encodeChunk(CHUNK.abort, 0, encodeParameter(cause, new Uint8Array(0))), peer.tag);
  }

  #close(reason: string): void {
    this.#end();
    this.#events.push({ kind: "closed", reason });
  }

  #end(): void {
    this.#state = "closed";
    this.#asking = undefined;
    this.#repeat = undefined;
    this.#sackAt = undefined;
  }
}
