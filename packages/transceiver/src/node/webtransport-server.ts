/**
 * All WebTransport sessions of a process: drives the QUIC engine on the media port, and gives each session its pipe.
 * Datagrams of one turn of the event loop are handed over together. Does I/O; decides nothing about sessions or speech.
 */
import { createHmac, createPrivateKey, randomBytes, randomInt, X509Certificate } from "node:crypto";
import type { LinkListener, Milli } from "@sluice/conversation";
import type { EventsOpener, SessionPatch, WebTransportCallAnswer } from "@sluice/realtime";
import { CID_LENGTH, type KeyRing, NONCE_SIZE, type ServerId } from "@sluice/routing";
import type { Logger } from "pino";
import type { OpusCodec } from "../media/opus.ts";
import type { MoqLink } from "../moq/link.ts";
import { chooseProtocol, type MoqNet } from "../moq/net.ts";
import { isLoopbackOrigin } from "../signaling/address.ts";
import { AtCapacity } from "../signaling/calls.ts";
import type { Address } from "../webrtc/ice-lite.ts";
import { Admission, type AdmissionCounts } from "../webtransport/admission.ts";
import { FleetCertificates } from "../webtransport/certificates.ts";
import { Http3Connection, type Http3Transport } from "../webtransport/http3.ts";
import {
  createWebTransportLinkCounters,
  WebTransportLink,
  type WebTransportLinkCounters,
  webTransportLinkDefaults,
} from "../webtransport/link.ts";
import type {
  QuicArrival,
  QuicConnection,
  QuicConnectionStats,
  QuicEndpoint,
  QuicEndpointStats,
  QuicEngine,
  QuicEvent,
  QuicIdentity,
  QuicTransportOptions,
} from "../webtransport/quic-engine.ts";
import { CONNECTION_LOST, type SessionRequest } from "../webtransport/session.ts";
import { type SessionClaims, SessionTokens, TOKEN_SECONDS } from "../webtransport/session-token.ts";
import type { TlsOptions } from "./http.ts";
import type { MoqNetLoading } from "./moq-net.ts";
import { MOQ_PATH, MoqServer } from "./moq-server.ts";
import { Pacer } from "./pacer.ts";

/** How to serve WebTransport. */
export interface WebTransportServerOptions {
  readonly engine: QuicEngine;
  readonly keyRing: KeyRing;
  readonly serverId: ServerId;
  readonly opus: OpusCodec;
  /** A certificate that browsers trust; absent: self-made ones, whose hashes clients are given. */
  readonly tls?: TlsOptions | undefined;
  /** Only pages of this machine may open sessions that no page asked for. */
  readonly onlyLoopback: boolean;
  /** Default 500. */
  readonly maxSessions?: number | undefined;
  /** Whether one more session may begin. */
  readonly hasRoom: () => boolean;
  /** Takes a session, given its pipe; throws {@link AtCapacity}. */
  readonly accept: (link: WebTransportLink, claims: SessionClaims) => LinkListener;
  /** Media over QUIC at `/moq`; absent: there is none. */
  readonly moq?: MoqOptions | undefined;
  /** Sends a datagram from the media port. */
  readonly send: (packet: Uint8Array, to: Address) => void;
  readonly createEventId: () => string;
  /** Monotonic clock. */
  readonly now: () => Milli;
  readonly log: Logger;
}

/** How to serve Media over QUIC. */
export interface MoqOptions {
  /** The package that speaks it; asked for by the first client that wants it. */
  readonly load: () => Promise<MoqNetLoading>;
  /** Takes a call, given its pipe; throws {@link AtCapacity}. */
  readonly accept: (link: MoqLink, claims: SessionClaims) => LinkListener;
}

/** A certificate of an authority, and its name. */
interface TlsIdentity {
  readonly identity: QuicIdentity;
  /** What URLs name: the certificate's first name; `undefined`: it has none. */
  readonly host: string | undefined;
}

