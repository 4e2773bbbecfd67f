/** Two ends of a session in memory, each as a `WebTransport`, for tests of what stands on it. */
import { Http3Connection } from "../webtransport/http3.ts";
import type { Session } from "../webtransport/session.ts";
import { type FakeEnd, FakeQuic, type FakeQuicOptions } from "../webtransport/testing.ts";
import { SessionTransport, type SessionTransportLimits, sessionTransportDefaults } from "./session-transport.ts";

/** How {@link connectTransports} connects. */
export interface TransportPairOptions extends FakeQuicOptions {
  readonly protocol?: string | undefined;
  readonly now?: (() => number) | undefined;
  /** Of the server. */
  readonly limits?: Partial<SessionTransportLimits> | undefined;
  /** The server's end is over. */
  readonly onClosed?: ((reason: string) => void) | undefined;
}

/** Both ends, which hear each other as soon as promises are awaited. */
export interface TransportPair {
  readonly quic: FakeQuic;
  readonly server: SessionTransport;
  readonly client: SessionTransport;
  /** Reason that the client was told. */
  readonly clientClosed: () => string | undefined;
}

/** Connects a client's and a server's end. */
export function connectTransports(options: TransportPairOptions = {}): TransportPair {
  const { protocol, now = () => 0, limits, onClosed = () => {}, ...quicOptions } = options;
  const quic = new FakeQuic({ maxStreams: 100_000, ...quicOptions });
  let isDue = false;
  const settle = () => {
    if (isDue) return;
    isDue = true;
    void Promise.resolve().then(() => {
      isDue = false;
      quic.settle();
    });
  };
  let closed: string | undefined;
  const ends: { server?: SessionTransport; client?: SessionTransport } = {};
  const wrap = (which: "server" | "client") => (session: Session) =>
    (ends[which] = new SessionTransport(session, {
      limits: which === "server" ? { ...sessionTransportDefaults, ...limits } : unbounded,
      protocol,
      now,
      onOutput: settle,
      onClosed: (reason) => {
        if (which === "server") onClosed(reason);
        else closed = reason;
      },
    }));
  const onServer = wrap("server");
  const onClient = wrap("client");
  const server = new Http3Connection(quic.server, {
    role: "server",
    now,
    onRequest: (request) => request.accept(onServer, protocol),
  });
  const client = new Http3Connection(quic.client, { role: "client", now });
  drive(quic.server, server);
  drive(quic.client, client);
  client.connect({ authority: "localhost", path: "/moq" }, (_status, session) => session && onClient(session));
  quic.settle();
  return { quic, server: ends.server!, client: ends.client!, clientClosed: () => closed };
}

const unbounded: SessionTransportLimits = {
  mediaPerSecond: Infinity,
  mediaBurst: Infinity,
  maxGroup: Infinity,
  controlPerSecond: Infinity,
  controlBurst: Infinity,
  streamsPerSecond: Infinity,
  streamBurst: Infinity,
  maxWaiting: Infinity,
};

function drive(end: FakeEnd, connection: Http3Connection): void {
  end.events = {
    onReadable: (stream) => connection.handleReadable(stream),
    onWritable: (stream) => connection.handleWritable(stream),
    onStopped: (stream, code) => connection.handleStopped(stream, code),
    onDatagram: (data) => connection.handleDatagram(data),
    onClosed: (_code, reason) => connection.handleClosed(reason),
  };
}
