/**
 * One port for all that is HTTP: the API, the console's files, WebSockets. Does I/O; what a request may do is decided
 * in `signaling/`.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, STATUS_CODES } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import type { LinkListener, Milli } from "@sluice/conversation";
import type { Hono } from "hono";
import type { OpusCodec } from "../media/opus.ts";
import type { Auth } from "../signaling/auth.ts";
import type { CallDirectory } from "../signaling/calls.ts";
import { judgeHandshake, resumeTokenOf, type WebSocketRequest } from "../signaling/handshake.ts";
import { type HttpError, internalError, thrownError } from "../signaling/http-error.ts";
import type { SignalingBindings } from "../signaling/signaling.ts";
import {
  createWebSocketCounters,
  type WebSocketCounters,
  type WebSocketLink,
  type WebSocketLinkLimits,
} from "../websocket/link.ts";
import { readStaticFiles } from "./static-files.ts";
import { WebSockets } from "./web-sockets.ts";

/** Settings of {@link serveHttp}. */
export interface HttpOptions {
  /** The application of `createSignaling`. */
  readonly app: Hono<{ Bindings: SignalingBindings }>;
  readonly auth: Auth;
  readonly calls: Pick<CallDirectory, "has" | "isResumable" | "findResumable">;
  readonly host: string;
  /** 0 means any free port. */
  readonly port: number;
  /** Serves HTTPS; absent: HTTP. */
  readonly tls?: TlsOptions | undefined;
  /** Ends the server; as {@link HttpServer.close}. */
  readonly signal?: AbortSignal | undefined;
  /** Folder of the console page. */
  readonly staticDir?: string | undefined;
  /**
   * Called with each allowed handshake before it is answered; what it throws (`AtCapacity`) is the answer, what it
   * returns takes the link once it is open.
   */
  readonly onWebSocket: (request: WebSocketRequest) => (link: WebSocketLink) => LinkListener;
  /** Told of errors that are ours. */
  readonly onError: (error: unknown) => void;
  /** Monotonic clock. */
  readonly now: () => Milli;
  readonly createEventId: () => string;
  /** Present: audio in binary messages for clients of WebSocket that offer it. */
  readonly opus?: OpusCodec | undefined;
  readonly limits?: HttpLimits | undefined;
}

/** A certificate chain and its key, PEM. */
export interface TlsOptions {
  readonly cert: string;
  readonly key: string;
}

/** Bounds of an HTTP server. */
export interface HttpLimits {
  /** Connections of one address that are not WebSockets; default 100. A proxy in front needs more. */
  readonly connectionsPerAddress?: number | undefined;
  /** How long a request may take to arrive; default 10 s. */
  readonly requestMs?: Milli | undefined;
  readonly webSocket?: Partial<WebSocketLinkLimits> | undefined;
}

/** A listening server. */
export interface HttpServer {
  readonly port: number;
  /** Such as `http://localhost:8080`. */
  readonly url: string;
  /** A renewed certificate: new connections get it. Without {@link HttpOptions.tls} it changes nothing. */
  setTls(tls: TlsOptions): void;
  readonly counters: WebSocketCounters & HttpCounters;
  /** WebSockets open now. */
  readonly webSockets: number;
  /** Stops listening, ends WebSockets with `reason` as said, then what is left; resolves when all is closed. */
  close(reason?: string): Promise<void>;
}

/** What was turned away; it counts up, for metrics. */
export interface HttpCounters {
  /** Connections above the bound of their address. */
  overConnected: number;
  /** Requests that were not HTTP, or took too long to arrive. */
  malformed: number;
  /** WebSocket handshakes that were refused. */
  refusedHandshakes: number;
}

/** Another program listens on that port. */
export class PortInUse extends Error {
  override readonly name = "PortInUse";
  readonly port: number;

  constructor(host: string, port: number, cause: unknown) {
    super(`port ${port} on ${host} is in use by another program`, { cause });
    this.port = port;
  }
}

const CLOSE_GRACE_MS = 1000;

