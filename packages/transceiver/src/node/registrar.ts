/** Makes a transceiver known to the relays of its cluster by signed entries in Redis. Nothing waits for it. */
import { clusterOf, formatRegistration, formatServerId, type KeyRing, type ServerId } from "@sluice/routing";
import { createClient, ErrorReply } from "redis";

/** Settings of a {@link Registrar}. */
export interface RegistrarOptions {
  /** `redis://...` */
  readonly url: string;
  readonly keyRing: KeyRing;
  readonly serverId: ServerId;
  /** Numeric address and port at which relays reach our UDP port. */
  readonly address: string;
  readonly port: number;
  /** Whether QUIC is spoken at that port. */
  readonly quic: boolean;
  /** 0 idle, 1 full. */
  readonly load: () => number;
  /** Gets one line when Redis goes or comes back. */
  readonly log: (line: string) => void;
}

const EVERY_MS = 2000;
/** Commands that a Redis which hangs may owe us. */
const MAX_QUEUED = 64;
/** Relays forget us this long after our last word. */
const LIVES_SECONDS = 10;
/** Entries of transceivers that ended without a word are removed with the whole hash, once nobody renews it. */
const HASH_LIVES_SECONDS = 3600;

/** Registers until closed. */
export class Registrar {
  readonly #options: RegistrarOptions;
  readonly #client: ReturnType<typeof createClient>;
  readonly #timer: NodeJS.Timeout;
  #draining = false;
  #up: boolean | undefined; // until the first attempt ended

  constructor(options: RegistrarOptions) {
    this.#options = options;
    this.#client = createClient({
      url: options.url,
      disableOfflineQueue: true,
      commandsQueueMaxLength: MAX_QUEUED,
      socket: {
        connectTimeout: 1000,
        reconnectStrategy: (tries) => Math.min(2000, 50 * 2 ** tries) + 50 * Math.random(),
      },
    });
    this.#client.on("error", (error: NodeJS.ErrnoException) => this.#note(false, error.message || `${error.code}`));
    this.#client.on("ready", () => {
      this.#note(true, "");
      void this.#register();
    });
    // Failures come as 'error' events; this promise settles with the first success or with close().
    this.#client.connect().catch(() => undefined);
    this.#timer = setInterval(() => void this.#register(), EVERY_MS);
  }

  /** Tells relays at once that no new call should come here. */
  async drain(): Promise<void> {
    this.#draining = true;
    await this.#register();
  }

  /** Takes our entry away and disconnects. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    const { serverId } = this.#options;
    await this.#try(() => this.#client.hDel(this.#hash, formatServerId(serverId)));
    this.#client.destroy();
  }

  get #hash(): string {
    return `sluice:transceivers:${clusterOf(this.#options.serverId)}`;
  }

  async #register(): Promise<void> {
    const { keyRing, serverId, address, port, quic, load } = this.#options;
    const expiresAt = Math.floor(Date.now() / 1000) + LIVES_SECONDS;
    const entry = { serverId, address, port, load: load(), draining: this.#draining, quic, expiresAt };
    const write = () => this.#client.hSet(this.#hash, formatServerId(serverId), formatRegistration(keyRing, entry));
    await this.#try(async () => {
      await write().catch(async (error: unknown) => {
        if (!(error instanceof ErrorReply) || !error.message.startsWith("WRONGTYPE")) throw error;
        await this.#client.del(this.#hash); // what else is there serves nobody
        await write();
      });
      await this.#client.expire(this.#hash, HASH_LIVES_SECONDS);
      this.#note(true, "");
    });
  }

  async #try(command: () => Promise<unknown>): Promise<void> {
    if (!this.#client.isReady) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("no answer within 1 s")), 1000);
    });
    const running = command();
    running.catch(() => undefined);
    await Promise.race([running, late])
      .catch((error: unknown) => this.#note(false, String(error)))
      .finally(() => clearTimeout(timer));
  }

  #note(up: boolean, reason: string): void {
    if (up === this.#up) return;
    const what = this.#up
      ? `lost (${reason}); calls go on without it`
      : `not reached (${reason}); relays do not know us`;
    this.#options.log(`redis: ${up ? "connected" : what}`);
    this.#up = up;
  }
}
