/** HTTP to engines: connections that stay open between turns, HTTP/2 where the server has it, streams that stop at once. */
import type { Milli } from "@sluice/conversation";
import { Agent, type Dispatcher } from "undici";
import { Channel } from "../channel.ts";
import { describeEngine, EngineError, type EngineStage, networkError } from "./engine-error.ts";

/** What is sent. */
export interface HttpRequest {
  readonly stage: EngineStage;
  readonly url: URL;
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | undefined;
  /** Until the request is on a connection. */
  readonly connectMs: Milli;
}

/** A reply whose body is still coming; it must be read to its end, or {@link HttpResponse.cancel}led. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: AsyncIterable<Buffer>;
  /** All that matters was read: what follows may come within a moment, so that the connection can be used again. */
  complete(): void;
  /** Closes what is still open of it, the socket in HTTP/1.1; without effect once complete. */
  cancel(): void;
}

/** How long a complete reply may take to end. */
const END_WITHIN_MS = 500;
/** Bytes that a slow reader may leave unread before the server is held back. */
const MAX_UNREAD = 1024 * 1024;
/** A connection is kept for the pause between two turns; most servers close earlier, and say so. */
const KEEP_ALIVE_MS = 90_000;
/** A connection that nobody waits for any more may still come about for the next turn, within this. */
const CONNECT_MS = 10_000;
/** Of one origin. A turn uses one or two at a time, so this is for some dozen calls. */
const MAX_CONNECTIONS = 128;

/** Connections by origin. Those not in use never keep the process alive. */
export class HttpPool {
  readonly #closed = new AbortController();
  readonly #agent = new Agent({
    connections: MAX_CONNECTIONS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // The signal reaches the sockets, so that closing ends also those that are still connecting.
    connect: { timeout: CONNECT_MS, signal: this.#closed.signal },
    headersTimeout: 0, // every stage has a limit of its own
    bodyTimeout: 0,
    allowH2: true,
  });

  /** Sends a request; settles with the reply's head. Fails with an {@link EngineError}, at once when `signal` aborts. */
  request(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse> {
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(request, signal, resolve, reject);
      if (!exchange.ended) this.#agent.dispatch(exchange.options(), exchange);
    });
  }

  /** Closes all connections; what runs on them fails. */
  close(): Promise<void> {
    this.#closed.abort();
    return this.#agent.destroy();
  }
}

/** The pool of engines that were given none: LLM and TTS of one server share its connections. */
export const sharedPool = new HttpPool();

/** One request and its reply. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #request: HttpRequest;
  readonly #signal: AbortSignal;
  readonly #resolve: (response: HttpResponse) => void;
  readonly #reject: (error: Error) => void;
  readonly #chunks = new Channel<Buffer>();
  readonly #onAbort = () => this.#fail(abortError());
  #timer: NodeJS.Timeout | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #answering = false;
  #unread = 0;
  #complete = false;
  ended = false;

  constructor(
    request: HttpRequest,
    signal: AbortSignal,
    resolve: (response: HttpResponse) => void,
    reject: (error: Error) => void,
  ) {
    this.#request = request;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#timer = setTimeout(() => this.#fail(connectTimeout(request)), request.connectMs);
    signal.addEventListener("abort", this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
  }

  options(): Dispatcher.DispatchOptions {
    const { url, method, headers, body } = this.#request;
    return { origin: url.origin, path: url.pathname + url.search, method, headers, body: body ?? null };
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    clearTimeout(this.#timer);
    this.#controller = controller;
    if (this.ended) controller.abort(abortError()); // given up while it waited for a connection
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    if (this.ended || status < 200) return;
    const cancel = () => {
      if (!this.#complete && !this.ended) this.#fail(abortError());
    };
    this.#resolve({ status, headers, body: this.#read(cancel), complete: () => this.#release(), cancel });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#complete) return;
    this.#answering = true;
    this.#unread += chunk.length;
    this.#chunks.push(chunk);
    if (this.#unread > MAX_UNREAD) controller.pause();
  }

  onResponseEnd(): void {
    this.#finish();
    this.#chunks.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const { stage, url } = this.#request;
    this.#fail(networkError(stage, url, error, this.#answering));
  }

  async *#read(cancel: () => void): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of this.#chunks) {
        this.#unread -= chunk.length;
        if (this.#controller?.paused === true && this.#unread <= MAX_UNREAD / 2) this.#controller.resume();
        yield chunk;
      }
    } finally {
      cancel(); // when the reader left early
    }
  }

  #release(): void {
    if (this.ended || this.#complete) return;
    this.#complete = true;
    this.#signal.removeEventListener("abort", this.#onAbort);
    if (this.#controller?.paused === true) this.#controller.resume();
    this.#timer = setTimeout(() => this.#fail(abortError()), END_WITHIN_MS).unref();
  }

  #fail(error: Error): void {
    if (this.ended) return;
    this.#finish();
    this.#chunks.end(error);
    this.#reject(error); // has no effect once there was a reply
    this.#controller?.abort(error);
  }

  #finish(): void {
    this.ended = true;
    clearTimeout(this.#timer);
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}

function connectTimeout({ stage, url, connectMs }: HttpRequest): EngineError {
  const message = `${describeEngine(stage, url)} did not accept the connection within ${connectMs} ms`;
  return new EngineError({ stage, kind: "unreachable", message });
}

function abortError(): Error {
  return new DOMException("The engine's work is not wanted any more.", "AbortError");
}
