/** Opens a conversation: microphone, pipe and session at the same time, because each waits on something else. */
import type { ClientEventInput } from "@sluice/realtime";
import { BufferedTransport, type Channel, type ChannelListener } from "./buffered.ts";
import { Conversation, type Opened } from "./conversation.ts";
import { ConnectionLost, ConversationGone, TransportUnsupported } from "./errors.ts";
import { type Microphone, type MicrophoneChoice, openMicrophone } from "./microphone.ts";
import { Candidate, race } from "./race.ts";
import { hasSound, openSound, type Sound } from "./sound.ts";
import type { TransportKind } from "./transport.ts";
import { openMeterHost } from "./voice-meter.ts";
import { prepareWebRtc, WebRtcTransport } from "./webrtc.ts";
import { WebSocketChannel } from "./websocket.ts";
import { prepareWebTransport, WebTransportChannel } from "./webtransport.ts";

/** Settings of a session, as `session.update` takes them; all optional. */
export type SessionSettings = Omit<ClientEventInput<"session.update">["session"], "type" | "sluice">;

/** How to connect. Every field has a default. */
export interface ConnectOptions {
  /** Address of the server, without `/v1/realtime/calls`; default: the page's own origin. */
  readonly url?: string | URL | undefined;
  /** The pipe; default `auto`: the best that browser, server and network allow. */
  readonly transport?: TransportKind | "auto" | undefined;
  /** Model to ask for; default: the server's own. */
  readonly model?: string | undefined;
  /** Settings of the session: instructions, voice, turn detection and so on. */
  readonly session?: SessionSettings | undefined;
  /** Client secret or key, sent as Bearer. Servers on localhost need none. */
  readonly token?: string | undefined;
  /** Default `true`: the default microphone with echo cancellation. Without a browser: none. */
  readonly microphone?: MicrophoneChoice | undefined;
  /** Whether to play the agent; default `true`. */
  readonly playout?: boolean | undefined;
  /** Sluice's own events: clock, ledger, turns. Default `true`; `false` for servers that refuse unknown settings. */
  readonly timeline?: boolean | undefined;
  /** Whether a conversation whose connection is lost goes on over another one; default: as `timeline`. */
  readonly resume?: boolean | undefined;
  /** Ends the attempt, not the conversation. */
  readonly signal?: AbortSignal | undefined;
  /** Time from the call to the session; default 15 s. A person who is asked for the microphone does not count. */
  readonly timeoutMs?: number | undefined;
  /** How long a broken path is mended, or another one sought, before the conversation closes; default 30 s. */
  readonly reconnectMs?: number | undefined;
  /** Monotonic clock in milliseconds; default `performance.now`. */
  readonly now?: (() => number) | undefined;
}

const TIMEOUT_MS = 15_000;
const RECONNECT_MS = 30_000;
/** A pipe that has not answered by then gets company. WebRTC needs 3 to 4 round trips, and UDP that is blocked says nothing. */
const STAGGER_MS = 2_000;
/** A path that ICE cannot mend by then is given up for a new connection, where there may be one. */
const MEND_MS = 4_000;
/** Speech that the server may send ahead of the ear: what an outage of that length does not interrupt. */
const LEAD_MS = 10_000;
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 5_000;

/**
 * The best first. WebTransport loses nothing and needs the fewest round trips; WebRTC is next to it where UDP works; a
 * WebSocket works everywhere and delays everything behind one lost segment.
 */
const PREFERENCE: readonly TransportKind[] = ["webtransport", "webrtc", "websocket"];

/**
 * Starts a conversation. Call it from a click: browsers play sound and open microphones only then. Resolves once the
 * session is there; rejects with one of this package's errors, or with the signal's reason.
 */
export async function connect(options: ConnectOptions = {}): Promise<Conversation> {
  options.signal?.throwIfAborted();
  const now = options.now ?? (() => performance.now());
  const opening = new Opening(options, now);
  const microphone = openMicrophone(options.microphone ?? typeof document !== "undefined");
  const attempt = new AbortController();
  const failed = Promise.withResolvers<never>();
  const conversation: Conversation = new Conversation({
    timeline: opening.timeline,
    now,
    settings: opening.settings,
    reopen: (token, signal) => opening.reopen(token, signal),
    switchTo: (kind, token, signal) => opening.switchTo(kind, token, signal),
    reconnectMs: opening.reconnectMs,
    meter: () => opening.meter(),
    silence: () => opening.silence(),
    onClosed: () => {
      opening.close();
      failed.reject(new ConnectionLost("the server hung up"));
    },
  });
  opening.mendMs = () => (conversation.resumable ? Math.min(MEND_MS, opening.reconnectMs) : opening.reconnectMs);
  const timer = setTimeout(
    () => failed.reject(new ConnectionLost("no session in time: is the server behind a firewall?")),
    options.timeoutMs ?? TIMEOUT_MS,
  );
  const onAbort = () => failed.reject(options.signal?.reason);
  options.signal?.addEventListener("abort", onAbort, { once: true });
  const connected = new Promise<void>((resolve, reject) => {
    conversation.on("connectionState", ({ state, reason }) => {
      if (state === "connected") resolve();
      if (state === "closed") reject(reason ?? new ConnectionLost("the server hung up"));
    });
  });
  connected.catch(() => undefined);
  // Dials and opens the sound device within the click: a context made later may not sound.
  const opened = opening.begin(microphone, attempt.signal);
  const began = opened
    .then((opened) => conversation.begin(opened))
    .then(() => connected)
    .then(() => clearTimeout(timer));
  const attached = microphone.then((opened) => conversation.attachMicrophone(opened));
  failed.promise.catch(() => undefined);
  try {
    await Promise.race([Promise.all([began, attached]), failed.promise]);
  } catch (cause) {
    attempt.abort(cause);
    microphone.then((opened) => opened?.release()).catch(() => undefined);
    conversation.handleClosed(undefined);
    throw cause;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onAbort);
  }
  followPage(conversation);
  return conversation;
}

