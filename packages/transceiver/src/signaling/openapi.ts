/** The HTTP API in OpenAPI 3.1, kept by hand and held against the routes by a test. */

const errorResponse = (description: string) => ({
  description,
  content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
});

const refused = {
  401: errorResponse("No valid key or client secret, or the request is not from this machine."),
  403: errorResponse("The page that asks, or what it asks with, may not do this."),
};

const sdp = (description: string) => ({
  type: "string",
  description,
  maxLength: 65_536,
});

const session = { $ref: "#/components/schemas/SessionRequest" };

const openCall = (operationId: string, summary: string, deprecated: boolean) => ({
  operationId,
  summary,
  deprecated,
  parameters: [
    {
      name: "model",
      in: "query",
      schema: { type: "string" },
      description: "Name of a model; names unknown here mean the default.",
    },
    {
      name: "resume",
      in: "query",
      schema: { type: "string" },
      description: "Go on with the conversation that this token is for (docs/resumption.md); no key is asked.",
    },
  ],
  requestBody: {
    required: true,
    content: {
      "application/sdp": { schema: sdp("The offer; complete or not, the server needs no candidates.") },
      "multipart/form-data": {
        schema: { type: "object", required: ["sdp"], properties: { sdp: sdp("The offer."), session } },
        encoding: { sdp: { contentType: "application/sdp" }, session: { contentType: "application/json" } },
      },
      "application/json": { schema: { $ref: "#/components/schemas/WebTransportCall" } },
    },
  },
  responses: {
    201: {
      description: "The call was taken.",
      headers: { Location: { schema: { type: "string" }, description: "`/v1/realtime/calls/{call_id}`" } },
      content: {
        "application/sdp": { schema: sdp("The answer, with all candidates.") },
        "application/json": { schema: { $ref: "#/components/schemas/WebTransportAnswer" } },
      },
    },
    400: errorResponse("The offer or the session cannot be used; the message says why."),
    ...refused,
    413: errorResponse("The offer is longer than 64 KiB or the session than 1 MiB."),
    415: errorResponse("Neither application/sdp, multipart/form-data nor application/json."),
    501: errorResponse("This server does not speak WebTransport, or not MoQ: it has no QUIC engine, or no @moq/net."),
    503: errorResponse("No room now; see Retry-After."),
  },
});

const json = (schema: unknown, description: string) => ({
  description,
  content: { "application/json": { schema } },
});

const open: readonly Record<string, readonly string[]>[] = [{}];

