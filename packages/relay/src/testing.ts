/** A small fleet for tests: keys, two clusters, clients that knock properly, and a reader of what was forwarded. */
import { createHash } from "node:crypto";
import {
  createKeyRing,
  createServerId,
  decodeHop,
  encodeHop,
  formatBindingRequest,
  formatBindingSuccess,
  generateKey,
  type HopPacket,
  icePassword,
  type KeyRing,
  mintUfrag,
  parseIp,
  parseStun,
  type ServerId,
} from "@sluice/routing";
import { Directory, type RelayPeer } from "./directory.ts";
import { type Forward, Forwarder, type ForwarderOptions, type RelayCommand } from "./forwarder.ts";

let drawn = 0;
/** Bytes that are as good as random and the same in every run. */
function seededBytes(size: number): Uint8Array {
  return createHash("sha512").update(`${drawn++}`).digest().subarray(0, size);
}

/** When tests begin: unix milliseconds. */
export const START = 1_800_000_000_000;

/** The fleet's keys. */
export const ring: KeyRing = createKeyRing([generateKey(seededBytes, 1), generateKey(seededBytes, 0)]);

/** Transceivers 1 and 2 of cluster 1, transceiver 1 of cluster 2. */
export const [serverA, serverB, serverC] = [createServerId(1, 1), createServerId(1, 2), createServerId(2, 1)] as const;

/** Relay 1 serves cluster 1, relay 2 cluster 2. */
export const relays: readonly RelayPeer[] = [
  { number: 1, cluster: 1, address: "198.51.100.1", port: 3478 },
  { number: 2, cluster: 2, address: "198.51.100.2", port: 3478 },
];

const transceivers = [
  { serverId: serverA, address: "10.1.0.1", port: 5000 },
  { serverId: serverB, address: "10.1.0.2", port: 5000 },
  { serverId: serverC, address: "10.2.0.1", port: 5000 },
];

/** The relay of `cluster`. */
export function createRelay(cluster: 1 | 2 = 1, options: Partial<ForwarderOptions> = {}): Relay {
  return new Relay(cluster, options);
}

/** A token for a call on `serverId`. */
export function mint(
  serverId: ServerId = serverA,
  expiresAt: number = START / 1000 + 3600,
  keys: KeyRing = ring,
): string {
  return mintUfrag(keys, { serverId, expiresAt, random: seededBytes });
}

/** A connectivity check with the right password, or another. */
export function check(ufrag: string, password: string = icePassword(ring, ufrag)): Uint8Array {
  return formatBindingRequest({ transactionId: seededBytes(12), username: `${ufrag}:peer`, password });
}

/** An RTP packet. */
export function rtp(ssrc: number, size = 120): Uint8Array {
  const packet = new Uint8Array(size);
  packet.set([0x80, 111, 0, 1, 0, 0, 0, 0, ssrc >>> 24, ssrc >>> 16, ssrc >>> 8, ssrc]);
  return packet;
}

/** A forwarder with its directory, and what a shell would do with its answers. */
export class Relay {
  readonly directory: Directory;
  readonly forwarder: Forwarder;

  constructor(cluster: 1 | 2, options: Partial<ForwarderOptions>) {
    this.directory = new Directory({
      cluster,
      relayNumber: cluster,
      relays,
      transceivers: transceivers.filter(({ serverId }) => serverId >>> 16 === cluster),
    });
    const admission = { seed: 1, packetsPerSecond: 1000, burst: 2000 };
    this.forwarder = new Forwarder({ ring, directory: this.directory, admission, ...options });
  }

  /** A client's packet arrives. */
  up(now: number, packet: Uint8Array, from: Client): Sent | undefined {
    return sent(this.forwarder.handlePublicPacket(now, packet, from.address, from.port));
  }

  /** A transceiver's packet for `to` arrives. */
  down(now: number, payload: Uint8Array, to: Client, serverId: ServerId = serverA, entryRelay = 0): Sent | undefined {
    const hop = { address: parseIp(to.address)!, port: to.port, unverified: false, entryRelay };
    const transceiver = this.directory.transceiver(now, serverId)!;
    return sent(this.forwarder.handleTransceiverPacket(now, encodeHop(hop, payload), transceiver));
  }

  /** A client knocks, and its transceiver answers. */
  connect(now: number, from: Client, ufrag: string, serverId: ServerId = serverA): Sent | undefined {
    const request = check(ufrag);
    const forwarded = this.up(now, request, from);
    this.down(now, answerTo(request, from, ufrag), from, serverId);
    return forwarded;
  }

  /** Every command so far. */
  commands(): RelayCommand[] {
    return [
      ...(function* (next) {
        for (let command = next(); command; command = next()) yield command;
      })(() => this.forwarder.nextCommand()),
    ];
  }
}

/** A client's address. */
export interface Client {
  readonly address: string;
  readonly port: number;
}

/** A forward as it stood when it was made, with its hop header read. */
export interface Sent {
  readonly to: Forward["to"];
  readonly address: string;
  readonly port: number;
  readonly packet: Uint8Array;
  readonly hop: HopPacket | undefined;
  readonly copy: Forward["copy"];
}

/** Copies a forward before the next call overwrites it. */
export function sent(forward: Forward | undefined): Sent | undefined {
  if (!forward) return undefined;
  const { to, address, port, header = new Uint8Array(0), copy } = forward;
  const packet = Uint8Array.of(...header, ...forward.packet);
  const tagKeys = ring.keys.map((key) => key.hopTagKey);
  const hop = to === "client" ? undefined : (decodeHop(packet) ?? decodeHop(packet, tagKeys));
  return { to, address, port, packet, hop, copy };
}

/** What the transceiver answers to a check. */
export function answerTo(request: Uint8Array, from: Client, ufrag: string): Uint8Array {
  const { transactionId } = parseStun(request)!;
  return formatBindingSuccess({ transactionId, ...from, password: icePassword(ring, ufrag) });
}
