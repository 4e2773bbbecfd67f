/**
 * The HTTP side of the Realtime API: takes calls over WebRTC and WebTransport, mints client secrets, tells of the server's health. WebSocket
 * handshakes are next door, in `handshake.ts`; listening is the business of `src/node/http.ts`.
 */
import {
  createSession,
  describeSession,
  fromBetaSession,
  invalidRequest,
  parseSession,
  parseWebTransportCall,
  type SessionPatch,
  toBetaSession,
} from "@sluice/realtime";
import { type Context, Hono } from "hono";
import { z } from "zod";
import type { Auth, Caller, Grant } from "./auth.ts";
import { isJson, readCall, readJson } from "./body.ts";
import type { CallDirectory } from "./calls.ts";
import { cors } from "./cors.ts";
import {
  conversationGone,
  internalError,
  ParameterError,
  refusalError,
  requestError,
  thrownError,
  toResponse,
} from "./http-error.ts";
import { answerLab, type LabNetwork } from "./lab.ts";
import { createOpenApi } from "./openapi.ts";

/** What the shell knows of a request beyond the request. */
export interface SignalingBindings {
  /** Address of the socket's other end. */
  readonly remoteAddress: string | undefined;
}

/** Settings of {@link createSignaling}. */
export interface SignalingOptions {
  readonly calls: CallDirectory;
  readonly auth: Auth;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** Random bytes, for ids. */
  readonly random: (size: number) => Uint8Array;
  /** Name to show where a client named no model. */
  readonly model: string;
  /** Version of this server, for its OpenAPI document. */
  readonly version: string;
  /** Whether new calls are taken. */
  readonly ready: () => boolean;
  /** The metrics, as Prometheus reads them. */
  readonly metrics: { readonly contentType: string; readonly render: () => string | Promise<string> };
  /** A bad network that callers of this machine may choose for themselves; absent: there is none. */
  readonly lab?: LabNetwork | undefined;
  /** Told of errors that are ours. */
  readonly onError: (error: unknown) => void;
  /** Life of a client secret that names none, seconds; default 600, as at OpenAI. */
  readonly secretSeconds?: number;
}

type Env = { Bindings: SignalingBindings };

const secretRequest = z.object({
  expires_after: z.object({ seconds: z.int().min(10).max(7200).optional() }).nullish(),
  session: z.unknown().optional(),
  /** Ours: the secret opens one session only. */
  sluice: z.object({ single_use: z.boolean().optional() }).optional(),
});

