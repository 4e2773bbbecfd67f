/**
 * SCTP by werift, for one events channel. werift's own data channels are not used: they throw in callbacks at what a
 * hostile peer sends. Its timers run here, which is why this is no pure code.
 */
import { RTCSctpTransport } from "werift";
import { DATA_CHANNEL_ACK, decodeDataChannelOpen, PPID } from "../webrtc/data-channel.ts";
import type { Sctp, SctpCounts, SctpFactory, SctpSink } from "../webrtc/sctp.ts";
import { isSctpSafe, MAX_SCTP_STREAMS } from "../webrtc/sctp-guard.ts";
import { MAX_MESSAGE_SIZE } from "../webrtc/sdp.ts";

/** Events that wait for the channel or the peer, in bytes; the peer of a longer queue is gone or hostile. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
/** Chunks inside SCTP above which we keep messages back, so that the queue has one place and one bound. */
const MAX_CHUNKS_INSIDE = 64;
const MAX_CHANNELS = 16;
/** 1,200 bytes of UDP payload less what DTLS adds (37), rounded down to words. */
const SCTP_MTU = 1_160;
/** RTO.Min of RFC 9260 is 1 s: an event that is lost would come a second late. dcSCTP, in browsers, uses 400 ms and less. */
const RTO_MIN_SECONDS = 0.2;
const RTO_INITIAL_SECONDS = 0.5;

/** What we use of werift's association beyond its declared surface. */
interface Association {
  readonly outboundQueue: readonly unknown[];
  readonly advertisedRwnd: number;
  readonly srtt: number | undefined;
  readonly rttvar: number;
  rto: number;
  _inboundStreamsMax: number;
  onSackReceived: () => Promise<void>;
  handleData(packet: Buffer): Promise<void>;
  send(streamId: number, ppId: number, data: Buffer): Promise<void>;
  stop(): Promise<void>;
}

/** Opens associations of werift. */
export const weriftSctpFactory: SctpFactory = {
  open: (options, sink) => new WeriftSctp(options.peerPort, options.peerMaxMessageSize, sink),
};

class WeriftSctp implements Sctp {
  readonly counts: SctpCounts = { malformed: 0, binary: 0, tooLong: 0 };
  readonly #association: Association;
  readonly #peerMaxMessageSize: number;
  readonly #sink: SctpSink;
  readonly #channels = new Set<number>();
  #events: number | undefined; // stream of the events channel
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #closed = false;
  #silent = false; // nothing may follow the last packet
  #receiving: Promise<void> = Promise.resolve();

  constructor(peerPort: number, peerMaxMessageSize: number, sink: SctpSink) {
    this.#peerMaxMessageSize = peerMaxMessageSize;
    this.#sink = sink;
    const transport = new RTCSctpTransport(5000, MAX_MESSAGE_SIZE, { mtu: SCTP_MTU });
    const lower = {
      id: "sluice",
      iceTransport: { role: "controlled" },
      onStateChange: { subscribe: () => ({ unSubscribe: () => {} }) },
      dataReceiver: () => {},
      sendData: async (packet: Buffer) => {
        if (!this.#silent) sink.onPacket(packet);
      },
    };
    transport.setDtlsTransport(lower as unknown as Parameters<RTCSctpTransport["setDtlsTransport"]>[0]);
    const { sctp } = transport;
    this.#association = sctp as unknown as Association;
    this.#association._inboundStreamsMax = MAX_SCTP_STREAMS;
    this.#association.rto = RTO_INITIAL_SECONDS;
    this.#association.onSackReceived = async () => this.#flush();
    sctp.onReceive.allUnsubscribe();
    sctp.onReceive.subscribe((streamId, ppId, data) => this.#handleMessage(streamId, ppId, data));
    sctp.onReconfigStreams.allUnsubscribe();
    sctp.onReconfigStreams.subscribe((ids) => {
      for (const id of ids) this.#channels.delete(id);
      if (this.#events !== undefined && ids.includes(this.#events)) this.#end("the peer closed the events channel");
    });
    sctp.stateChanged.closed.subscribe(() => this.#end("the peer ended SCTP"));
    transport.start(peerPort).catch(() => this.#end("SCTP did not start"));
  }

  handlePacket(packet: Uint8Array): void {
    if (this.#closed) return;
    if (!isSctpSafe(packet)) {
      this.counts.malformed += 1;
      return;
    }
    const bytes = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength);
    // werift handles a packet in several ticks; the next one must not overtake it.
    this.#receiving = this.#receiving.then(() => this.#receive(bytes));
  }

  sendText(text: string): boolean {
    const data = Buffer.from(text, "utf8");
    if (this.#closed || data.length > this.#peerMaxMessageSize) return false;
    if (this.#queuedBytes + data.length > MAX_QUEUED_BYTES) return false;
    this.#queue.push(data);
    this.#queuedBytes += data.length;
    this.#flush();
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    this.#association.stop().catch(() => {}); // sends ABORT at once, and its only await is that send
    this.#silent = true;
  }

  async #receive(packet: Buffer): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#association.handleData(packet);
    } catch {
      return; // werift throws at what it cannot use; the guard has let through nothing that leaves it half changed
    }
    const { srtt, rttvar, advertisedRwnd } = this.#association;
    if (srtt !== undefined) this.#association.rto = Math.max(RTO_MIN_SECONDS, srtt + 4 * rttvar);
    if (advertisedRwnd < 0) this.#end("the peer overran the receive window");
  }

  #handleMessage(streamId: number, ppId: number, data: Buffer): void {
    if (this.#closed) return;
    if (ppId === PPID.dcep) this.#handleOpen(streamId, data);
    else if (streamId !== this.#events) return;
    else if (data.length > MAX_MESSAGE_SIZE) this.counts.tooLong += 1;
    else if (ppId === PPID.text) this.#sink.onText(data.toString("utf8"));
    else if (ppId === PPID.emptyText) this.#sink.onText("");
    else this.counts.binary += 1;
  }

  #handleOpen(streamId: number, data: Buffer): void {
    const open = decodeDataChannelOpen(data);
    if (!open || (!this.#channels.has(streamId) && this.#channels.size >= MAX_CHANNELS)) return;
    this.#channels.add(streamId);
    this.#send(streamId, PPID.dcep, Buffer.of(DATA_CHANNEL_ACK));
    if (!open.isOrderedReliable || this.#events !== undefined) return;
    this.#events = streamId;
    this.#flush();
    this.#sink.onOpen();
  }

  #flush(): void {
    if (this.#events === undefined) return;
    while (this.#queue.length > 0 && this.#association.outboundQueue.length < MAX_CHUNKS_INSIDE) {
      const data = this.#queue.shift()!;
      this.#queuedBytes -= data.length;
      // An empty message has an identifier of its own and one byte (RFC 8831 section 6.6).
      if (data.length === 0) this.#send(this.#events, PPID.emptyText, Buffer.of(0));
      else this.#send(this.#events, PPID.text, data);
    }
  }

  #send(streamId: number, ppId: number, data: Buffer): void {
    this.#association.send(streamId, ppId, data).catch(() => this.#end("SCTP could not send"));
  }

  #end(reason: string): void {
    if (this.#closed) return;
    this.close();
    this.#sink.onClosed(reason);
  }
}
