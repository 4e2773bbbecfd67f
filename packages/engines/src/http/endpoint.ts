/** An OpenAI-compatible HTTP API: its address, key, limits and retries, as one thing to send requests to. */
import { LEFT } from "../channel.ts";
import { Scope } from "../scope.ts";
import { describeEngine, EngineError, type EngineStage, hideSecret, statusError } from "./engine-error.ts";
import { type HttpPool, type HttpResponse, sharedPool } from "./pool.ts";
import { DEFAULT_RETRY, parseRetryAfter, type RetryPolicy, retrying } from "./retry.ts";
import { type SseEvent, SseOverflow, SseParser } from "./sse.ts";
import { DEFAULT_TIMEOUTS, type StageTimeouts, type TimedOptions, timed } from "./timed.ts";

/** Where an engine is, and how patient to be with it. */
export interface EndpointOptions {
  /** Address up to and including the version: `https://api.openai.com/v1`; a query is kept. */
  readonly baseUrl: string;
  /** Sent as `Authorization: Bearer`; none for a server that wants none. */
  readonly apiKey?: string | undefined;
  /** Sent with every request, such as `api-key` for Azure. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Limits that differ from {@link DEFAULT_TIMEOUTS}. */
  readonly timeouts?: Partial<StageTimeouts> | undefined;
  /** Where repetitions differ from {@link DEFAULT_RETRY}. */
  readonly retry?: Partial<RetryPolicy> | undefined;
  /** Whose connections to use. Default: those that all engines of the process share. */
  readonly pool?: HttpPool | undefined;
}

/** A body to send. */
export interface Payload {
  readonly contentType: string;
  readonly body: string | Buffer;
}

/** A reply of which the first bytes are here. */
export interface Reply {
  readonly contentType: string;
  readonly chunks: AsyncIterable<Buffer>;
  /** Says that all that matters was read. */
  readonly complete: () => void;
}

/** Longest reply that is read as a whole: an hour of words. */
const MAX_REPLY = 4 * 1024 * 1024;
/** As much of an error page as is of interest. */
const MAX_ERROR = 8 * 1024;

/** An engine's API. */
export class Endpoint {
  readonly stage: EngineStage;
  readonly timeouts: StageTimeouts;
  readonly #baseUrl: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #retry: RetryPolicy;
  readonly #pool: HttpPool;
  readonly #urls = new Map<string, URL>();

  constructor(stage: EngineStage, options: EndpointOptions, defaults: Partial<StageTimeouts> = {}) {
    this.stage = stage;
    this.#baseUrl = parseBaseUrl(options.baseUrl);
    this.timeouts = { ...DEFAULT_TIMEOUTS, ...defaults, ...options.timeouts };
    this.#retry = { ...DEFAULT_RETRY, ...options.retry };
    this.#pool = options.pool ?? sharedPool;
    const key = options.apiKey?.trim();
    hideSecret(key);
    for (const value of Object.values(options.headers ?? {})) hideSecret(value);
    this.#headers = { ...(key ? { authorization: `Bearer ${key}` } : {}), ...options.headers };
  }

