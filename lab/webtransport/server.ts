/** A WebTransport server alone on a UDP port, whose conversations only note what they hear. For tests and floods. */
import { randomBytes } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import type { LinkListener } from "@sluice/conversation";
import { createKeyRing, createServerId, generateKey, type KeyRing } from "@sluice/routing";
import { loadOpus } from "@sluice/transceiver";
import { pino } from "pino";
import { loadMoqNet } from "../../packages/transceiver/src/node/moq-net.ts";
import { WebTransportServer } from "../../packages/transceiver/src/node/webtransport-server.ts";
import type { WebTransportLink } from "../../packages/transceiver/src/webtransport/link.ts";
import type { QuicEngine } from "../../packages/transceiver/src/webtransport/quic-engine.ts";
import type { CallerOptions } from "./caller.ts";

/** One session, as a conversation would see it. */
export interface NotedSession {
  readonly link: WebTransportLink;
  readonly messages: string[];
  /** Places of the frames that recognition heard, milliseconds. */
  readonly ordered: number[];
  earlyFrames: number;
  closed: string | undefined;
}

/** A call over Media over QUIC. */
export interface NotedMoqCall {
  closed: string | undefined;
}

/** How {@link BareServer.open} opens it. */
export interface BareServerOptions {
  readonly engine: QuicEngine;
  readonly keyRing?: KeyRing;
  /** Only pages of this machine may come; default true. */
  readonly onlyLoopback?: boolean;
  readonly maxSessions?: number;
}

/** A running server. */
export class BareServer {
  readonly sessions: NotedSession[] = [];
  readonly moqCalls: NotedMoqCall[] = [];
  readonly server: WebTransportServer;
  readonly socket: Socket;

  private constructor(server: WebTransportServer, socket: Socket) {
    this.server = server;
    this.socket = socket;
  }

  static async open({
    engine,
    keyRing,
    onlyLoopback = true,
    maxSessions = 100,
  }: BareServerOptions): Promise<BareServer> {
    const socket = createSocket({ type: "udp4", recvBufferSize: 4 * 1024 * 1024 });
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    const bare: BareServer = new BareServer(
      new WebTransportServer({
        engine,
        keyRing: keyRing ?? createKeyRing([generateKey(randomBytes)]),
        serverId: createServerId(0, 1),
        opus: await loadOpus(),
        onlyLoopback,
        maxSessions,
        hasRoom: () => bare.sessions.filter(({ closed }) => closed === undefined).length < maxSessions,
        accept: (link) => bare.#accept(link),
        moq: { load: loadMoqNet, accept: () => bare.#acceptMoq() },
        send: (packet, { address, port }) => socket.send(packet, port, address, () => {}),
        createEventId: () => `event_${randomBytes(8).toString("hex")}`,
        now: () => performance.now(),
        log: pino({ level: process.env.SLUICE_LOG_LEVEL ?? "silent" }),
      }),
      socket,
    );
    socket.on("message", (packet, from) => bare.server.handleDatagram(packet, from, undefined));
    return bare;
  }

  /** What opens a session here. */
  answer(origin?: string, leadMs = 10_000, transport?: "moq"): CallerOptions["answer"] {
    const place = { address: "127.0.0.1", port: this.socket.address().port };
    return this.server.open({ transport, settings: [], model: undefined, leadMs, origin, place })!;
  }

  async close(): Promise<void> {
    this.server.close("the test is over");
    await new Promise<void>((closed) => this.socket.close(closed));
  }

  #acceptMoq(): LinkListener {
    const call: NotedMoqCall = { closed: undefined };
    this.moqCalls.push(call);
    const ignore = () => {};
    return {
      onOpen: ignore,
      onMessage: ignore,
      onEarlyAudio: ignore,
      onOrderedAudio: ignore,
      onSent: ignore,
      onUtteranceEnded: ignore,
      onClosed: (_now, reason) => {
        call.closed = reason;
      },
    };
  }

  #accept(link: WebTransportLink): LinkListener {
    const session: NotedSession = { link, messages: [], ordered: [], earlyFrames: 0, closed: undefined };
    this.sessions.push(session);
    return {
      onOpen: () => link.sendEvent({ type: "session.created" }),
      onMessage: (_now, text) => session.messages.push(text),
      onEarlyAudio: () => {
        session.earlyFrames += 1;
      },
      onOrderedAudio: (_now, { mediaMs }) => session.ordered.push(mediaMs),
      onSent: () => {},
      onUtteranceEnded: () => {},
      onClosed: (_now, reason) => {
        session.closed = reason;
      },
    };
  }
}
