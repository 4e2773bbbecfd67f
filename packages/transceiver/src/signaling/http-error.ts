/** Error answers in the shape of OpenAI's HTTP API, which its clients read messages from. */
import type { RealtimeError } from "@sluice/realtime";
import { SdpError } from "../webrtc/sdp.ts";
import type { Refusal } from "./auth.ts";
import { BodyError } from "./body.ts";
import { AtCapacity, SettingsTooLong, TransportUnavailable } from "./calls.ts";

/** An error answer, before it is a response of anyone's. */
export interface HttpError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

/** An error that its sender caused. */
export function requestError(status: number, code: string | null, message: string, param: string | null): HttpError {
  return { status, headers: {}, error: { message, type: "invalid_request_error", param, code } };
}

/** There is nothing to go on with under this token. */
export function conversationGone(): HttpError {
  return requestError(404, "conversation_gone", "No conversation can be resumed with this token.", "resume");
}

/** The 401, or for a page that may not call 403, to a refused request. */
export function refusalError({ code, message }: Refusal): HttpError {
  if (code === "forbidden_origin") return requestError(403, code, message, null);
  return { ...requestError(401, code, message, null), headers: { "www-authenticate": "Bearer" } };
}

/** A parameter of a request is missing or wrong. */
export class ParameterError extends Error {
  override readonly name = "ParameterError";
  readonly error: RealtimeError;

  constructor(error: RealtimeError) {
    super(error.message);
    this.error = error;
  }
}

/** The answer to anything thrown while a request was handled; `undefined` when it was our fault. */
export function thrownError(thrown: unknown): HttpError | undefined {
  if (thrown instanceof BodyError) return requestError(thrown.status, "invalid_body", thrown.message, thrown.param);
  if (thrown instanceof ParameterError) {
    const { code, message, param } = thrown.error;
    return requestError(400, code, message, param);
  }
  if (thrown instanceof SdpError) return requestError(400, "invalid_offer", `Invalid offer: ${thrown.message}.`, "sdp");
  if (thrown instanceof SettingsTooLong) return requestError(400, "session_too_long", thrown.message, "session");
  if (thrown instanceof TransportUnavailable)
    return requestError(501, "transport_unavailable", thrown.message, "transport");
  if (thrown instanceof AtCapacity) {
    return {
      status: 503,
      headers: { "retry-after": String(thrown.retryAfterSeconds) },
      error: { message: thrown.message, type: "server_error", param: null, code: "at_capacity" },
    };
  }
  return undefined;
}

/** The 500 to what was our fault; what it was is for the log. */
export const internalError: HttpError = {
  status: 500,
  headers: {},
  error: {
    message: "The server had an error while processing your request.",
    type: "server_error",
    param: null,
    code: null,
  },
};

/** `error` as a response. */
export function toResponse({ status, headers, error }: HttpError): Response {
  return Response.json({ error }, { status, headers: { ...headers } });
}
