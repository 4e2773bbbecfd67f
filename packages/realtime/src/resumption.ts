/**
 * How a conversation outlives its connection (docs/resumption.md): both sides count the events that they send and receive
 * and keep those that the other has not acknowledged, as XMPP does (XEP-0198, Stream Management). The pipes are ordered and
 * reliable, so counting needs no numbers on the wire. For browsers and servers alike. Pure.
 */

/** Either side: so many counted events came. */
export interface AckEvent {
  readonly type: "sluice.ack";
  readonly received: number;
}

/** Server: this conversation can be resumed; counting begins behind the first of these. A later one brings another token. */
export interface ResumableEvent {
  readonly type: "sluice.resumable";
  /** Opens one connection, with `?resume=` in its address. */
  readonly token: string;
  /** How long the conversation is kept without a connection. */
  readonly grace_ms: number;
}

/** Server: first on a new connection. */
export interface ResumedEvent {
  readonly type: "sluice.resumed";
  /** The client's counted events that came. */
  readonly received: number;
  /** Where the caller's audio ends that came, on the caller's own clock; `null` when this pipe begins a clock of its own. */
  readonly audio_ms: number | null;
  /**
   * Another server took the conversation over from one that is gone: it goes on from what that one had saved. Events of the
   * server that the client has not had may be lost; what matters of them follows. Absent: nothing is lost.
   */
  readonly taken_over?: boolean | undefined;
}

/** Client: its answer, first on a new connection. */
export interface ResumeEvent {
  readonly type: "sluice.resume";
  /** The server's counted events that came. */
  readonly received: number;
  /** The agent's item that was heard last, and how much of it: the server goes on from there. Absent: from what it sent. */
  readonly item_id?: string | undefined;
  readonly position_ms?: number | undefined;
}

/** The events of resumption itself. */
export type ResumptionEvent = AckEvent | ResumableEvent | ResumedEvent | ResumeEvent;

// They speak of the connection, or of now: a later one makes an earlier one void.
const UNCOUNTED: ReadonlySet<unknown> = new Set([
  "sluice.ack",
  "sluice.clock",
  "sluice.duck",
  "sluice.forecast",
  "sluice.ledger",
  "sluice.playout.report",
  "sluice.resumable",
  "sluice.resume",
  "sluice.resumed",
  "sluice.speech.report",
  "sluice.uplink",
]);
const MARK = '"sluice.';

/** Whether an event counts, by its JSON. Both sides must agree, so both ask this. */
export function isCounted(json: string): boolean {
  return !json.includes(MARK) || !UNCOUNTED.has(parseType(json));
}

/** The event, if it is one of resumption's. */
export function parseResumption(json: string): ResumptionEvent | undefined {
  if (!json.includes(MARK)) return undefined;
  const event = parseObject(json);
  if (event === undefined) return undefined;
  switch (event.type) {
    case "sluice.ack":
      return isCount(event.received) ? (event as unknown as AckEvent) : undefined;
    case "sluice.resumable":
      return typeof event.token === "string" && isCount(event.grace_ms)
        ? (event as unknown as ResumableEvent)
        : undefined;
    case "sluice.resumed":
      return isCount(event.received) && (event.audio_ms === null || isTime(event.audio_ms))
        ? (event as unknown as ResumedEvent)
        : undefined;
    case "sluice.resume": {
      const place = event.item_id === undefined || (typeof event.item_id === "string" && isTime(event.position_ms));
      return isCount(event.received) && place ? (event as unknown as ResumeEvent) : undefined;
    }
    default:
      return undefined;
  }
}

/** Bounds of a {@link ReplayWindow}. */
export interface ReplayLimits {
  /** Events kept; default 2,000. */
  readonly events?: number;
  /** UTF-16 units kept; default 4 Mi. */
  readonly size?: number;
}

/** Events that were sent, until the other side has them. */
export class ReplayWindow {
  readonly #limits: Required<ReplayLimits>;
  #kept: string[] = [];
  #size = 0;
  #acknowledged = 0;
  #lost = false;

  constructor({ events = 2_000, size = 4 * 1024 * 1024 }: ReplayLimits = {}) {
    this.#limits = { events, size };
  }

  /** More was unacknowledged than is kept: nothing can be replayed whole any more. */
  get overflowed(): boolean {
    return this.#lost;
  }

  /** Keeps a counted event. */
  push(json: string): void {
    if (this.#lost) return;
    this.#kept.push(json);
    this.#size += json.length;
    if (this.#kept.length <= this.#limits.events && this.#size <= this.#limits.size) return;
    this.#lost = true;
    this.#kept = [];
  }

  /** The other side has had `received` events. False if that cannot be. */
  acknowledge(received: number): boolean {
    const had = received - this.#acknowledged;
    if (had < 0 || had > this.#kept.length) return false;
    for (const json of this.#kept.splice(0, had)) this.#size -= json.length;
    this.#acknowledged = received;
    return true;
  }

  /**
   * The other side has had `received` events of a window that another process kept, of which the oldest `saved` are known here:
   * goes on counting from there, and drops of them what cannot be in order any more.
   */
  rebase(received: number, saved: number): void {
    if (this.#lost || this.acknowledge(received)) return;
    for (const json of this.#kept.splice(0, saved)) this.#size -= json.length;
    this.#acknowledged = received;
  }

  /** What {@link ReplayWindow.restore} takes, unless it is longer than `size` UTF-16 units. */
  save(size: number): { readonly acknowledged: number; readonly events: readonly string[] } {
    const fits = this.#size <= size;
    return { acknowledged: this.#acknowledged, events: fits ? [...this.#kept] : [] };
  }

  /** A window as it was saved. */
  static restore(saved: { readonly acknowledged: number; readonly events: readonly string[] }): ReplayWindow {
    const window = new ReplayWindow();
    window.#acknowledged = saved.acknowledged;
    for (const json of saved.events) window.push(json);
    return window;
  }

  /** What the other side has not had, in order. */
  get unacknowledged(): readonly string[] {
    return this.#kept;
  }
}

/** Counts what comes, and says when to acknowledge it: after {@link ACK_EVERY} events. */
export class ReceiptCounter {
  #received: number;
  #acknowledged: number;

  /** `received`: where another process stopped counting. Default 0. */
  constructor(received = 0) {
    this.#received = received;
    this.#acknowledged = received;
  }

  get received(): number {
    return this.#received;
  }

  /** A counted event came; whether an acknowledgement is due. */
  count(): boolean {
    this.#received += 1;
    return this.#received - this.#acknowledged >= ACK_EVERY;
  }

  /** The acknowledgement to send, of what came up to `received`. Default: all. */
  acknowledge(received: number = this.#received): AckEvent {
    this.#acknowledged = Math.max(this.#acknowledged, received);
    return { type: "sluice.ack", received: this.#acknowledged };
  }

  /** Events that are not acknowledged yet. */
  get unacknowledged(): number {
    return this.#received - this.#acknowledged;
  }
}

/** Events that are acknowledged together. */
export const ACK_EVERY = 16;

function parseType(json: string): unknown {
  return parseObject(json)?.type;
}

function parseObject(json: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isTime(value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
