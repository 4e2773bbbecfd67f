/** Time that passes as fast as events can be worked off: a heap of what is to happen when. */

/** Something that is to happen. */
export interface Appointment {
  readonly at: number;
  cancelled: boolean;
}

interface Entry extends Appointment {
  readonly order: number;
  readonly run: () => void;
}

/** A clock that is driven by its own appointments. */
export class VirtualClock {
  readonly #heap: Entry[] = [];
  #orders = 0;
  /** Milliseconds since the beginning. */
  now = 0;

  /** Lets `run` happen in `ms`; what is due at once happens in the order in which it was asked for. */
  after(ms: number, run: () => void): Appointment {
    const entry: Entry = { at: this.now + Math.max(0, ms), order: this.#orders++, run, cancelled: false };
    this.#heap.push(entry);
    this.#siftUp(this.#heap.length - 1);
    return entry;
  }

  /** Lets everything happen until nothing more is to. */
  run(): void {
    for (let entry = this.#take(); entry; entry = this.#take()) {
      if (entry.cancelled) continue;
      this.now = entry.at;
      entry.run();
    }
  }

  #take(): Entry | undefined {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (first === undefined || last === undefined || first === last) return first;
    this.#heap[0] = last;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      if (left >= this.#heap.length) break;
      const child = left + 1 < this.#heap.length && this.#before(left + 1, left) ? left + 1 : left;
      if (!this.#before(child, at)) break;
      this.#swap(at, child);
      at = child;
    }
    return first;
  }

  #siftUp(from: number): void {
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #before(one: number, other: number): boolean {
    const [a, b] = [this.#heap[one]!, this.#heap[other]!];
    return a.at < b.at || (a.at === b.at && a.order < b.order);
  }

  #swap(one: number, other: number): void {
    const kept = this.#heap[one]!;
    this.#heap[one] = this.#heap[other]!;
    this.#heap[other] = kept;
  }
}
