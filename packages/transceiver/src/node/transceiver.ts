/** A transceiver: one process that answers calls over WebRTC and WebSocket and holds their conversations. */
import { createHmac, randomBytes } from "node:crypto";
import type { Tracer } from "@opentelemetry/api";
import type { Link, LinkListener, Milli, Pipeline } from "@sluice/conversation";
import type { KeyRing, ServerId } from "@sluice/routing";
import type { UdpMode } from "@sluice/udp";
import type { Logger } from "pino";
import { loadOpus } from "../media/opus.ts";
import type { HopPathsOptions } from "../relayed/hop-paths.ts";
import { chooseRelay, type PublicRelay, readWhereabouts } from "../relayed/steering.ts";
import { isFromHere, isLoopbackAddress, isProxied } from "../signaling/address.ts";
import { Auth } from "../signaling/auth.ts";
import { AtCapacity, type CallDirectory, SettingsTooLong, TransportUnavailable } from "../signaling/calls.ts";
import { ClientSecrets } from "../signaling/client-secret.ts";
import { dialectOf } from "../signaling/handshake.ts";
import type { LabNetwork } from "../signaling/lab.ts";
import { createSignaling } from "../signaling/signaling.ts";
import type { Address } from "../webrtc/ice-lite.ts";
import type { QuicEngine } from "../webtransport/quic-engine.ts";
import { type CallEngines, ignoring } from "./call.ts";
import { Calls, createId, RESUME_GRACE_MS } from "./calls.ts";
import { type HttpServer, serveHttp, type TlsOptions } from "./http.ts";
import { Metrics } from "./metrics.ts";
import { loadMoqNet } from "./moq-net.ts";
import { RedisStore } from "./redis-store.ts";
import { Registrar } from "./registrar.ts";
import { Takeover } from "./takeover.ts";
import { serveWebRtc, type WebRtcServer } from "./webrtc-server.ts";
import { WebTransportServer } from "./webtransport-server.ts";

/** How to serve calls. */
export interface TransceiverOptions {
  /** Where page and API listen. */
  readonly host: string;
  /** TCP port of page and API; 0: any. */
  readonly port: number;
  /** Page and API by HTTPS; absent: HTTP. */
  readonly tls?: TlsOptions | undefined;
  /** UDP port of all media; 0: any. */
  readonly udpPort: number;
  /** Whether its datagrams move in batches. Default `auto`: where the native addon was built. */
  readonly udp?: UdpMode | undefined;
  /** Addresses that clients reach the UDP port at; empty: this machine's own. */
  readonly advertise: readonly string[];
  /** Relays in front; absent: clients send to the UDP port themselves. */
  readonly relays?: RelaysOptions | undefined;
  /** Where relays find this transceiver by itself; absent: they are configured with it. */
  readonly registry?: RegistryOptions | undefined;
  /** Where conversations are kept that another transceiver of the fleet can take over; absent: they die with this one. */
  readonly conversations?: ConversationsOptions | undefined;
  /** Key that clients must send; `undefined`: only this machine may call. */
  readonly apiKey: string | undefined;
  readonly keyRing: KeyRing;
  readonly serverId: ServerId;
  readonly engines: CallEngines;
  /** What the agent takes and guesses, shared with its engines and told in the metrics. Default: nothing is known. */
  readonly pipeline?: Pipeline | undefined;
  /** Name shown to clients that ask for no model. */
  readonly model: string;
  /** What an agent is told where a client says nothing. Default nothing. */
  readonly instructions?: string | undefined;
  /** Version told in the OpenAPI document. */
  readonly version: string;
  /** Folder of the page; `undefined`: API only. */
  readonly staticDir: string | undefined;
  /** Calls over WebTransport, on the same port; absent: there are none. */
  readonly webTransport?: WebTransportOptions | undefined;
  /**
   * Makes the bad network in front of the UDP port that callers of this machine, and nobody else, may choose for themselves.
   * For servers that listen to this machine only. Absent: there is none.
   */
  readonly lab?: ((udpPort: number) => LabNetwork) | undefined;
  /** Calls at once; each costs about 1.5 % of a core while somebody speaks. */
  readonly maxCalls: number;
  /** The longest call. Default one hour, as at OpenAI. */
  readonly maxCallMs?: Milli | undefined;
  readonly log: Logger;
  /** For measurements. */
  readonly study?: StudyOptions | undefined;
  /** Where calls are recorded as OpenTelemetry spans; default nowhere. */
  readonly tracer?: Tracer | undefined;
}

/** What only a study of pipes sets. */
export interface StudyOptions {
  /** False: WebRTC as its critics describe it, to be compared with. Default true. */
  readonly repair?: boolean | undefined;
  /** Stands between each pipe and its conversation, and passes everything on. `model`: as the client asked. */
  readonly tap?: ((listener: LinkListener, model: string | undefined) => LinkListener) | undefined;
}

