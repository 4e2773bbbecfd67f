/**
 * All WebRTC sessions of a process on one UDP port: finds the session of a datagram, drives sessions by one timer, and
 * answers offers. Decides nothing about media or the conversation.
 */
import { randomBytes, randomInt } from "node:crypto";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import type { Link, LinkListener, Milli } from "@sluice/conversation";
import {
  classify,
  icePassword,
  type KeyRing,
  mintUfrag,
  type PacketKind,
  parseStun,
  type ServerId,
} from "@sluice/routing";
import type { UdpMode } from "@sluice/udp";
import type { Logger } from "pino";
import type { OpusCodec } from "../media/opus.ts";
import { type HopCounts, HopPaths, type HopPathsOptions } from "../relayed/hop-paths.ts";
import { createSctpFactory } from "../sctp/events-channel.ts";
import { AtCapacity } from "../signaling/calls.ts";
import { Downlink } from "../webrtc/downlink.ts";
import type { DtlsFactory } from "../webrtc/dtls.ts";
import { createDtlsIdentity } from "../webrtc/dtls-certificate.ts";
import { createDtlsFactory } from "../webrtc/dtls-server.ts";
import type { Address } from "../webrtc/ice-lite.ts";
import type { SctpFactory } from "../webrtc/sctp.ts";
import { formatAnswer, type Offer, parseOffer } from "../webrtc/sdp.ts";
import { WebRtcSession, type WebRtcSessionStats } from "../webrtc/session.ts";
import { Uplink } from "../webrtc/uplink.ts";
import { Pacer } from "./pacer.ts";
import { loadGcm } from "./srtp-addon.ts";
import { type UdpCounts, UdpPort } from "./udp.ts";

/** How to serve WebRTC. */
export interface WebRtcServerOptions {
  /** UDP port of all sessions; 0: any. */
  readonly udpPort: number;
  /** Whether datagrams move in batches. Default `auto`: where the native addon was built. */
  readonly udpMode?: UdpMode | undefined;
  /** Numeric address to bind; default 0.0.0.0, and :: where an IPv6 address is advertised. */
  readonly host?: string | undefined;
  /** Numeric addresses in answers; default: `host` where it is one address, else loopback and this machine's. */
  readonly advertise?: readonly string[] | undefined;
  /** Relays in front of the port; absent: clients come directly. */
  readonly hops?: HopPathsOptions | undefined;
  /**
   * Takes the port's QUIC (RFC 9443); absent: dropped. `confirm` is to be called once a datagram has proved to be its
   * client's, where the relay could not tell.
   */
  readonly onQuic?: ((packet: Buffer, from: Address, confirm: (() => void) | undefined) => void) | undefined;
  readonly keyRing: KeyRing;
  readonly serverId: ServerId;
  readonly opus: OpusCodec;
  /** Default 500; each costs about 0.5 MB and 1 % of a core. */
  readonly maxSessions?: number | undefined;
  /** Default 2 h; then the token of the session expires. */
  readonly maxSessionMs?: Milli | undefined;
  /** Default 15,000. */
  readonly handshakeTimeoutMs?: Milli | undefined;
  /** Default 30,000 (RFC 7675). */
  readonly consentMs?: Milli | undefined;
  /** Whether media is repaired and paced as well as we can; default true. False is what it is compared with: {@link UNREPAIRED}. */
  readonly repair?: boolean | undefined;
  /** Monotonic clock. */
  readonly now: () => Milli;
  readonly log: Logger;
}

/**
 * WebRTC as its critics describe it: nothing is asked for again or sent twice, what is not there when its turn comes is given
 * up, and the sender sleeps before every packet.
 */
const UNREPAIRED = { uplink: { minWaitMs: 0, maxWaitMs: 0 }, downlink: { pacing: "sleep" } } as const;

