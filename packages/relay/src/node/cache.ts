/**
 * Redis, as the relay trusts it: a cache of who was where, and a notice board of signed registrations. The packet path
 * never waits for it, and what it says is checked before use.
 *
 *     sluice:flow:<client address>:<port>     server id, text           expires 120 s after the flow was last announced
 *     sluice:transceivers:<cluster>           hash of server id -> registration signed by the transceiver
 */
import { formatServerId, type KeyRing, parseRegistration, parseServerId, type ServerId } from "@sluice/routing";
import { createClient, ErrorReply } from "redis";
import type { Transceiver } from "../directory.ts";

/** Settings of a {@link Cache}. */
export interface CacheOptions {
  /** `redis://...` */
  readonly url: string;
  readonly ring: KeyRing;
  readonly cluster: number;
  /** Gets one line when Redis goes or comes back. */
  readonly log: (line: string) => void;
}

const FLOW_TTL_SECONDS = 120;
const LOOKUP_TIMEOUT_MS = 50;
const POLL_TIMEOUT_MS = 1000;
const MAX_IN_FLIGHT = 256;
const BREAKER_FAILURES = 5;
const BREAKER_PAUSE_MS = 1000;
const MAX_RECONNECT_MS = 2000;

/** A connection to Redis that may fail at any time without anybody waiting for it. */
export class Cache {
  readonly counters = { lookups: 0, remembered: 0, failures: 0, skipped: 0, badRegistrations: 0 };
  readonly #client: ReturnType<typeof createClient>;
  readonly #options: CacheOptions;
  #inFlight = 0;
  #failures = 0;
  #pausedUntil = 0;
  #up: boolean | undefined; // until the first attempt ended

  constructor(options: CacheOptions) {
    this.#options = options;
    this.#client = createClient({
      url: options.url,
      disableOfflineQueue: true,
      commandsQueueMaxLength: 2 * MAX_IN_FLIGHT,
      socket: {
        connectTimeout: 1000,
        reconnectStrategy: (tries) =>
          Math.min(MAX_RECONNECT_MS, 50 * 2 ** Math.min(tries, 6)) * (0.5 + Math.random() / 2),
      },
    });
    this.#client.on("error", (error: NodeJS.ErrnoException) => this.#note(false, error.message || `${error.code}`));
    this.#client.on("ready", () => this.#note(true, ""));
  }

  /** Connects, and again whenever the connection is lost; resolves with the first success, or after `waitMs`. */
  async open(waitMs: number): Promise<void> {
    // Failures come as 'error' events; this promise settles with the first success or with close().
    const connected = this.#client.connect().catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs);
    });
    await Promise.race([connected, late]);
    clearTimeout(timer);
  }

  /** Ends the connection. */
  close(): void {
    this.#client.destroy();
  }

  /** Which server a client address was last seen with; `undefined` too when Redis does not say in time. */
  async lookUp(address: string, port: number): Promise<ServerId | undefined> {
    this.counters.lookups += 1;
    const text = await this.#ask(() => this.#client.get(`sluice:flow:${address}:${port}`), LOOKUP_TIMEOUT_MS);
    return typeof text === "string" ? parseServerId(text) : undefined;
  }

  /** Notes which server a client address belongs to. */
  async remember(address: string, port: number, serverId: ServerId): Promise<void> {
    this.counters.remembered += 1;
    const key = `sluice:flow:${address}:${port}`;
    await this.#ask(() => this.#client.setEx(key, FLOW_TTL_SECONDS, formatServerId(serverId)), POLL_TIMEOUT_MS);
  }

  /** Every transceiver of the cluster with a valid registration; `undefined` when Redis cannot be read. */
  async registrations(now: number): Promise<Transceiver[] | undefined> {
    const { cluster, ring } = this.#options;
    const fields = await this.#ask(() => this.#client.hGetAll(`sluice:transceivers:${cluster}`), POLL_TIMEOUT_MS);
    if (!fields) return undefined;
    const transceivers: Transceiver[] = [];
    for (const text of Object.values(fields)) {
      const reading = parseRegistration(ring, String(text), now / 1000);
      if (reading.ok) {
        const { serverId, address, port, draining, quic, expiresAt } = reading.registration;
        transceivers.push({ serverId, address, port, draining, quic, expiresAt: expiresAt * 1000 });
      } else if (reading.reason !== "expired") this.counters.badRegistrations += 1;
    }
    return transceivers;
  }

  /** Runs one command unless too many hang or too many failed just now. */
  async #ask<T>(command: () => Promise<T>, timeoutMs: number): Promise<T | undefined> {
    if (this.#inFlight >= MAX_IN_FLIGHT || performance.now() < this.#pausedUntil || !this.#client.isReady) {
      this.counters.skipped += 1;
      return undefined;
    }
    this.#inFlight += 1;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    });
    // A command that was given up still counts until Redis settles it: that is the bound on what hangs.
    const running = command().finally(() => {
      this.#inFlight -= 1;
    });
    running.catch(() => undefined);
    try {
      const value = await Promise.race([running, timeout]);
      this.#failures = 0;
      return value;
    } catch (error) {
      this.counters.failures += 1;
      // An error that Redis itself answers, as for a value of the wrong type, says that it is well.
      if (error instanceof ErrorReply) this.#failures = 0;
      else if (++this.#failures >= BREAKER_FAILURES) {
        this.#failures = 0;
        this.#pausedUntil = performance.now() + BREAKER_PAUSE_MS;
      }
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  #note(up: boolean, reason: string): void {
    if (up === this.#up) return;
    const what = this.#up ? `lost (${reason}); calls go on without it` : `not reached (${reason}); trying on`;
    this.#options.log(`redis: ${up ? "connected" : what}`);
    this.#up = up;
  }
}
