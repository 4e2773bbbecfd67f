/** Finds the native addon; without it everything works, a datagram at a time. */
import { loadNative } from "./native.ts";

/** The addon's socket (`native/udp/src/socket.rs`). */
export interface NativeSocket {
  readonly port: number;
  /** A duplicate of the descriptor, to be owned by the caller. */
  share(): number;
  /** Fills `arena`, one datagram a slot, and `table`; returns how many came. */
  receive(arena: Buffer, table: Buffer, slot: number): number;
  /** Sends what lies back to back in `arena`; returns how many the system refused. */
  send(arena: Uint8Array, table: Uint32Array, count: number): number;
  close(): void;
}

/** What the addon exports on Linux; elsewhere nothing. */
export interface Addon {
  readonly UdpSocket?: new (options: {
    readonly address: string;
    readonly port: number;
    readonly reusePort: boolean;
    readonly reuseAddress: boolean;
    readonly ipv6Only: boolean;
    readonly bufferSize: number | undefined;
    readonly peerAddress: string | undefined;
    readonly peerPort: number | undefined;
  }) => NativeSocket;
}

let loaded: Required<Addon> | undefined | "not yet" = "not yet";

/** The addon, once and for all; `undefined` where there is none. */
export function loadAddon(): Required<Addon> | undefined {
  if (loaded === "not yet") loaded = load();
  return loaded;
}

function load(): Required<Addon> | undefined {
  const { exports } = loadNative("udp", new URL("../native/udp.node", import.meta.url));
  const UdpSocket = (exports as Addon | undefined)?.UdpSocket;
  return UdpSocket && { UdpSocket };
}