/** What {@link prepare} may know of the conversation to come: the same as {@link connect} will be told. */
export type PrepareOptions = Pick<ConnectOptions, "url" | "transport" | "model" | "token">;

/**
 * Makes the next {@link connect} of a page faster; call it when the page is idle, or when a person is about to begin. Asks
 * the person nothing, and does no harm where it fails. Without options it sends nothing. With them, which `connect` is to
 * be given too, it fetches over WebTransport what a session is opened with: that saves a round trip for the next 25 s.
 */
export async function prepare(options?: PrepareOptions): Promise<void> {
  const wants = (kind: TransportKind) => [undefined, "auto", kind].includes(options?.transport);
  const work: Promise<unknown>[] = [];
  if (typeof RTCPeerConnection !== "undefined" && wants("webrtc")) work.push(prepareWebRtc());
  if (options && typeof WebTransport !== "undefined" && wants("webtransport")) {
    work.push(
      prepareWebTransport({ callsUrl: serverUrl(options, "v1/realtime/calls"), token: options.token, leadMs: LEAD_MS }),
    );
  }
  await Promise.allSettled(work);
}

/** What one conversation opens its pipes with, the first and those after it. */
class Opening {
  readonly #options: ConnectOptions;
  readonly #now: () => number;
  #kinds: readonly TransportKind[];
  readonly timeline: boolean;
  readonly settings: ClientEventInput<"session.update"> | undefined;
  readonly reconnectMs: number;
  mendMs = () => this.reconnectMs;
  #microphone: Promise<Microphone | undefined> | undefined;
  #sound: Promise<Sound> | undefined;
  #context: AudioContext | undefined;
  #kind: TransportKind | undefined; // that the conversation is on
  #closed = false;

  constructor(options: ConnectOptions, now: () => number) {
    const { timeline = true, resume = timeline, session, transport = "auto" } = options;
    this.#options = options;
    this.#now = now;
    this.timeline = timeline;
    this.reconnectMs = options.reconnectMs ?? RECONNECT_MS;
    const sluice = timeline || resume ? { sluice: { timeline, ...(resume && { resume }) } } : {};
    const asked = timeline || resume || session !== undefined;
    this.settings = asked
      ? { type: "session.update", session: { type: "realtime", ...sluice, ...session } }
      : undefined;
    this.#kinds = this.#kindsOf(transport);
  }

  /** The first opening. Records from now on, where the preferred pipe can use what was said before it was up. */
  begin(microphone: Promise<Microphone | undefined>, signal: AbortSignal): Promise<Opened> {
    this.#microphone = microphone;
    const opened = this.open(undefined, signal);
    this.#record(microphone);
    return opened;
  }

