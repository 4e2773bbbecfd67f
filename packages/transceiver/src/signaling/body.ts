/** Reads request bodies within their bounds: what a client sends too much of is not kept. */

import { boundaryOf, parseForm } from "./multipart.ts";

/** A body that cannot be used; `status` and message are for its sender. */
export class BodyError extends Error {
  override readonly name = "BodyError";
  readonly status: 400 | 413 | 415;
  readonly param: string | null;

  constructor(status: 400 | 413 | 415, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

/** Bytes of an SDP offer, at most. */
const MAX_SDP_SIZE = 64 * 1024;
/** Bytes of a session's JSON, at most. */
const MAX_SESSION_SIZE = 1024 * 1024;
// Boundaries and part headers.
const MULTIPART_OVERHEAD = 16 * 1024;

/** Whether a `content-type` is that of JSON. */
export function isJson(contentType: string): boolean {
  return mediaType(contentType) === "application/json";
}

/** A body as JSON of at most {@link MAX_SESSION_SIZE}; an empty one is an empty object. */
export async function readJson(request: Request): Promise<unknown> {
  return parseJson(decode(await readBytes(request, MAX_SESSION_SIZE), null) || "{}", null);
}

/** An offer, and the session that came with it. */
export interface CallBody {
  readonly sdp: string;
  /** JSON, not checked yet. */
  readonly session: unknown;
}

/** Reads the body of a call; see {@link parseCallBody}. */
export async function readCall(request: Request): Promise<CallBody> {
  const contentType = request.headers.get("content-type") ?? "";
  const isForm = mediaType(contentType) === "multipart/form-data";
  const limit = isForm ? MAX_SDP_SIZE + MAX_SESSION_SIZE + MULTIPART_OVERHEAD : MAX_SDP_SIZE;
  return parseCallBody(contentType, await readBytes(request, limit));
}

/** Raw SDP, or a form of `sdp` and `session` with typed or untyped parts; throws {@link BodyError} only. */
export function parseCallBody(contentType: string, bytes: Uint8Array): CallBody {
  switch (mediaType(contentType)) {
    case "application/sdp":
      if (bytes.length > MAX_SDP_SIZE) throw tooLong(MAX_SDP_SIZE, null);
      return { sdp: decode(bytes, null), session: undefined };
    case "multipart/form-data":
      return parseCallForm(contentType, bytes);
    default:
      throw new BodyError(
        415,
        "Send the SDP offer as application/sdp, sdp and session as multipart/form-data, or JSON for WebTransport.",
      );
  }
}

const mediaType = (contentType: string) => contentType.split(";")[0]!.trim().toLowerCase();

function parseCallForm(contentType: string, bytes: Uint8Array): CallBody {
  const boundary = boundaryOf(contentType);
  if (boundary === undefined) throw new BodyError(400, "The content-type names no valid boundary.");
  const form = parseForm(bytes, boundary);
  if (!form) throw new BodyError(400, "The body is not a complete multipart/form-data.");
  const sdp = form.get("sdp");
  const session = form.get("session");
  if (!sdp) throw new BodyError(400, "Missing required parameter: 'sdp'.", "sdp");
  if (sdp.length > MAX_SDP_SIZE) throw tooLong(MAX_SDP_SIZE, "sdp");
  if (session && session.length > MAX_SESSION_SIZE) throw tooLong(MAX_SESSION_SIZE, "session");
  return { sdp: decode(sdp, "sdp"), session: session && parseJson(decode(session, "session"), "session") };
}

async function readBytes(request: Request, limit: number): Promise<Uint8Array> {
  if (Number(request.headers.get("content-length") ?? 0) > limit) throw tooLong(limit, null);
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of request.body ?? []) {
    size += piece.length;
    if (size > limit) throw tooLong(limit, null);
    pieces.push(piece);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function decode(bytes: Uint8Array, param: string | null): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new BodyError(400, `${param === null ? "The body" : `'${param}'`} is not UTF-8.`, param);
  }
}

function parseJson(text: string, param: string | null): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new BodyError(400, `${param === null ? "The body" : `'${param}'`} is not JSON.`, param);
  }
}

function tooLong(limit: number, param: string | null): BodyError {
  const what = param === null ? "The body" : `'${param}'`;
  return new BodyError(413, `${what} is longer than ${limit} bytes.`, param);
}