/** Datagrams that reached no session, by reason. */
export interface WebRtcDrops {
  /** None of the protocols of this port. */
  unclassified: number;
  /** QUIC: not served here. */
  quic: number;
  /** STUN that is malformed or names no session. */
  stun: number;
  /** DTLS from an address of no session. */
  dtls: number;
  /** SRTP or SRTCP of no session's address or SSRC. */
  srtp: number;
}

/** Numbers of a server. */
export interface WebRtcServerStats {
  readonly sessions: number;
  readonly udp: Readonly<UdpCounts>;
  readonly drops: Readonly<WebRtcDrops>;
  /** What relays sent that was not taken; absent without relays. */
  readonly hops: Readonly<HopCounts> | undefined;
  /** How late frames and timers left: 99 of 100 less than this. */
  readonly pacingErrorMsP99: Milli;
}

/** Takes a call: given its pipe and its name, answers with its conversation. */
export type Accept = (link: Link, callId: string) => LinkListener;

/** A running server. */
export interface WebRtcServer {
  /** The port that it is. */
  readonly udpPort: number;
  /** Where clients that come without a relay reach it. */
  readonly places: readonly Address[];
  /**
   * Answers an offer. Throws `SdpError` for an offer that cannot be answered, {@link AtCapacity}, and what `accept`
   * throws. `candidate`: where the client is to send its media; default: the advertised addresses at our port.
   */
  answer(offer: string, accept: Accept, candidate?: Address): Promise<{ callId: string; answer: string }>;
  /** Ends a call; whether there was one. */
  hangup(callId: string, reason: string): boolean;
  has(callId: string): boolean;
  stats(): WebRtcServerStats;
  /** Numbers of one call. */
  callStats(callId: string): WebRtcSessionStats | undefined;
  /** Sends a datagram of the port's other protocol to a client, by the way it is reached. */
  send(packet: Uint8Array, to: Address): void;
  /** Ends all calls and frees the port. */
  close(): Promise<void>;
}

/** Opens the port and serves. Throws `UdpPortInUse`. */
export async function serveWebRtc(options: WebRtcServerOptions): Promise<WebRtcServer> {
  const advertise = options.advertise ?? localAddresses(options.host);
  for (const address of advertise) if (!isIP(address)) throw new RangeError(`not a numeric address: ${address}`);
  const server = new Server(options, advertise);
  const wantsIpv6 = options.host === undefined && advertise.some((address) => isIP(address) === 6);
  const hosts = options.host === undefined ? ["0.0.0.0", ...(wantsIpv6 ? ["::"] : [])] : [options.host];
  server.udp = await UdpPort.open({
    port: options.udpPort,
    hosts,
    mode: options.udpMode,
    onPacket: (datagram, from) => {
      server.handleDatagram(datagram, from);
      server.serveDue();
    },
  });
  return server;
}

/** Addresses that one session is known at, the newest last. */
const MAX_ADDRESSES = 8;
const MAX_SSRCS = 8;
/** Sessions with the same SSRC that a packet from nowhere is tried on. */
const MAX_OWNERS = 4;
const DEFAULT_MAX_SESSIONS = 500;
const DEFAULT_MAX_SESSION_MS = 2 * 3_600_000;

interface Entry {
  readonly session: WebRtcSession;
  readonly ufrag: string;
  readonly addresses: string[];
  readonly ssrcs: number[];
}

class Server implements WebRtcServer {
  readonly #options: WebRtcServerOptions;
  readonly #advertise: readonly string[];
  readonly #hops: HopPaths | undefined;
  readonly #dtls: DtlsFactory;
  readonly #sctp: SctpFactory = createSctpFactory(randomBytes);
  readonly #pacer: Pacer;
  readonly #wallOffsetMs: Milli;
  readonly #calls = new Map<string, Entry>();
  readonly #byUfrag = new Map<string, Entry>();
  readonly #byAddress = new Map<string, Entry>();
  readonly #bySsrc = new Map<number, Entry[]>(); // SSRCs are random, and may collide
  readonly #drops: WebRtcDrops = { unclassified: 0, quic: 0, stun: 0, dtls: 0, srtp: 0 };
  #opening = 0;
  #closed = false;
  udp!: UdpPort;