/** The application; give it requests with {@link SignalingBindings}. */
export function createSignaling(options: SignalingOptions): Hono<Env> {
  const { calls, auth, metrics, ready, version, lab } = options;
  const app = new Hono<Env>();
  const seconds = () => options.now() / 1000;

  /** Runs `then` for a caller who may; `spend` when that opens a session. */
  const guarded =
    (then: (context: Context<Env>, grant: Grant) => Response | Promise<Response>, spend = false) =>
    (context: Context<Env>) => {
      const grant = auth.authorize(seconds(), callerOf(context), spend);
      return grant.kind === "refused" ? toResponse(refusalError(grant)) : then(context, grant);
    };

  const answerCall = async ({ req, env }: Context<Env>, grant: Grant | undefined, resume?: string) => {
    const contentType = req.header("content-type") ?? "";
    if (isJson(contentType)) {
      const parsed = parseWebTransportCall(await readJson(req.raw));
      if (!parsed.ok) throw new ParameterError(parsed.error);
      const answer = await calls.openWebTransport({
        ...parsed.request,
        defaults: grant?.kind === "secret" ? grant.session : undefined,
        model: req.query("model") || undefined,
        header: (name) => req.header(name),
        remoteAddress: env.remoteAddress,
        ...(resume !== undefined && { resume }),
      });
      const headers = { "cache-control": "no-store", location: `/v1/realtime/calls/${answer.call_id}` };
      return Response.json(answer, { status: 201, headers });
    }
    const { sdp, session } = await readCall(req.raw);
    const { callId, answer } = await calls.openWebRtc({
      offer: sdp,
      session: session === undefined ? undefined : readSession(session),
      defaults: grant?.kind === "secret" ? grant.session : undefined,
      model: req.query("model") || undefined,
      header: (name) => req.header(name),
      remoteAddress: env.remoteAddress,
      ...(resume !== undefined && { resume }),
    });
    const headers = { "content-type": "application/sdp", location: `/v1/realtime/calls/${callId}` };
    return new Response(answer, { status: 201, headers });
  };
  const beginCall = guarded(answerCall, true);
  /** The token of a conversation is its client's leave to go on with it. */
  const openCall = async (context: Context<Env>) => {
    const resume = context.req.query("resume");
    if (resume === undefined) return beginCall(context);
    return (await calls.findResumable(resume))
      ? answerCall(context, undefined, resume)
      : toResponse(conversationGone());
  };

  /** Mints a secret for sessions that start with `session`; a secret cannot mint another. */
  const mint = (grant: Grant, session: SessionPatch | undefined, life: number | undefined, singleUse: boolean) => {
    if (grant.kind === "secret") {
      return requestError(403, "insufficient_permissions", "A client secret cannot mint client secrets.", null);
    }
    const request = { seconds: life ?? options.secretSeconds ?? 600, singleUse, session };
    const secret = auth.secrets.mint(seconds(), request);
    if (!secret) return requestError(429, "rate_limit_exceeded", "Too many client secrets are in use.", null);
    const effective = createSession({
      id: `sess_${Buffer.from(options.random(15)).toString("base64url")}`,
      model: options.model,
      expiresAt: secret.expiresAt,
      defaults: session,
    });
    return { secret, effective: describeSession(effective) };
  };

  /** The beta's client secrets: its flat sessions in and out; GA members are understood, too. */
  const mintBeta = (type: "realtime" | "transcription") =>
    guarded(async ({ req }, grant) => {
      const session = readSession(fromBetaSession(await readJson(req.raw)), "");
      const minted = mint(grant, { ...session, type }, undefined, false);
      if ("error" in minted) return toResponse(minted);
      const { value, expiresAt } = minted.secret;
      return noStore({ ...toBetaSession(minted.effective), client_secret: { value, expires_at: expiresAt } });
    });

  app.use(cors);
  app.post("/v1/realtime/calls", openCall);
  app.post("/v1/realtime", openCall);
  app.post(
    "/v1/realtime/calls/:id/hangup",
    guarded(({ req }) => {
      const id = req.param("id") ?? "";
      if (calls.hangup(id)) return new Response(null, { status: 200 });
      return toResponse(requestError(404, "call_not_found", `No call with id '${id.slice(0, 64)}' found.`, "call_id"));
    }),
  );
  app.post(
    "/v1/realtime/client_secrets",
    guarded(async ({ req }, grant) => {
      const body = secretRequest.safeParse(await readJson(req.raw));
      if (!body.success) throw invalidBody(body.error);
      const { expires_after, session, sluice } = body.data;
      const patch = session === undefined || session === null ? undefined : readSession(session);
      const minted = mint(grant, patch, expires_after?.seconds, sluice?.single_use ?? false);
      if ("error" in minted) return toResponse(minted);
      const { value, expiresAt } = minted.secret;
      return noStore({ value, expires_at: expiresAt, session: minted.effective });
    }),
  );
  app.post("/v1/realtime/sessions", mintBeta("realtime"));
  app.post("/v1/realtime/transcription_sessions", mintBeta("transcription"));
  app.get("/v1/realtime", () => {
    const error = requestError(426, "upgrade_required", "This is a WebSocket endpoint: send an upgrade request.", null);
    return toResponse({ ...error, headers: { upgrade: "websocket", connection: "upgrade" } });
  });
  app.get("/openapi.json", () => Response.json(createOpenApi(version)));
  app.get("/healthz", () => Response.json({ status: "ok" }));
  app.get("/readyz", () => {
    const status = ready() ? 200 : 503;
    return Response.json({ status: status === 200 ? "ready" : "full or closing" }, { status });
  });
  app.get(
    "/metrics",
    guarded(async () => new Response(await metrics.render(), { headers: { "content-type": metrics.contentType } })),
  );
  if (lab) {
    const answer = guarded(({ req, env }, grant) => answerLab(lab, req.raw, env.remoteAddress, grant));
    app.get("/v1/lab/network", answer);
    app.post("/v1/lab/network", answer);
  }
  app.notFound(({ req }) => {
    return toResponse(
      requestError(404, "unknown_url", `Unknown request URL: ${req.method} ${req.path.slice(0, 200)}.`, null),
    );
  });
  app.onError((thrown) => {
    const known = thrownError(thrown);
    if (!known) options.onError(thrown);
    return toResponse(known ?? internalError);
  });
  return app;
}

function callerOf({ req, env }: Context<Env>): Caller {
  return { remoteAddress: env.remoteAddress, header: (name) => req.header(name) };
}

function readSession(value: unknown, param = "session"): SessionPatch {
  const parsed = parseSession(value, param);
  if (!parsed.ok) throw new ParameterError(parsed.error);
  return parsed.session;
}

function invalidBody({ issues: [issue] }: z.ZodError): ParameterError {
  const param = issue?.path.join(".") || "body";
  return new ParameterError(
    invalidRequest("invalid_value", `Invalid '${param}': ${issue?.message}.`, param, undefined),
  );
}

/** JSON with a secret in it, which no cache may keep. */
function noStore(body: unknown): Response {
  return Response.json(body, { headers: { "cache-control": "no-store" } });
}
