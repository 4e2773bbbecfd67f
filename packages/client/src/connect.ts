/** Opens a conversation: microphone, pipe and session at the same time, because each waits on something else. */
import type { ClientEventInput } from "@sluice/realtime";
import { Conversation } from "./conversation.ts";
import { ConnectionLost } from "./errors.ts";
import { type MicrophoneChoice, openMicrophone } from "./microphone.ts";
import { prepareWebRtc, WebRtcTransport } from "./webrtc.ts";

/** Settings of a session, as `session.update` takes them; all optional. */
export type SessionSettings = Omit<ClientEventInput<"session.update">["session"], "type" | "sluice">;

/** How to connect. Every field has a default. */
export interface ConnectOptions {
  /** Address of the server, without `/v1/realtime/calls`; default: the page's own origin. */
  readonly url?: string | URL | undefined;
  /** Model to ask for; default: the server's own. */
  readonly model?: string | undefined;
  /** Settings of the session: instructions, voice, turn detection and so on. */
  readonly session?: SessionSettings | undefined;
  /** Client secret or key, sent as Bearer. Servers on localhost need none. */
  readonly token?: string | undefined;
  /** Default `true`: the default microphone with echo cancellation. */
  readonly microphone?: MicrophoneChoice | undefined;
  /** Whether to play the agent; default `true`. */
  readonly playout?: boolean | undefined;
  /** Sluice's own events: clock, ledger, turns. Default `true`; `false` for servers that refuse unknown settings. */
  readonly timeline?: boolean | undefined;
  /** Ends the attempt, not the conversation. */
  readonly signal?: AbortSignal | undefined;
  /** Time from the call to the session; default 15 s. A person who is asked for the microphone does not count. */
  readonly timeoutMs?: number | undefined;
  /** How long a broken path is mended before the conversation closes; default 20 s. */
  readonly reconnectMs?: number | undefined;
  /** Monotonic clock in milliseconds; default `performance.now`. */
  readonly now?: (() => number) | undefined;
}

const TIMEOUT_MS = 15_000;
const RECONNECT_MS = 20_000;

/**
 * Starts a conversation. Call it from a click: browsers play sound and open microphones only then. Resolves once the
 * session is there; rejects with one of this package's errors, or with the signal's reason.
 */
export async function connect(options: ConnectOptions = {}): Promise<Conversation> {
  options.signal?.throwIfAborted();
  const microphone = openMicrophone(options.microphone ?? true);
  const attempt = new AbortController();
  const failed = Promise.withResolvers<never>();
  const transport = new WebRtcTransport(
    {
      callsUrl: callsUrl(options),
      token: options.token,
      playout: options.playout ?? true,
      reconnectMs: options.reconnectMs ?? RECONNECT_MS,
      signal: attempt.signal,
    },
    {
      onMessage: (text) => conversation.handleMessage(text),
      onPath: (whole) => conversation.handlePath(whole),
      onPlayoutBlocked: () => conversation.handlePlayoutBlocked(),
      onClosed: (reason) => {
        conversation.handleClosed(reason);
        failed.reject(reason ?? new ConnectionLost("the server hung up"));
      },
    },
  );
  const conversation = new Conversation({
    transport,
    timeline: options.timeline ?? true,
    now: options.now ?? (() => performance.now()),
  });
  const timer = setTimeout(
    () => failed.reject(new ConnectionLost("no session in time: is UDP to the server blocked?")),
    options.timeoutMs ?? TIMEOUT_MS,
  );
  const onAbort = () => failed.reject(options.signal?.reason);
  options.signal?.addEventListener("abort", onAbort, { once: true });
  const created = firstSession(conversation, options).then(() => clearTimeout(timer));
  const attached = microphone.then((opened) => conversation.attachMicrophone(opened));
  try {
    await Promise.race([Promise.all([attached, transport.dial(), created]), failed.promise]);
  } catch (cause) {
    attempt.abort(cause);
    conversation.handleClosed(undefined);
    throw cause;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onAbort);
  }
  hangUpWithPage(conversation);
  return conversation;
}

/**
 * Makes the first {@link connect} of a page faster; call it when the page is idle. Asks the person nothing, sends
 * nothing, and does no harm where it fails.
 */
export async function prepare(): Promise<void> {
  if (typeof RTCPeerConnection !== "undefined") await prepareWebRtc();
}

function callsUrl(options: ConnectOptions): URL {
  const url = new URL("v1/realtime/calls", directory(new URL(options.url ?? location.origin, location.href)));
  if (options.model !== undefined) url.searchParams.set("model", options.model);
  return url;
}

// URL resolution replaces the last segment unless it ends in a slash.
function directory(url: URL): URL {
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

function firstSession(conversation: Conversation, options: ConnectOptions): Promise<void> {
  const { timeline = true, session } = options;
  return new Promise((resolve) => {
    const stop = conversation.on("session.created", () => {
      stop();
      if (timeline || session) {
        const extensions = timeline ? { sluice: { timeline: true } } : {};
        conversation.send({ type: "session.update", session: { type: "realtime", ...extensions, ...session } });
      }
      conversation.handleConnected();
      resolve();
    });
  });
}

// A page that goes away without a word would hold its session at the server until consent expires, 30 s later.
function hangUpWithPage(conversation: Conversation): void {
  const onHide = () => conversation.close();
  window.addEventListener("pagehide", onHide);
  conversation.on("state", ({ state }) => {
    if (state === "closed") window.removeEventListener("pagehide", onHide);
  });
}