/** A client's wish for a session. */
export interface SessionWish {
  /** What is spoken inside the session: docs/webtransport.md (default) or docs/moq.md. */
  readonly transport?: "webtransport" | "moq" | undefined;
  /** Each over the one before. */
  readonly settings: readonly (SessionPatch | undefined)[];
  readonly model: string | undefined;
  readonly leadMs: Milli;
  /** Who opens the event stream; default the client. */
  readonly events?: EventsOpener | undefined;
  /** The page that asks. */
  readonly origin: string | undefined;
  /** Where clients send to. */
  readonly place: Address;
  /** The token of a conversation that goes on over the session. */
  readonly resume?: string | undefined;
}

/** Requests for sessions that were refused, by status. */
export interface RefusedSessions {
  /** Elsewhere than at {@link SESSION_PATH} and `/moq`. */
  notFound: number;
  /** Bad, spent or expired token. */
  unauthorized: number;
  forbidden: number;
  full: number;
  /** MoQ of versions that we do not speak. */
  unspoken: number;
}

/** Numbers of a server. */
export interface WebTransportServerStats {
  readonly sessions: number;
  readonly endpoint: QuicEndpointStats;
  readonly admission: Readonly<AdmissionCounts>;
  readonly links: Readonly<WebTransportLinkCounters>;
  readonly refused: Readonly<RefusedSessions>;
  /** Clients that got no further than their first packets. */
  readonly handshakesFailed: number;
  /** Addresses of clients that changed. */
  readonly pathChanges: number;
}

/** Where sessions are asked for. */
export const SESSION_PATH = "/v1/realtime/webtransport";

const DEFAULT_MAX_SESSIONS = 500;
/** Datagrams handed to the engine at once, at most. */
const MAX_BATCH = 256;
const MAX_ROUNDS = 8;
/** Certificates are looked at this often. */
const CERTIFICATE_CHECK_MS = 60_000;
/**
 * Memory of a connection: 512 KiB each way. Streams are HTTP/3's own 3 and talkspurts; with MoQ a bidirectional one for each
 * track that is asked for, and a unidirectional one for each packet of 20 ms: as many as come within the longest round trip.
 */
const transport: QuicTransportOptions = {
  idleTimeoutMs: 30_000,
  handshakeTimeoutMs: 10_000,
  keepAliveMs: 10_000,
  maxBidirectionalStreams: 32,
  maxUnidirectionalStreams: 128,
  streamReceiveWindow: 256 * 1024,
  receiveWindow: 512 * 1024,
  sendWindow: 512 * 1024,
  datagramReceiveBuffer: 32 * 1024,
  datagramSendBuffer: 32 * 1024,
  initialRttMs: 200,
};

interface Connection {
  readonly http3: Http3Connection;
  remote: Address;
}

/** The server. */
export class WebTransportServer {
  readonly #options: WebTransportServerOptions;
  readonly #tokens: SessionTokens;
  readonly #certificates: FleetCertificates;
  readonly #endpoint: QuicEndpoint;
  readonly #admission = new Admission({ seed: randomInt(2 ** 32) });
  readonly #pacer: Pacer;
  readonly #connections = new Map<QuicConnection, Connection>();
  readonly #links = new Map<WebTransportLink, { readonly id: string; readonly connection: QuicConnection }>();
  readonly #counters = createWebTransportLinkCounters();
  readonly #refused: RefusedSessions = { notFound: 0, unauthorized: 0, forbidden: 0, full: 0, unspoken: 0 };
  readonly #moq: MoqServer | undefined;
  readonly #batch: QuicArrival[] = [];
  readonly #timer = { handleTimeout: (now: Milli) => this.#handleTimeout(now), pollTimeout: () => this.#pollTimeout() };
  #tls: TlsIdentity | undefined;
  #certificateUntil = Infinity;
  #certificateCheckAt: Milli;
  #isDue = false;
  #isDraining = false;
  #isClosed = false;
  #handshakesFailed = 0;
  #pathChanges = 0;

