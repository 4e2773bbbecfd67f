/**
 * The server's end of the events channel: the peer opens data channels (RFC 8832), and the first one that is reliable and
 * ordered carries the events. Others are acknowledged and not listened to. Pure: packets out by the sink.
 */
import type { Milli } from "@sluice/conversation";
import { DATA_CHANNEL_ACK, decodeDataChannelOpen, PPID } from "../webrtc/data-channel.ts";
import type { Sctp, SctpCounts, SctpFactory, SctpSink } from "../webrtc/sctp.ts";
import { MAX_MESSAGE_SIZE } from "../webrtc/sdp.ts";
import { Association, type AssociationEvent } from "./association.ts";
import type { Message } from "./reassembly.ts";

const LOCAL_PORT = 5000; // that of our answers
/** Events that wait for the channel or the peer, in bytes; the peer of a longer queue is gone or hostile. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
const MAX_CHANNELS = 16;

/** Opens associations of ours; `random` gives unpredictable bytes. */
export function createSctpFactory(random: (size: number) => Uint8Array): SctpFactory {
  return {
    open: (now, options, sink) => {
      const association = new Association({
        localPort: LOCAL_PORT,
        remotePort: options.peerPort,
        maxMessageSize: MAX_MESSAGE_SIZE,
        random,
      });
      const channel = new EventsChannel(association, options.peerMaxMessageSize, sink);
      channel.connect(now);
      return channel;
    },
  };
}

class EventsChannel implements Sctp {
  readonly #association: Association;
  readonly #peerMaxMessageSize: number;
  readonly #sink: SctpSink;
  readonly #channels = new Set<number>();
  #events: number | undefined; // stream of the events channel
  #queue: Uint8Array[] = []; // until it is open
  #queuedBytes = 0;
  #binary = 0;
  #isSettling = false;
  #closed = false;

  constructor(association: Association, peerMaxMessageSize: number, sink: SctpSink) {
    this.#association = association;
    this.#peerMaxMessageSize = peerMaxMessageSize;
    this.#sink = sink;
  }

  get counts(): SctpCounts {
    const { counts, tooLong } = this.#association;
    return { malformed: counts.malformed, binary: this.#binary, tooLong };
  }

  /** Begins: the peer does too, but whose packet is lost has the other's. */
  connect(now: Milli): void {
    this.#association.connect(now);
    this.#settle(now);
  }

  handlePacket(now: Milli, packet: Uint8Array): void {
    this.#association.handlePacket(now, packet);
    this.#settle(now);
  }

  handleTimeout(now: Milli): void {
    if (now < (this.pollTimeout() ?? Infinity)) return; // asked for every frame of audio
    this.#association.handleTimeout(now);
    this.#settle(now);
  }

  pollTimeout(): Milli | undefined {
    return this.#closed ? undefined : this.#association.pollTimeout();
  }

  sendText(now: Milli, text: string): boolean {
    const bytes = Buffer.from(text, "utf8");
    if (this.#closed || bytes.length > this.#peerMaxMessageSize) return false;
    if (this.#queuedBytes + this.#association.bufferedBytes + bytes.length > MAX_QUEUED_BYTES) return false;
    if (this.#events === undefined) {
      this.#queue.push(bytes);
      this.#queuedBytes += bytes.length;
      return true;
    }
    const isSent = this.#send(now, this.#events, bytes);
    this.#settle(now);
    return isSent;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    this.#association.abort();
    const last = this.#association.nextPacket(0);
    if (last) this.#sink.onPacket(last);
  }

  /** Hands out all that there is. The sink may call us meanwhile: what that leads to is handed out in its turn. */
  #settle(now: Milli): void {
    if (this.#isSettling) return;
    this.#isSettling = true;
    for (;;) {
      const event = this.#closed ? undefined : this.#association.nextEvent();
      if (event) {
        this.#handleEvent(now, event);
        continue;
      }
      const packet = this.#closed ? undefined : this.#association.nextPacket(now);
      if (!packet) break;
      this.#sink.onPacket(packet);
    }
    this.#isSettling = false;
  }

  #handleEvent(now: Milli, event: AssociationEvent): void {
    if (event.kind === "message") this.#handleMessage(now, event.message);
    else if (event.kind === "streamsReset") this.#handleReset(now, event.streams);
    else if (event.kind === "closed") this.#end(now, event.reason);
  }

  #handleMessage(now: Milli, { stream, ppid, bytes }: Message): void {
    if (ppid === PPID.dcep) this.#handleOpen(now, stream, bytes);
    else if (stream !== this.#events) return;
    else if (ppid === PPID.text) this.#sink.onText(textOf(bytes));
    else if (ppid === PPID.emptyText) this.#sink.onText("");
    else this.#binary += 1;
  }

  #handleOpen(now: Milli, stream: number, bytes: Uint8Array): void {
    const open = decodeDataChannelOpen(bytes);
    if (!open || (!this.#channels.has(stream) && this.#channels.size >= MAX_CHANNELS)) return;
    this.#channels.add(stream);
    this.#association.send(now, { stream, ppid: PPID.dcep, bytes: Uint8Array.of(DATA_CHANNEL_ACK) });
    if (!open.isOrderedReliable || this.#events !== undefined) return;
    this.#events = stream;
    for (const waiting of this.#queue) this.#send(now, stream, waiting);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#sink.onOpen();
  }

  /** The peer closes channels: ours are closed in answer (RFC 8831 section 6.7). */
  #handleReset(now: Milli, streams: readonly number[]): void {
    for (const stream of streams.length > 0 ? streams : [...this.#channels]) {
      if (!this.#channels.delete(stream)) continue;
      this.#association.resetStream(stream);
      if (stream === this.#events) return this.#end(now, "the peer closed the events channel");
    }
  }

  #send(now: Milli, stream: number, bytes: Uint8Array): boolean {
    // An empty message has an identifier of its own and one byte (RFC 8831 section 6.6).
    if (bytes.length === 0)
      return this.#association.send(now, { stream, ppid: PPID.emptyText, bytes: Uint8Array.of(0) });
    return this.#association.send(now, { stream, ppid: PPID.text, bytes });
  }

  #end(now: Milli, reason: string): void {
    if (this.#closed) return;
    const last = this.#association.nextPacket(now); // an ABORT, or the answer to a reset
    if (last) this.#sink.onPacket(last);
    this.close();
    this.#sink.onClosed(reason);
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
}
