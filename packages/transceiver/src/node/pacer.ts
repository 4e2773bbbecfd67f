/**
 * The one timer of all sessions: a heap of deadlines that wakes for the earliest. Deadlines are absolute, so a late wake
 * delays one frame and shifts none: there is no drift.
 */
import type { Milli } from "@sluice/conversation";

/** Something with a next deadline. */
export interface Paced {
  /** Does what is due at `now`. */
  handleTimeout(now: Milli): void;
  /** When to call it next; `undefined`: not until `schedule` is called again. */
  pollTimeout(): Milli | undefined;
}

/** Deadlines closer than this are served by one wake: Node's timers know only whole milliseconds. */
const BUCKET_MS = 1;
/** How long what a wake sends may wait for the rest of it. */
const FLUSH_MS = 1;
/** Wakes remembered for {@link Pacer.errorQuantile}. */
const ERROR_SAMPLES = 8_192;

interface Entry {
  readonly paced: Paced;
  due: Milli;
  index: number;
}

/** Serves the deadlines of many. */
export class Pacer {
  readonly #now: () => Milli;
  readonly #onError: (error: unknown) => void;
  readonly #flush: () => void;
  readonly #entries = new Map<Paced, Entry>();
  readonly #heap: Entry[] = [];
  readonly #errors = new Float64Array(ERROR_SAMPLES);
  #errorCount = 0;
  #timer: NodeJS.Timeout | undefined;
  #wakeAt = Infinity;
  #waking = false;

  /**
   * `now`: monotonic clock. `onError` is given what a `handleTimeout` throws. `flush` lets what was sent leave: called at the
   * end of a wake, and within a long one each millisecond.
   */
  constructor(now: () => Milli, onError: (error: unknown) => void, flush: () => void = () => {}) {
    this.#now = now;
    this.#onError = onError;
    this.#flush = flush;
  }

  /** Takes up `paced`'s deadline as it is now; to be called after every input of its. */
  schedule(paced: Paced): void {
    const due = paced.pollTimeout();
    let entry = this.#entries.get(paced);
    if (due === undefined) {
      if (entry && entry.index >= 0) this.#take(entry);
      return;
    }
    if (!entry) {
      entry = { paced, due, index: -1 };
      this.#entries.set(paced, entry);
    }
    if (entry.index >= 0 && entry.due === due) return;
    entry.due = due;
    if (entry.index < 0) {
      entry.index = this.#heap.length;
      this.#heap.push(entry);
    }
    this.#siftUp(entry);
    this.#siftDown(entry);
    this.#arm();
  }

  /** Forgets `paced`. */
  remove(paced: Paced): void {
    const entry = this.#entries.get(paced);
    if (!entry) return;
    if (entry.index >= 0) this.#take(entry);
    this.#entries.delete(paced);
  }

  /** Serves what is due by now without waiting for the timer; for the shell to call between packets of a burst. */
  serveDue(): void {
    const first = this.#heap[0];
    if (first && !this.#waking && first.due <= this.#now()) this.#serve(first.due);
  }

  /** How late the wakes of late were, in milliseconds: the `quantile` (0 to 1) of the last 8,192. */
  errorQuantile(quantile: number): Milli {
    const known = this.#errors.slice(0, Math.min(this.#errorCount, ERROR_SAMPLES)).sort();
    return known.length === 0 ? 0 : known[Math.min(known.length - 1, Math.floor(quantile * known.length))]!;
  }

  /** Stops for good. */
  close(): void {
    clearTimeout(this.#timer);
    this.#heap.length = 0;
    this.#entries.clear();
    this.#wakeAt = Infinity;
  }

  #arm(): void {
    if (this.#waking) return; // the wake arms the timer once, at its end
    const first = this.#heap[0];
    if (!first) {
      clearTimeout(this.#timer);
      this.#wakeAt = Infinity;
      return;
    }
    // A timer that is early costs one wake; moving it for every frame would cost more.
    if (this.#wakeAt <= first.due && this.#wakeAt > first.due - BUCKET_MS) return;
    clearTimeout(this.#timer);
    this.#wakeAt = first.due;
    this.#timer = setTimeout(this.#onTimer, Math.max(0, Math.floor(first.due - this.#now())));
  }

  readonly #onTimer = (): void => {
    this.#wakeAt = Infinity;
    this.#serve(this.#now() + BUCKET_MS);
  };

  #serve(until: Milli): void {
    this.#waking = true;
    let flushedAt = this.#now();
    // Bounded: each entry is served once a wake, as its next deadline may be due as well.
    for (let served = 0, most = this.#heap.length; served < most; served++) {
      const entry = this.#heap[0];
      if (!entry || entry.due > until) break;
      this.#take(entry);
      const now = Math.max(this.#now(), entry.due);
      if (now - flushedAt >= FLUSH_MS) {
        this.#flush();
        flushedAt = now;
      }
      this.#errors[this.#errorCount++ % ERROR_SAMPLES] = now - entry.due;
      try {
        entry.paced.handleTimeout(now);
      } catch (error) {
        this.#onError(error);
      }
      if (this.#entries.has(entry.paced)) this.schedule(entry.paced);
    }
    this.#waking = false;
    this.#flush();
    this.#arm();
  }

  #take(entry: Entry): void {
    const { index } = entry;
    const last = this.#heap.pop()!;
    entry.index = -1;
    if (last === entry) return;
    last.index = index;
    this.#heap[index] = last;
    this.#siftUp(last);
    this.#siftDown(last);
  }

  #siftUp(entry: Entry): void {
    while (entry.index > 0) {
      const parent = this.#heap[(entry.index - 1) >> 1]!;
      if (parent.due <= entry.due) return;
      this.#swap(parent, entry);
    }
  }

  #siftDown(entry: Entry): void {
    for (;;) {
      const left = this.#heap[2 * entry.index + 1];
      const right = this.#heap[2 * entry.index + 2];
      const child = right && left && right.due < left.due ? right : left;
      if (!child || child.due >= entry.due) return;
      this.#swap(entry, child);
    }
  }

  #swap(a: Entry, b: Entry): void {
    const { index } = a;
    a.index = b.index;
    b.index = index;
    this.#heap[a.index] = a;
    this.#heap[b.index] = b;
  }
}
