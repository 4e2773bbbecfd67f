/**
 * The transceiver's end of the hop (docs/hop.md): takes clients' datagrams out of what relays send, and puts answers back
 * behind the same header, towards the relay that the client was last heard through. Pure.
 *
 * The newest relay wins once it has checked the client's token, or once the datagram itself proved authentic: an address
 * alone is easily forged, and answers through a relay that the client does not talk to are lost at its NAT.
 */
import {
  decodeHop,
  encodeHop,
  encodeHopHeader,
  formatIp,
  type IpAddress,
  type IpPrefix,
  isWithin,
  looksLikeHop,
  parseIp,
  parsePrefix,
} from "@sluice/routing";
import type { Address, Transmit } from "../webrtc/ice-lite.ts";

/** What {@link HopPaths} must know. */
export interface HopPathsOptions {
  /**
   * Numeric addresses or networks (`10.0.0.0/8`) of relays: what they send has a hop header, what others send has none. Whoever can send
   * from a network given here can speak for any client: tag the hop where that is not only relays.
   */
  readonly relays: readonly string[];
  /** Whether clients may come without a relay. Default false. */
  readonly direct?: boolean | undefined;
  /** Keys of the tag on the hop, the one to write with first; absent: untagged. */
  readonly tagKeys?: readonly Uint8Array[] | undefined;
  /** Clients remembered; the one longest silent goes first. Default 16,384. */
  readonly maxClients?: number | undefined;
}

/** A client's own datagram. */
export interface Arrival {
  readonly packet: Buffer;
  readonly from: Address;
  /** To be called once the datagram has proved to be the client's, where the relay could not tell. */
  readonly confirm: (() => void) | undefined;
}

/** What was not taken, by reason. */
export interface HopCounts {
  /** From a relay, with a malformed header or a wrong tag. */
  badHop: number;
  /** Without a relay, which is not allowed here. */
  notRelayed: number;
  /** A hop header from somebody who is no relay. */
  forgedHop: number;
}

interface Way {
  readonly relay: Address;
  readonly entryRelay: number;
  readonly ip: IpAddress;
  readonly header: Uint8Array;
}

/** Remembers through which relay each client is reached. */
export class HopPaths {
  readonly counts: HopCounts = { badHop: 0, notRelayed: 0, forgedHop: 0 };
  readonly #options: HopPathsOptions;
  readonly #networks: readonly IpPrefix[];
  readonly #senders = new Map<string, boolean>(); // whether an address is a relay's, as found before
  readonly #ways = new Map<string, Way>(); // the longest silent first

  constructor(options: HopPathsOptions) {
    this.#options = options;
    this.#networks = options.relays.map(parsePrefix).filter((network) => network !== undefined);
  }

  /** Clients remembered. */
  get size(): number {
    return this.#ways.size;
  }

  /** The client's datagram in what came from `from`; `undefined`, and counted, if it is none. */
  handlePacket(packet: Buffer, from: Address): Arrival | undefined {
    if (!this.#isRelay(from.address)) {
      if (this.#options.direct && !looksLikeHop(packet)) return { packet, from, confirm: undefined };
      this.counts[looksLikeHop(packet) ? "forgedHop" : "notRelayed"] += 1;
      return undefined;
    }
    const hop = decodeHop(packet, this.#options.tagKeys);
    if (!hop) {
      this.counts.badHop += 1;
      return undefined;
    }
    const client = { address: formatIp(hop.address), port: hop.port };
    const learn = () => this.#learn(client, hop.address, from, hop.entryRelay);
    const known = this.#ways.get(keyOf(client));
    if (!hop.unverified || !known) learn();
    const { buffer, byteOffset, length } = hop.payload;
    const confirm = hop.unverified && known ? learn : undefined;
    return { packet: Buffer.from(buffer, byteOffset, length), from: client, confirm };
  }

  /** Where to send `packet` so that it reaches the client at `to`; `undefined` when no relay knows that client. */
  wrap(packet: Uint8Array, to: Address): Transmit | undefined {
    const way = this.#ways.get(keyOf(to));
    if (!way) return this.#options.direct ? { packet, to } : undefined;
    const { relay, header, ip, entryRelay } = way;
    const tagKey = this.#options.tagKeys?.[0];
    if (tagKey) {
      const hop = { address: ip, port: to.port, unverified: false, entryRelay };
      return { packet: encodeHop(hop, packet, tagKey), to: relay };
    }
    const datagram = Buffer.allocUnsafe(header.length + packet.length);
    datagram.set(header);
    datagram.set(packet, header.length);
    return { packet: datagram, to: relay };
  }

  #isRelay(address: string): boolean {
    const known = this.#senders.get(address);
    if (known !== undefined) return known;
    const ip = parseIp(address);
    const found = ip !== undefined && this.#networks.some((network) => isWithin(ip, network));
    if (this.#senders.size >= KEPT_SENDERS) this.#senders.clear(); // strangers must not fill the memory
    this.#senders.set(address, found);
    return found;
  }

  #learn(client: Address, ip: IpAddress, from: Address, entryRelay: number): void {
    const key = keyOf(client);
    const known = this.#ways.get(key);
    this.#ways.delete(key);
    if (known?.entryRelay === entryRelay && known.relay.port === from.port && known.relay.address === from.address) {
      this.#ways.set(key, known);
      return;
    }
    const copy = Uint8Array.from(ip);
    const header = encodeHopHeader({ address: copy, port: client.port, unverified: false, entryRelay });
    this.#ways.set(key, { relay: { address: from.address, port: from.port }, entryRelay, ip: copy, header });
    if (this.#ways.size <= (this.#options.maxClients ?? 16_384)) return;
    for (const oldest of this.#ways.keys()) {
      this.#ways.delete(oldest);
      break;
    }
  }
}

const KEPT_SENDERS = 1024;
const keyOf = ({ address, port }: Address) => `${address}|${port}`;