/** What calls over WebTransport need. */
export interface WebTransportOptions {
  readonly engine: QuicEngine;
}

/** Relays in front of a transceiver. */
export interface RelaysOptions {
  /** Numeric addresses that relays send from. */
  readonly from: readonly string[];
  /** What clients are told to send to: the nearest of these. */
  readonly public: readonly PublicRelay[];
  /** Whether clients may also come directly. Default false. */
  readonly direct?: boolean | undefined;
  /** Whether the hop is signed, for networks that are not private. Default false. */
  readonly tagged?: boolean | undefined;
  /** Headers by which a CDN names the client's region. Default `x-region`, `cf-ipcountry`. */
  readonly regionHeaders?: readonly string[] | undefined;
}

/** Where to register. */
export interface RegistryOptions {
  /** `redis://...` */
  readonly redis: string;
  /** Numeric address at which relays reach the UDP port. */
  readonly address: string;
}

/** Where conversations outlive their transceiver. */
export interface ConversationsOptions {
  /** `redis://...` */
  readonly redis: string;
}

/** A running transceiver. */
export interface Transceiver {
  /** Such as `http://localhost:8080`. */
  readonly url: string;
  readonly udpPort: number;
  /** Calls under way. */
  readonly calls: number;
  /** A renewed certificate: new connections get it. */
  setTls(tls: TlsOptions): void;
  /** Takes no more calls, lets those under way end by themselves, then closes; at the latest after `graceMs`. */
  drain(reason: string, graceMs: Milli): Promise<void>;
  /** Takes no more calls, tells those under way why they end, and frees both ports. */
  close(reason: string): Promise<void>;
}

const HOUR_MS = 3_600_000;
/** How long clients over WebTransport have to read why their calls end. */
const FAREWELL_MS = 250;