  constructor(options: WebRtcServerOptions, advertise: readonly string[]) {
    this.#options = options;
    this.#advertise = advertise;
    this.#hops = options.hops && new HopPaths(options.hops);
    this.#dtls = createDtlsFactory(createDtlsIdentity(Date.now()), randomBytes);
    const onError = (error: unknown) => options.log.error({ err: error }, "a session's timer threw");
    this.#pacer = new Pacer(options.now, onError, () => this.udp.flush());
    this.#wallOffsetMs = Date.now() - options.now();
  }

  get udpPort(): number {
    return this.udp.port;
  }

  get places(): readonly Address[] {
    return this.#advertise.map((address) => ({ address, port: this.udp.port }));
  }

  async answer(text: string, accept: Accept, candidate?: Address): Promise<{ callId: string; answer: string }> {
    const offer = parseOffer(text);
    if (this.#closed || this.#calls.size + this.#opening >= (this.#options.maxSessions ?? DEFAULT_MAX_SESSIONS)) {
      throw new AtCapacity(this.#closed ? "the server is shutting down" : "all sessions are taken");
    }
    this.#opening += 1;
    try {
      return await this.#open(offer, accept, candidate);
    } finally {
      this.#opening -= 1;
    }
  }

  hangup(callId: string, reason: string): boolean {
    const entry = this.#calls.get(callId);
    entry?.session.close(reason);
    return entry !== undefined;
  }

  has(callId: string): boolean {
    return this.#calls.has(callId);
  }

  stats(): WebRtcServerStats {
    return {
      sessions: this.#calls.size,
      udp: this.udp.counts,
      drops: this.#drops,
      hops: this.#hops?.counts,
      pacingErrorMsP99: this.#pacer.errorQuantile(0.99),
    };
  }

  callStats(callId: string): WebRtcSessionStats | undefined {
    return this.#calls.get(callId)?.session.stats();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { session } of [...this.#calls.values()]) session.close("the server is shutting down");
    this.#pacer.close();
    await this.udp.close();
  }

  /** Lets no burst of datagrams hold up the frames that are due. */
  serveDue(): void {
    this.#pacer.serveDue();
  }

  /** Takes a datagram off the wire: a client's own, or one that a relay brings. */
  handleDatagram(datagram: Buffer, source: Address): void {
    const arrival = this.#hops ? this.#hops.handlePacket(datagram, source) : undefined;
    if (this.#hops && !arrival) return;
    const { packet, from, confirm } = arrival ?? { packet: datagram, from: source, confirm: undefined };
    const kind = classify(packet);
    if (kind === "quic" && this.#options.onQuic) this.#options.onQuic(packet, from, confirm);
    else if (this.#handlePacket(kind, packet, from)) confirm?.();
  }

  /** Whether the datagram proved to be of a session's peer. */
  #handlePacket(kind: PacketKind | undefined, packet: Buffer, from: Address): boolean {
    if (kind === "stun") return this.#handleStun(packet, from);
    if (kind !== undefined && kind !== "quic") return this.#handleMedia(kind, packet, from);
    this.#drops[kind ?? "unclassified"] += 1;
    return false;
  }

  send(packet: Uint8Array, to: Address): void {
    if (!this.#hops) {
      this.udp.send(packet, to);
      return;
    }
    const wrapped = this.#hops.wrap(packet, to);
    if (wrapped) this.udp.send(wrapped.packet, wrapped.to);
  }

  #handleStun(packet: Buffer, from: Address): boolean {
    const message = parseStun(packet);
    const entry =
      message?.class === "request" && message.serverUfrag !== undefined
        ? this.#byUfrag.get(message.serverUfrag)
        : this.#byAddress.get(keyOf(from));
    if (!message || !entry) {
      this.#drops.stun += 1;
      return false;
    }
    const isAuthentic = entry.session.handleStun(this.#options.now(), message, from);
    if (isAuthentic) this.#learnAddress(entry, from);
    this.#pacer.schedule(entry.session);
    return isAuthentic;
  }

  #handleMedia(kind: "dtls" | "srtp" | "srtcp", packet: Buffer, from: Address): boolean {
    const known = this.#byAddress.get(keyOf(from));
    const ssrc = kind === "srtp" ? packet.readUInt32BE(8) : kind === "srtcp" ? packet.readUInt32BE(4) : undefined;
    if (known) {
      const isAuthentic = this.#pass(known, kind, packet, from);
      if (isAuthentic && ssrc !== undefined) this.#learnSsrc(known, ssrc);
      return isAuthentic;
    }
    // From an unknown address its SSRC says whose it may be; its tag says whether it is. The path follows once it has answered.
    const owners = ssrc === undefined ? undefined : this.#bySsrc.get(ssrc);
    const owner = owners?.find((entry) => this.#pass(entry, kind, packet, from));
    if (!owner) this.#drops[kind === "dtls" ? "dtls" : "srtp"] += 1;
    else if (owner.session.isOnTrial(from)) this.#learnAddress(owner, from); // it was asked; its answer comes from there
    return owner !== undefined;
  }

  /** Hands a datagram to a session; whether it was authentic media. */
  #pass({ session }: Entry, kind: "dtls" | "srtp" | "srtcp", packet: Buffer, from: Address): boolean {
    const isAuthentic = session.handlePacket(this.#options.now(), kind, packet, from);
    this.#pacer.schedule(session);
    return isAuthentic;
  }

  async #open(offer: Offer, accept: Accept, candidate?: Address): Promise<{ callId: string; answer: string }> {
    const { opus, keyRing, serverId, now, log } = this.#options;
    const { repair = true } = this.#options;
    const red = repair ? offer.audio?.redPayloadType : undefined;
    // In-band FEC costs CPU and delay: only for those whom RED does not repair.
    const [decoder, earlyDecoder, encoder] = await Promise.all([
      opus.createDecoder(),
      opus.createDecoder(),
      opus.createEncoder({ mode: red === undefined ? "voip" : "lowDelay" }),
    ]);
    const callId = `rtc_${randomBytes(16).toString("base64url")}`;
    const expiresAt = Math.floor((Date.now() + (this.#options.maxSessionMs ?? DEFAULT_MAX_SESSION_MS)) / 1000);
    const iceUfrag = mintUfrag(keyRing, { serverId, expiresAt, random: randomBytes });
    const ssrc = randomInt(1, 2 ** 32);
    const cname = randomBytes(12).toString("base64url");
    const payloadTypes = { opus: offer.audio?.opusPayloadType ?? 111, red };
    const session: WebRtcSession = new WebRtcSession({
      callId,
      offer,
      iceUfrag,
      icePassword: icePassword(keyRing, iceUfrag),
      dtls: this.#dtls,
      sctp: this.#sctp,
      gcm: loadGcm(),
      uplink: new Uplink({ decoder, earlyDecoder, payloadTypes, nack: repair, ...(!repair && UNREPAIRED.uplink) }),
      downlink: new Downlink({
        ...(!repair && UNREPAIRED.downlink),
        encoder,
        ssrc,
        payloadTypes,
        repeats: repair && red === undefined && !offer.audio?.nack,
        firstSequenceNumber: randomInt(2 ** 15), // the lower half, so that no early loss meets a wrap (RFC 3711 section 3.3.1)
        firstTimestamp: randomInt(2 ** 32),
      }),
      ssrc,
      cname,
      now,
      wallOffsetMs: this.#wallOffsetMs,
      random: randomBytes,
      ...(this.#options.handshakeTimeoutMs === undefined
        ? {}
        : { handshakeTimeoutMs: this.#options.handshakeTimeoutMs }),
      ...(this.#options.consentMs === undefined ? {} : { consentMs: this.#options.consentMs }),
      followsMedia: this.#hops === undefined,
      send: (packet, to) => this.send(packet, to),
      onInput: () => this.#pacer.schedule(session),
      onEnded: (reason) => {
        log.info({ callId, reason, ...session.stats() }, "webrtc session ended");
        this.#forget(callId);
        // The session may be in the middle of a frame: its codecs live until it is done.
        queueMicrotask(() => {
          for (const codec of [decoder, earlyDecoder, encoder]) codec.free();
        });
      },
      onListenerError: (error) => log.error({ callId, err: error }, "the conversation threw"),
    });
    const entry: Entry = { session, ufrag: iceUfrag, addresses: [], ssrcs: [] };
    this.#calls.set(callId, entry);
    this.#byUfrag.set(iceUfrag, entry);
    if (offer.audio?.ssrc !== undefined) this.#learnSsrc(entry, offer.audio.ssrc);
    try {
      session.attach(accept(session, callId));
    } catch (error) {
      session.close("the call was not accepted");
      throw error;
    }
    this.#pacer.schedule(session);
    const audio = offer.audio && { ...offer.audio, redPayloadType: red };
    const answer = formatAnswer(
      { ...offer, audio },
      {
        nack: repair,
        iceUfrag,
        icePassword: icePassword(keyRing, iceUfrag),
        fingerprint: this.#dtls.fingerprint,
        candidates: candidate ? [candidate] : this.places,
        ssrc,
        cname,
        sessionId: randomInt(2 ** 47).toString(),
      },
    );
    return { callId, answer };
  }

  /** Takes `from` for this session's, unless it is where another session's living peer is. */
  #learnAddress(entry: Entry, from: Address): void {
    const key = keyOf(from);
    const owner = this.#byAddress.get(key);
    if (owner === entry || owner?.session.isAliveAt(this.#options.now(), from)) return;
    if (owner) owner.addresses.splice(owner.addresses.indexOf(key), 1);
    this.#byAddress.set(key, entry);
    entry.addresses.push(key);
    if (entry.addresses.length > MAX_ADDRESSES) this.#byAddress.delete(entry.addresses.shift()!);
  }

  #learnSsrc(entry: Entry, ssrc: number): void {
    if (entry.ssrcs.includes(ssrc) || entry.ssrcs.length >= MAX_SSRCS) return;
    const owners = this.#bySsrc.get(ssrc) ?? [];
    if (owners.length >= MAX_OWNERS) return;
    this.#bySsrc.set(ssrc, [...owners, entry]);
    entry.ssrcs.push(ssrc);
  }

  #forget(callId: string): void {
    const entry = this.#calls.get(callId);
    if (!entry) return;
    this.#calls.delete(callId);
    this.#byUfrag.delete(entry.ufrag);
    for (const key of entry.addresses) this.#byAddress.delete(key);
    for (const ssrc of entry.ssrcs) {
      const owners = this.#bySsrc.get(ssrc)!.filter((owner) => owner !== entry);
      if (owners.length > 0) this.#bySsrc.set(ssrc, owners);
      else this.#bySsrc.delete(ssrc);
    }
    this.#pacer.remove(entry.session);
  }
}

function keyOf({ address, port }: Address): string {
  return `${address}:${port}`;
}

/** Loopback, and the first address of each family that others may reach. */
function localAddresses(host: string | undefined): string[] {
  if (host !== undefined && host !== "0.0.0.0" && host !== "::") return [host];
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const reachable = all.filter(({ internal, address }) => !internal && !address.startsWith("fe80:"));
  const ipv4 = reachable.find(({ family }) => family === "IPv4")?.address;
  const ipv6 = host === undefined ? reachable.find(({ family }) => family === "IPv6")?.address : undefined;
  return ["127.0.0.1", ipv4, ipv6].filter((address) => address !== undefined);
}
