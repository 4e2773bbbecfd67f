/** Sockets by Node's `dgram`: one system call a datagram. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import type { Peer, UdpOptions, UdpSocket } from "./socket.ts";

/** Opens a socket without the addon. */
export async function openDgramSocket(options: UdpOptions): Promise<UdpSocket> {
  const { address, port, peer, reusePort = false, reuseAddress = false, ipv6Only = false } = options;
  const family = isIPv6(address) ? 6 : 4;
  const socket = createSocket({
    type: `udp${family}`,
    reusePort,
    reuseAddr: reuseAddress,
    ipv6Only: family === 6 && ipv6Only,
    // Addresses are numeric; the resolver would cost every packet a turn of the event loop.
    lookup: (host, _options, done) => done(null, host, family),
  });
  try {
    const listening = once(socket, "listening"); // first: our lookup is synchronous, and so is the event
    socket.bind(port, address);
    await listening; // rejects with the socket's error
    if (peer) {
      const connected = once(socket, "connect");
      socket.connect(peer.port, peer.address);
      await connected;
    }
  } catch (error) {
    socket.on("error", () => undefined); // it is the error that is about to be thrown
    closeQuietly(socket);
    throw error;
  }
  if (options.bufferSize !== undefined) growBuffers(socket, options.bufferSize);
  return new DgramSocket(socket, options);
}

class DgramSocket implements UdpSocket {
  readonly batches = false;
  readonly port: number;
  readonly #socket: Socket;
  readonly #onSent: (error: Error | null) => void;
  #closed = false;

  constructor(socket: Socket, { onDatagram, onRefused }: UdpOptions) {
    this.port = socket.address().port;
    this.#socket = socket;
    // Without a callback Node loses send errors silently.
    this.#onSent = (error) => {
      if (error) onRefused(1);
    };
    // ECONNREFUSED and its like: a bound socket reports only what became of its sends.
    socket.on("error", this.#onSent);
    socket.on("message", onDatagram);
  }

  send(packet: Uint8Array, to?: Peer, header?: Uint8Array): void {
    if (this.#closed) return;
    const datagram = header ? join(header, packet) : packet;
    if (to) this.#socket.send(datagram, to.port, to.address, this.#onSent);
    else this.#socket.send(datagram, this.#onSent);
  }

  flush(): void {}

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await new Promise<void>((done) => this.#socket.close(done));
  }
}

function join(header: Uint8Array, packet: Uint8Array): Uint8Array {
  const datagram = Buffer.allocUnsafe(header.length + packet.length);
  datagram.set(header);
  datagram.set(packet, header.length);
  return datagram;
}

function growBuffers(socket: Socket, size: number): void {
  try {
    socket.setRecvBufferSize(size);
    socket.setSendBufferSize(size);
  } catch {
    // The kernel's limit is lower: its default size serves, with less room for bursts.
  }
}

function closeQuietly(socket: Socket): void {
  try {
    socket.close();
  } catch {
    // It never bound, so there is nothing to close.
  }
}
