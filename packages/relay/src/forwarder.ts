/**
 * The relay's mind: where each datagram goes. Sans-IO. Packets are answered at once, with an object that is overwritten by
 * the next call; everything else is queued as commands. Drive it: one input, drain `nextCommand()`, re-arm `pollTimeout()`.
 *
 * A STUN request opens a flow when its token verifies and its MESSAGE-INTEGRITY fits the password derived from the token.
 * QUIC is routed by connection ID, packet by packet. SRTP from an unknown address is matched by SSRC, then by the cache.
 * A relay that has just started learns its flows from the transceivers too, which go on sending to their clients.
 */
import {
  CID_LENGTH,
  classify,
  clusterOf,
  decodeHop,
  encodeHop,
  encodeHopHeader,
  formatIp,
  type HopHeader,
  type HopPacket,
  hasValidFingerprint,
  hasValidIntegrity,
  type IpAddress,
  icePassword,
  type KeyRing,
  looksLikeHop,
  parseIp,
  parseQuicHeader,
  parseStun,
  readUfrag,
  type ServerId,
  type StunMessage,
} from "@sluice/routing";
import { Admission, type AdmissionOptions } from "./admission.ts";
import type { Directory, Milli, RelayPeer, Transceiver } from "./directory.ts";
import { type Flow, FlowTable, type FlowTableOptions, type Probation } from "./flow-table.ts";
import { Lookups, type LookupsOptions } from "./lookups.ts";
import { hashSource, type SourceKey, sourceKey, sourceKeyOf } from "./source.ts";
import { createStats, type DropReason, type RelayStats } from "./stats.ts";

/** Settings of a forwarder. */
export interface ForwarderOptions {
  readonly ring: KeyRing;
  readonly directory: Directory;
  readonly admission: AdmissionOptions;
  readonly flows?: FlowTableOptions | undefined;
  /** Bounds of what waits for the cache; absent: there is no cache. */
  readonly lookups?: LookupsOptions | undefined;
  /** Signs the hop to transceivers too, for networks that are not private: 4 us a packet. Default false. */
  readonly hopTag?: boolean | undefined;
  /** Bytes of the largest client datagram. Default 1428: 1500 less IPv6, UDP and the longest hop header. */
  readonly maxPacketSize?: number | undefined;
}

/** One datagram to send. The forwarder reuses the object that it returns. */
export interface Forward {
  to: "client" | "transceiver" | "relay";
  /** Goes before the packet: a flow's hop header. */
  header: Uint8Array | undefined;
  packet: Uint8Array;
  /** Numeric. */
  address: string;
  port: number;
  /** Set with `to: "transceiver"`. */
  transceiver: Transceiver | undefined;
  /** The same packet goes here as well: an address on probation. */
  copy: { readonly address: string; readonly port: number } | undefined;
}

/** What other workers must know of a flow to carry it on. */
export interface FlowRecord {
  readonly address: string;
  readonly port: number;
  readonly entryRelay: number;
  readonly serverId: ServerId;
  readonly ufrag: string;
  readonly ssrc: number;
  readonly probation: { readonly address: string; readonly port: number; readonly startedAt: Milli } | undefined;
}

/** Control work for the shell. */
export type RelayCommand =
  | { readonly kind: "forward"; readonly forward: Forward }
  | { readonly kind: "lookUp"; readonly address: string; readonly port: number; readonly entryRelay: number }
  | { readonly kind: "remember"; readonly address: string; readonly port: number; readonly serverId: ServerId }
  | { readonly kind: "replicate"; readonly record: FlowRecord };

const IDLE_MS: Milli = 60_000;
const TENTATIVE_MS: Milli = 5000;
const SWEEP_MS: Milli = 1000;
const ANNOUNCE_MS: Milli = 15_000; // a quarter of the idle time, and below any cache's time to live
const PROBATION_MS: Milli = 3000;
const PROBATION_PAUSE_MS: Milli = 30_000;
const PROBATION_BYTES_PER_MS = 8; // 64 kbit/s
const PROBATION_BURST = 1600;
const LIVE_MS: Milli = 6000; // two consent checks and their answers
const SSRC_SILENCE_MS: Milli = 2000;
const MIN_INITIAL_SIZE = 1200; // RFC 9000 section 14.1
const MAX_COMMANDS = 4096;

