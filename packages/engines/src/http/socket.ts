/** JSON events over a WebSocket to an engine: opened within a limit, read in order, gone at once when nobody wants it. */
import type { Socket } from "node:net";
import type { Milli } from "@sluice/conversation";
import { WebSocket } from "ws";
import { Channel } from "../channel.ts";
import { asObject, parseJson } from "./endpoint.ts";
import {
  describeEngine,
  EngineError,
  type EngineStage,
  hideSecret,
  networkError,
  statusError,
} from "./engine-error.ts";
import { parseRetryAfter } from "./retry.ts";

/** Where a socket goes to. */
export interface SocketRequest {
  readonly stage: EngineStage;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Until the handshake is done. */
  readonly connectMs: Milli;
}

/** An event of an engine. */
export type SocketEvent = Readonly<Record<string, unknown>> & { readonly type: string };

/** One second of audio in base64 is 64 KB; nothing that is meant well is this long. */
const LONGEST_MESSAGE = 8 * 1024 * 1024;
/** What may wait to be sent: 40 s of audio. An engine that takes no more is dead. */
const MAX_UNSENT = 4 * 1024 * 1024;
/** How long a server may take to say goodbye too. */
const CLOSE_WITHIN_MS = 50;
/** As much of a refusal as is of interest. */
const MAX_ERROR = 8 * 1024;

/** An open socket. */
export class EngineSocket {
  readonly #socket: WebSocket;
  readonly #connection: Socket | undefined;
  readonly #request: SocketRequest;
  readonly #events = new Channel<SocketEvent>();
  #closed = false;

  private constructor(socket: WebSocket, connection: Socket | undefined, request: SocketRequest) {
    this.#socket = socket;
    this.#connection = connection;
    this.#request = request;
    socket.on("message", (data, isBinary) => {
      if (!isBinary) this.#receive(String(data));
    });
    socket.on("error", (error) => this.#fail(networkError(request.stage, request.url, error, true)));
    socket.on("close", (code, reason) => this.#fail(this.#closedError(code, reason.toString("utf8"))));
  }

  /** Connects; fails with an {@link EngineError}, or when `signal` aborts. */
  static open(request: SocketRequest, signal: AbortSignal): Promise<EngineSocket> {
    const { stage, url, headers, connectMs } = request;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortError());
      const socket = new WebSocket(url, {
        headers: { ...headers },
        handshakeTimeout: connectMs,
        maxPayload: LONGEST_MESSAGE,
        perMessageDeflate: false,
      });
      const end = (error: Error) => {
        signal.removeEventListener("abort", onAbort);
        reject(error);
        socket.terminate();
      };
      const onAbort = () => end(abortError());
      signal.addEventListener("abort", onAbort, { once: true });
      socket.on("error", (error) => end(handshakeError(request, error)));
      socket.on("unexpected-response", (_request, response) => {
        const status = response.statusCode ?? 0;
        const retryAfter = parseRetryAfter(response.headers, Date.now);
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (text: string) => {
          body = (body + text).slice(0, MAX_ERROR);
        });
        response.on("close", () => end(statusError(stage, url, status, body, retryAfter)));
      });
      let connection: Socket | undefined;
      socket.once("upgrade", (response) => {
        connection = response.socket;
      });
      socket.once("open", () => {
        signal.removeEventListener("abort", onAbort);
        socket.removeAllListeners("error");
        resolve(new EngineSocket(socket, connection, request));
      });
    });
  }

  /** What the engine says; ends with an {@link EngineError} when the connection does. Read once. */
  get events(): AsyncIterable<SocketEvent> {
    return this.#events;
  }

  /** Whether events can be sent. */
  get isOpen(): boolean {
    return !this.#closed && this.#socket.readyState === WebSocket.OPEN;
  }

  /** Sends one event; what an engine cannot take any more ends the connection. */
  send(event: { readonly type: string } & Readonly<Record<string, unknown>>): void {
    if (!this.isOpen) return;
    if (this.#socket.bufferedAmount > MAX_UNSENT) return this.#fail(this.#error("cut", "takes no more audio"));
    this.#socket.send(JSON.stringify(event), (error) => {
      if (error) this.#fail(networkError(this.#request.stage, this.#request.url, error, true));
    });
  }

  /** Whether the process has to stay alive for this socket; it has to unless told otherwise. */
  keepAlive(needed: boolean): void {
    if (needed) this.#connection?.ref();
    else this.#connection?.unref();
  }

  /** Says goodbye and closes, within 50 ms; {@link EngineSocket.events} end at once, without an error. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events.end();
    this.#socket.close(1000);
    this.#connection?.unref();
    setTimeout(() => this.#socket.terminate(), CLOSE_WITHIN_MS).unref();
  }

  #receive(text: string): void {
    const event = asObject(parseJson(text));
    if (event && typeof event.type === "string") this.#events.push(event as SocketEvent);
    else this.#fail(this.#error("malformed", "sent what is no event"));
  }

  #closedError(code: number, reason: string): EngineError {
    const said = reason === "" ? `code ${code}` : `code ${code}: ${reason}`;
    if (code === 3000) return this.#error("unauthorized", `refused the key (${said})`);
    return this.#error("cut", `closed the connection (${said})`);
  }

  #error(kind: EngineError["kind"], message: string): EngineError {
    const { stage, url } = this.#request;
    return new EngineError({ stage, kind, message: `${describeEngine(stage, url)} ${message}` });
  }

  #fail(error: EngineError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events.end(error);
    this.#socket.terminate();
  }
}

/** The address of a socket: `http` becomes `ws`, and `query` joins what is there. */
export function socketUrl(address: string, query: Readonly<Record<string, string | undefined>>): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || !/^(https?|wss?):$/.test(url.protocol)) {
    throw new RangeError("an engine's address must begin with wss://, ws://, https:// or http://");
  }
  url.protocol = /^(https|wss):$/.test(url.protocol) ? "wss:" : "ws:";
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && !url.searchParams.has(name)) url.searchParams.set(name, value);
  }
  return url;
}

/** `Authorization` where there is a key, and what else was configured. */
export function socketHeaders(
  apiKey: string | undefined,
  headers: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> {
  const key = apiKey?.trim();
  hideSecret(key);
  for (const value of Object.values(headers ?? {})) hideSecret(value);
  return { ...(key ? { authorization: `Bearer ${key}` } : {}), ...headers };
}

function handshakeError({ stage, url, connectMs }: SocketRequest, error: Error): EngineError {
  if (error.message.includes("handshake has timed out")) {
    const message = `${describeEngine(stage, url)} did not accept the connection within ${connectMs} ms`;
    return new EngineError({ stage, kind: "unreachable", message });
  }
  return networkError(stage, url, error, false);
}

function abortError(): Error {
  return new DOMException("The engine's work is not wanted any more.", "AbortError");
}