  /** Whether this is OpenAI itself (or its copy at Azure), whose newest models know no older names. */
  get isOpenAi(): boolean {
    return /(^|\.)(openai\.com|openai\.azure\.com)$/.test(this.#baseUrl.hostname);
  }

  /** Who this is, as messages begin. */
  get description(): string {
    return describeEngine(this.stage, this.#baseUrl);
  }

  /**
   * Posts `payload` to `path` and gives what `read` makes of the reply, each piece within the stage's limits. Repeated
   * by the retry policy as long as no byte of an answer has come.
   */
  stream<T>(
    path: string,
    payload: Payload,
    read: (reply: Reply) => AsyncIterable<T>,
    signal: AbortSignal,
    isProgress?: (value: T) => boolean,
  ): AsyncGenerator<T> {
    const scope = new Scope(signal);
    const options: TimedOptions<T> = {
      timeouts: this.timeouts,
      onTimeout: (first, waitedMs) => this.#timeout(first, waitedMs),
      stop: (ended) => (ended ? scope.leave() : scope.abort(LEFT)),
      ...(isProgress && { isProgress }),
    };
    return untilCancelled(timed(this.#exchange(path, payload, read, scope.signal), options), signal);
  }

  /** Opens a connection, so that a turn finds one. Fails silently: the turn will say what is wrong. */
  async warm(signal: AbortSignal): Promise<void> {
    try {
      const { connectMs, betweenMs } = this.timeouts;
      const scope = AbortSignal.any([signal, AbortSignal.timeout(connectMs + betweenMs)]);
      const url = this.#urlOf("models");
      const headers = { accept: "application/json", ...this.#headers };
      const request = { stage: this.stage, url, method: "GET", headers, connectMs } as const;
      await readBytes((await this.#pool.request(request, scope)).body, MAX_REPLY);
    } catch {
      // Not a turn's affair yet.
    }
  }

  /** An error of this engine's making. */
  error(kind: EngineError["kind"], message: string, cause?: unknown): EngineError {
    return new EngineError({ stage: this.stage, kind, message: `${this.description} ${message}`, cause });
  }

  async *#exchange<T>(
    path: string,
    payload: Payload,
    read: (reply: Reply) => AsyncIterable<T>,
    scope: AbortSignal,
  ): AsyncGenerator<T> {
    const open = () => this.#open(path, payload, scope);
    const { response, reply } = await retrying(open, this.#retry, this.timeouts.firstMs, scope);
    try {
      yield* read(reply);
    } catch (error) {
      if (error instanceof SseOverflow) throw this.error("malformed", `sent ${error.message}`, error);
      throw error;
    } finally {
      response.cancel();
    }
  }

  /** One attempt, up to the first byte of a good reply. */
  async #open(
    path: string,
    { contentType, body }: Payload,
    scope: AbortSignal,
  ): Promise<{ response: HttpResponse; reply: Reply }> {
    const url = this.#urlOf(path);
    const headers = { "content-type": contentType, ...this.#headers };
    const { connectMs } = this.timeouts;
    const request = { stage: this.stage, url, method: "POST", headers, body, connectMs } as const;
    const response = await this.#pool.request(request, scope);
    if (response.status >= 300) throw await this.#refusal(url, response);
    const iterator = response.body[Symbol.asyncIterator]();
    const first = await iterator.next();
    const type = response.headers["content-type"];
    const replyType = ((Array.isArray(type) ? type[0] : type) ?? "").toLowerCase();
    // Some servers call plain words text/html, too: a page begins as one.
    if (replyType.startsWith("text/html") && first.value?.toString("latin1").trimStart().startsWith("<")) {
      response.cancel();
      throw this.error("malformed", `has a page for people at ${url.pathname}, no API`);
    }
    return {
      response,
      reply: {
        contentType: replyType,
        chunks: rejoin(first, iterator),
        complete: () => response.complete(),
      },
    };
  }

  async #refusal(url: URL, response: HttpResponse): Promise<EngineError> {
    const retryAfter = parseRetryAfter(response.headers, Date.now);
    const bytes = await readBytes(response.body, MAX_ERROR).catch(() => Buffer.alloc(0));
    return statusError(this.stage, url, response.status, bytes.toString("utf8"), retryAfter);
  }

  #timeout(first: boolean, waitedMs: number): EngineError {
    const what = first ? "gave no answer" : "fell silent in the middle of its answer, and said nothing more";
    return this.error("timeout", `${what} within ${Math.round(waitedMs)} ms`);
  }

  #urlOf(path: string): URL {
    const known = this.#urls.get(path); // an engine has a path or two
    if (known) return known;
    const url = new URL(this.#baseUrl);
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/${path}`;
    this.#urls.set(path, url);
    return url;
  }
}

/** JSON as a payload. */
export function jsonPayload(value: unknown): Payload {
  return { contentType: "application/json", body: JSON.stringify(value) };
}

/** The events of an event stream, up to `[DONE]`, where there is one, or its end. */
export async function* sseEvents({ chunks, complete }: Reply): AsyncGenerator<SseEvent> {
  const parser = new SseParser();
  for await (const chunk of chunks) {
    for (const event of parser.push(chunk)) {
      if (event.data === "[DONE]") return complete();
      yield event;
    }
  }
  for (const event of parser.end()) if (event.data !== "[DONE]") yield event;
}

/** A whole reply as text, 4 MiB at most. */
export async function readText({ chunks }: Reply): Promise<string> {
  return (await readBytes(chunks, MAX_REPLY)).toString("utf8");
}

/** JSON, or `undefined` when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A JSON object's members, or `undefined` when `value` is none. */
export function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

/** Reads to the end, or as much as `limit`. */
async function readBytes(chunks: AsyncIterable<Buffer>, limit: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    size += chunk.length;
    if (size >= limit) break;
  }
  return Buffer.concat(parts).subarray(0, limit);
}

async function* rejoin(first: IteratorResult<Buffer>, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    for (let next = first; next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/** An abort is no failure: it ends the iteration. */
async function* untilCancelled<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  if (signal.aborted) return;
  try {
    for await (const value of source) {
      if (signal.aborted) return;
      yield value;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function parseBaseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new RangeError("an engine's address must begin with http:// or https://");
  }
  if (url.username !== "" || url.password !== "") {
    throw new RangeError("an engine's address must hold no user name or password: give the key apart from it");
  }
  url.hash = "";
  return url;
}