/** Forwards between clients, transceivers and relays. */
export class Forwarder {
  readonly stats: RelayStats = createStats();
  readonly #ring: KeyRing;
  readonly #directory: Directory;
  readonly #admission: Admission;
  readonly #flows: FlowTable;
  readonly #lookups: Lookups | undefined;
  readonly #tagKeys: readonly Uint8Array[];
  readonly #hopTag: boolean;
  readonly #maxPacketSize: number;
  readonly #commands: RelayCommand[] = [];
  readonly #answer: Forward = createForward();
  #nextSweepAt: Milli | undefined;

  constructor({ ring, directory, admission, flows, lookups, hopTag = false, maxPacketSize = 1428 }: ForwarderOptions) {
    this.#ring = ring;
    this.#directory = directory;
    this.#admission = new Admission(admission);
    this.#flows = new FlowTable(flows);
    this.#lookups = lookups && new Lookups(lookups);
    this.#tagKeys = ring.keys.map((key) => key.hopTagKey);
    this.#hopTag = hopTag;
    this.#maxPacketSize = maxPacketSize;
  }

  /** The flows, for metrics. */
  get flows(): Pick<FlowTable, "confirmedSize" | "tentativeSize" | "ssrcSize"> {
    return this.#flows;
  }

  /** Addresses that wait for the cache or were looked for in vain, for metrics. */
  get lookupsSize(): number {
    return this.#lookups?.size ?? 0;
  }

  /** Commands that wait for the shell. */
  get backlog(): number {
    return this.#commands.length;
  }

  /** Answers a datagram that came in on the public port, from a client or from a relay. */
  handlePublicPacket(now: Milli, packet: Uint8Array, address: string, port: number): Forward | undefined {
    if (looksLikeHop(packet)) return this.#handleRelayPacket(now, packet, address, port);
    return this.#handleClientPacket(now, packet, sourceKey(address, port), address, port, 0);
  }

