/** One UDP port, in both address families where asked for. Does I/O, decides nothing. */
import { isIP } from "node:net";
import { openUdp, type UdpMode, type UdpSocket } from "@sluice/udp";
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
  /** Whether datagrams move in batches. Default `auto`: where the native addon was built. */
  readonly mode?: UdpMode | undefined;
  /** Called for every datagram, which is its own; what it throws is counted, not thrown. */
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
  /** The port that it is. */
  readonly port: number;
  readonly #sockets: ReadonlyMap<4 | 6, UdpSocket>;
  #closed = false;

  private constructor(port: number, sockets: ReadonlyMap<4 | 6, UdpSocket>) {
    this.port = port;
    this.#sockets = sockets;
  }

  /** Binds; throws {@link UdpPortInUse}, or the system's error. */
  static async open({ port, hosts, mode, onPacket }: UdpPortOptions): Promise<UdpPort> {
    const sockets = new Map<4 | 6, UdpSocket>();
    let bound = port;
    let opened: UdpPort | undefined;
    try {
      for (const address of hosts) {
        const socket = await openUdp({
          address,
          port: bound,
          ipv6Only: true,
          bufferSize: BUFFER_SIZE,
          mode,
          onDatagram: (packet, from) => {
            if (opened) opened.#receive(packet, from, socket.batches, onPacket);
          },
          onRefused: (count) => {
            if (opened) opened.counts.sendErrors += count;
          },
        });
        sockets.set(isIP(address) === 6 ? 6 : 4, socket);
        bound = socket.port;
      }
    } catch (error) {
      for (const socket of sockets.values()) void socket.close();
      if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") throw new UdpPortInUse(bound, error);
      throw error;
    }
    opened = new UdpPort(bound, sockets);
    return opened;
  }

  /** Sends to a numeric address. */
  send(packet: Uint8Array, to: Address): void {
    const socket = this.#sockets.get(to.address.includes(":") ? 6 : 4);
    if (!socket || this.#closed) return;
    this.counts.sent += 1;
    socket.send(packet, to);
  }

  /** Lets what was sent leave now, and not only at the end of this turn of the event loop. */
  flush(): void {
    for (const socket of this.#sockets.values()) socket.flush();
  }

  /** Closes once what was sent is out. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#sockets.values()].map((socket) => socket.close()));
  }

  #receive(packet: Buffer, from: Address, reused: boolean, onPacket: UdpPortOptions["onPacket"]): void {
    if (this.#closed) return;
    this.counts.received += 1;
    try {
      // Sessions keep what they repair and whom they heard: the socket writes over both.
      if (reused) onPacket(Buffer.from(packet), { address: from.address, port: from.port });
      else onPacket(packet, from);
    } catch {
      this.counts.handlerErrors += 1;
    }
  }
}
