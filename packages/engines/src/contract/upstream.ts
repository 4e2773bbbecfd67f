/** Servers on this machine that misbehave on cue, as servers of models do: over HTTP and over WebSockets. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

/**
 * What a server does with one request: answers well, refuses by a status, says nothing (`stall`) or nothing more
 * (`stallWithin`), breaks the connection before (`cut`) or in its answer (`cutWithin`), sends what is no event
 * (`malformed`) or never ends (`endless`), or says that it is done without having said anything (`nothing`).
 */
export type Behaviour =
  | "good"
  | "stall"
  | "stallWithin"
  | "cut"
  | "cutWithin"
  | "malformed"
  | "endless"
  | "nothing"
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string };

/** A server under way. */
export interface Upstream {
  /** `http://127.0.0.1:…/v1` */
  readonly url: string;
  /** Requests, or connections of sockets, so far. */
  readonly requests: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** What to do with the requests to come, one after the other; after them all is well. */
  plan(...behaviours: readonly Behaviour[]): void;
  close(): Promise<void>;
}

/** A good answer over HTTP. */
export interface HttpReply {
  readonly contentType: string;
  /** As it is written, piece by piece. */
  readonly parts: readonly (string | Buffer)[];
  /** The answer of a server that has nothing to say. */
  readonly nothing: readonly (string | Buffer)[];
}

const ENDLESS = 10 * 1024 * 1024;

/** Starts an HTTP server that answers every request by `reply`. */
export async function startHttpUpstream(
  reply: (request: IncomingMessage, body: Buffer) => HttpReply,
): Promise<Upstream> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      counted.requests++;
      answer(counted.next(), reply(request, Buffer.concat(chunks)), response);
    });
  });
  const counted = new CountedServer(server);
  return counted.listen();
}

function answer(behaviour: Behaviour, reply: HttpReply, response: ServerResponse): void {
  if (typeof behaviour === "object") {
    response.writeHead(behaviour.status, behaviour.headers).end(behaviour.body ?? "");
    return;
  }
  if (behaviour === "stall") return;
  if (behaviour === "cut") return void response.destroy();
  response.writeHead(200, { "content-type": reply.contentType });
  const half = reply.parts.slice(0, Math.max(1, Math.floor(reply.parts.length / 2)));
  switch (behaviour) {
    case "good":
      for (const part of reply.parts) response.write(part);
      return void response.end();
    case "nothing":
      for (const part of reply.nothing) response.write(part);
      return void response.end();
    case "malformed":
      return void response.end('data: {"oops\n\n');
    case "endless":
      return void response.end(`data: ${"x".repeat(ENDLESS)}`);
    case "stallWithin":
      for (const part of half) response.write(part);
      return;
    case "cutWithin":
      for (const part of half) response.write(part);
      setTimeout(() => response.destroy(), 20); // after what was written
  }
}

/** A good conversation over a socket: what to send when the client connects, and when it sends something. */
export interface SocketScript {
  onOpen(send: (event: object) => void): void;
  onEvent(event: Readonly<Record<string, unknown>>, send: (event: object) => void): void;
  /** How many events of the server are less than an answer, but the beginning of one. */
  readonly within: number;
  /** What takes the place of each event when there is nothing to say; `undefined`: it is left out. */
  silence(event: Readonly<Record<string, unknown>>): object | undefined;
}

/** Starts a WebSocket server that behaves by `script`, a fresh one for every connection. */
export async function startSocketUpstream(script: () => SocketScript): Promise<Upstream> {
  const server = createServer((_request, response) => void response.writeHead(404).end());
  const counted = new CountedServer(server);
  const sockets = new WebSocketServer({ noServer: true });
  server.on("upgrade", (request, socket, head) => {
    counted.requests++;
    const behaviour = counted.next();
    if (behaviour === "cut") return socket.destroy();
    if (typeof behaviour === "object") {
      const headers = Object.entries({ connection: "close", ...behaviour.headers });
      const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
      return socket.end(`HTTP/1.1 ${behaviour.status} Refused\r\n${lines}\r\n${behaviour.body ?? ""}`);
    }
    sockets.handleUpgrade(request, socket, head, (accepted) => converse(accepted, behaviour, script()));
  });
  return counted.listen();
}

function converse(socket: WebSocket, behaviour: Behaviour, script: SocketScript): void {
  let sent = 0;
  const deliver = (event: object) => socket.send(JSON.stringify(event), () => {});
  const send = (event: object) => {
    const within = sent++ >= script.within;
    switch (behaviour) {
      case "stall":
        return;
      case "malformed":
        return socket.send('{"oops', () => {});
      case "endless":
        return socket.send(JSON.stringify({ type: "x", x: "x".repeat(ENDLESS) }), () => {});
      case "nothing": {
        const silence = script.silence(event as Readonly<Record<string, unknown>>);
        return silence && deliver(silence);
      }
      case "stallWithin":
        return within ? undefined : deliver(event);
      case "cutWithin":
        return within ? socket.terminate() : deliver(event);
      default:
        return deliver(event);
    }
  };
  socket.on("error", () => {});
  socket.on("message", (data) => script.onEvent(JSON.parse(String(data)), send));
  script.onOpen(send);
}

/** Counts what comes and goes, and closes all of it. */
class CountedServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #plan: Behaviour[] = [];
  requests = 0;

  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.unref(); // what keeps a process alive is the engine's affair in these tests
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  next(): Behaviour {
    return this.#plan.shift() ?? "good";
  }

  async listen(): Promise<Upstream> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const { port } = this.#server.address() as AddressInfo;
    const counted = this;
    return {
      url: `http://127.0.0.1:${port}/v1`,
      get requests() {
        return counted.requests;
      },
      get connections() {
        return counted.#sockets.size;
      },
      plan: (...behaviours) => {
        this.#plan = [...behaviours];
      },
      close: async () => {
        for (const socket of this.#sockets) socket.destroy();
        this.#server.close();
        await once(this.#server, "close");
      },
    };
  }
}
