/** The calls of this process: makes them, finds them by name, ends them. */
import { randomBytes } from "node:crypto";
import type { Tracer } from "@opentelemetry/api";
import type { ConversationSnapshot, IdPrefix, Link, LinkListener, Milli, Pipeline } from "@sluice/conversation";
import {
  createSession,
  type DialectName,
  type Session,
  type SessionPatch,
  type SessionType,
  updateSession,
} from "@sluice/realtime";
import type { Logger } from "pino";
import { inDialect } from "../dialect-link.ts";
import { ResumableLink } from "../resumption/resumable-link.ts";
import type { CallSnapshot } from "../resumption/snapshot-format.ts";
import { AtCapacity } from "../signaling/calls.ts";
import { Call, type CallEngines, ignoring } from "./call.ts";
import { CallTrace } from "./call-trace.ts";
import { Keeper } from "./keeper.ts";
import type { Metrics } from "./metrics.ts";
import type { Takeover } from "./takeover.ts";

/** Settings of {@link Calls}. */
export interface CallsOptions {
  readonly engines: CallEngines;
  /** What the agent takes and guesses; told in the metrics. */
  readonly pipeline?: Pipeline | undefined;
  /** Name shown to clients that ask for no model, such as the agent's. */
  readonly model: string;
  /** What an agent is told where a client says nothing. */
  readonly instructions: string;
  /** Monotonic clock. */
  readonly now: () => Milli;
  /** Calls at once; more are refused. */
  readonly maxCalls: number;
  /** The longest call. */
  readonly maxDurationMs: Milli;
  /** How long a conversation outlives its connection, where its client asked for it; default 30 s. */
  readonly resumeGraceMs?: Milli | undefined;
  /** How conversations outlive this transceiver. */
  readonly takeover: Takeover;
  readonly log: Logger;
  /** Where calls are recorded as spans; default nowhere. */
  readonly tracer?: Tracer | undefined;
}

/** The kinds of connections. */
export type Pipe = "webrtc" | "webtransport" | "websocket" | "moq";

/** How a call is to begin. */
export interface CallRequest {
  readonly id: string;
  readonly pipe: Pipe;
  readonly model: string | undefined;
  /** Default `realtime`. */
  readonly type?: SessionType | undefined;
  /** Default `ga`. */
  readonly dialect?: DialectName | undefined;
  /** What the client's secret says of the session, then what the client itself says; the latter wins. */
  readonly defaults: readonly (SessionPatch | undefined)[];
}

/** A random id such as `item_4fWl…`; `call` ids stay within the 32 characters that some clients allow. */
export function createId(prefix: IdPrefix | "rtc" | "sess"): string {
  return `${prefix}_${randomBytes(15).toString("base64url")}`;
}

/** How long a conversation outlives its connection, by default. */
export const RESUME_GRACE_MS = 30_000;

