/** The one HTTP request that a call begins with, and what its refusals mean (OpenAI Realtime API, `POST /v1/realtime/calls`). */
import { BadAnswer, ConversationGone, ServerBusy, ServerUnreachable, Unauthorized } from "./errors.ts";

/** What is posted. */
export interface CallBody {
  /** Content type. */
  readonly type: string;
  readonly text: string;
}

/** Headers that say who calls. */
export function authorization(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** Posts `body` to `url`; throws one of this package's errors, or the signal's reason. */
export async function postCall(
  url: URL,
  token: string | undefined,
  body: CallBody,
  signal: AbortSignal,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "content-type": body.type, ...authorization(token) },
      body: body.text,
      signal,
    });
  } catch (cause) {
    signal.throwIfAborted();
    throw new ServerUnreachable(`no answer from ${url.origin}`, { cause });
  }
  if (response.ok) return response;
  const message = `${url.origin} answered ${response.status}: ${await errorMessage(response)}`;
  if (response.status === 401 || response.status === 403) throw new Unauthorized(message);
  if (response.status === 429 || response.status === 503) {
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
    throw new ServerBusy(message, Number.isFinite(seconds) ? seconds * 1000 : undefined);
  }
  if (response.status === 404 && url.searchParams.has("resume")) throw new ConversationGone(message);
  if (response.status >= 500) throw new ServerUnreachable(message);
  throw new BadAnswer(message);
}

async function errorMessage(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const message: unknown = JSON.parse(text)?.error?.message;
    return typeof message === "string" ? message : response.statusText;
  } catch {
    return response.statusText || "no reason given";
  }
}