/** The document, for a server of this version. */
export function createOpenApi(version: string) {
  return {
    openapi: "3.1.0",
    info: {
      title: "Sluice",
      version,
      description:
        "The OpenAI-compatible Realtime API of a Sluice server. Events are the same over a WebRTC data channel named " +
        "`oai-events` and over a WebSocket.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    security: [{ bearer: [] }, { apiKey: [] }, {}],
    paths: {
      "/v1/realtime/calls": { post: openCall("createCall", "Open a call over WebRTC or WebTransport", false) },
      "/v1/realtime/calls/{id}/hangup": {
        post: {
          operationId: "hangUpCall",
          summary: "End a call",
          parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }],
          responses: { 200: { description: "The call ended." }, ...refused, 404: errorResponse("No such call.") },
        },
      },
      "/v1/realtime/client_secrets": {
        post: {
          operationId: "createClientSecret",
          summary: "Mint a secret that a browser may have",
          requestBody: {
            content: { "application/json": { schema: { $ref: "#/components/schemas/ClientSecretRequest" } } },
          },
          responses: {
            200: json({ $ref: "#/components/schemas/ClientSecret" }, "The secret, and the session that it opens."),
            400: errorResponse("A parameter is wrong."),
            ...refused,
            413: errorResponse("The body is longer than 1 MiB."),
            429: errorResponse("Too many secrets with long sessions are in use."),
          },
        },
      },
      "/v1/realtime": {
        get: {
          operationId: "connect",
          summary: "Open a WebSocket",
          description:
            "Subprotocol `realtime`. A browser, which cannot set headers, also offers " +
            "`openai-insecure-api-key.<key or client secret>`.",
          parameters: [
            { name: "model", in: "query", schema: { type: "string" }, description: "Begin a session with this model." },
            {
              name: "resume",
              in: "query",
              schema: { type: "string" },
              description: "Go on with the conversation that this token is for (docs/resumption.md); no key is asked.",
            },
            { name: "call_id", in: "query", schema: { type: "string" }, description: "Follow and steer a call." },
          ],
          responses: {
            101: { description: "The events of the session follow; the first is `session.created`." },
            ...refused,
            404: errorResponse("No such call."),
            426: errorResponse("Not a WebSocket handshake."),
            503: errorResponse("No room now; see Retry-After."),
          },
        },
        post: openCall("createCallLegacy", "Open a WebRTC call (former path)", true),
      },
      "/v1/realtime/sessions": {
        post: {
          operationId: "createSessionLegacy",
          summary: "Mint a client secret (former path)",
          description: "Takes a session in the beta's flat shape, or in today's; shows it in the flat one.",
          deprecated: true,
          requestBody: { content: { "application/json": { schema: session } } },
          responses: {
            200: json({ $ref: "#/components/schemas/SessionWithSecret" }, "The session and its secret."),
            400: errorResponse("A parameter is wrong."),
            ...refused,
            413: errorResponse("The body is longer than 1 MiB."),
            429: errorResponse("Too many secrets with long sessions are in use."),
          },
        },
      },
      "/v1/realtime/transcription_sessions": {
        post: {
          operationId: "createTranscriptionSessionLegacy",
          summary: "Mint a client secret for a session that only transcribes (former path)",
          description: "Takes a session in the beta's flat shape, or in today's; shows it in the flat one.",
          deprecated: true,
          requestBody: { content: { "application/json": { schema: session } } },
          responses: {
            200: json({ $ref: "#/components/schemas/SessionWithSecret" }, "The session and its secret."),
            400: errorResponse("A parameter is wrong."),
            ...refused,
            413: errorResponse("The body is longer than 1 MiB."),
            429: errorResponse("Too many secrets with long sessions are in use."),
          },
        },
      },
      "/openapi.json": {
        get: {
          operationId: "openApi",
          summary: "This document",
          security: open,
          responses: { 200: json({ type: "object" }, "OpenAPI 3.1.") },
        },
      },
      "/healthz": {
        get: {
          operationId: "health",
          summary: "Whether the process lives",
          security: open,
          responses: { 200: json({ $ref: "#/components/schemas/Status" }, "It does.") },
        },
      },
      "/readyz": {
        get: {
          operationId: "readiness",
          summary: "Whether new calls are taken",
          security: open,
          responses: {
            200: json({ $ref: "#/components/schemas/Status" }, "They are."),
            503: json({ $ref: "#/components/schemas/Status" }, "They are not: full, or closing."),
          },
        },
      },
      "/metrics": {
        get: {
          operationId: "metrics",
          summary: "Metrics for Prometheus",
          responses: {
            200: { description: "Text exposition format.", content: { "text/plain": { schema: { type: "string" } } } },
            ...refused,
          },
        },
      },
    },
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "SLUICE_API_KEY, or a client secret (`ek_…`)." },
        apiKey: { type: "apiKey", in: "header", name: "api-key" },
      },
      schemas: {
        WebTransportCall: {
          type: "object",
          required: ["transport"],
          properties: {
            transport: { enum: ["webtransport", "moq"] },
            session,
            lead_ms: {
              type: "number",
              minimum: 0,
              maximum: 60_000,
              default: 10_000,
              description: "How much speech the client holds beyond the ear; not for MoQ.",
            },
            events: { enum: ["client", "server"], default: "client", description: "Who opens the event stream." },
          },
        },
        WebTransportAnswer: {
          type: "object",
          required: ["call_id", "url", "certificate_hashes", "expires_at"],
          properties: {
            call_id: { type: "string" },
            url: {
              type: "string",
              description: "For `new WebTransport(url)`; opens one session, with MoQ a few of one call.",
            },
            certificate_hashes: {
              type: "array",
              items: { type: "string" },
              description: "Base64 SHA-256, for `serverCertificateHashes`; empty where browsers trust the certificate.",
            },
            expires_at: { type: "integer", description: "Unix seconds: after it the URL opens nothing." },
            events: { const: "server", description: "The server opens the event stream, as the client asked." },
          },
        },
        SessionRequest: {
          type: "object",
          description: "The `session` of the `session.update` event; every member is optional.",
          properties: {
            type: { const: "realtime" },
            model: { type: "string" },
            instructions: { type: "string" },
            output_modalities: { type: "array", items: { enum: ["audio", "text"] }, minItems: 1, maxItems: 1 },
            audio: { type: "object", properties: { input: { type: "object" }, output: { type: "object" } } },
            tools: { type: "array", items: { type: "object" }, maxItems: 128 },
            sluice: {
              type: "object",
              description: "Sluice's own events.",
              properties: { timeline: { type: "boolean", default: false } },
            },
          },
        },
        Session: {
          type: "object",
          description: "The effective session, as in `session.created`.",
          required: ["type", "object", "id", "model"],
          properties: {
            type: { const: "realtime" },
            object: { const: "realtime.session" },
            id: { type: "string" },
            model: { type: "string" },
          },
        },
        SessionWithSecret: {
          allOf: [
            { $ref: "#/components/schemas/Session" },
            {
              type: "object",
              required: ["client_secret"],
              properties: {
                client_secret: {
                  type: "object",
                  required: ["value", "expires_at"],
                  properties: { value: { type: "string" }, expires_at: { type: "integer" } },
                },
              },
            },
          ],
        },
        ClientSecretRequest: {
          type: "object",
          properties: {
            expires_after: {
              type: "object",
              properties: {
                anchor: { const: "created_at" },
                seconds: { type: "integer", minimum: 10, maximum: 7200, default: 600 },
              },
            },
            session,
            sluice: {
              type: "object",
              properties: {
                single_use: { type: "boolean", default: false, description: "The secret opens one session only." },
              },
            },
          },
        },
        ClientSecret: {
          type: "object",
          required: ["value", "expires_at", "session"],
          properties: {
            value: { type: "string", description: "Begins with `ek_`." },
            expires_at: { type: "integer", description: "Unix seconds." },
            session: { $ref: "#/components/schemas/Session" },
          },
        },
        Status: { type: "object", required: ["status"], properties: { status: { type: "string" } } },
        Error: {
          type: "object",
          required: ["error"],
          properties: {
            error: {
              type: "object",
              required: ["message", "type", "param", "code"],
              properties: {
                message: { type: "string" },
                type: { type: "string" },
                param: { type: ["string", "null"] },
                code: { type: ["string", "null"] },
              },
            },
          },
        },
      },
    },
  };
}
