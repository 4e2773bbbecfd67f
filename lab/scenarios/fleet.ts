/**
 * A fleet on a virtual clock: clients behind NATs, relays of several workers, transceivers, a cache that fails, and a
 * lossy network between. One seed decides everything; the same seed replays it.
 */
import { type Address, createRandom, Link, Nat, type Random } from "@sluice/netem";
import { Directory, type FlowRecord, type Forward, Forwarder, type Transceiver } from "@sluice/relay";
import {
  createKeyRing,
  createServerId,
  decodeHop,
  encodeHop,
  formatBindingRequest,
  formatBindingSuccess,
  formatIp,
  hasValidIntegrity,
  icePassword,
  type KeyConfig,
  type KeyRing,
  mintUfrag,
  parseStun,
  type ServerId,
} from "@sluice/routing";

/** Milliseconds between two looks at the world. */
export const TICK_MS = 10;

const START = 1_800_000_000_000;
const RTP_EVERY_MS = 100;
const CHECK_EVERY_MS = 2500;
const SERVERS = [createServerId(1, 1), createServerId(1, 2), createServerId(2, 1)] as const;
const RELAYS = [
  { number: 1, cluster: 1, address: "198.51.100.1", port: 3478 },
  { number: 2, cluster: 1, address: "198.51.100.2", port: 3478 },
  { number: 3, cluster: 2, address: "198.51.100.3", port: 3478 },
] as const;

/** What went wrong, and what was counted on the way. */
export interface FleetReport {
  readonly violations: readonly string[];
  readonly faults: readonly string[];
  readonly delivered: { readonly up: number; readonly down: number };
}

/** What may befall a fleet. */
export const FAULTS = [
  "rebind",
  "changePath",
  "moveToOtherRelay",
  "killWorker",
  "restartRelay",
  "cacheDown",
  "cacheUp",
  "cacheFlushed",
  "cachePoisoned",
  "rotateKeys",
  "burstOfLoss",
  "garbage",
  "replayedCheck",
  "stolenSsrc",
] as const;

/** One of {@link FAULTS}. */
export type Fault = (typeof FAULTS)[number];

/** Runs the fleet of `seed`: faults for `faultsMs`, then 3 s of peace in which every client must be heard again. */
export function runFleet(seed: number, { clients = 6, faultsMs = 8000 } = {}): FleetReport {
  const fleet = new Fleet(seed, clients);
  fleet.runUntil(1000);
  while (fleet.elapsed < faultsMs) {
    fleet.inflict(FAULTS[Math.floor(fleet.random() * FAULTS.length)]!);
    fleet.runUntil(fleet.elapsed + 50 + fleet.random() * 1500);
  }
  fleet.calm();
  fleet.runUntil(fleet.elapsed + 3000);
  fleet.expectEverybodyHeard();
  return fleet;
}

/** A relay process: its workers share an address, and the kernel picks one by the client's. */
interface SimulatedRelay {
  readonly number: number;
  readonly cluster: 1 | 2;
  readonly address: Address;
  workers: { forwarder: Forwarder; directory: Directory }[];
}

interface SimulatedClient {
  readonly name: number;
  readonly inner: Address;
  readonly nat: Nat;
  readonly ufrag: string;
  readonly serverId: ServerId;
  readonly ssrc: number;
  relay: number;
  /** Every outer address it ever had: late packets to old ones are no fault. */
  readonly outers: Set<string>;
  lastUpAt: number;
  lastDownAt: number;
}

interface SimulatedCall {
  readonly client: SimulatedClient;
  path: { readonly hop: Uint8Array; readonly reply: (datagram: Uint8Array) => void; readonly key: string } | undefined;
}

class Fleet implements FleetReport {
  readonly random: Random;
  readonly violations: string[] = [];
  readonly faults: string[] = [];
  readonly delivered = { up: 0, down: 0 };
  #now = START;
  #keys: KeyConfig[];
  #ring: KeyRing;
  readonly #relays: SimulatedRelay[];
  readonly #clients: SimulatedClient[];
  readonly #calls = new Map<number, SimulatedCall>();
  readonly #cache = new Map<string, ServerId>();
  #cacheUp = true;
  readonly #up: Link<{ readonly from: Address; readonly relay: number }>;
  readonly #down: Link<{ readonly to: Address }>;
  #later: (() => void)[] = [];
  readonly #seed: number;