  constructor(options: WebTransportServerOptions) {
    const { engine, keyRing, serverId, now, log } = options;
    this.#options = options;
    this.#tls = options.tls && readTlsIdentity(options.tls);
    this.#tokens = new SessionTokens(keyRing, randomBytes);
    this.#certificates = new FleetCertificates(keyRing);
    this.#pacer = new Pacer(now, (error) => log.error({ err: error }, "a webtransport timer threw"));
    this.#certificateCheckAt = now() + CERTIFICATE_CHECK_MS;
    this.#moq =
      options.moq &&
      new MoqServer({ ...options, accept: options.moq.accept, pacer: this.#pacer, wake: () => this.#wake() });
    this.#endpoint = engine.createEndpoint({
      connectionIds: { length: CID_LENGTH, mint: () => keyRing.mintCid(serverId, randomBytes(NONCE_SIZE)) },
      transport,
      server: {
        identity: this.#tls?.identity ?? this.#currentIdentity(),
        admit: (at, incoming) => this.#admission.admit(at, incoming, this.#endpoint.stats().handshaking),
        maxConnections: (options.maxSessions ?? DEFAULT_MAX_SESSIONS) + 1024,
      },
      // Servers of one fleet tell each other's clients at once that their connection is gone.
      secret: createHmac("sha256", keyRing.minting.quicKey).update("stateless reset").digest(),
    });
    this.#pacer.schedule(this.#timer);
  }

  /** Mints what opens one session; `undefined` when the settings are too long for a URL. */
  open(wish: SessionWish): WebTransportCallAnswer | undefined {
    const { transport, settings, model, leadMs, events, origin, place, resume } = wish;
    const isMoq = transport === "moq";
    const id = `${isMoq ? "moq" : "wt"}_${randomBytes(16).toString("base64url")}`;
    const expiresAt = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
    const patches = settings.filter((patch) => patch !== undefined);
    const pipe = isMoq ? "moq" : undefined;
    const token = this.#tokens.mint({ id, expiresAt, settings: patches, model, leadMs, events, origin, resume, pipe });
    if (token === undefined) return undefined;
    const host = this.#tls?.host ?? (place.address.includes(":") ? `[${place.address}]` : place.address);
    const hashes = this.#tls ? [] : this.#certificates.hashes(Date.now());
    return {
      call_id: id,
      url: `https://${host}:${place.port}${isMoq ? MOQ_PATH : SESSION_PATH}?token=${token}`,
      certificate_hashes: hashes.map((hash) => Buffer.from(hash).toString("base64")),
      expires_at: expiresAt,
      ...(events === "server" && { events }),
    };
  }

  /** A renewed certificate: new connections get it. */
  setTls(tls: TlsOptions): void {
    this.#tls = readTlsIdentity(tls);
    this.#certificateUntil = Infinity;
    this.#endpoint.setIdentity(this.#tls.identity);
  }