/** The calls under way. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #metrics: () => Metrics;
  readonly #calls = new Map<string, Call>();
  readonly #resumable = new Map<string, ResumableLink>(); // by token
  readonly #arriving = new Map<string, Promise<CallSnapshot | undefined>>(); // by token
  readonly #emptied: (() => void)[] = [];
  #draining = false;

  constructor(options: CallsOptions, metrics: () => Metrics) {
    this.#options = options;
    this.#metrics = metrics;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Whether one more call may begin. */
  get hasRoom(): boolean {
    return !this.#draining && this.#calls.size < this.#options.maxCalls;
  }

  has(id: string): boolean {
    return this.#calls.has(id);
  }

  /** Begins a call on a new pipe. */
  begin(pipeLink: Link, { id, pipe, model, type, dialect = "ga", defaults }: CallRequest): LinkListener {
    const { instructions, maxDurationMs, log } = this.#options;
    const patches = defaults.filter((patch) => patch !== undefined);
    const asked = patches.map((patch) => patch.type).findLast((one) => one !== undefined);
    const started = createSession({
      id: createId("sess"),
      model: model ?? this.#options.model,
      expiresAt: Math.floor((Date.now() + maxDurationMs) / 1000),
      defaults: { instructions, type: type ?? asked ?? "realtime" },
    });
    const session = patches.reduce((current, patch) => {
      const updated = updateSession(current, patch, { voiceLocked: false });
      return updated.ok ? updated.session : current;
    }, started);
    let call: Call | undefined;
    const listener = inDialect(dialect, pipeLink, (link) => {
      const resumable = this.#makeResumable(link, id, () => call);
      call = this.#create(resumable.link, id, session, model !== undefined, pipe, resumable.forget);
      return resumable.link.start(call);
    });
    if (!call || !listener) throw new Error("a call has a listener");
    this.#calls.set(id, call);
    this.#metrics().handleStarted(pipe);
    log.info({ call: id, pipe, active: this.#calls.size }, "call began");
    return listener;
  }

  /** Goes on with a call of a transceiver that is gone. */
  #takeOver(link: Link, pipe: Pipe, token: string, snapshot: CallSnapshot): LinkListener {
    const { callId: id, conversation: restored } = snapshot;
    let call: Call | undefined;
    const resumable = this.#makeResumable(link, id, () => call, { token, snapshot });
    call = this.#create(resumable.link, id, restored.session, restored.modelLocked, pipe, resumable.forget, restored);
    this.#calls.set(id, call);
    this.#metrics().handleStarted(pipe);
    this.#options.takeover.counters.takenOver += 1;
    this.#options.log.info({ call: id, pipe, active: this.#calls.size }, "call taken over");
    return resumable.link.goOn(call);
  }

  #create(
    link: Link,
    id: string,
    session: Session,
    modelLocked: boolean,
    pipe: string,
    forget: () => void,
    restored?: ConversationSnapshot,
  ): Call {
    const { now, engines, pipeline, maxDurationMs, log, tracer } = this.#options;
    const description = { id, pipe, model: session.model };
    const trace = tracer && new CallTrace(tracer, Date.now() - now(), now(), description);
    return new Call(link, {
      id,
      session,
      modelLocked,
      engines,
      pipeline,
      now,
      createId,
      maxDurationMs,
      restored,
      log,
      onTurn: (report) => {
        this.#metrics().handleTurn(report);
        trace?.handleTurn(report);
      },
      onDecision: (decision) => this.#metrics().handleDecision(decision),
      onFailure: (code) => trace?.handleFailure(now(), code),
      onEnded: (reason) => {
        trace?.handleEnded(now(), reason);
        forget();
        this.#handleEnded(id, reason);
      },
    });
  }

  /** Whether a token opens another connection to a call under way. */
  isResumable(token: string): boolean {
    return this.#resumable.has(token);
  }

  /** The same of a call that another transceiver had, and kept for others; throws {@link AtCapacity}. */
  async findResumable(token: string): Promise<boolean> {
    if (this.isResumable(token)) return true;
    const found = await this.#options.takeover.find(token);
    if (found && !this.hasRoom) throw new AtCapacity();
    return found;
  }

  /** Another connection of a call's own client, in place of the one it lost: of a call here, or of one to be taken over. */
  resume(token: string, link: Link, pipe: Pipe): LinkListener {
    const here = this.#resumable.get(token);
    return here ? here.offer(link) : this.#arrive(token, link, pipe);
  }

  /** The connection waits for its conversation. Its client says nothing before it is welcomed. */
  #arrive(token: string, link: Link, pipe: Pipe): LinkListener {
    let listener: LinkListener = ignoring;
    let isOpen = false;
    let isClosed = false;
    // Without room it stays where others find it.
    const take = () => (this.hasRoom ? this.#options.takeover.take(token) : Promise.resolve(undefined));
    const arriving = this.#arriving.get(token) ?? take();
    this.#arriving.set(token, arriving);
    const arrive = async () => {
      const snapshot = await arriving.finally(() => this.#arriving.delete(token));
      const here = this.#resumable.get(token); // another connection of the same client was first
      const isWelcome = here !== undefined || (snapshot && !this.#calls.has(snapshot.callId));
      if (!isWelcome) return link.close("the conversation is over");
      // Even if this connection is gone by now: nobody else could take the conversation over any more.
      listener = here ? here.offer(link) : this.#takeOver(link, pipe, token, snapshot!);
      if (isOpen && !isClosed) listener.onOpen(this.#options.now());
    };
    arrive().catch((error: unknown) => {
      this.#options.log.error({ err: error }, "a conversation could not be taken over");
      link.close("internal error");
    });
    return {
      onOpen: (now) => {
        isOpen = true;
        listener.onOpen(now);
      },
      onMessage: (now, text) => listener.onMessage(now, text),
      onEarlyAudio: (now, audio) => listener.onEarlyAudio(now, audio),
      onOrderedAudio: (now, audio) => listener.onOrderedAudio(now, audio),
      onSent: (...sent) => listener.onSent(...sent),
      onUtteranceEnded: (now, utterance) => listener.onUtteranceEnded(now, utterance),
      onClosed: (now, reason, lost) => {
        isClosed = true;
        listener.onClosed(now, reason, lost);
      },
    };
  }

  /** Another connection to a call under way, `undefined` when there is none of that name. */
  observe(id: string, link: Link, dialect: DialectName = "ga"): LinkListener | undefined {
    return inDialect(dialect, link, (translated) => this.#calls.get(id)?.observe(translated));
  }

  hangup(id: string): boolean {
    const call = this.#calls.get(id);
    call?.close("the call was hung up");
    return call !== undefined;
  }

  /** Takes no more calls; resolves when those under way have ended, or after `graceMs`. */
  async drain(graceMs: Milli): Promise<void> {
    this.#draining = true;
    if (this.#calls.size === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const emptied = new Promise<void>((resolve) => {
      this.#emptied.push(resolve);
      timer = setTimeout(resolve, graceMs);
    });
    await emptied.finally(() => clearTimeout(timer));
  }

  /** Takes no more calls and ends those under way, telling their clients; resolves when all are gone. */
  async close(reason: string): Promise<void> {
    this.#draining = true;
    for (const call of [...this.#calls.values()]) call.close(reason);
    if (this.#calls.size > 0) await new Promise<void>((resolve) => this.#emptied.push(resolve));
  }

  /** `taken`: what another transceiver saved, and the token that opens it until its client is back. */
  #makeResumable(
    link: Link,
    callId: string,
    callOf: () => Call | undefined,
    taken?: { readonly token: string; readonly snapshot: CallSnapshot },
  ): { readonly link: ResumableLink; forget(): void } {
    const { now, resumeGraceMs = RESUME_GRACE_MS, takeover } = this.#options;
    let token: string | undefined;
    let grace: NodeJS.Timeout | undefined;
    const use = (next: string | undefined) => {
      if (token !== undefined) this.#resumable.delete(token);
      token = next;
      if (next !== undefined) this.#resumable.set(next, resumable);
    };
    const wait = () => {
      clearTimeout(grace);
      grace = setTimeout(() => resumable.expire(now()), resumeGraceMs);
    };
    const keeper = this.#makeKeeper(callId, callOf, () => resumable);
    const resumable: ResumableLink = new ResumableLink(link, {
      graceMs: resumeGraceMs,
      createEventId: () => createId("event"),
      isWanted: () => callOf()?.session.sluice?.resume === true,
      issueToken: () => {
        const next = takeover.seal.mintToken();
        use(next);
        keeper?.use(next);
        return next;
      },
      onDetached: wait,
      onAttached: () => clearTimeout(grace),
      onChanged: (settles) => keeper?.touch(settles),
      isKept: () => takeover.store?.isUp === true,
      taken: taken?.snapshot.link,
      onTaken: (_now, heard) => callOf()?.goOn(heard),
    });
    if (taken) {
      use(taken.token);
      wait();
    }
    const forget = () => {
      clearTimeout(grace);
      use(undefined);
      keeper?.close();
    };
    return { link: resumable, forget };
  }

  #makeKeeper(callId: string, callOf: () => Call | undefined, linkOf: () => ResumableLink): Keeper | undefined {
    const { now, resumeGraceMs = RESUME_GRACE_MS, takeover, log } = this.#options;
    const { store, seal, counters } = takeover;
    if (!store) return undefined;
    return new Keeper({
      store,
      seal,
      renewMs: resumeGraceMs / 3,
      read() {
        const conversation = callOf()?.snapshot();
        const link = conversation && linkOf().snapshot(conversation.audioFromMs);
        return link && { expiresAt: Date.now() + resumeGraceMs, callId, conversation, link };
      },
      onKept: (received) => linkOf().handleKept(received),
      onTaken: () => {
        counters.takenAway += 1;
        linkOf().handleTakenAway(now());
      },
      onTooLong: () => {
        counters.tooLong += 1;
      },
      onError: (error) => log.error({ call: callId, err: error }, "a conversation could not be kept"),
    });
  }

  #handleEnded(id: string, reason: string): void {
    this.#calls.delete(id);
    this.#metrics().handleEnded(reason);
    this.#options.log.info({ call: id, reason, active: this.#calls.size }, "call ended");
    if (this.#calls.size === 0) for (const resolve of this.#emptied.splice(0)) resolve();
  }
}
