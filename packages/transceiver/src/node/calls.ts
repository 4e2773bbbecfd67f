/** The calls of this process: makes them, finds them by name, ends them. */
import { randomBytes } from "node:crypto";
import type { Tracer } from "@opentelemetry/api";
import type { IdPrefix, Link, LinkListener, Milli, Pipeline } from "@sluice/conversation";
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
import { Call, type CallEngines } from "./call.ts";
import { CallTrace } from "./call-trace.ts";
import type { Metrics } from "./metrics.ts";

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
  readonly log: Logger;
  /** Where calls are recorded as spans; default nowhere. */
  readonly tracer?: Tracer | undefined;
}

/** How a call is to begin. */
export interface CallRequest {
  readonly id: string;
  readonly pipe: "webrtc" | "webtransport" | "websocket" | "moq";
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

const RESUME_GRACE_MS = 30_000;

/** The calls under way. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #metrics: () => Metrics;
  readonly #calls = new Map<string, Call>();
  readonly #resumable = new Map<string, ResumableLink>(); // by token
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
    let resumable: { readonly link: ResumableLink; forget(): void } | undefined;
    const listener = inDialect(dialect, pipeLink, (link) => {
      resumable = this.#makeResumable(link, () => call?.session.sluice?.resume === true);
      call = this.#create(resumable.link, id, session, model !== undefined, pipe, resumable.forget);
      return resumable.link.start(call);
    });
    if (!call || !listener) throw new Error("a call has a listener");
    this.#calls.set(id, call);
    this.#metrics().handleStarted(pipe);
    log.info({ call: id, pipe, active: this.#calls.size }, "call began");
    return listener;
  }

  #create(link: Link, id: string, session: Session, modelLocked: boolean, pipe: string, forget: () => void): Call {
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

  /** Another connection of a call's own client, in place of the one it lost; `undefined` when the call is over. */
  resume(token: string, link: Link): LinkListener | undefined {
    return this.#resumable.get(token)?.offer(link);
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

  #makeResumable(link: Link, isWanted: () => boolean): { readonly link: ResumableLink; forget(): void } {
    const { now, resumeGraceMs = RESUME_GRACE_MS } = this.#options;
    let token: string | undefined;
    let grace: NodeJS.Timeout | undefined;
    const forget = () => {
      clearTimeout(grace);
      if (token !== undefined) this.#resumable.delete(token);
      token = undefined;
    };
    const resumable: ResumableLink = new ResumableLink(link, {
      graceMs: resumeGraceMs,
      createEventId: () => createId("event"),
      isWanted,
      issueToken: () => {
        forget();
        token = randomBytes(24).toString("base64url");
        this.#resumable.set(token, resumable);
        return token;
      },
      onDetached: () => {
        grace = setTimeout(() => resumable.expire(now()), resumeGraceMs);
      },
      onAttached: () => clearTimeout(grace),
    });
    return { link: resumable, forget };
  }

  #handleEnded(id: string, reason: string): void {
    this.#calls.delete(id);
    this.#metrics().handleEnded(reason);
    this.#options.log.info({ call: id, reason, active: this.#calls.size }, "call ended");
    if (this.#calls.size === 0) for (const resolve of this.#emptied.splice(0)) resolve();
  }
}
