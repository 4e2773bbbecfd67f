/**
 * Who is who in the fleet: the only destinations that a relay knows. Transceivers are configured or registered for a
 * while; relays of other clusters are configured.
 */
import { clusterOf, type ServerId } from "@sluice/routing";
import { mix } from "./source.ts";

/** Unix time in milliseconds from a clock that never steps back; every core of the relay takes this. */
export type Milli = number;

/** A transceiver. A changed address makes a new object, so identity may stand for the address. */
export interface Transceiver {
  readonly serverId: ServerId;
  /** Numeric. */
  readonly address: string;
  readonly port: number;
  /** Whether it speaks QUIC, so that first QUIC packets may be sent to it. Default true. */
  quic?: boolean;
  /** Takes no new calls: no first QUIC packet is sent to it. */
  draining: boolean;
  /** Until when it is believed to live; `Infinity` for a configured one. */
  expiresAt: Milli;
  /** Since when it was sent things, and neither sent any nor renewed its registration. */
  unansweredSince?: Milli | undefined;
  /** Until when its newest registration says that it lives. */
  registeredUntil?: Milli;
}

/** A relay of this fleet. */
export interface RelayPeer {
  /** 1 to 255, unique in the fleet. */
  readonly number: number;
  readonly cluster: number;
  /** Numeric; clients and relays talk to the same port. */
  readonly address: string;
  readonly port: number;
}

/** What a directory starts with. */
export interface DirectoryOptions {
  /** The cluster of the relay itself. */
  readonly cluster: number;
  /** Its own number among relays; 0, the default, when it talks to no other cluster. */
  readonly relayNumber?: number;
  readonly transceivers?: readonly Omit<Transceiver, "draining" | "expiresAt">[];
  /** Relays of the fleet; the relay itself may be among them. */
  readonly relays?: readonly RelayPeer[];
}

const MAX_TRANSCEIVERS = 4096;
const GRACE_MS: Milli = 30_000;
/** Whoever lives answers first QUIC packets and STUN at once, and acknowledges the rest within 25 ms. */
const SILENT_MS: Milli = 500;

/** The fleet as one relay knows it. */
export class Directory {
  readonly cluster: number;
  readonly relayNumber: number;
  readonly #configured = new Map<ServerId, Transceiver>();
  readonly #registered = new Map<ServerId, Transceiver>();
  readonly #relaysByAddress = new Map<string, RelayPeer>();
  readonly #relaysByNumber = new Map<number, RelayPeer>();
  readonly #relaysByCluster = new Map<number, RelayPeer[]>();

  constructor({ cluster, relayNumber = 0, transceivers = [], relays = [] }: DirectoryOptions) {
    this.cluster = cluster;
    this.relayNumber = relayNumber;
    for (const transceiver of transceivers)
      this.#configured.set(transceiver.serverId, { ...transceiver, draining: false, expiresAt: Infinity });
    for (const relay of relays) {
      this.#relaysByAddress.set(`${relay.address}:${relay.port}`, relay);
      this.#relaysByNumber.set(relay.number, relay);
      this.#relaysByCluster.set(relay.cluster, [...(this.#relaysByCluster.get(relay.cluster) ?? []), relay]);
    }
  }

  /** Takes what a registry says; configured transceivers and those of other clusters are not overridden or added. */
  handleRegistrations(now: Milli, registrations: readonly Transceiver[]): void {
    for (const fresh of registrations) {
      const known = this.#registered.get(fresh.serverId);
      if (clusterOf(fresh.serverId) !== this.cluster || fresh.expiresAt <= now) continue;
      if (!known && this.#registered.size >= MAX_TRANSCEIVERS) continue;
      const same = known && known.address === fresh.address && known.port === fresh.port;
      if (same) {
        if (fresh.expiresAt > (known.registeredUntil ?? 0)) known.unansweredSince = undefined;
        known.registeredUntil = fresh.expiresAt;
        known.draining = fresh.draining;
        known.quic = fresh.quic ?? true;
        known.expiresAt = Math.max(known.expiresAt, fresh.expiresAt);
      } else this.#registered.set(fresh.serverId, { ...fresh, registeredUntil: fresh.expiresAt });
    }
    for (const { serverId, expiresAt } of this.#registered.values())
      if (expiresAt <= now) this.#registered.delete(serverId);
  }

  /** The registry cannot be read: who was alive stays so, since silence of the registry says nothing of them. */
  handleRegistryLost(now: Milli): void {
    for (const transceiver of this.#registered.values())
      transceiver.expiresAt = Math.max(transceiver.expiresAt, now + GRACE_MS);
  }

  /** A transceiver sent something: whatever the registry says, it lives. */
  noteAlive(now: Milli, transceiver: Transceiver): void {
    transceiver.unansweredSince = undefined;
    if (transceiver.expiresAt < now + GRACE_MS / 2) transceiver.expiresAt = now + GRACE_MS;
  }

  /** A transceiver is sent something. */
  noteAsked(now: Milli, transceiver: Transceiver): void {
    transceiver.unansweredSince ??= now;
  }

  /**
   * Whether a transceiver has answered nothing for a while: it is probably dead, long before its registration says so. No new
   * client is sent there while there is another one; its calls' packets still are.
   */
  isSilent(now: Milli, serverId: ServerId): boolean {
    const since = this.transceiver(now, serverId)?.unansweredSince;
    return since !== undefined && now - since >= SILENT_MS;
  }

  /** The transceiver of this id, if it is of this cluster and alive. */
  transceiver(now: Milli, serverId: ServerId): Transceiver | undefined {
    const found = this.#configured.get(serverId) ?? this.#registered.get(serverId);
    return found && found.expiresAt > now ? found : undefined;
  }

  /** Every transceiver that is alive, in no order. */
  *transceivers(now: Milli): Generator<Transceiver> {
    yield* this.#configured.values();
    for (const registered of this.#registered.values())
      if (registered.expiresAt > now && !this.#configured.has(registered.serverId)) yield registered;
  }

  /** A relay of another cluster; `spread` picks among several. */
  relayOf(cluster: number, spread: number): RelayPeer | undefined {
    const relays = this.#relaysByCluster.get(cluster);
    return cluster === this.cluster ? undefined : relays?.[spread % relays.length];
  }

  /** The relay with this number. */
  relayNumbered(number: number): RelayPeer | undefined {
    return this.#relaysByNumber.get(number);
  }

  /** The relay that sends from this address. */
  relayAt(address: string, port: number): RelayPeer | undefined {
    return this.#relaysByAddress.size === 0 ? undefined : this.#relaysByAddress.get(`${address}:${port}`);
  }

  /**
   * The transceiver for a first QUIC packet: rendezvous hashing (highest random weight), so that every relay and worker
   * chooses alike without talking, and a transceiver that comes or goes moves only its own share. Those that speak no QUIC
   * are left out. `tried` was asked in vain already: it is chosen only where there is no other.
   */
  spread(now: Milli, source: number, tried?: ServerId): Transceiver | undefined {
    let [best, bestWeight] = [undefined as Transceiver | undefined, -1];
    for (const transceiver of this.transceivers(now)) {
      if (transceiver.quic === false || transceiver.draining) continue;
      // From 0 to 2^32 - 1; those that are silent come after the others, the one that was tried last.
      const rank = transceiver.serverId === tried ? 0 : this.isSilent(now, transceiver.serverId) ? 1 : 2;
      const weight = mix(source ^ mix(transceiver.serverId)) + rank * 2 ** 32;
      if (weight > bestWeight) [best, bestWeight] = [transceiver, weight];
    }
    return best;
  }
}
