/**
 * A UDP socket with one face and two bodies: batches of datagrams by the native addon (`native/udp`: recvmmsg, sendmmsg,
 * UDP segmentation) where that is there, Node's own `dgram` where it is not. Does I/O, decides nothing.
 */
import { loadAddon } from "./addon.ts";
import { openBatchSocket } from "./batch.ts";
import { openDgramSocket } from "./dgram.ts";

/** A numeric address and a port. */
export interface Peer {
  readonly address: string;
  readonly port: number;
}

/** `auto`: batches where the addon is. `dgram`: one system call a datagram, everywhere. */
export type UdpMode = "auto" | "dgram";

/** How to open a {@link UdpSocket}. */
export interface UdpOptions {
  /** Numeric address to bind; its family is the socket's. */
  readonly address: string;
  /** 0: any. */
  readonly port: number;
  /** Numeric; the socket is connected to it and hears nobody else. */
  readonly peer?: Peer | undefined;
  /** Share the port with other sockets of this option: the kernel spreads flows over them. Default false. */
  readonly reusePort?: boolean | undefined;
  /** Let sockets that are connected to different peers have one port. Default false. */
  readonly reuseAddress?: boolean | undefined;
  /** Default false. */
  readonly ipv6Only?: boolean | undefined;
  /** Bytes that the kernel holds each way; what it refuses to grant is left as it is. Default: the system's. */
  readonly bufferSize?: number | undefined;
  /** Default `auto`. */
  readonly mode?: UdpMode | undefined;
  /** A datagram came. `packet` and `from` are good until it returns: they may be written over then. */
  readonly onDatagram: (packet: Buffer, from: Peer) => void;
  /** So many sends were refused by the system; they are lost. */
  readonly onRefused: (count: number) => void;
}

/** An open socket; its owner closes it. */
export interface UdpSocket {
  readonly port: number;
  /** Whether datagrams move in batches. */
  readonly batches: boolean;
  /**
   * Sends to a numeric address, or with none to the connected peer, `header` before `packet`, by the end of this turn of
   * the event loop. What `onDatagram` was given may be sent on; other bytes must not be written over later.
   */
  send(packet: Uint8Array, to?: Peer, header?: Uint8Array): void;
  /** Lets what was sent leave now. */
  flush(): void;
  /** Closes once what was sent has left. */
  close(): Promise<void>;
}

/** Whether the addon is there. */
export function hasBatches(): boolean {
  return loadAddon() !== undefined;
}

/** Opens a socket; rejects with the system's error. */
export async function openUdp(options: UdpOptions): Promise<UdpSocket> {
  const addon = options.mode === "dgram" ? undefined : loadAddon();
  return addon ? openBatchSocket(addon, options) : openDgramSocket(options);
}