  constructor(seed: number, clients: number) {
    this.#seed = seed;
    this.random = createRandom(seed);
    this.#keys = [{ rotation: 0, secret: this.#bytes(32) }];
    this.#ring = createKeyRing(this.#keys);
    this.#up = new Link(this.#weather(), seed ^ 1);
    this.#down = new Link(this.#weather(), seed ^ 2);
    this.#relays = RELAYS.map(({ number, cluster, address, port }) => ({
      number,
      cluster,
      address: { address, port },
      workers: [this.#createWorker(number, cluster), this.#createWorker(number, cluster)],
    }));
    this.#clients = Array.from({ length: clients }, (_, name) => this.#createClient(name));
    for (const client of this.#clients) this.#calls.set(client.ssrc, { client, path: undefined });
  }

  get elapsed(): number {
    return this.#now - START;
  }

  runUntil(elapsed: number): void {
    while (this.elapsed < elapsed) this.#tick();
  }

  /** Ends what faults began: the network is good and the cache back. */
  calm(): void {
    this.#cacheUp = true;
    this.#up.impair({ delayMs: 20 });
    this.#down.impair({ delayMs: 20 });
  }

  inflict(fault: Fault): void {
    this.faults.push(`${this.elapsed.toFixed(0)} ${fault}`);
    const client = this.#pick(this.#clients);
    const relay = this.#pick(this.#relays);
    switch (fault) {
      case "rebind":
        client.nat.rebind(client.inner);
        break;
      case "changePath":
        client.nat.changePath(`203.0.113.${1 + Math.floor(this.random() * 200)}`);
        break;
      case "moveToOtherRelay":
        client.relay = relay.number;
        break;
      case "killWorker": {
        const survivor = this.#pick(relay.workers);
        relay.workers = [survivor];
        const records = [...survivor.forwarder.records()];
        this.#later.push(() => {
          const fresh = this.#createWorker(relay.number, relay.cluster);
          for (const record of records) fresh.forwarder.handleReplica(this.#now, record);
          if (relay.workers.length < 2) relay.workers.push(fresh);
        });
        break;
      }
      case "restartRelay":
        relay.workers = [
          this.#createWorker(relay.number, relay.cluster),
          this.#createWorker(relay.number, relay.cluster),
        ];
        break;
      case "cacheDown":
        this.#cacheUp = false;
        break;
      case "cacheUp":
        this.#cacheUp = true;
        break;
      case "cacheFlushed":
        this.#cache.clear();
        break;
      case "cachePoisoned":
        for (const key of this.#cache.keys()) this.#cache.set(key, createServerId(1, Math.floor(this.random() * 9)));
        break;
      case "rotateKeys":
        this.#rotateKeys();
        break;
      case "burstOfLoss":
        this.#up.impair({ delayMs: 20, loss: 0.5 });
        this.#down.impair({ delayMs: 20, loss: 0.5 });
        this.#later.push(() => this.#up.impair(this.#weather()));
        break;
      case "garbage":
        for (let i = 0; i < 50; i++)
          this.#sendUp(this.#bytes(1 + Math.floor(this.random() * 100)), this.#stranger(), relay.number);
        break;
      case "replayedCheck":
        this.#sendUp(this.#check(client), this.#stranger(), client.relay);
        break;
      case "stolenSsrc":
        this.#sendUp(rtp(client.ssrc, 0xffff_ffff), this.#stranger(), client.relay);
        break;
    }
  }

  expectEverybodyHeard(): void {
    for (const { name, lastUpAt, lastDownAt } of this.#clients) {
      if (this.#now - lastUpAt > 500)
        this.violations.push(`client ${name} was not heard for ${this.#now - lastUpAt} ms`);
      if (this.#now - lastDownAt > 500)
        this.violations.push(`client ${name} heard nothing for ${this.#now - lastDownAt} ms`);
    }
  }

  #tick(): void {
    this.#now += TICK_MS;
    const later = this.random() < 0.1 ? this.#later.splice(0) : []; // some things take their time
    for (const action of later) action();
    for (const relay of this.#relays)
      for (const worker of relay.workers) {
        worker.forwarder.handleTimeout(this.#now);
        this.#drain(relay, worker.forwarder);
        const { confirmedSize, tentativeSize, ssrcSize } = worker.forwarder.flows;
        if (confirmedSize > 64 || tentativeSize > 64 || ssrcSize > 64 || worker.forwarder.lookupsSize > 256)
          this.violations.push(`relay ${relay.number} holds ${confirmedSize} flows, ${tentativeSize} tentative`);
      }
    for (const client of this.#clients) this.#tickClient(client);
    for (const call of this.#calls.values())
      if (call.path && this.elapsed % RTP_EVERY_MS === 0) this.#sendDown(call, rtp(0x0d000000 + call.client.name, 0));
    for (let next = this.#up.nextArrival(this.#now); next; next = this.#up.nextArrival(this.#now))
      this.#arriveAtRelay(next.packet, next.label.from, next.label.relay);
    for (let next = this.#down.nextArrival(this.#now); next; next = this.#down.nextArrival(this.#now))
      this.#arriveAtClient(next.packet, next.label.to);
  }

  #tickClient(client: SimulatedClient): void {
    const outer = client.nat.outward(client.inner);
    client.outers.add(`${outer.address}:${outer.port}`);
    const phase = this.elapsed + client.name * 370;
    if (phase % CHECK_EVERY_MS === 0 || (this.#now - client.lastDownAt > 600 && phase % 250 === 0))
      this.#sendUp(this.#check(client), outer, client.relay);
    if (phase % RTP_EVERY_MS === 0) this.#sendUp(rtp(client.ssrc, client.name), outer, client.relay);
  }

  #sendUp(packet: Uint8Array, from: Address, relay: number): void {
    this.#up.handlePacket(this.#now, packet, { from, relay });
  }

  #arriveAtRelay(packet: Uint8Array, from: Address, number: number): void {
    const relay = this.#relays.find((each) => each.number === number)!;
    const spread = (Math.imul(from.port, 0x9e3779b1) >>> 16) % relay.workers.length;
    const { forwarder } = relay.workers[spread]!;
    const forward = forwarder.handlePublicPacket(this.#now, packet, from.address, from.port);
    if (forward) this.#send(relay, forwarder, { ...forward });
    this.#drain(relay, forwarder);
  }

  #drain(relay: SimulatedRelay, forwarder: Forwarder): void {
    for (let command = forwarder.nextCommand(); command; command = forwarder.nextCommand()) {
      if (command.kind === "forward") this.#send(relay, forwarder, command.forward);
      else if (command.kind === "replicate") this.#replicate(relay, forwarder, command.record);
      else if (command.kind === "remember") {
        if (this.#cacheUp) this.#cache.set(`${command.address}:${command.port}`, command.serverId);
      } else if (this.#cacheUp)
        forwarder.handleLookup(this.#now, command, this.#cache.get(`${command.address}:${command.port}`));
    }
  }

  #replicate(relay: SimulatedRelay, from: Forwarder, record: FlowRecord): void {
    for (const { forwarder } of relay.workers) if (forwarder !== from) forwarder.handleReplica(this.#now, record);
  }

  #send(relay: SimulatedRelay, forwarder: Forwarder, forward: Forward): void {
    const { to, header, transceiver, address, port, copy } = forward;
    const packet = header ? Buffer.concat([header, forward.packet]) : forward.packet;
    if (to === "transceiver") this.#arriveAtTransceiver(relay, forwarder, transceiver!, packet);
    else if (to === "relay") {
      const peer = RELAYS.find((each) => each.address === address && each.port === port)!;
      this.#arriveAtRelay(packet, relay.address, peer.number);
    } else
      for (const target of [{ address, port }, copy])
        if (target) this.#down.handlePacket(this.#now, packet, { to: { address: target.address, port: target.port } });
  }

  #arriveAtTransceiver(
    relay: SimulatedRelay,
    forwarder: Forwarder,
    transceiver: Transceiver,
    datagram: Uint8Array,
  ): void {
    const hop = decodeHop(datagram);
    if (!hop) {
      this.violations.push("a transceiver got what is no hop packet");
      return;
    }
    const reply = (answer: Uint8Array) => {
      const forward = forwarder.handleTransceiverPacket(this.#now, answer, transceiver);
      if (forward) this.#send(relay, forwarder, { ...forward });
      this.#drain(relay, forwarder);
    };
    const key = `${formatIp(hop.address)}:${hop.port}`;
    const request = parseStun(hop.payload);
    if (request) {
      const { serverUfrag } = request;
      const call = [...this.#calls.values()].find(({ client }) => client.ufrag === serverUfrag);
      if (!call || call.client.serverId !== transceiver.serverId)
        this.violations.push("a check reached the wrong transceiver");
      else if (hasValidIntegrity(request, icePassword(this.#ring, call.client.ufrag))) {
        call.path = { hop: datagram, reply, key };
        const answer = { transactionId: request.transactionId, address: formatIp(hop.address), port: hop.port };
        this.#sendDown(call, formatBindingSuccess({ ...answer, password: icePassword(this.#ring, call.client.ufrag) }));
      }
      return;
    }
    this.#hear(hop.payload, hop.unverified, transceiver, datagram, reply, key);
  }

  /** Media: SRTP's authentication is played by a mark that strangers cannot make. */
  #hear(
    payload: Uint8Array,
    unverified: boolean,
    transceiver: Transceiver,
    hop: Uint8Array,
    reply: (datagram: Uint8Array) => void,
    key: string,
  ): void {
    const view = new DataView(payload.buffer, payload.byteOffset);
    const call = payload.length >= 16 ? this.#calls.get(view.getUint32(8)) : undefined;
    if (!call || view.getUint32(12) !== call.client.name) return;
    if (call.client.serverId !== transceiver.serverId) {
      // A poisoned or stale cache may misguide what nothing proved; SRTP's authentication refuses it there.
      if (!unverified)
        this.violations.push(`media of client ${call.client.name} reached the wrong transceiver as verified`);
      return;
    }
    this.delivered.up += 1;
    call.client.lastUpAt = this.#now;
    if (call.path?.key === key) call.path = { hop, reply, key };
  }

  #sendDown(call: SimulatedCall, payload: Uint8Array): void {
    const { hop, reply } = call.path!;
    const { address, port, entryRelay } = decodeHop(hop)!;
    reply(encodeHop({ address, port, entryRelay, unverified: false }, payload));
  }

  #arriveAtClient(packet: Uint8Array, to: Address): void {
    const client = this.#clients.find(({ nat }) => nat.inward(to) !== undefined);
    if (parseStun(packet)) {
      // A replayed check is answered where it came from: smaller than what was sent there, and of no use.
      return;
    }
    const name = new DataView(packet.buffer, packet.byteOffset).getUint32(8) - 0x0d000000;
    if (!client) return;
    if (client.name !== name) {
      this.violations.push(`speech for client ${name} reached client ${client.name}`);
      return;
    }
    this.delivered.down += 1;
    client.lastDownAt = this.#now;
  }

  #createWorker(number: number, cluster: 1 | 2): { forwarder: Forwarder; directory: Directory } {
    const directory = new Directory({
      cluster,
      relayNumber: number,
      relays: RELAYS,
      transceivers: SERVERS.filter((serverId) => serverId >>> 16 === cluster).map((serverId) => ({
        serverId,
        address: `10.${cluster}.0.${serverId & 0xff}`,
        port: 5000,
      })),
    });
    const admission = { seed: this.#seed };
    const flows = { confirmed: 64, tentative: 64 };
    return {
      directory,
      forwarder: new Forwarder({ ring: this.#ring, directory, admission, flows, lookups: { addresses: 128 } }),
    };
  }

  #createClient(name: number): SimulatedClient {
    const serverId = this.#pick(SERVERS);
    const random = (size: number) => this.#bytes(size);
    return {
      name,
      inner: { address: `10.9.0.${name}`, port: 5000 },
      nat: new Nat(`192.0.2.${1 + name}`, this.#seed ^ (100 + name)),
      ufrag: mintUfrag(this.#ring, { serverId, expiresAt: START / 1000 + 3600, random }),
      serverId,
      ssrc: 0x10000000 + name,
      relay: this.#pick(RELAYS).number,
      outers: new Set(),
      lastUpAt: START,
      lastDownAt: START,
    };
  }

  /** A new key mints from now on; the old one still reads. Relays learn of it by a restart, one after the other. */
  #rotateKeys(): void {
    const newest = this.#keys[0]!;
    this.#keys = [{ rotation: (newest.rotation + 1) % 7, secret: this.#bytes(32) }, ...this.#keys].slice(0, 6);
    this.#ring = createKeyRing(this.#keys);
    for (const relay of this.#relays)
      relay.workers = relay.workers.map((worker) => {
        const fresh = this.#createWorker(relay.number, relay.cluster);
        for (const record of worker.forwarder.records()) fresh.forwarder.handleReplica(this.#now, record);
        return fresh;
      });
  }

  #check(client: SimulatedClient): Uint8Array {
    const password = icePassword(this.#ring, client.ufrag);
    return formatBindingRequest({ transactionId: this.#bytes(12), username: `${client.ufrag}:peer`, password });
  }

  #stranger(): Address {
    return { address: `100.64.${Math.floor(this.random() * 200)}.9`, port: 1024 + Math.floor(this.random() * 60_000) };
  }

  #weather() {
    return {
      delayMs: 10 + this.random() * 40,
      jitterMs: this.random() * 5,
      loss: this.random() * 0.05,
      duplicate: 0.01,
    };
  }

  #pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.random() * values.length)]!;
  }

  #bytes(size: number): Uint8Array {
    return Uint8Array.from({ length: size }, () => Math.floor(this.random() * 256));
  }
}

/** An RTP packet of `ssrc` with a mark that stands for a valid SRTP tag. */
function rtp(ssrc: number, mark: number): Uint8Array {
  const packet = new Uint8Array(40);
  const view = new DataView(packet.buffer);
  view.setUint16(0, 0x806f);
  view.setUint32(8, ssrc);
  view.setUint32(12, mark);
  return packet;
}
