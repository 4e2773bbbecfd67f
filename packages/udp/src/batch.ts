/**
 * Sockets by the native addon. Node's `dgram` adopts a duplicate of the descriptor, so that its event loop wakes us
 * without a thread between: the first datagram of a wake comes through `dgram`, and all that wait behind it in one
 * `recvmmsg`. What is sent in a turn of the event loop leaves together.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import type { Addon, NativeSocket } from "./addon.ts";
import { Peers, ROW_WORDS } from "./peers.ts";
import type { Peer, UdpOptions, UdpSocket } from "./socket.ts";

/** Datagrams a crossing moves at most: the addon's bound. */
const BATCH = 64;
/** What a received datagram may have; a longer one arrives cut to this, longer than anything we take. */
const SLOT = 2048;
const ARENA_SIZE = 32 * 1024;

// Filled and emptied within one call, so all sockets of a thread share it.
const received = Buffer.alloc(BATCH * SLOT);
const receivedTable = new Uint32Array(BATCH * ROW_WORDS);
const receivedTableBytes = Buffer.from(receivedTable.buffer);

/** Opens a socket with the addon. */
export async function openBatchSocket({ UdpSocket: Native }: Required<Addon>, options: UdpOptions): Promise<UdpSocket> {
  const { address, port, peer, reusePort = false, reuseAddress = false, ipv6Only = false, bufferSize } = options;
  const native = withCode(
    () =>
      new Native({
        address,
        port,
        reusePort,
        reuseAddress,
        ipv6Only,
        bufferSize,
        peerAddress: peer?.address,
        peerPort: peer?.port,
      }),
  );
  const wake = createSocket(isIPv6(address) ? "udp6" : "udp4");
  const socket = new BatchSocket(native, wake, options);
  try {
    const listening = once(wake, "listening");
    wake.bind({ fd: native.share(), exclusive: true });
    await listening;
    return socket;
  } catch (error) {
    native.close();
    throw error;
  }
}

/** Gives what the addon throws the `code` that Node's errors have. */
function withCode<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    const code = error instanceof Error ? /\bE[A-Z]+\b/.exec(error.message)?.[0] : undefined;
    throw code ? Object.assign(error as Error, { code }) : error;
  }
}

class BatchSocket implements UdpSocket {
  readonly batches = true;
  readonly port: number;
  readonly #native: NativeSocket;
  readonly #wake: Socket;
  readonly #peers: Peers;
  readonly #onDatagram: UdpOptions["onDatagram"];
  readonly #onRefused: UdpOptions["onRefused"];
  readonly #from: { address: string; port: number } = { address: "", port: 0 };
  readonly #arena = Buffer.alloc(ARENA_SIZE);
  readonly #table = new Uint32Array(BATCH * ROW_WORDS);
  #queued = 0;
  #used = 0;
  #closed = false;

  constructor(native: NativeSocket, wake: Socket, { address, onDatagram, onRefused }: UdpOptions) {
    this.port = native.port;
    this.#native = native;
    this.#wake = wake;
    this.#peers = new Peers(isIPv6(address));
    this.#onDatagram = onDatagram;
    this.#onRefused = onRefused;
    wake.on("error", () => onRefused(1)); // what became of a send: ECONNREFUSED and its like
    wake.on("message", (packet, from) => {
      onDatagram(packet, from);
      if (!this.#closed) this.#drain();
    });
  }

  send(packet: Uint8Array, to?: Peer, header?: Uint8Array): void {
    if (this.#closed) return;
    const headerSize = header?.length ?? 0;
    const size = headerSize + packet.length;
    if (this.#queued === BATCH || this.#used + size > ARENA_SIZE) this.flush();
    if (size > ARENA_SIZE) {
      this.#refuse(1); // longer than any path takes
      return;
    }
    const row = this.#queued;
    const at = row * ROW_WORDS;
    if (to && !this.#peers.write(to.address, this.#table, row)) {
      this.#refuse(1);
      return;
    }
    this.#table[at] = size;
    this.#table[at + 1] = to ? to.port : 0;
    if (header) this.#arena.set(header, this.#used);
    this.#arena.set(packet, this.#used + headerSize);
    this.#used += size;
    this.#queued += 1;
    if (row === 0) queueMicrotask(this.#flushSoon);
  }

  flush(): void {
    if (this.#queued === 0) return;
    this.#refuse(this.#native.send(this.#arena, this.#table, this.#queued));
    this.#queued = 0;
    this.#used = 0;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    await new Promise<void>((done) => this.#wake.close(done));
    this.#native.close();
  }

  readonly #flushSoon = (): void => this.flush();

  /** Bounded to one batch: the event loop asks again for what is left, and lets timers run between. */
  #drain(): void {
    const count = this.#native.receive(received, receivedTableBytes, SLOT);
    const from = this.#from;
    for (let row = 0; row < count && !this.#closed; row++) {
      const start = row * SLOT;
      from.address = this.#peers.nameAt(receivedTable, row);
      from.port = receivedTable[row * ROW_WORDS + 1]!;
      this.#onDatagram(received.subarray(start, start + receivedTable[row * ROW_WORDS]!), from);
    }
  }

  #refuse(count: number): void {
    if (count > 0) this.#onRefused(count);
  }
}
