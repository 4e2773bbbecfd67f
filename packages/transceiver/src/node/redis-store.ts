/**
 * Conversations in Redis, which is not trusted and may go away, hang, or be full of nonsense at any time: nothing waits for
 * it but a client that has nowhere else to go.
 *
 *     sluice:conversation:<name>    a sealed record, or the mark that it was taken    expires with the grace
 */
import { createClient, ErrorReply, RESP_TYPES } from "redis";
import type { ConversationStore, Keeping } from "../resumption/conversation-store.ts";
import { MAX_RECORD_SIZE } from "../resumption/seal.ts";

/** Settings of a {@link RedisStore}. */
export interface RedisStoreOptions {
  /** `redis://...` */
  readonly url: string;
  /** How long a record lives after it was last renewed, milliseconds. */
  readonly livesMs: number;
  /** Gets one line when Redis goes or comes back. */
  readonly log: (line: string) => void;
}

/** What became of what was asked; it counts up. */
export interface RedisStoreCounters {
  kept: number;
  taken: number;
  /** Not even tried, because Redis is away or slow. */
  skipped: number;
  failed: number;
}

/** Commands that a Redis which hangs may owe us. */
const MAX_IN_FLIGHT = 64;
const TIMEOUT_MS = 1000;
/** After a command without an answer Redis is left alone for so long. */
const PAUSE_MS = 1000;
/** What is left of a record that was taken. Records are longer. */
const TAKEN = "taken";
const PUT = `if redis.call('STRLEN', KEYS[1]) == ${TAKEN.length} then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1`;
const TAKE = `local n = redis.call('STRLEN', KEYS[1])
if n <= ${TAKEN.length} or n > ${MAX_RECORD_SIZE} then return false end
local record = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], '${TAKEN}', 'PX', ARGV[1]) return record`;

/** A connection to Redis. */
export class RedisStore implements ConversationStore {
  readonly counters: RedisStoreCounters = { kept: 0, taken: 0, skipped: 0, failed: 0 };
  readonly #options: RedisStoreOptions;
  readonly #client;
  #inFlight = 0;
  #pausedUntil = 0;
  #up = false;

  constructor(options: RedisStoreOptions) {
    this.#options = options;
    this.#client = createClient({
      url: options.url,
      disableOfflineQueue: true,
      commandsQueueMaxLength: 2 * MAX_IN_FLIGHT,
      socket: {
        connectTimeout: 1000,
        reconnectStrategy: (tries) => Math.min(2000, 50 * 2 ** Math.min(tries, 6)) + 50 * Math.random(),
      },
    }).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    this.#client.on("error", (error: Error) => this.#note(false, error.message));
    this.#client.on("ready", () => this.#note(true, ""));
    // Failures come as 'error' events; this promise settles with the first success or with close().
    this.#client.connect().catch(() => undefined);
  }

  get isUp(): boolean {
    return this.#up && this.#client.isReady;
  }

  async put(name: string, record: Uint8Array): Promise<Keeping> {
    const value = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
    const lives = String(this.#options.livesMs);
    const stored = await this.#ask(
      () => this.#client.eval(PUT, { keys: [keyOf(name)], arguments: [value, lives] }),
      name,
    );
    if (stored === undefined) return "away";
    if (stored !== 1) return "taken";
    this.counters.kept += 1;
    return "kept";
  }

  async has(name: string): Promise<boolean> {
    const length = await this.#ask(() => this.#client.strLen(keyOf(name)), undefined);
    return typeof length === "number" && length > TAKEN.length && length <= MAX_RECORD_SIZE;
  }

  async take(name: string): Promise<Uint8Array | undefined> {
    const lives = String(this.#options.livesMs);
    const record: unknown = await this.#ask(
      () => this.#client.eval(TAKE, { keys: [keyOf(name)], arguments: [lives] }),
      undefined,
    );
    if (!(record instanceof Uint8Array)) return undefined;
    this.counters.taken += 1;
    return record;
  }

  drop(name: string): void {
    void this.#ask(() => this.#client.del(keyOf(name)), undefined);
  }

  /** Ends the connection. */
  close(): void {
    this.#client.destroy();
  }

  /** `rewrites`: a name whose value, being no string, is removed: it serves nobody. */
  async #ask<T>(command: () => Promise<T>, rewrites: string | undefined): Promise<T | undefined> {
    if (this.#inFlight >= MAX_IN_FLIGHT || performance.now() < this.#pausedUntil || !this.#client.isReady) {
      this.counters.skipped += 1;
      return undefined;
    }
    this.#inFlight += 1;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
    });
    // A command that was given up still counts until Redis settles it: that is the bound on what hangs.
    const running = command().finally(() => {
      this.#inFlight -= 1;
    });
    running.catch(() => undefined);
    try {
      const value = await Promise.race([running, late]);
      this.#note(true, "");
      return value;
    } catch (error) {
      this.counters.failed += 1;
      if (!(error instanceof ErrorReply)) {
        this.#pausedUntil = performance.now() + PAUSE_MS;
        this.#note(false, String(error));
      } else if (rewrites !== undefined) {
        this.#client.del(keyOf(rewrites)).catch(() => undefined);
      }
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  #note(up: boolean, reason: string): void {
    if (up === this.#up) return;
    this.#up = up;
    this.#options.log(
      up
        ? "redis: conversations are kept there"
        : `redis: lost (${reason}); conversations are resumed within this transceiver only`,
    );
  }
}

function keyOf(name: string): string {
  return `sluice:conversation:${name}`;
}
