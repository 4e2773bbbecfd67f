/** Why an engine could not do its part, in words for a person; never with a key, a query or credentials in it. */

/** The part of a turn that an engine serves. */
export type EngineStage = "llm" | "stt" | "tts" | "speech";

/**
 * What went wrong, by what one can do about it: start the server (`unreachable`), fix the key (`unauthorized`), wait
 * (`rateLimited`, `unavailable`), fix the request (`rejected`), choose a faster engine (`timeout`), look at the
 * server's log (`cut`, `malformed`, `empty`, `failed`).
 */
export type EngineErrorKind =
  | "unreachable"
  | "unauthorized"
  | "rateLimited"
  | "rejected"
  | "unavailable"
  | "timeout"
  | "cut"
  | "malformed"
  | "empty"
  | "failed";

/** What an {@link EngineError} is made of. */
export interface EngineErrorOptions {
  readonly stage: EngineStage;
  readonly kind: EngineErrorKind;
  readonly message: string;
  /** HTTP status, where there was one. */
  readonly status?: number | undefined;
  /** How long the server asked to be left alone, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

const RETRYABLE: ReadonlySet<EngineErrorKind> = new Set(["unreachable", "rateLimited", "unavailable", "cut"]);

/** An engine's failure. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly stage: EngineStage;
  readonly kind: EngineErrorKind;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor({ stage, kind, message, status, retryAfterMs, cause }: EngineErrorOptions) {
    super(withoutSecrets(message), cause === undefined ? undefined : { cause });
    this.stage = stage;
    this.kind = kind;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed in a moment. */
  get retryable(): boolean {
    return RETRYABLE.has(this.kind);
  }
}

const STAGES: Readonly<Record<EngineStage, string>> = {
  llm: "the language model",
  stt: "the speech recognition",
  tts: "the speech synthesis",
  speech: "the speech model",
};

/** "the language model at http://localhost:11434": who failed, as messages begin. */
export function describeEngine(stage: EngineStage, url: URL): string {
  return `${STAGES[stage]} at ${url.protocol}//${url.host}`;
}

/** The error for an HTTP status other than 2xx; `body` is the beginning of the reply. */
export function statusError(
  stage: EngineStage,
  url: URL,
  status: number,
  body: string,
  retryAfterMs?: number,
): EngineError {
  const said = saidBy(body);
  const message = `${describeEngine(stage, url)} ${reasonOf(status, url)} (HTTP ${status}${said && `: ${said}`})`;
  return new EngineError({ stage, kind: kindOf(status), message, status, retryAfterMs });
}

function kindOf(status: number): EngineErrorKind {
  if (status === 401 || status === 403) return "unauthorized";
  if (status === 429) return "rateLimited";
  return status >= 500 ? "unavailable" : "rejected";
}

function reasonOf(status: number, url: URL): string {
  switch (status) {
    case 401:
    case 403:
      return "refused the key";
    case 404:
      return `has no ${url.pathname}, or no such model`;
    case 429:
      return "has had too many requests, or its quota is used up";
    default:
      if (status >= 500) return "failed";
      return status >= 400 ? "refused the request" : "answered with a redirect or nothing";
  }
}

/** What went wrong below HTTP: no name, no listener, no TLS, a connection that ended. */
export function networkError(stage: EngineStage, url: URL, error: unknown, answering: boolean): EngineError {
  const code = codeOf(error);
  const kind = answering || BROKEN.has(code) ? "cut" : "unreachable";
  const reason =
    kind === "cut" ? `cut the connection${answering ? " in the middle of its answer" : ""}` : unreachableBy(code);
  const message = `${describeEngine(stage, url)} ${reason}${code && ` (${code})`}`;
  return new EngineError({ stage, kind, message, cause: error });
}

/** Codes of a connection that stood and then broke. */
const BROKEN: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "UND_ERR_CLOSED"]);

function unreachableBy(code: string): string {
  if (code === "ECONNREFUSED") return "refused the connection: is it running?";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return "could not be found: is the name right?";
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG") {
    return "does not answer by TLS: is it http, not https?";
  }
  if (/CERT|TLS|SSL|SELF_SIGNED/.test(code)) return "has a certificate that is not trusted";
  if (code === "UND_ERR_CONNECT_TIMEOUT" || code === "ETIMEDOUT") return "did not accept the connection in time";
  return "could not be reached";
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  if ("code" in error && typeof error.code === "string") return error.code;
  // Several addresses were tried: the first one's failure tells most.
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return codeOf(error.cause);
}

/** The error that a reply or a stream carries: `{error: {message}}`, `{error: "…"}`, `{message}`, `{detail}`, or text. */
export function saidBy(body: string): string {
  const text = body.trim();
  try {
    const said = messageIn(JSON.parse(text));
    if (said !== undefined) return shorten(said);
  } catch {
    // No JSON: a proxy's page or plain words.
  }
  return text.startsWith("<") ? "" : shorten(text);
}

/** The words of an error object in any of the shapes that servers use; `undefined` when it is none. */
export function messageIn(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return undefined;
  for (const name of ["error", "message", "detail", "msg"] as const) {
    const found = messageIn((value as Readonly<Record<string, unknown>>)[name]);
    if (found !== undefined) return found;
  }
  return Array.isArray(value) ? messageIn(value[0]) : undefined;
}

const LONGEST_QUOTE = 300;

function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > LONGEST_QUOTE ? `${line.slice(0, LONGEST_QUOTE)}…` : line;
}

/** Keys that were given to engines of this process; each is a line of configuration, so they are few. */
const secrets = new Set<string>();
/** Shorter ones would be found in ordinary words. */
const SHORTEST_SECRET = 8;

/** From now on `value` is in no message, whatever server quotes it. */
export function hideSecret(value: string | undefined): void {
  if (value !== undefined && value.length >= SHORTEST_SECRET) secrets.add(value);
}

/** Servers quote keys back, whole or masked, and addresses hold credentials: neither may reach a log. */
export function withoutSecrets(text: string): string {
  return [...secrets]
    .reduce((message, secret) => message.replaceAll(secret, "(key)"), text)
    .replace(/\b(?:sk|ek|pk|rk|xai|gsk|hf|AIza)[-_][\w*.…-]{4,}/g, "(key)")
    .replace(/\b(Bearer|Basic)\s+[\w*.~+/=-]+/gi, "$1 (key)")
    .replace(/\b((?:api|access|subscription)[-_ ]?(?:key|token)\b["']?\s*[:=]\s*["']?)[^\s"',}]+/gi, "$1(key)")
    .replace(/\/\/[^\s/@]+@/g, "//")
    .replace(/(\bhttps?:\/\/[^\s?#]+)\?[^\s#)]*/g, "$1");
}
