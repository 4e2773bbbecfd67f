/**
 * Keeps one call's snapshot where another transceiver finds it: soon after something settled, at a low rate while an answer is
 * made, seldom when nothing happens. Nothing waits for it.
 */
import type { ConversationStore } from "../resumption/conversation-store.ts";
import type { Seal } from "../resumption/seal.ts";
import { type CallSnapshot, encodeSnapshot } from "../resumption/snapshot-format.ts";

/** What a keeper needs. */
export interface KeeperOptions {
  readonly store: ConversationStore;
  readonly seal: Seal;
  /** The call as it is now; `undefined` when it cannot be resumed. */
  readonly read: () => CallSnapshot | undefined;
  /** A snapshot is kept that has so many of the client's events. */
  readonly onKept: (received: number) => void;
  /** Another transceiver took it. */
  readonly onTaken: () => void;
  /** A snapshot was too long to be kept. */
  readonly onTooLong: () => void;
  readonly onError: (error: unknown) => void;
  /** How often it is renewed when nothing happens. */
  readonly renewMs: number;
}

/** Things that settle come in groups. */
const SETTLE_MS = 20;
const EVERY_MS = 250;
/** Bytes a second, for long. */
const RATE = 256 * 1024;
const RETRY_MS = 1000;

/** Keeps one call. */
export class Keeper {
  readonly #options: KeeperOptions;
  #token: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Infinity;
  #notBefore = 0;
  #isBusy = false;
  #isClosed = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** The call is opened by this token from now on, and by no other. */
  use(token: string): void {
    this.#forget();
    this.#token = token;
    this.touch(true);
  }

  /** What is kept is out of date. */
  touch(settles: boolean): void {
    const now = performance.now();
    this.#schedule(Math.max(now + (settles ? SETTLE_MS : EVERY_MS), this.#notBefore));
  }

  /** The call is over: so is what is kept. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#forget();
  }

  #forget(): void {
    if (this.#token !== undefined) this.#options.store.drop(this.#options.seal.nameOf(this.#token));
    this.#token = undefined;
  }

  #schedule(at: number): void {
    if (this.#isClosed || at >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = at;
    this.#timer = setTimeout(
      () => {
        this.#dueAt = Infinity;
        // The next one is due when this one is done.
        if (this.#isBusy) this.touch(false);
        else this.#keep().catch((error: unknown) => this.#options.onError(error));
      },
      Math.max(0, at - performance.now()),
    );
    this.#timer.unref();
  }

  async #keep(): Promise<void> {
    const { store, seal, read, renewMs } = this.#options;
    const token = this.#token;
    if (token === undefined) return;
    if (!store.isUp) return this.#schedule(performance.now() + RETRY_MS);
    const snapshot = read();
    if (!snapshot) return this.#forget(); // nobody can go on with it any more
    const plain = encodeSnapshot(snapshot);
    if (!plain) {
      this.#options.onTooLong();
      return this.#schedule(performance.now() + RETRY_MS);
    }
    const record = seal.seal(token, plain);
    this.#notBefore = performance.now() + (record.length / RATE) * 1000;
    this.#isBusy = true;
    const kept = await store.put(seal.nameOf(token), record).finally(() => {
      this.#isBusy = false;
    });
    if (this.#isClosed || this.#token !== token) return store.drop(seal.nameOf(token));
    if (kept === "taken") return this.#options.onTaken();
    if (kept === "kept") this.#options.onKept(snapshot.link.received);
    this.#schedule(performance.now() + (kept === "kept" ? renewMs : RETRY_MS));
  }
}
