/**
 * Which pipe a conversation takes: the best that works. They are tried in order of preference; one that fails is followed by
 * the next at once, one that dawdles by the next beside it (RFC 8305, happy eyeballs). The first that carries an event wins.
 */
import { ConversationGone, ServerBusy, Unauthorized } from "./errors.ts";
import type { Transport, TransportKind, TransportListener } from "./transport.ts";

/** How a pipe was tried. */
export interface TransportAttempt {
  readonly kind: TransportKind;
  readonly outcome: "won" | "failed" | "overtaken";
  /** Why it failed. */
  readonly error: Error | undefined;
  /** How long it took. */
  readonly ms: number;
}

/** Which pipe a conversation is on, and why. */
export interface TransportChoice {
  readonly kind: TransportKind;
  /** In words, for a person: `webtransport is not offered by the server; webrtc answered after 120 ms`. */
  readonly reason: string;
  readonly attempts: readonly TransportAttempt[];
}

/** A pipe that is being opened; what it says is kept until somebody listens. */
export class Candidate implements TransportListener {
  readonly transport: Transport;
  readonly #opened = Promise.withResolvers<void>();
  readonly #said: ((listener: TransportListener) => void)[] = [];
  #listener: TransportListener | undefined;

  constructor(make: (listener: TransportListener) => Transport) {
    this.#opened.promise.catch(() => undefined);
    this.transport = make(this);
  }

  /** Opens it; resolves with its first event. */
  async open(): Promise<void> {
    await Promise.race([this.transport.dial().then(() => this.#opened.promise), this.#opened.promise]);
  }

  /** Hears all that it said and says. */
  adopt(listener: TransportListener): void {
    this.#listener = listener;
    for (const say of this.#said.splice(0)) say(listener);
  }

  onMessage(text: string): void {
    this.#opened.resolve();
    this.#say((listener) => listener.onMessage(text));
  }
  onPath(whole: boolean): void {
    this.#say((listener) => listener.onPath(whole));
  }
  onPlayoutBlocked(): void {
    this.#say((listener) => listener.onPlayoutBlocked());
  }
  onPlayed(position: Parameters<TransportListener["onPlayed"]>[0]): void {
    this.#say((listener) => listener.onPlayed(position));
  }
  onOutgoing(event: Parameters<TransportListener["onOutgoing"]>[0]): void {
    this.#say((listener) => listener.onOutgoing(event));
  }
  onClosed(reason: Error | undefined, lost: boolean): void {
    this.#opened.reject(reason ?? new Error("the server hung up"));
    this.#say((listener) => listener.onClosed(reason, lost));
  }

  #say(say: (listener: TransportListener) => void): void {
    if (this.#listener) say(this.#listener);
    else this.#said.push(say);
  }
}

/** How a race is run. */
export interface RaceOptions {
  /** In order of preference. */
  readonly kinds: readonly TransportKind[];
  /** Makes a pipe of a kind, or throws why it cannot be. */
  readonly make: (kind: TransportKind) => Candidate | Promise<Candidate>;
  /** A pipe that takes longer is not waited for alone. */
  readonly staggerMs: number;
  readonly signal: AbortSignal;
  readonly now: () => number;
}

/** Runs it. Throws the error of the most preferred pipe, or at once one that every pipe would meet. */
export async function race(options: RaceOptions): Promise<{ candidate: Candidate; choice: TransportChoice }> {
  const { kinds, make, staggerMs, signal, now } = options;
  const attempts: TransportAttempt[] = [];
  const open = new Map<TransportKind, { candidate: Candidate | undefined; since: number }>();
  const result = Promise.withResolvers<{ candidate: Candidate; kind: TransportKind }>();
  let next = 0;
  let over = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const settle = (kind: TransportKind, outcome: TransportAttempt["outcome"], error?: Error) => {
    const since = open.get(kind)?.since ?? now();
    open.delete(kind);
    attempts.push({ kind, outcome, error, ms: Math.round(now() - since) });
  };
  const fail = (kind: TransportKind, cause: unknown) => {
    if (over) return;
    const error = cause instanceof Error ? cause : new Error(String(cause));
    open.get(kind)?.candidate?.transport.close();
    settle(kind, "failed", error);
    if (isFinal(error)) result.reject(error);
    else if (next < kinds.length) start();
    else if (open.size === 0) result.reject(attempts[0]?.error ?? error);
  };
  const start = () => {
    clearTimeout(timer);
    const kind = kinds[next++];
    if (kind === undefined) return;
    const entry: { candidate: Candidate | undefined; since: number } = { candidate: undefined, since: now() };
    open.set(kind, entry);
    if (next < kinds.length) timer = setTimeout(start, staggerMs);
    // Not a microtask later where it need not be: a pipe is made within the click that asks for it.
    const run = async (made: Candidate) => {
      entry.candidate = made;
      if (over) return made.transport.close();
      await made.open();
      if (over) made.transport.close();
      else result.resolve({ candidate: made, kind });
    };
    try {
      const made = make(kind);
      (made instanceof Promise ? made.then(run) : run(made)).catch((cause) => fail(kind, cause));
    } catch (cause) {
      fail(kind, cause);
    }
  };
  const onAbort = () => result.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  else if (kinds.length === 0) result.reject(new Error("no transport to try"));
  else start();
  try {
    const { candidate, kind } = await result.promise;
    over = true;
    settle(kind, "won");
    for (const other of [...open.keys()]) {
      open.get(other)?.candidate?.transport.close();
      settle(other, "overtaken");
    }
    return { candidate, choice: { kind, reason: explain(kinds, attempts), attempts } };
  } catch (cause) {
    over = true;
    for (const { candidate } of open.values()) candidate?.transport.close();
    throw cause;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

/** No other pipe would fare better. */
function isFinal(error: Error): boolean {
  return error instanceof Unauthorized || error instanceof ServerBusy || error instanceof ConversationGone;
}

/** An attempt in words. */
export function explain(kinds: readonly TransportKind[], attempts: readonly TransportAttempt[]): string {
  const words = attempts.map(({ kind, outcome, error, ms }) => {
    if (outcome === "won") return `${kind} answered after ${ms} ms`;
    return outcome === "failed" ? `${kind}: ${error?.message}` : `${kind} took longer than ${ms} ms`;
  });
  return kinds.length === 1 ? `${kinds[0]} was asked for` : words.join("; ");
}
