/** Finds the native addon, as native/build.mjs put it there; without it everything works, a datagram at a time. */
import { createRequire } from "node:module";

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

/** The addon, once and for all; `undefined` where it was not built. */
export function loadAddon(): Required<Addon> | undefined {
  if (loaded === "not yet") loaded = load();
  return loaded;
}

function load(): Required<Addon> | undefined {
  if (process.env.SLUICE_NATIVE === "off") return undefined;
  try {
    const { UdpSocket } = createRequire(import.meta.url)("../native/udp.node") as Addon;
    return UdpSocket && { UdpSocket };
  } catch {
    return undefined;
  }
}
