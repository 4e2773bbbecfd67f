/** QUIC in memory, for tests of what stands on it: two ends, streams with windows, nothing lost, nothing early. */
import type { Http3Transport } from "./http3.ts";
import type { QuicDirection, QuicStream } from "./quic-engine.ts";

/** What one end hears of the other. */
export interface FakeEvents {
  readonly onReadable: (stream: QuicStream) => void;
  readonly onWritable: (stream: QuicStream) => void;
  readonly onStopped: (stream: QuicStream, code: number) => void;
  readonly onDatagram: (data: Uint8Array) => void;
  readonly onClosed: (code: number, reason: string) => void;
}

/** One direction of a stream. */
interface Half {
  data: Uint8Array[];
  size: number;
  ended: boolean;
  resetCode: number | undefined;
  stopped: boolean;
  blocked: boolean;
  /** It takes nothing any more. */
  closed: boolean;
}

/** How {@link FakeQuic} behaves. */
export interface FakeQuicOptions {
  /** Bytes that wait unread in one stream; default 256 KiB. */
  readonly window?: number;
  /** Streams that a side may open of one kind; default 100. */
  readonly maxStreams?: number;
}

/** Both ends of a connection. What one end does, the other hears in {@link FakeQuic.settle}. */
export class FakeQuic {
  readonly client: FakeEnd;
  readonly server: FakeEnd;
  readonly queue: (() => void)[] = [];

  constructor(options: FakeQuicOptions = {}) {
    this.client = new FakeEnd(this, 0, options);
    this.server = new FakeEnd(this, 1, options);
    this.client.peer = this.server;
    this.server.peer = this.client;
  }

  /** Lets both hear everything, until nobody has anything to say. */
  settle(): void {
    for (let next = this.queue.shift(); next; next = this.queue.shift()) next();
  }
}

/** One end. */
export class FakeEnd implements Http3Transport {
  readonly #quic: FakeQuic;
  readonly #side: 0 | 1;
  readonly #options: FakeQuicOptions;
  readonly #halves = new Map<QuicStream, Half>(); // what the peer sends
  readonly #opened = { bidirectional: 0, unidirectional: 0 };
  /** What was asked of this end, besides data: `reset 4 5`, `stop 2 259`, `close 256`. */
  readonly log: string[] = [];
  readonly priorities = new Map<QuicStream, number>();
  /** Those that streams had when they were written first. */
  readonly firstPriorities = new Map<QuicStream, number>();
  peer!: FakeEnd;
  events: FakeEvents | undefined;
  isClosed = false;

  constructor(quic: FakeQuic, side: 0 | 1, options: FakeQuicOptions) {
    this.#quic = quic;
    this.#side = side;
    this.#options = options;
  }

  /** What the peer has sent on `stream` so far, taken out. */
  take(stream: QuicStream): Uint8Array {
    return this.read(stream)?.data ?? new Uint8Array(0);
  }

  openStream(direction: QuicDirection): QuicStream | undefined {
    const count = this.#opened[direction];
    if (this.isClosed || count >= (this.#options.maxStreams ?? 100)) return undefined;
    this.#opened[direction] += 1;
    const stream = (count * 4 + (direction === "unidirectional" ? 2 : 0) + this.#side) as QuicStream;
    this.peer.#half(stream);
    if (direction === "bidirectional") this.#half(stream);
    return stream;
  }

  write(stream: QuicStream, data: Uint8Array): number | undefined {
    const half = this.isClosed ? undefined : this.peer.#halves.get(stream);
    if (!half || half.closed) return undefined;
    if (!this.firstPriorities.has(stream)) this.firstPriorities.set(stream, this.priorities.get(stream) ?? 0);
    const taken = data.slice(0, Math.max(0, (this.#options.window ?? 262_144) - half.size));
    if (taken.length < data.length) half.blocked = true;
    if (taken.length === 0) return 0;
    half.data.push(taken);
    half.size += taken.length;
    this.peer.#hear((events) => events.onReadable(stream));
    return taken.length;
  }

  finish(stream: QuicStream): boolean {
    return this.#endHalf(stream, (half) => {
      half.ended = true;
    });
  }

  reset(stream: QuicStream, code: number): boolean {
    this.log.push(`reset ${stream} ${code}`);
    return this.#endHalf(stream, (half) => {
      half.resetCode = code;
      half.data = [];
      half.size = 0;
    });
  }

  #endHalf(stream: QuicStream, change: (half: Half) => void): boolean {
    const half = this.isClosed ? undefined : this.peer.#halves.get(stream);
    if (!half || half.closed) return false;
    change(half);
    half.closed = true;
    this.peer.#hear((events) => events.onReadable(stream));
    return true;
  }

  setPriority(stream: QuicStream, priority: number): boolean {
    this.priorities.set(stream, priority);
    return true;
  }

  read(stream: QuicStream, maxBytes = 65_536) {
    const half = this.isClosed ? undefined : this.#halves.get(stream);
    if (!half || half.stopped) return undefined;
    if (half.resetCode !== undefined) {
      this.#halves.delete(stream);
      return { data: new Uint8Array(0), state: "reset", code: half.resetCode } as const;
    }
    const all = Buffer.concat(half.data);
    const data = Uint8Array.from(all.subarray(0, maxBytes));
    half.data = [all.subarray(data.length)];
    half.size -= data.length;
    if (half.blocked && data.length > 0) {
      half.blocked = false;
      this.peer.#hear((events) => events.onWritable(stream));
    }
    if (half.size > 0) return { data, state: "more" } as const;
    if (!half.ended) return { data, state: "blocked" } as const;
    this.#halves.delete(stream);
    return { data, state: "finished" } as const;
  }

  stop(stream: QuicStream, code: number): boolean {
    this.log.push(`stop ${stream} ${code}`);
    const half = this.isClosed ? undefined : this.#halves.get(stream);
    if (!half || half.stopped) return false;
    half.stopped = true;
    this.peer.#hear((events) => events.onStopped(stream, code));
    return true;
  }

  sendDatagram(data: Uint8Array) {
    if (this.isClosed) return "closed" as const;
    const copy = data.slice();
    this.peer.#hear((events) => events.onDatagram(copy));
    return "queued" as const;
  }

  close(code: number, reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.log.push(`close ${code}`);
    this.#quic.queue.push(() => {
      const { peer } = this;
      if (peer.isClosed) return;
      peer.isClosed = true;
      peer.events?.onClosed(code, reason);
    });
  }

  #half(stream: QuicStream): Half {
    const half = {
      data: [],
      size: 0,
      ended: false,
      resetCode: undefined,
      stopped: false,
      blocked: false,
      closed: false,
    };
    this.#halves.set(stream, half);
    return half;
  }

  #hear(event: (events: FakeEvents) => void): void {
    this.#quic.queue.push(() => {
      if (!this.isClosed && this.events) event(this.events);
    });
  }
}
