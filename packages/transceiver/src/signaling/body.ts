/** Reads request bodies within their bounds: what a client sends too much of is not kept. */

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
export const MAX_SDP_SIZE = 64 * 1024;
/** Bytes of a session's JSON, at most. */
export const MAX_SESSION_SIZE = 1024 * 1024;
// Boundaries and part headers.
const MULTIPART_OVERHEAD = 16 * 1024;

/** The media type of a request, lower-case, without parameters. */
export function mediaType(request: Request): string {
  return (request.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
}

/** A body as UTF-8 text of at most `limit` bytes. */
export async function readText(request: Request, limit: number): Promise<string> {
  return decode(await readBytes(request, limit), null);
}

/** A body as JSON of at most {@link MAX_SESSION_SIZE}; an empty one is an empty object. */
export async function readJson(request: Request): Promise<unknown> {
  return parseJson((await readText(request, MAX_SESSION_SIZE)) || "{}", null);
}

/** An offer, and the session that came with it. */
export interface CallBody {
  readonly sdp: string;
  /** JSON, not checked yet. */
  readonly session: unknown;
}

/** The body of a call: raw SDP, or a form of `sdp` and `session` with typed or untyped parts. */
export async function readCall(request: Request): Promise<CallBody> {
  switch (mediaType(request)) {
    case "application/sdp":
      return { sdp: await readText(request, MAX_SDP_SIZE), session: undefined };
    case "multipart/form-data":
      return readForm(request);
    default:
      throw new BodyError(415, "Send the SDP offer as application/sdp, or sdp and session as multipart/form-data.");
  }
}

async function readForm(request: Request): Promise<CallBody> {
  const bytes = await readBytes(request, MAX_SDP_SIZE + MAX_SESSION_SIZE + MULTIPART_OVERHEAD);
  const headers = { "content-type": request.headers.get("content-type") ?? "" };
  const form = await new Response(bytes, { headers }).formData().catch((cause: unknown) => {
    throw new BodyError(400, `The body is not multipart/form-data: ${cause instanceof Error ? cause.message : cause}.`);
  });
  const sdp = await readPart(form, "sdp", MAX_SDP_SIZE);
  if (sdp === undefined) throw new BodyError(400, "Missing required parameter: 'sdp'.", "sdp");
  const session = await readPart(form, "session", MAX_SESSION_SIZE);
  return { sdp, session: session === undefined ? undefined : parseJson(session, "session") };
}

async function readPart(form: FormData, name: string, limit: number): Promise<string | undefined> {
  const part = form.get(name);
  if (part === null) return undefined;
  const bytes = typeof part === "string" ? new TextEncoder().encode(part) : new Uint8Array(await part.arrayBuffer());
  if (bytes.length > limit) throw tooLong(limit, name);
  return decode(bytes, name);
}

async function readBytes(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer>> {
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
