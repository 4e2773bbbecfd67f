/**
 * Cross-origin access (Fetch, section 3.2) to the API: any page may ask, since what counts is the key that it brings;
 * where no key is needed, {@link Auth} looks at the origin itself. Cookies play no part.
 */
import type { MiddlewareHandler } from "hono";

const HEADERS =
  "authorization, content-type, api-key, x-openai-agents-sdk, openai-organization, openai-project, openai-beta, " +
  "openai-safety-identifier";

/** A list of header names of a sane length. */
const HEADER_LIST = /^[a-zA-Z0-9, _-]{1,2048}$/;

/** Headers of every answer of the API. */
const apiHeaders: readonly (readonly [string, string])[] = [
  ["access-control-allow-origin", "*"],
  // Without this, a page cannot read which call it began.
  ["access-control-expose-headers", "Location, Retry-After"],
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "no-referrer"],
];

/** Answers preflights and marks every answer as readable. */
export const cors: MiddlewareHandler = async (context, next) => {
  const { req } = context;
  const asked = req.header("access-control-request-headers");
  if (req.method === "OPTIONS" && req.header("access-control-request-method") !== undefined) {
    return new Response(null, {
      status: 204,
      headers: {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "GET, POST, OPTIONS",
        // SDKs add headers of their own, such as x-stainless-os: what is asked for is allowed.
        "access-control-allow-headers": asked !== undefined && HEADER_LIST.test(asked) ? asked : HEADERS,
        "access-control-max-age": "600",
        vary: "access-control-request-headers",
      },
    });
  }
  await next();
  for (const [name, value] of apiHeaders) context.res.headers.set(name, value);
};