/** Listens for HTTP and WebSocket clients. */
export async function serveHttp(options: HttpOptions): Promise<HttpServer> {
  const { app, host, port, signal, staticDir, onError, now, createEventId, opus } = options;
  const { connectionsPerAddress = 100, requestMs = 10_000, webSocket } = options.limits ?? {};
  const counters = { ...createWebSocketCounters(), overConnected: 0, malformed: 0, refusedHandshakes: 0 };
  const files = staticDir === undefined ? undefined : await readStaticFiles(staticDir);
  const webSockets = new WebSockets({ now, createEventId, counters, opus, limits: webSocket });

  const answer = getRequestListener(
    (request, env) => {
      const { incoming } = env as { incoming: IncomingMessage };
      return files?.(request) ?? app.fetch(request, { remoteAddress: incoming.socket.remoteAddress });
    },
    { overrideGlobalObjects: false },
  );
  const bounds = {
    headersTimeout: requestMs,
    requestTimeout: requestMs,
    keepAliveTimeout: 5000,
    connectionsCheckingInterval: Math.min(1000, requestMs / 4),
    maxHeaderSize: 16 * 1024,
  };
  const onRequest: RequestListener = (request, response) => {
    answer(request, response).catch(onError);
  };
  const secure = options.tls && createTlsServer({ ...options.tls, ...bounds, handshakeTimeout: requestMs }, onRequest);
  const server = secure ?? createServer(bounds, onRequest);
  const release = boundConnections(server, connectionsPerAddress, counters);

  server.on("upgrade", (request, socket, head) => {
    // The server's own listener is gone from here on: an unheard error would end the process.
    socket.on("error", () => socket.destroy());
    const token = resumeTokenOf(request.url ?? "");
    if (token === undefined || options.calls.isResumable(token)) return upgrade(request, socket, head, options.calls);
    options.calls
      .findResumable(token)
      .then((found) => {
        const calls = { has: (id: string) => options.calls.has(id), isResumable: () => found };
        if (!socket.destroyed) upgrade(request, socket, head, calls);
      })
      .catch((thrown: unknown) => refuseHandshake(socket, thrown));
  });
  const upgrade = (
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    calls: Pick<CallDirectory, "has" | "isResumable">,
  ) => {
    try {
      const judges = { auth: options.auth, calls };
      const verdict = judgeHandshake(Date.now(), request.url ?? "", callerOf(request), judges);
      if (!verdict.ok) throw new Refused(verdict.error);
      const accept = options.onWebSocket(verdict.request);
      release(request.socket);
      webSockets.open(request, socket, head, accept, onError);
    } catch (thrown) {
      refuseHandshake(socket, thrown);
    }
  };
  const refuseHandshake = (socket: Duplex, thrown: unknown) => {
    const error = thrown instanceof Refused ? thrown.error : thrownError(thrown);
    if (!error) onError(thrown);
    counters.refusedHandshakes += 1;
    refuse(socket, error ?? internalError);
  };
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    counters.malformed += 1;
    const status = error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : error.code === "HPE_HEADER_OVERFLOW" ? 431 : 400;
    if (!socket.writable) return socket.destroy();
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
  });

  await listen(server, host, port);
  server.on("error", onError); // such as too many open files: the next connection may be luckier
  const bound = (server.address() as AddressInfo).port;
  let closed: Promise<void> | undefined;
  const close = (reason = "the server is closing") => {
    closed ??= (async () => {
      const stopped = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const grace = setTimeout(() => {
        server.closeAllConnections();
        webSockets.terminate();
      }, CLOSE_GRACE_MS);
      await Promise.all([stopped, webSockets.close(reason)]);
      clearTimeout(grace);
    })();
    return closed;
  };
  if (signal?.aborted) void close();
  signal?.addEventListener("abort", () => void close(), { once: true });
  return {
    port: bound,
    url: `${secure ? "https" : "http"}://${nameOf(host)}:${bound}`,
    setTls: (tls) => secure?.setSecureContext({ ...tls }),
    counters,
    get webSockets() {
      return webSockets.size;
    },
    close,
  };
}

/** A listening address as a URL names it; browsers give the microphone to `localhost` without https. */
function nameOf(host: string): string {
  if (/^(0\.0\.0\.0|::1?|127\.0\.0\.1)$/.test(host)) return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}

type AnyServer = Server | TlsServer;

class Refused extends Error {
  readonly error: HttpError;

  constructor(error: HttpError) {
    super(error.error.message);
    this.error = error;
  }
}

function callerOf({ socket, headers }: IncomingMessage) {
  return {
    remoteAddress: socket.remoteAddress,
    header(name: string) {
      const value = headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    },
  };
}

function refuse(socket: Duplex, { status, headers, error }: HttpError): void {
  const body = JSON.stringify({ error });
  const lines = Object.entries({
    ...headers,
    connection: "close",
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(body)),
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`);
}

/** Refuses what one address opens above `limit`. The returned function no longer counts a socket. */
function boundConnections(server: AnyServer, limit: number, counters: HttpCounters): (socket: Socket) => void {
  const counts = new Map<string, number>();
  // By its far end: a request over TLS has another socket than the connection that it came by.
  const counted = new Map<string, string>();
  const farEnd = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`;
  const release = (socket: Socket, end = farEnd(socket)) => {
    const address = counted.get(end);
    if (address === undefined) return;
    counted.delete(end);
    const left = (counts.get(address) ?? 1) - 1;
    if (left > 0) counts.set(address, left);
    else counts.delete(address);
  };
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress ?? "";
    const count = (counts.get(address) ?? 0) + 1;
    if (count > limit) {
      counters.overConnected += 1;
      socket.destroy();
      return;
    }
    counts.set(address, count);
    const end = farEnd(socket);
    counted.set(end, address);
    socket.once("close", () => release(socket, end));
  });
  return release;
}

function listen(server: AnyServer, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "EADDRINUSE" ? new PortInUse(host, port, error) : error);
    });
    server.listen({ host, port }, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}
