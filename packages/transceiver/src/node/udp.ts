/** One UDP port, in both address families where asked for. Does I/O, decides nothing. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIP } from "node:net";
import type { Address } from "../webrtc/ice-lite.ts";

/** The UDP port is taken by another process. */
export class UdpPortInUse extends Error {
  override readonly name = "UdpPortInUse";
  readonly port: number;

  constructor(port: number, cause: unknown) {
    super(`udp port ${port} is in use`, { cause });
    this.port = port;
  }
}

/** How to open a {@link UdpPort}. */
export interface UdpPortOptions {
  /** 0: any. */
  readonly port: number;
  /** Numeric addresses to bind, one per family. */
  readonly hosts: readonly string[];
  /** Called for every datagram; what it throws is counted, not thrown. */
  readonly onPacket: (packet: Buffer, from: Address) => void;
}

/** Datagrams since the port opened. */
export interface UdpCounts {
  received: number;
  sent: number;
  /** Sends that the system refused. */
  sendErrors: number;
  /** Datagrams whose handling threw: bugs. */
  handlerErrors: number;
}

/** 4 MiB: at 30,000 packets a second the loop may stall for half a second before one is lost. */
const BUFFER_SIZE = 4 * 1024 * 1024;

/** An open port. */
export class UdpPort {
  readonly counts: UdpCounts = { received: 0, sent: 0, sendErrors: 0, handlerErrors: 0 };
  readonly #sockets: Map<4 | 6, Socket>;
  /** The port that it is. */
  readonly port: number;
  #closed = false;

  private constructor(port: number, sockets: Map<4 | 6, Socket>, onPacket: UdpPortOptions["onPacket"]) {
    this.port = port;
    this.#sockets = sockets;
    for (const socket of sockets.values()) {
      socket.on("message", (packet, from) => {
        if (this.#closed) return;
        this.counts.received += 1;
        try {
          onPacket(packet, from);
        } catch {
          this.counts.handlerErrors += 1;
        }
      });
      socket.on("error", () => {
        this.counts.sendErrors += 1; // a bound UDP socket reports only what became of its sends
      });
    }
  }

  /** Binds; throws {@link UdpPortInUse}, or the system's error. */
  static async open({ port, hosts, onPacket }: UdpPortOptions): Promise<UdpPort> {
    const sockets = new Map<4 | 6, Socket>();
    let bound = port;
    try {
      for (const host of hosts) {
        const family = isIP(host) === 6 ? 6 : 4;
        const socket = createSocket({
          type: `udp${family}`,
          ipv6Only: family === 6,
          recvBufferSize: BUFFER_SIZE,
          sendBufferSize: BUFFER_SIZE,
        });
        sockets.set(family, socket);
        socket.bind(bound, host);
        await once(socket, "listening");
        bound = socket.address().port;
      }
    } catch (error) {
      for (const socket of sockets.values()) closeQuietly(socket);
      if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") throw new UdpPortInUse(bound, error);
      throw error;
    }
    return new UdpPort(bound, sockets, onPacket);
  }

  /** Sends to a numeric address. */
  send(packet: Uint8Array, to: Address): void {
    const socket = this.#sockets.get(to.address.includes(":") ? 6 : 4);
    if (!socket || this.#closed) return;
    this.counts.sent += 1;
    socket.send(packet, to.port, to.address, this.#onSent);
  }

  /** Closes once what was sent is out. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#sockets.values()].map((socket) => new Promise<void>((done) => socket.close(done))));
  }

  readonly #onSent = (error: Error | null): void => {
    if (error) this.counts.sendErrors += 1;
  };
}

function closeQuietly(socket: Socket): void {
  socket.on("error", () => {}); // it is the error that we are about to throw
  try {
    socket.close();
  } catch {
    // It never bound, so there is nothing to close.
  }
}
