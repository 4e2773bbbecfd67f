/**
 * Work within other work, which ends with it. What `AbortSignal.any` gives, but known to be over when it is: a signal made by it is
 * asked through all of its sources each time, and is collected, not released. A turn has some twenty, in its way to the first sound.
 */

/** A signal that aborts when one of its parents does, or by itself. To be ended, one way or the other: parents live on. */
export class Scope {
  readonly #controller = new AbortController();
  readonly #parents: readonly AbortSignal[];

  constructor(...parents: readonly AbortSignal[]) {
    this.#parents = parents;
    for (const parent of parents) {
      if (parent.aborted) {
        this.abort(parent.reason);
        break;
      }
      parent.addEventListener("abort", this.#onAbort);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Ends the work. Give a reason: without one an error with a stack trace is made. */
  abort(reason: unknown): void {
    this.leave();
    this.#controller.abort(reason);
  }

  /** The work is done: parents do not reach it any more. */
  leave(): void {
    for (const parent of this.#parents) parent.removeEventListener("abort", this.#onAbort);
  }

  readonly #onAbort = (event: Event): void => this.abort((event.target as AbortSignal).reason);
}