  #record(microphone: Promise<Microphone | undefined>): void {
    if (!this.#sound) return;
    Promise.all([microphone, this.#sound]).then(
      ([opened, sound]) => {
        if (this.#isBuffered(this.#kind)) return sound.recorder.attach(opened?.track ?? null);
      },
      () => undefined, // told where they are awaited
    );
  }

  async open(token: string | undefined, signal: AbortSignal, kinds = this.#kinds): Promise<Opened> {
    const make = (kind: TransportKind) => this.#make(kind, token, signal);
    const opened = await race({ kinds, make, staggerMs: STAGGER_MS, signal, now: this.#now });
    this.#kind = opened.choice.kind;
    // WebRTC has a way of its own to the microphone.
    if (!this.#isBuffered(this.#kind)) {
      this.#sound?.then((sound) => sound.recorder.attach(null)).catch(() => undefined);
    }
    return opened;
  }

  /** Tries until it works: all clients of a server that went away come back, so each waits its own time (full jitter). */
  async reopen(token: string, signal: AbortSignal): Promise<Opened> {
    for (let limit = FIRST_RETRY_MS; ; limit = Math.min(MAX_RETRY_MS, limit * 2)) {
      await pause(Math.random() * limit, signal);
      try {
        return await this.open(token, signal);
      } catch (cause) {
        signal.throwIfAborted();
        if (cause instanceof ConversationGone) throw cause;
      }
    }
  }

  /** Opens a pipe of another kind beside the one in use; connections that are lost later come back over it, too. */
  async switchTo(transport: TransportKind | "auto", token: string, signal: AbortSignal): Promise<Opened> {
    const kinds = this.#kindsOf(transport);
    if (this.#isBuffered(kinds[0]) && this.#wantsSound) this.#openSound(); // within the click
    const opened = await this.open(token, signal, kinds);
    this.#kinds = kinds;
    return opened;
  }

  meter() {
    return openMeterHost(this.#context);
  }

  silence(): void {
    this.#sound?.then((sound) => sound.speaker?.cut()).catch(() => undefined);
  }

  close(): void {
    this.#closed = true;
    if (!this.#sound) this.#context?.close().catch(() => undefined);
    this.#sound?.then((sound) => sound.close()).catch(() => undefined);
  }

  get #wantsSound(): boolean {
    const { microphone = true, playout = true } = this.#options;
    return hasSound() && (microphone !== false || playout);
  }

  #kindsOf(transport: TransportKind | "auto"): readonly TransportKind[] {
    const kinds = transport === "auto" ? PREFERENCE.filter((kind) => this.#can(kind)) : [transport];
    if (kinds.every((kind) => this.#can(kind))) return kinds;
    throw new TransportUnsupported(`this browser has no ${transport}`);
  }

  #can(kind: TransportKind): boolean {
    if (kind === "webrtc") return typeof RTCPeerConnection !== "undefined";
    if (kind === "websocket") return typeof WebSocket !== "undefined";
    return typeof WebTransport !== "undefined";
  }

  #isBuffered(kind: TransportKind | undefined): boolean {
    return kind !== "webrtc";
  }

  #openSound(): Promise<Sound> {
    this.#sound ??= openSound(this.#options.playout ?? true).then((sound) => {
      if (this.#closed) sound.close();
      this.#context = sound.context;
      return sound;
    });
    this.#sound.catch(() => undefined);
    return this.#sound;
  }

  #make(kind: TransportKind, resume: string | undefined, signal: AbortSignal): Candidate {
    const { token, playout = true } = this.#options;
    if (kind === "webrtc") {
      const callsUrl = this.#url("v1/realtime/calls", resume);
      const mendMs = () => this.mendMs();
      const settings = { callsUrl, token, playout, mendMs, signal };
      const candidate = new Candidate((listener) => new WebRtcTransport(settings, listener));
      // Speech flows with the first packet, before anybody knows whether this pipe is the one.
      if (resume === undefined) {
        this.#microphone
          ?.then((opened) => candidate.transport.setMicrophone(opened?.track ?? null))
          .catch(() => undefined);
      }
      return candidate;
    }
    const sound = this.#wantsSound ? () => this.#openSound() : undefined;
    return new Candidate((listener) => {
      const connect = (heard: ChannelListener) => this.#channel(kind, resume, sound !== undefined, signal, heard);
      return new BufferedTransport(connect, sound, listener);
    });
  }

  #channel(
    kind: TransportKind,
    resume: string | undefined,
    audio: boolean,
    signal: AbortSignal,
    listener: ChannelListener,
  ): Channel {
    const { token } = this.#options;
    if (kind === "webtransport") {
      const callsUrl = this.#url("v1/realtime/calls", resume);
      return new WebTransportChannel({ callsUrl, token, leadMs: LEAD_MS, signal }, listener);
    }
    const url = this.#url("v1/realtime", resume);
    url.protocol = url.protocol.replace("http", "ws");
    return new WebSocketChannel({ url, token, audio }, listener);
  }

  #url(path: string, resume: string | undefined): URL {
    const url = serverUrl(this.#options, path);
    if (resume !== undefined) url.searchParams.set("resume", resume);
    return url;
  }
}

function serverUrl({ url: given, model }: PrepareOptions, path: string): URL {
  const here = typeof location === "undefined" ? undefined : location;
  const base = new URL(given ?? here?.origin ?? "http://localhost:8080", here?.href);
  const url = new URL(path, directory(base));
  if (model !== undefined) url.searchParams.set("model", model);
  return url;
}

// URL resolution replaces the last segment unless it ends in a slash.
function directory(url: URL): URL {
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

// A page that goes away without a word would hold its session at the server until consent expires, 30 s later.
function followPage(conversation: Conversation): void {
  if (typeof window === "undefined") return;
  const ended = new AbortController();
  const { signal } = ended;
  window.addEventListener("pagehide", () => conversation.close(), { signal });
  for (const type of ["online", "offline"]) {
    window.addEventListener(type, () => conversation.handleNetworkChange(), { signal });
  }
  // Not in every browser, and not in TypeScript's types. It also tells of every new estimate of the bandwidth.
  const { connection } = navigator as { connection?: EventTarget & { readonly type?: string } };
  let network = connection?.type;
  const onChange = () => {
    if (connection?.type !== network) conversation.handleNetworkChange();
    network = connection?.type;
  };
  connection?.addEventListener("change", onChange, { signal });
  conversation.on("connectionState", ({ state }) => {
    if (state === "closed") ended.abort();
  });
}