  /** Takes a QUIC datagram off the media port. */
  handleDatagram(packet: Uint8Array, from: Address, confirm: (() => void) | undefined): void {
    if (this.#isClosed) return;
    if (confirm) this.#flush(); // it is handed over alone, to see what comes of it
    this.#batch.push({ packet, from });
    if (confirm) {
      if (this.#flush(from)) confirm();
    } else if (this.#batch.length >= MAX_BATCH) this.#flush();
    this.#wake();
  }

  stats(): WebTransportServerStats {
    return {
      sessions: this.#links.size + (this.#moq?.size ?? 0),
      endpoint: this.#endpoint.stats(),
      admission: this.#admission.counts,
      links: this.#counters,
      refused: this.#refused,
      handshakesFailed: this.#handshakesFailed,
      pathChanges: this.#pathChanges,
    };
  }

  /** Figures of a session's connection. */
  connectionStats(callId: string): QuicConnectionStats | undefined {
    for (const { id, connection } of this.#links.values()) {
      if (id === callId) return this.#endpoint.connectionStats(connection);
    }
    return undefined;
  }

  /** Takes no more sessions and asks clients to go elsewhere. */
  drain(): void {
    this.#isDraining = true;
    for (const link of this.#links.keys()) link.drain();
    this.#moq?.drain();
    this.#wake();
  }

  /** Ends all sessions, and says so to all clients. */
  close(reason: string): void {
    if (this.#isClosed) return;
    this.#isDraining = true;
    for (const link of [...this.#links.keys()]) link.close(reason);
    this.#moq?.close(reason);
    this.#turn();
    for (const { http3 } of [...this.#connections.values()]) http3.close(reason);
    this.#turn();
    this.#isClosed = true;
    this.#pacer.close();
  }

  /** Gathers what comes in this turn of the event loop, then does it all. */
  #wake(): void {
    if (this.#isDue || this.#isClosed) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      if (!this.#isClosed) this.#turn();
    });
  }

  /** Events ask for writes, writes give datagrams, and what they make room for are events again. */
  #turn(): void {
    this.#flush();
    for (let round = 0; round < MAX_ROUNDS; round++) {
      for (const { packet, to } of this.#endpoint.drainTransmits(this.#options.now())) this.#options.send(packet, to);
      if (!this.#takeEvents(undefined).any) break;
      if (round === MAX_ROUNDS - 1) this.#wake();
    }
    this.#pacer.schedule(this.#timer);
  }

  /** Hands over what waits; whether an event of a connection at `proving` came of it. */
  #flush(proving?: Address): boolean {
    if (this.#batch.length > 0) this.#endpoint.handleDatagrams(this.#options.now(), this.#batch.splice(0));
    return this.#takeEvents(proving).proved;
  }

  #takeEvents(proving: Address | undefined): { readonly any: boolean; readonly proved: boolean } {
    const taken = { any: false, proved: false };
    for (let event = this.#endpoint.nextEvent(); event; event = this.#endpoint.nextEvent()) {
      const connection = "connection" in event ? this.#connections.get(event.connection) : undefined;
      taken.any = true;
      if (connection && proving && isSame(connection.remote, proving)) taken.proved = true;
      this.#handle(event, connection);
    }
    return taken;
  }

  /** An error of ours costs its connection and no other. */
  #handle(event: QuicEvent, connection: Connection | undefined): void {
    try {
      this.#handleEvent(event, connection);
    } catch (error) {
      this.#options.log.error({ err: error, event: event.kind }, "a webtransport connection threw");
      connection?.http3.close("internal error");
    }
    if (connection) this.#pacer.schedule(connection.http3);
  }

  #handleEvent(event: QuicEvent, connection: Connection | undefined): void {
    switch (event.kind) {
      case "opening":
        return this.#open(event.connection, event.remote);
      case "handshakeFailed":
        this.#handshakesFailed += 1;
        return;
      case "streamReadable":
        return connection?.http3.handleReadable(event.stream);
      case "streamWritable":
        return connection?.http3.handleWritable(event.stream);
      case "streamStopped":
        return connection?.http3.handleStopped(event.stream, event.code);
      case "streamsAvailable":
        return connection?.http3.handleStreamsAvailable(event.direction);
      case "datagram":
        return connection?.http3.handleDatagram(event.data);
      case "pathChanged":
        if (connection) connection.remote = event.remote;
        this.#pathChanges += 1;
        return;
      case "closed": {
        if (!connection) return;
        const { by, reason } = event.close;
        connection.http3.handleClosed(by === "peer" ? "the client hung up" : `${CONNECTION_LOST} (${reason || by})`);
        this.#connections.delete(event.connection);
        this.#pacer.remove(connection.http3);
      }
    }
  }

  /** A client's handshake has begun: our SETTINGS leave with our first flight. */
  #open(id: QuicConnection, remote: Address): void {
    const { now } = this.#options;
    const onRequest = (request: SessionRequest) => void this.#handleRequest(id, request);
    const http3 = new Http3Connection(this.#bind(id), { role: "server", now, onRequest });
    this.#connections.set(id, { http3, remote });
    this.#pacer.schedule(http3);
  }

  #bind(id: QuicConnection): Http3Transport {
    const endpoint = this.#endpoint;
    return {
      openStream: (direction) => endpoint.openStream(id, direction),
      write: (stream, data) => endpoint.write(id, stream, data),
      finish: (stream) => endpoint.finish(id, stream),
      reset: (stream, code) => endpoint.reset(id, stream, code),
      setPriority: (stream, priority) => endpoint.setPriority(id, stream, priority),
      read: (stream, maxBytes) => endpoint.read(id, stream, maxBytes),
      stop: (stream, code) => endpoint.stop(id, stream, code),
      sendDatagram: (data) => endpoint.sendDatagram(id, data),
      close: (code, reason) => {
        endpoint.close(this.#options.now(), id, code, reason);
        this.#wake();
      },
    };
  }

  async #handleRequest(connection: QuicConnection, request: SessionRequest): Promise<void> {
    const { opus, log } = this.#options;
    try {
      if (isAt(request, MOQ_PATH) && this.#moq) return await this.#handleMoqRequest(this.#moq, request);
      const claims = this.#judge(request);
      if (!claims) return;
      const [encoder, decoder, earlyDecoder] = await Promise.all([
        opus.createEncoder({ mode: "lowDelay" }),
        opus.createDecoder(),
        opus.createDecoder(),
      ]);
      const isTaken = request.accept((session) => {
        const link: WebTransportLink = new WebTransportLink(session, {
          encoder,
          decoder,
          earlyDecoder,
          leadMs: claims.leadMs,
          opensEvents: claims.events === "server",
          limits: webTransportLinkDefaults,
          counters: this.#counters,
          ping: () => this.#endpoint.ping(connection),
          takeRoundTrip: () => this.#endpoint.takeRoundTrip(connection),
          now: this.#options.now,
          createEventId: this.#options.createEventId,
          isDraining: () => this.#isDraining,
          onInput: () => {
            this.#pacer.schedule(link);
            this.#wake();
          },
          onEnded: (reason) => this.#end(link, reason),
        });
        this.#links.set(link, { id: claims.id, connection });
        this.#pacer.schedule(link);
        link.attach(this.#options.accept(link, claims));
        return link;
      });
      if (!isTaken) for (const codec of [encoder, decoder, earlyDecoder]) codec.free();
    } catch (error) {
      if (!(error instanceof AtCapacity)) log.error({ err: error }, "a webtransport session could not begin");
      this.#connections.get(connection)?.http3.close("the session could not begin");
    }
    this.#wake();
  }

  /** The first session of a MoQ call uses its token up; the others join the call for as long as it lives. */
  async #handleMoqRequest(moq: MoqServer, request: SessionRequest): Promise<void> {
    const { net } = (await this.#options.moq?.load()) ?? {};
    const claims = this.#judgeMoq(moq, net, request);
    if (net && claims) await moq.handleRequest(net, request, claims);
    this.#wake();
  }

  #judgeMoq(moq: MoqServer, net: MoqNet | undefined, request: SessionRequest): SessionClaims | undefined {
    if (!net) return this.#refuse(request, "notFound", 404);
    if (chooseProtocol(request.protocols, net.protocols) === null) return this.#refuse(request, "unspoken", 400);
    const known = this.#tokens.read(tokenOf(request));
    const call = known && moq.find(known);
    if (!call) return this.#admit(request, "moq");
    if (!call.hasSeat) return this.#refuse(request, "full", 503);
    return this.#isAllowed(request, call.claims) ? call.claims : this.#refuse(request, "forbidden", 403);
  }

  /** What a request may have; `undefined`: it was refused. */
  #judge(request: SessionRequest): SessionClaims | undefined {
    if (!isAt(request, SESSION_PATH)) return this.#refuse(request, "notFound", 404);
    return this.#admit(request, undefined);
  }

  #admit(request: SessionRequest, pipe: "moq" | undefined): SessionClaims | undefined {
    if (this.#isDraining || !this.#options.hasRoom()) return this.#refuse(request, "full", 503);
    const reading = this.#tokens.spend(Math.floor(Date.now() / 1000), tokenOf(request));
    if (!reading.ok || reading.claims.pipe !== pipe) return this.#refuse(request, "unauthorized", 401);
    return this.#isAllowed(request, reading.claims) ? reading.claims : this.#refuse(request, "forbidden", 403);
  }

  #isAllowed(request: SessionRequest, { origin }: SessionClaims): boolean {
    if (origin !== undefined) return request.origin === origin;
    return !this.#options.onlyLoopback || request.origin === undefined || isLoopbackOrigin(request.origin);
  }

  #refuse(request: SessionRequest, reason: keyof RefusedSessions, status: number): undefined {
    this.#refused[reason] += 1;
    request.reject(status);
    this.#wake();
    return undefined;
  }

  #end(link: WebTransportLink, reason: string): void {
    const known = this.#links.get(link);
    this.#links.delete(link);
    this.#pacer.remove(link);
    const http3 = known && this.#connections.get(known.connection)?.http3;
    if (http3) this.#pacer.schedule(http3); // it lingers, and no longer
    const { rttMs, lostPackets, sentPackets } = (known && this.#endpoint.connectionStats(known.connection)) ?? {};
    this.#options.log.info(
      { callId: known?.id, reason, ...link.stats(), rttMs, lostPackets, sentPackets },
      "webtransport session ended",
    );
    // The link may be in the middle of a frame: its codecs live until it is done.
    queueMicrotask(() => link.free());
  }

  #handleTimeout(now: Milli): void {
    if (now >= this.#certificateCheckAt) {
      this.#certificateCheckAt = now + CERTIFICATE_CHECK_MS;
      if (Date.now() >= this.#certificateUntil) this.#endpoint.setIdentity(this.#currentIdentity());
    }
    this.#endpoint.handleTimeout(now);
    this.#turn();
  }

  #pollTimeout(): Milli {
    return Math.min(this.#endpoint.pollTimeout() ?? Infinity, this.#certificateCheckAt);
  }

  #currentIdentity(): QuicIdentity {
    const { identity, until } = this.#certificates.current(Date.now());
    this.#certificateUntil = until;
    return identity;
  }
}

