/** Judges a WebSocket handshake (RFC 6455, section 4.2) before it is answered: where to, who, and to which call. */
import type { DialectName, SessionPatch, SessionType } from "@sluice/realtime";
import type { Auth, Caller } from "./auth.ts";
import type { CallDirectory } from "./calls.ts";
import { conversationGone, type HttpError, refusalError, requestError } from "./http-error.ts";

/** What a client wants of a WebSocket. */
export interface WebSocketRequest {
  /** Absent when the client leaves the model to the server or to `session.update`. */
  readonly model: string | undefined;
  /** Present when the client wants to follow and steer a call that is under way. */
  readonly callId: string | undefined;
  /** `?intent=transcription`, or a conversation. */
  readonly type: SessionType;
  readonly dialect: DialectName;
  /** Present when the client wants to go on with a conversation whose connection it lost. */
  readonly resume?: string | undefined;
  /** The session that the client's secret carries. */
  readonly defaults: SessionPatch | undefined;
}

/** A handshake to complete, or the answer to refuse it with. */
export type HandshakeVerdict =
  | { readonly ok: true; readonly request: WebSocketRequest }
  | { readonly ok: false; readonly error: HttpError };

/** The one subprotocol that is spoken; a key offered beside it is never echoed. */
export const SUBPROTOCOL = "realtime";

/** Judges the handshake to `target` (path and query). `now`: Unix milliseconds. */
export function judgeHandshake(
  now: number,
  target: string,
  caller: Caller,
  { auth, calls }: { readonly auth: Auth; readonly calls: Pick<CallDirectory, "has" | "isResumable"> },
): HandshakeVerdict {
  const refuse = (error: HttpError): HandshakeVerdict => ({ ok: false, error });
  // A target may also be a whole URL, or nonsense.
  const url = URL.canParse(target, "ws://sluice") ? new URL(target, "ws://sluice") : undefined;
  if (url?.pathname !== "/v1/realtime") {
    return refuse(requestError(404, "unknown_url", "There is no WebSocket here: try /v1/realtime.", null));
  }
  const parameter = (name: string) => url.searchParams.get(name)?.slice(0, 256) || undefined;
  const model = parameter("model");
  const callId = parameter("call_id");
  const intent = parameter("intent");
  if (intent !== undefined && intent !== "conversation" && intent !== "transcription") {
    const message = `Sessions for '${intent.slice(0, 32)}' are not offered here.`;
    return refuse(requestError(400, "invalid_value", message, "intent"));
  }
  const resume = parameter("resume");
  if (resume !== undefined) {
    // The token is the client's leave: a secret that was spent on the conversation need not be spent again.
    if (!calls.isResumable(resume)) return refuse(conversationGone());
    return { ok: true, request: { model, callId, type: "realtime", dialect: "ga", defaults: undefined, resume } };
  }
  const grant = auth.authorize(now / 1000, caller, callId === undefined);
  if (grant.kind === "refused") return refuse(refusalError(grant));
  if (callId !== undefined && !calls.has(callId)) {
    const message = `No call with id '${callId.slice(0, 64)}' found.`;
    return refuse(requestError(404, "call_not_found", message, "call_id"));
  }
  const defaults = grant.kind === "secret" ? grant.session : undefined;
  const type = intent === "transcription" ? intent : (defaults?.type ?? "realtime");
  return { ok: true, request: { model, callId, type, dialect: dialectOf(caller.header), defaults } };
}

/** The token of a conversation that the handshake to `target` is to go on with. */
export function resumeTokenOf(target: string): string | undefined {
  const url = URL.canParse(target, "ws://sluice") ? new URL(target, "ws://sluice") : undefined;
  return url?.searchParams.get("resume")?.slice(0, 256) || undefined;
}

const BETA_PROTOCOL = "openai-beta.realtime-v1";

/** The beta's, when the client marks it, which browsers can do by a subprotocol only. */
export function dialectOf(header: Caller["header"]): DialectName {
  const offered = (header("sec-websocket-protocol") ?? "").split(",").map((one) => one.trim());
  const asked = (header("openai-beta") ?? "").split(",").map((one) => one.trim());
  return offered.includes(BETA_PROTOCOL) || asked.includes("realtime=v1") ? "beta" : "ga";
}
