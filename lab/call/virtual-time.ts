/**
 * A clock that jumps: while it runs, the timers and clocks of the whole process are its own, and an hour of calls takes as
 * long as its work. Code that was written for real time runs in it unchanged; sockets and threads do not.
 */

import { Schedule } from "@sluice/netem";

type Timer = { at: number; readonly order: number; run: (() => void) | undefined; every?: number };

const realImmediate = setImmediate;
/** Instants without end: something starts a timer of 0 ms for ever. */
const MAX_AT_ONE_INSTANT = 100_000;

/** Virtual time; only one may have the globals. */
export class VirtualTime {
  #now = 0;
  #order = 0;
  readonly #timers = new Schedule<Timer>();

  /** Milliseconds since it began. */
  readonly now = (): number => this.#now;

  /** Calls `run` at `at`, or at once if that is past; returns how to take it back. */
  at(at: number, run: () => void): () => void {
    const timer: Timer = { at: Math.max(at, this.#now), order: this.#order++, run };
    this.#timers.push(timer);
    return () => {
      timer.run = undefined;
    };
  }

  /** Waits, less long when `signal` aborts. */
  readonly sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const cancel = this.at(this.#now + ms, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = () => {
        cancel();
        resolve();
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });

  /** Runs `work` with the globals replaced, until it is done or `limitMs` have passed. */
  async run<T>(work: () => Promise<T>, limitMs: number): Promise<T> {
    const restore = this.#takeGlobals();
    try {
      let outcome: { readonly value: T } | { readonly error: unknown } | undefined;
      work().then(
        (value) => (outcome = { value }),
        (error: unknown) => (outcome = { error }),
      );
      let atThisInstant = 0;
      for (;;) {
        await quiet();
        if (outcome !== undefined) break;
        const next = this.#timers.pop();
        if (!next || next.at > limitMs) throw new Error(`virtual time: nothing came of it within ${limitMs} ms`);
        atThisInstant = next.at > this.#now ? 0 : atThisInstant + 1;
        if (atThisInstant > MAX_AT_ONE_INSTANT) throw new Error(`virtual time stands still at ${this.#now} ms`);
        this.#now = next.at;
        next.run?.();
        if (next.every !== undefined && next.run)
          this.#timers.push(Object.assign(next, { at: this.#now + next.every }));
      }
      if ("error" in outcome) throw outcome.error;
      return outcome.value;
    } finally {
      restore();
    }
  }

  #takeGlobals(): () => void {
    const target = globalThis as unknown as Record<string, unknown>;
    const names = ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] as const;
    const before = names.map((name) => target[name]);
    const [dateNow, performanceNow] = [Date.now, performance.now];
    const start =
      (every: boolean) =>
      (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
        const timer: Timer = { at: this.#now + Math.max(0, ms), order: this.#order++, run: () => run(...args) };
        if (every) timer.every = Math.max(1, ms);
        this.#timers.push(timer);
        const handle = { ref: () => handle, unref: () => handle, hasRef: () => true, timer };
        return handle;
      };
    const stop = (handle: { readonly timer?: Timer } | undefined) => {
      if (handle?.timer) handle.timer.run = undefined;
    };
    Object.assign(target, {
      setTimeout: start(false),
      setInterval: start(true),
      clearTimeout: stop,
      clearInterval: stop,
    });
    Date.now = () => 1_800_000_000_000 + Math.floor(this.#now);
    performance.now = this.now;
    return () => {
      for (const [at, name] of names.entries()) target[name] = before[at];
      Date.now = dateNow;
      performance.now = performanceNow;
    };
  }
}

/** Lets everything that waits for nothing but each other happen. */
function quiet(): Promise<void> {
  return new Promise((resolve) => realImmediate(resolve));
}
