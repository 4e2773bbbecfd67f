/**
 * Signaling of a call over WebTransport (docs/webtransport.md, "Opening") or Media over QUIC (docs/moq.md): what a client
 * posts, and the answer.
 */
import { invalidRequest, type RealtimeError } from "./error.ts";
import { parseSession } from "./parse.ts";
import type { SessionPatch } from "./session-patch.ts";

/** The lead of a client that grants none, in milliseconds. */
export const DEFAULT_LEAD_MS = 10_000;

/** The longest lead that is used, in milliseconds. */
export const MAX_LEAD_MS = 60_000;

/** The JSON that a client posts to `/v1/realtime/calls`. */
export interface WebTransportCallBody {
  readonly transport: "webtransport" | "moq";
  /** What the session starts with. */
  readonly session?: object | undefined;
  /** How much speech the client holds beyond the ear, milliseconds: 0 to {@link MAX_LEAD_MS}, default {@link DEFAULT_LEAD_MS}; not for MoQ. */
  readonly lead_ms?: number | undefined;
  /** Who opens the event stream, default `client`. `server`: it comes with the session, a round trip sooner. */
  readonly events?: EventsOpener | undefined;
}

/** Who opens the event stream of a session. */
export type EventsOpener = "client" | "server";

/** The JSON that answers it. */
export interface WebTransportCallAnswer {
  /** `wt_…` or `moq_…`; for hanging up, and for what follows the call. */
  readonly call_id: string;
  /** For `new WebTransport(url)`; opens one session, with MoQ a few of one call. */
  readonly url: string;
  /** Base64 SHA-256 of certificates, for `serverCertificateHashes`; empty when browsers trust the certificate. */
  readonly certificate_hashes: readonly string[];
  /** Unix seconds: after it the URL opens nothing. */
  readonly expires_at: number;
  /** `server`: the server opens the event stream, as the client asked; absent: the client does. */
  readonly events?: "server" | undefined;
}

/** A client's wish, checked. */
export interface WebTransportCallRequest {
  readonly transport: "webtransport" | "moq";
  readonly session: SessionPatch | undefined;
  readonly leadMs: number;
  readonly events: EventsOpener;
}

/** What the body of a call turned out to be. */
export type ParsedWebTransportCall =
  | { readonly ok: true; readonly request: WebTransportCallRequest }
  | { readonly ok: false; readonly error: RealtimeError };

/** Reads a {@link WebTransportCallBody} of a stranger. */
export function parseWebTransportCall(value: unknown): ParsedWebTransportCall {
  const fail = (message: string, param: string | null): ParsedWebTransportCall => {
    return { ok: false, error: invalidRequest("invalid_value", message, param, undefined) };
  };
  if (typeof value !== "object" || value === null) return fail("Expected a JSON object.", null);
  const { transport, session, lead_ms = DEFAULT_LEAD_MS, events = "client" } = value as Record<string, unknown>;
  if (transport !== "webtransport" && transport !== "moq") {
    return fail("Invalid 'transport': expected 'webtransport' or 'moq'.", "transport");
  }
  if (typeof lead_ms !== "number" || !(lead_ms >= 0 && lead_ms <= MAX_LEAD_MS)) {
    return fail(`Invalid 'lead_ms': expected a number from 0 to ${MAX_LEAD_MS}.`, "lead_ms");
  }
  if (events !== "client" && events !== "server") {
    return fail("Invalid 'events': expected 'client' or 'server'.", "events");
  }
  const request = { transport, session: undefined, leadMs: lead_ms, events } as const;
  if (session === undefined || session === null) return { ok: true, request };
  const parsed = parseSession(session);
  return parsed.ok ? { ok: true, request: { ...request, session: parsed.session } } : parsed;
}