/** Opens both ports and serves. Throws `PortInUse` and `UdpPortInUse`. */
export async function serveTransceiver(options: TransceiverOptions): Promise<Transceiver> {
  const { host, port, udpPort, advertise, apiKey, keyRing, serverId, engines, model, version, log } = options;
  const now = () => performance.now();
  const warn = (line: string) => log.warn(line);
  const maxCallMs = options.maxCallMs ?? HOUR_MS;
  const metrics: Metrics = new Metrics(() => calls.size);
  const { instructions = "" } = options;
  const { maxCalls, pipeline, tracer } = options;
  const redis = options.conversations?.redis;
  const store = redis === undefined ? undefined : new RedisStore({ url: redis, livesMs: RESUME_GRACE_MS, log: warn });
  const takeover = new Takeover(keyRing, store);
  const callsOptions = {
    engines,
    pipeline,
    model,
    instructions,
    now,
    maxCalls,
    maxDurationMs: maxCallMs,
    takeover,
    log,
    tracer,
  };
  const calls: Calls = new Calls(callsOptions, () => metrics);
  const opus = await loadOpus();
  const webRtc = await serveWebRtc({
    udpPort,
    udpMode: options.udp,
    advertise: advertise.length > 0 ? advertise : undefined,
    hops: options.relays && hopsOf(options.relays, keyRing),
    keyRing,
    serverId,
    opus,
    maxSessions: options.maxCalls,
    maxSessionMs: maxCallMs,
    repair: options.study?.repair,
    now,
    log,
    onQuic: options.webTransport && ((packet, from, confirm) => webTransport?.handleDatagram(packet, from, confirm)),
  });
  const webTransport =
    options.webTransport &&
    new WebTransportServer({
      ...options.webTransport,
      tls: options.tls,
      keyRing,
      serverId,
      opus,
      onlyLoopback: apiKey === undefined,
      maxSessions: maxCalls,
      hasRoom: () => calls.hasRoom,
      accept(link, { id, model: asked, settings, resume }) {
        if (resume !== undefined) return tap(calls.resume(resume, link, "webtransport"), asked);
        if (!calls.hasRoom) throw new AtCapacity();
        return tap(calls.begin(link, { id, pipe: "webtransport", model: asked, defaults: settings }), asked);
      },
      moq: {
        load: loadMoqNet,
        accept(link, { id, model: asked, settings }) {
          if (!calls.hasRoom) throw new AtCapacity();
          return calls.begin(link, { id, pipe: "moq", model: asked, defaults: settings });
        },
      },
      send: (packet, to) => webRtc.send(packet, to),
      createEventId: () => createId("event"),
      now,
      log,
    });
  const lab = options.lab?.(webRtc.udpPort);
  const detour = (remoteAddress: string | undefined, header: Header) =>
    isFromHere(remoteAddress, header) ? lab?.place : undefined;
  const tap = (listener: LinkListener, asked: string | undefined) => options.study?.tap?.(listener, asked) ?? listener;
  const relayFor = (header: Header) =>
    options.relays && chooseRelay(options.relays.public, readWhereabouts(header, options.relays.regionHeaders));
  const directory: CallDirectory = {
    async openWebRtc({ offer, session, defaults, model: asked, header, remoteAddress, resume }) {
      const dialect = dialectOf(header);
      if (resume === undefined && !calls.hasRoom) throw new AtCapacity();
      return webRtc.answer(
        offer,
        (link, id) =>
          tap(
            resume === undefined
              ? calls.begin(link, { id, pipe: "webrtc", model: asked, dialect, defaults: [defaults, session] })
              : calls.resume(resume, link, "webrtc"),
            asked,
          ),
        detour(remoteAddress, header) ?? relayFor(header),
      );
    },
    async openWebTransport(request) {
      const { transport, session, defaults, model: asked, leadMs, events, header, remoteAddress, resume } = request;
      if (!webTransport) throw new TransportUnavailable("this server has no QUIC engine: use WebRTC or a WebSocket");
      const moq = transport === "moq" ? await loadMoqNet() : undefined;
      if (moq && !moq.net) throw new TransportUnavailable(moq.reason);
      if (moq && resume !== undefined) throw new TransportUnavailable("a conversation does not go on over moq");
      if (resume === undefined && !calls.hasRoom) throw new AtCapacity();
      const place =
        detour(remoteAddress, header) ?? relayFor(header) ?? choosePlace(webRtc.places, remoteAddress, header);
      const settings = [defaults, session];
      const origin = header("origin");
      const answer = webTransport.open({ transport, settings, model: asked, leadMs, events, origin, place, resume });
      if (answer) return answer;
      throw new SettingsTooLong("The session is too long for a URL: send the rest of it as session.update.");
    },
    hangup: (id) => calls.hangup(id),
    has: (id) => calls.has(id),
    isResumable: (token) => calls.isResumable(token),
    findResumable: (token) => calls.findResumable(token),
  };
  const [secretsKey, ...olderKeys] = keyRing.keys.map(({ icePasswordKey }) =>
    createHmac("sha256", icePasswordKey).update("client secrets").digest(),
  );
  const secrets = new ClientSecrets({ key: secretsKey!, olderKeys, random: randomBytes });
  const auth = new Auth({ apiKey, secrets });
  const onError = (error: unknown) => log.error({ err: error }, "signaling failed");
  const app = createSignaling({
    calls: directory,
    auth,
    now: Date.now,
    random: randomBytes,
    model,
    version,
    ready: () => calls.hasRoom,
    metrics: { contentType: metrics.registry.contentType, render: () => metrics.render() },
    lab,
    onError,
  });
  const http = await serveHttp({
    app,
    auth,
    calls: directory,
    host,
    port,
    tls: options.tls,
    staticDir: options.staticDir,
    onWebSocket: ({ model: asked, callId, type, dialect, defaults, resume }) => {
      if (resume !== undefined) return (link) => calls.resume(resume, link, "websocket");
      if (callId !== undefined) {
        return (link) => calls.observe(callId, link, dialect) ?? endAtOnce(link);
      }
      if (!calls.hasRoom) throw new AtCapacity();
      return (link) =>
        calls.begin(link, {
          id: createId("sess"),
          pipe: "websocket",
          model: asked,
          type,
          dialect,
          defaults: [defaults],
        });
    },
    onError,
    now,
    createEventId: () => createId("event"),
    opus,
  }).catch(async (error: unknown) => {
    await webRtc.close();
    throw error;
  });
  countSources(metrics, webRtc, http);
  countTakeovers(metrics, takeover, store);
  if (webTransport) countWebTransport(metrics, webTransport);
  if (pipeline) showPipeline(metrics, pipeline, now);
  const registrar =
    options.registry &&
    new Registrar({
      url: options.registry.redis,
      keyRing,
      serverId,
      address: options.registry.address,
      port: webRtc.udpPort,
      quic: webTransport !== undefined,
      load: () => calls.size / options.maxCalls,
      log: warn,
    });
  const close = async (reason: string) => {
    webTransport?.drain();
    const farewells = webTransport?.stats().sessions ?? 0;
    await calls.close(reason);
    // A connection that is closed takes along what its client has not read of the goodbye.
    if (farewells > 0) await new Promise((resolve) => setTimeout(resolve, FAREWELL_MS));
    webTransport?.close(reason);
    await Promise.all([http.close(reason), webRtc.close(), registrar?.close(), lab?.close()]);
    store?.close();
  };
  return {
    url: http.url,
    udpPort: webRtc.udpPort,
    setTls(tls) {
      http.setTls(tls);
      webTransport?.setTls(tls);
    },
    get calls() {
      return calls.size;
    },
    async drain(reason, graceMs) {
      webTransport?.drain();
      await Promise.all([registrar?.drain(), calls.drain(graceMs)]);
      await close(reason);
    },
    close,
  };
}