  /** Answers a datagram of `transceiver`, one that the directory knows, on the socket towards it. */
  handleTransceiverPacket(now: Milli, datagram: Uint8Array, transceiver: Transceiver): Forward | undefined {
    this.stats.rxDown += 1;
    const hop = decodeHop(datagram, this.#hopTag ? this.#tagKeys : undefined);
    if (!hop) return this.#drop("badHop");
    this.#directory.noteAlive(now, transceiver);
    const { entryRelay } = hop;
    const flow = this.#flows.get(sourceKeyOf(hop.address, hop.port, entryRelay));
    const own = flow?.serverId === transceiver.serverId ? flow : undefined;
    if (entryRelay === 0) return this.#deliver(now, hop, flow ? own : this.#learn(now, hop, transceiver));
    const peer = this.#directory.relayNumbered(entryRelay);
    if (!peer) return this.#drop("noRelay");
    if (own) this.#noteAnswer(now, own);
    this.stats.txDown += 1;
    return this.#forwardToRelay(peer, hop, hop.payload);
  }

  /** The cache answered a `lookUp`; `serverId` is what it said, unchecked, `undefined` for nothing. */
  handleLookup(
    now: Milli,
    { address, port, entryRelay }: { readonly address: string; readonly port: number; readonly entryRelay: number },
    serverId: ServerId | undefined,
  ): void {
    const key = sourceKey(address, port, entryRelay);
    const reachable = serverId !== undefined && this.#isReachable(now, serverId, entryRelay);
    const packets = this.#lookups?.settle(now, key, reachable) ?? [];
    const ip = parseIp(address);
    if (packets.length === 0 || !ip) return;
    if (!reachable) {
      this.stats.recovered.miss += 1;
      this.stats.drops.lookupMiss += packets.length;
      return;
    }
    this.stats.recovered.redis += 1;
    // A token may have opened a flow meanwhile: it beats the cache.
    let flow = this.#flows.get(key);
    if (!flow) {
      flow = createFlow(now, { key, ip, address, port, entryRelay, serverId, unverified: true });
      this.#add(flow);
    }
    for (const packet of packets) {
      const forward = this.#forwardUp(now, flow, packet);
      if (forward) this.#command({ kind: "forward", forward: { ...forward } });
    }
  }

  /** Another worker told of a flow. */
  handleReplica(now: Milli, record: FlowRecord): void {
    const { address, port, entryRelay, serverId, ufrag, ssrc, probation } = record;
    const ip = parseIp(address);
    if (!ip) return;
    const key = sourceKey(address, port, entryRelay);
    let flow = this.#flows.get(key);
    if (!flow?.confirmed || flow.serverId !== serverId) {
      flow = createFlow(now, { key, ip, address, port, entryRelay, serverId, unverified: false });
      flow.confirmed = true;
      flow.announcedAt = now; // the worker that carries it does the announcing
      this.#add(flow);
    }
    this.#flows.setUfrag(flow, ufrag);
    this.#flows.touch(now, flow);
    if (ssrc >= 0) this.#flows.claimSsrc(flow, ssrc);
    const probationIp = probation && parseIp(probation.address);
    if (probation && probationIp) this.#startProbation(probation.startedAt, flow, probationIp, probation.port);
    else flow.probation = undefined;
  }

  /** What a worker that starts should be told, through its {@link handleReplica}. */
  *records(): Generator<FlowRecord> {
    for (const flow of this.#flows.confirmedFlows()) yield recordOf(flow);
  }

  /** Lets time pass. */
  handleTimeout(now: Milli): void {
    const dropped = this.#lookups?.handleTimeout(now) ?? 0;
    if (dropped > 0) {
      this.stats.drops.lookupMiss += dropped;
      this.stats.recovered.miss += 1;
    }
    if (now < (this.#nextSweepAt ?? Number.POSITIVE_INFINITY)) return;
    this.stats.flowsExpired += this.#flows.expire(now - IDLE_MS, now - TENTATIVE_MS);
    const empty = this.#flows.confirmedSize + this.#flows.tentativeSize === 0;
    this.#nextSweepAt = empty ? undefined : now + SWEEP_MS;
  }

  /** When {@link handleTimeout} is next due. */
  pollTimeout(): Milli | undefined {
    const lookup = this.#lookups?.pollTimeout() ?? Number.POSITIVE_INFINITY;
    const next = Math.min(lookup, this.#nextSweepAt ?? Number.POSITIVE_INFINITY);
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** The next command, oldest first. */
  nextCommand(): RelayCommand | undefined {
    return this.#commands.shift();
  }

  /** A relay of another cluster hands over its client's packet, or hands back what belongs to a client of ours. */
  #handleRelayPacket(now: Milli, packet: Uint8Array, address: string, port: number): Forward | undefined {
    const peer = this.#directory.relayAt(address, port);
    // Relays meet on public addresses, which anybody can forge: between them the tag is not optional.
    const hop = peer && decodeHop(packet, this.#tagKeys);
    if (!hop) return this.#drop("badHop");
    if (hop.entryRelay !== peer.number) return this.#handleReturned(now, hop);
    const client = formatIp(hop.address);
    const key = sourceKeyOf(hop.address, hop.port, hop.entryRelay);
    return this.#handleClientPacket(now, hop.payload, key, client, hop.port, hop.entryRelay);
  }

  #handleReturned(now: Milli, hop: HopPacket): Forward | undefined {
    this.stats.rxDown += 1;
    if (hop.entryRelay === 0 || hop.entryRelay !== this.#directory.relayNumber) return this.#drop("badHop");
    const flow = this.#flows.get(sourceKeyOf(hop.address, hop.port));
    return this.#deliver(now, hop, flow && clusterOf(flow.serverId) !== this.#directory.cluster ? flow : undefined);
  }

  /** A transceiver sends to an address that is not known: this relay has forgotten a call, which is told by that. */
  #learn(now: Milli, { address: ip, port }: HopPacket, { serverId }: Transceiver): Flow {
    const address = formatIp(ip);
    const key = sourceKeyOf(ip, port);
    const copy = Uint8Array.from(ip); // the shell may reuse its buffer
    const flow = createFlow(now, { key, ip: copy, address, port, entryRelay: 0, serverId, unverified: false });
    this.stats.recovered.transceiver += 1;
    this.#add(flow);
    return flow;
  }

  /** Gives a client its packet; `flow` is the client's, if it is one of the transceiver that sent it. */
  #deliver(now: Milli, hop: HopPacket, flow: Flow | undefined): Forward {
    if (flow) this.#noteAnswer(now, flow);
    this.stats.txDown += 1;
    const answer = this.#forward("client", hop.payload, flow?.address ?? formatIp(hop.address), hop.port);
    if (flow?.probation) answer.copy = this.#copyTo(now, flow, flow.probation, hop.payload);
    return answer;
  }

  #handleClientPacket(
    now: Milli,
    packet: Uint8Array,
    key: SourceKey,
    address: string,
    port: number,
    entryRelay: number,
  ): Forward | undefined {
    this.stats.rxUp += 1;
    if (packet.length > this.#maxPacketSize) return this.#drop("oversize");
    const kind = classify(packet);
    if (kind === undefined) return this.#drop("unclassified");
    const flow = this.#flows.get(key);
    if (kind === "srtp" && flow?.confirmed) {
      this.#noteSsrc(now, flow, packet);
      return this.#forwardUp(now, flow, packet);
    }
    const source: Source = { key, address, port, entryRelay, flow };
    if (kind === "stun") return this.#handleStun(now, packet, source);
    if (kind === "quic") return this.#handleQuic(now, packet, source);
    if (flow?.confirmed) return this.#forwardUp(now, flow, packet);
    if (!this.#admission.admit(now, address)) return this.#drop("rate");
    if (flow) return this.#forwardUp(now, flow, packet);
    return this.#recover(now, packet, kind, source);
  }

  #handleStun(now: Milli, packet: Uint8Array, source: Source): Forward | undefined {
    const { flow, address } = source;
    const message = parseStun(packet);
    if (!message) return this.#drop("malformedStun");
    const isRequest = message.class === "request" && message.serverUfrag !== undefined;
    // A known client's own check, with nothing at stake here, is the transceiver's to verify.
    if (flow?.confirmed && !flow.unverified && !flow.probation && (!isRequest || message.serverUfrag === flow.ufrag))
      return this.#forwardUp(now, flow, packet);
    if (!isRequest) return this.#drop("notARequest");
    if (!this.#admission.admit(now, address)) return this.#drop("rate");
    return this.#open(now, message, source);
  }

  /** The one way to open a flow: a token of ours and the proof of knowing its password. */
  #open(now: Milli, message: StunMessage, { key, address, port, entryRelay, flow }: Source): Forward | undefined {
    const ufrag = message.serverUfrag!;
    const reading = readUfrag(this.#ring, ufrag, now / 1000);
    if (!reading.ok) return this.#drop(TOKEN_DROPS[reading.reason]);
    if (!hasValidFingerprint(message) || !hasValidIntegrity(message, icePassword(this.#ring, ufrag)))
      return this.#drop("badIntegrity");
    const { serverId } = reading;
    const ip = parseIp(address);
    if (!ip) return this.#drop("malformedStun");
    if (!this.#isReachable(now, serverId, entryRelay)) return this.#drop(this.#unreachable(serverId, entryRelay));
    const settled = flow?.origin ?? flow;
    if (settled) this.#endProbation(now, settled);
    if (flow?.confirmed && flow.serverId === serverId) {
      this.#flows.setUfrag(flow, ufrag);
      return this.#forwardUp(now, flow, message.packet);
    }
    const hop = { address: ip, port, unverified: false, entryRelay };
    // A valid token proves nothing about the address it comes from: it may not take a live call's away.
    if (flow?.confirmed && now - flow.answeredAt < LIVE_MS) return this.#forwardHop(now, serverId, hop, message.packet);
    const opened = createFlow(now, { key, ip, address, port, entryRelay, serverId, unverified: false, ufrag });
    this.stats.recovered.stun += 1;
    this.#add(opened);
    return this.#forwardUp(now, opened, message.packet);
  }

  #handleQuic(now: Milli, packet: Uint8Array, source: Source): Forward | undefined {
    const { flow, address, port, entryRelay } = source;
    const header = parseQuicHeader(packet, CID_LENGTH);
    if (!header) return this.#drop("unroutableCid");
    const serverId = header.destinationCid.length < CID_LENGTH ? undefined : this.#ring.readCid(header.destinationCid);
    if (serverId !== undefined) {
      if (flow?.serverId === serverId) return this.#forwardUp(now, flow, packet);
      const ip = this.#isReachable(now, serverId, entryRelay) ? parseIp(address) : undefined;
      // Nothing is remembered: the next packet says again where it belongs.
      if (ip) return this.#forwardHop(now, serverId, { address: ip, port, unverified: true, entryRelay }, packet);
    }
    const first = header.form === "long" && (header.type === "initial" || header.type === "zeroRtt");
    // Nobody answered this client's first flight: it is sent again to somebody else.
    const unheard = first && flow?.confirmed === false && this.#directory.isSilent(now, flow.serverId);
    if (flow && !unheard) return this.#forwardUp(now, flow, packet);
    if (!first) return this.#drop(serverId === undefined ? "unroutableCid" : "unknownServer");
    return this.#spread(now, packet, header.type === "initial", source);
  }

  /** A QUIC client's first flight names no server: the address chooses one, and the flow keeps it while that is young. */
  #spread(now: Milli, packet: Uint8Array, initial: boolean, source: Source): Forward | undefined {
    const { key, address, port, entryRelay } = source;
    if (initial && packet.length < MIN_INITIAL_SIZE) return this.#drop("shortInitial");
    if (!this.#admission.admit(now, address)) return this.#drop("rate");
    const ip = parseIp(address);
    const transceiver = ip && this.#directory.spread(now, hashSource(ip, port), source.flow?.serverId);
    if (!ip || !transceiver) return this.#drop("unknownServer");
    const { serverId } = transceiver;
    const opened = createFlow(now, { key, ip, address, port, entryRelay, serverId, unverified: true });
    this.#add(opened);
    return this.#forwardUp(now, opened, packet);
  }

  /** Media from an address that is not known: whose SSRC is it, or whom does the cache know there? */
  #recover(now: Milli, packet: Uint8Array, kind: "srtp" | "srtcp" | "dtls", source: Source): Forward | undefined {
    const { key, address, port, entryRelay } = source;
    const owner = kind === "dtls" ? undefined : this.#flows.ownerOf(readSsrc(packet, kind === "srtp" ? 8 : 4));
    const ip = parseIp(address);
    if (owner && ip) {
      this.stats.recovered.ssrc += 1;
      const { serverId } = owner;
      const roaming = createFlow(now, {
        key,
        ip,
        address,
        port,
        entryRelay,
        serverId,
        unverified: true,
        origin: owner,
      });
      this.#add(roaming);
      if (entryRelay === 0 && owner.entryRelay === 0 && this.#startProbation(now, owner, ip, port))
        this.#command({ kind: "replicate", record: recordOf(owner) });
      return this.#forwardUp(now, roaming, packet);
    }
    if (!this.#lookups) return this.#drop("unknownFlow");
    const answer = this.#lookups.handlePacket(now, key, packet);
    if (answer === "full") return this.#drop("lookupQueueFull");
    if (answer === "miss") return this.#drop("unknownFlow");
    if (answer === "lookUp") this.#command({ kind: "lookUp", address, port, entryRelay });
    return undefined;
  }

  #forwardUp(now: Milli, flow: Flow, packet: Uint8Array): Forward | undefined {
    this.#flows.touch(now, flow);
    if (flow.confirmed && now - flow.announcedAt >= ANNOUNCE_MS) this.#announce(now, flow);
    const transceiver = this.#directory.transceiver(now, flow.serverId);
    if (!transceiver || this.#hopTag)
      return this.#forwardHop(now, flow.serverId, { ...flow, address: flow.ip }, packet);
    const answer = this.#forwardToTransceiver(now, transceiver, packet);
    answer.header = flow.header;
    return answer;
  }

  /** Sends a client's packet to a server without a flow of its own, in this cluster or through a relay of another. */
  #forwardHop(now: Milli, serverId: ServerId, hop: HopHeader, packet: Uint8Array): Forward | undefined {
    const transceiver = this.#directory.transceiver(now, serverId);
    if (transceiver)
      return this.#forwardToTransceiver(
        now,
        transceiver,
        encodeHop(hop, packet, this.#hopTag ? this.#tagKeys[0] : undefined),
      );
    if (!this.#isReachable(now, serverId, hop.entryRelay))
      return this.#drop(this.#unreachable(serverId, hop.entryRelay));
    const peer = this.#directory.relayOf(clusterOf(serverId), hashSource(hop.address, hop.port));
    this.stats.txUp += 1;
    return this.#forwardToRelay(peer!, { ...hop, unverified: false, entryRelay: this.#directory.relayNumber }, packet);
  }

  /** Whether the directory knows a way: a live transceiver, or, for a client that entered here, a relay of its cluster. */
  #isReachable(now: Milli, serverId: ServerId, entryRelay: number): boolean {
    if (this.#directory.transceiver(now, serverId)) return true;
    const elsewhere = this.#directory.relayOf(clusterOf(serverId), 0) !== undefined;
    return elsewhere && entryRelay === 0 && this.#directory.relayNumber !== 0;
  }

  #unreachable(serverId: ServerId, entryRelay: number): DropReason {
    if (clusterOf(serverId) === this.#directory.cluster) return "unknownServer";
    return entryRelay === 0 ? "noRelay" : "hopLimit";
  }

  #forwardToTransceiver(now: Milli, transceiver: Transceiver, datagram: Uint8Array): Forward {
    this.#directory.noteAsked(now, transceiver);
    this.stats.txUp += 1;
    const answer = this.#forward("transceiver", datagram, transceiver.address, transceiver.port);
    answer.transceiver = transceiver;
    return answer;
  }

  #forwardToRelay(peer: RelayPeer, hop: HopHeader, payload: Uint8Array): Forward {
    return this.#forward("relay", encodeHop(hop, payload, this.#tagKeys[0]), peer.address, peer.port);
  }

  #forward(to: Forward["to"], packet: Uint8Array, address: string, port: number): Forward {
    const answer = this.#answer;
    answer.to = to;
    answer.header = undefined;
    answer.packet = packet;
    answer.address = address;
    answer.port = port;
    answer.transceiver = undefined;
    answer.copy = undefined;
    return answer;
  }

  /** The transceiver of `flow` sent to its address: there is a call there. */
  #noteAnswer(now: Milli, flow: Flow): void {
    flow.answeredAt = now;
    if (flow.confirmed) return;
    if (this.#flows.confirm(flow)) this.stats.flowsEvicted += 1;
    this.stats.flowsConfirmed += 1;
    if (flow.unverified) {
      flow.unverified = false;
      flow.header = encodeHopHeader({ ...flow, address: flow.ip });
    }
    if (flow.origin) this.#endProbation(now, flow.origin);
    this.#announce(now, flow);
  }

  #noteSsrc(now: Milli, flow: Flow, packet: Uint8Array): void {
    const ssrc = readSsrc(packet, 8);
    if (ssrc === flow.ssrc && this.#flows.ownerOf(ssrc) === flow) return;
    const owner = this.#flows.ownerOf(ssrc);
    // Whoever is still sending with it keeps it; the same call from a new address takes it over.
    const sameCall = owner?.ufrag === flow.ufrag && flow.ufrag !== "";
    if (owner && owner !== flow && !sameCall && now - owner.lastSeenAt < SSRC_SILENCE_MS) return;
    this.#flows.claimSsrc(flow, ssrc);
    this.#announce(now, flow);
  }

  #announce(now: Milli, flow: Flow): void {
    flow.announcedAt = now;
    this.#command({ kind: "replicate", record: recordOf(flow) });
    const { address, port, serverId, entryRelay } = flow;
    if (this.#lookups && entryRelay === 0) this.#command({ kind: "remember", address, port, serverId });
  }

  #startProbation(now: Milli, flow: Flow, ip: IpAddress, port: number): boolean {
    if (now < flow.probationFrom) return false;
    flow.probation = { ip, port, startedAt: now, until: now + PROBATION_MS, bytes: 0 };
    flow.probationFrom = now + PROBATION_PAUSE_MS;
    return true;
  }

  #endProbation(now: Milli, flow: Flow): void {
    if (!flow.probation) return;
    flow.probation = undefined;
    if (flow.confirmed) this.#announce(now, flow);
  }

  #copyTo(now: Milli, flow: Flow, probation: Probation, payload: Uint8Array): Forward["copy"] {
    if (now >= probation.until) {
      flow.probation = undefined;
      return undefined;
    }
    const allowed = PROBATION_BURST + (now - probation.startedAt) * PROBATION_BYTES_PER_MS;
    if (probation.bytes + payload.length > allowed) return undefined;
    probation.bytes += payload.length;
    this.stats.probationCopies += 1;
    return { address: formatIp(probation.ip), port: probation.port };
  }

  #add(flow: Flow): void {
    if (this.#flows.add(flow)) this.stats.flowsEvicted += 1;
    this.stats.flowsOpened += 1;
    this.#nextSweepAt ??= flow.openedAt + SWEEP_MS;
  }

  #command(command: RelayCommand): void {
    if (this.#commands.length < MAX_COMMANDS) this.#commands.push(command);
    else this.stats.drops.backlog += 1;
  }

  #drop(reason: DropReason): undefined {
    this.stats.drops[reason] += 1;
    return undefined;
  }
}

/** Where a packet came from, and the flow that is known there. */
interface Source {
  readonly key: SourceKey;
  readonly address: string;
  readonly port: number;
  readonly entryRelay: number;
  readonly flow: Flow | undefined;
}

const TOKEN_DROPS = {
  malformed: "malformedToken",
  unknownKey: "unknownKey",
  forged: "forgedToken",
  expired: "expiredToken",
} as const;

interface FlowStart {
  readonly key: SourceKey;
  readonly ip: IpAddress;
  readonly address: string;
  readonly port: number;
  readonly entryRelay: number;
  readonly serverId: ServerId;
  readonly unverified: boolean;
  readonly origin?: Flow;
  readonly ufrag?: string;
}

function createFlow(now: Milli, start: FlowStart): Flow {
  const { ip, port, entryRelay, unverified } = start;
  return {
    ...start,
    origin: start.origin,
    ufrag: start.ufrag ?? "",
    confirmed: false,
    header: encodeHopHeader({ address: ip, port, entryRelay, unverified }),
    openedAt: now,
    lastSeenAt: now,
    answeredAt: Number.NEGATIVE_INFINITY,
    ssrc: -1,
    probation: undefined,
    probationFrom: Number.NEGATIVE_INFINITY,
    announcedAt: Number.NEGATIVE_INFINITY,
    older: undefined,
    newer: undefined,
  };
}

function recordOf({ address, port, entryRelay, serverId, ufrag, ssrc, probation }: Flow): FlowRecord {
  const shown = probation && { address: formatIp(probation.ip), port: probation.port, startedAt: probation.startedAt };
  return { address, port, entryRelay, serverId, ufrag, ssrc, probation: shown };
}

function createForward(): Forward {
  const empty = { to: "client", packet: new Uint8Array(0), address: "", port: 0 } as const;
  return { ...empty, header: undefined, transceiver: undefined, copy: undefined };
}

function readSsrc(packet: Uint8Array, offset: number): number {
  return (
    ((packet[offset]! << 24) | (packet[offset + 1]! << 16) | (packet[offset + 2]! << 8) | packet[offset + 3]!) >>> 0
  );
}