/** Reads a certificate chain and its key; throws a `TypeError` that says what is wrong with them. */
function readTlsIdentity({ cert, key: keyPem }: TlsOptions): TlsIdentity {
  const blocks = cert.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new TypeError("there is no certificate in PEM");
  const chain = blocks.map((block) => new X509Certificate(block));
  const key = createPrivateKey(keyPem);
  if (!chain[0]!.checkPrivateKey(key)) throw new TypeError("the key is not the certificate's");
  const names = [...(chain[0]!.subjectAltName ?? "").matchAll(/(?:DNS|IP Address):([^,\s]+)/g)].map(
    ([, name]) => name!,
  );
  const host = names.find((name) => !name.includes("*"));
  return {
    identity: {
      certificateChain: chain.map(({ raw }) => raw),
      privateKey: key.export({ type: "pkcs8", format: "der" }),
    },
    host: host?.includes(":") ? `[${host}]` : host,
  };
}

function targetOf({ path }: SessionRequest): URL | undefined {
  const target = `https://sluice${path}`;
  return URL.canParse(target) ? new URL(target) : undefined;
}

const isAt = (request: SessionRequest, path: string) => targetOf(request)?.pathname === path;
const tokenOf = (request: SessionRequest) => targetOf(request)?.searchParams.get("token") ?? "";
const isSame = (a: Address, b: Address) => a.port === b.port && a.address === b.address;