function hopsOf({ from, direct, tagged = false }: RelaysOptions, keyRing: KeyRing): HopPathsOptions {
  return { relays: from, direct, tagKeys: tagged ? keyRing.keys.map((key) => key.hopTagKey) : undefined };
}

type Header = (name: string) => string | undefined;

/** The address that a caller without a relay is told: this machine's own where that is where it sits. */
function choosePlace(places: readonly Address[], remoteAddress: string | undefined, header: Header): Address {
  const isHere = isLoopbackAddress(remoteAddress) && !isProxied(header);
  return places.find(({ address }) => isLoopbackAddress(address) === isHere) ?? places[0]!;
}

/** The call ended between its observer's handshake and now. */
function endAtOnce(link: Link): LinkListener {
  queueMicrotask(() => link.close("the call has ended"));
  return ignoring;
}

/** Quantiles that `/metrics` shows of each stage. */
const SHOWN_QUANTILES = [0.5, 0.9, 0.95, 0.99] as const;

function showPipeline(metrics: Metrics, pipeline: Pipeline, now: () => Milli): void {
  metrics.addForecast(() => pipeline.forecasts.entries(now(), SHOWN_QUANTILES));
  const { eager, hedge, hearing } = pipeline;
  metrics.addSource("eager_answers_total", "Answers begun before their turn was over.", () => ({
    adopted: eager.total.hits,
    dropped: eager.total.misses,
  }));
  metrics.addSource(
    "recognitions_total",
    "Recognitions told that their utterance is over, and whether it was.",
    () => ({
      used: hearing.total.hits,
      dropped: hearing.total.misses,
    }),
  );
  metrics.addSource("model_tokens_total", "Pieces of text that the model wrote.", () => ({
    used: eager.total.spent - eager.total.wasted,
    wasted: eager.total.wasted,
  }));
  metrics.addSource("hedged_requests_total", "Requests to the second model, by who answered first.", () => ({
    second: hedge.total.hits,
    first: hedge.total.misses,
  }));
}

function countSources(metrics: Metrics, webRtc: WebRtcServer, http: HttpServer): void {
  const drops = "Datagrams that reached no session.";
  metrics.addSource("transceiver_drop_packets_total", drops, () => ({ ...webRtc.stats().drops }));
  metrics.addSource("transceiver_udp_packets_total", "Datagrams of the media port.", () => ({ ...webRtc.stats().udp }));
  metrics.addSource("transceiver_hop_drop_packets_total", "What relays sent that was not taken.", () => ({
    ...webRtc.stats().hops,
  }));
  metrics.addSource("signaling_refused_total", "What clients of HTTP and WebSocket were refused.", () => ({
    ...http.counters,
  }));
  metrics.addGauge("pacing_error_seconds_p99", "How late frames leave.", () => webRtc.stats().pacingErrorMsP99 / 1000);
}

function countTakeovers(metrics: Metrics, takeover: Takeover, store: RedisStore | undefined): void {
  metrics.addSource("takeover_total", "Conversations of other transceivers, and what was refused.", () => ({
    ...takeover.counters,
  }));
  if (!store) return;
  metrics.addSource("takeover_store_total", "What became of what Redis was asked to keep and to give.", () => ({
    ...store.counters,
  }));
}

function countWebTransport(metrics: Metrics, server: WebTransportServer): void {
  metrics.addSource("webtransport_refused_total", "Sessions that were refused, or ended by us.", () => {
    const { refused, links } = server.stats();
    return { ...refused, ...links };
  });
  metrics.addSource("quic_handshakes_total", "What became of clients' first packets.", () => {
    const { endpoint, admission, handshakesFailed } = server.stats();
    const { accepted, retried, refused, ignored } = endpoint;
    const { rateLimited, overloaded } = admission;
    return { accepted, retried, refused, ignored, failed: handshakesFailed, rateLimited, overloaded };
  });
  metrics.addSource("quic_events_total", "Oddities of QUIC connections.", () => {
    const { endpoint, pathChanges } = server.stats();
    return { stray: endpoint.stray, panics: endpoint.panics, pathChanges };
  });
  metrics.addGauge("quic_connections", "QUIC connections, half-open ones included.", () => {
    return server.stats().endpoint.connections;
  });
}
