/**
 * Client secrets, `ek_…`: what a server gives to a browser so that it may talk without the API key. A secret is its
 * own record (JSON, base64url) and an HMAC-SHA256 over it; nothing of it is read before the HMAC was verified. What
 * cannot ride along, long session settings and what was used up, is kept here, bounded.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { parseSession, type SessionPatch } from "@sluice/realtime";

/** Settings of {@link ClientSecrets}. */
export interface ClientSecretsOptions {
  /** At least 32 bytes; servers that share it accept each other's secrets. */
  readonly key: Uint8Array;
  /** Keys of before, whose secrets still count: while a fleet changes its keys, some servers mint by them. */
  readonly olderKeys?: readonly Uint8Array[];
  /** Who takes these secrets; one minted for another is refused. Default `sluice`. */
  readonly audience?: string;
  /** How far servers' clocks may differ, seconds; default 30. */
  readonly leewaySeconds?: number;
  /** Random bytes. */
  readonly random: (size: number) => Uint8Array;
}

/** What a secret is to be. */
export interface ClientSecretRequest {
  /** Until it expires, seconds. */
  readonly seconds: number;
  /** Whether it opens one session instead of any number until it expires. */
  readonly singleUse: boolean;
  /** Settings that its sessions start with. */
  readonly session: SessionPatch | undefined;
}

/** A minted secret. */
export interface ClientSecret {
  readonly value: string;
  /** Unix seconds. */
  readonly expiresAt: number;
}

/** What a valid secret allows. */
export interface SecretGrant {
  readonly session: SessionPatch | undefined;
}

interface Payload {
  readonly id: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly once?: true;
  /** The settings, or that they are kept under `id`. */
  readonly session?: SessionPatch | "kept";
}

const PREFIX = "ek_";
/** Longest secret that is looked at: it has to fit in a header. */
const MAX_LENGTH = 8192;
/** Longest settings that ride along, as JSON; HTTP servers take 16 KiB of headers in all. */
const MAX_INLINE = 3072;
/** Used and kept secrets at once, and characters of kept settings. */
const MAX_RECORDS = 10_000;
const MAX_KEPT = 32 * 1024 * 1024;

/** Mints and verifies client secrets. */
export class ClientSecrets {
  readonly #options: Required<ClientSecretsOptions>;
  readonly #kept = new Map<string, { readonly json: string; readonly until: number }>();
  readonly #used = new Map<string, number>();
  #keptSize = 0;

  constructor({ key, random, olderKeys = [], audience = "sluice", leewaySeconds = 30 }: ClientSecretsOptions) {
    this.#options = { key, random, olderKeys, audience, leewaySeconds };
  }

  /** A new secret; `undefined` while too much is kept for others. `now`: Unix seconds. */
  mint(now: number, { seconds, singleUse, session }: ClientSecretRequest): ClientSecret | undefined {
    const id = Buffer.from(this.#options.random(12)).toString("base64url");
    const exp = Math.floor(now) + seconds;
    const json = session && JSON.stringify(session);
    // What rides along can be read by whoever gets the secret: keys of MCP servers stay here.
    const inline = json === undefined || (json.length <= MAX_INLINE && !holdsKeys(session));
    if (!inline && !this.#keep(now, id, json, exp)) return undefined;
    const payload: Payload = {
      id,
      aud: this.#options.audience,
      iat: Math.floor(now),
      exp,
      ...(singleUse ? { once: true as const } : {}),
      ...(session ? { session: inline ? session : ("kept" as const) } : {}),
    };
    const record = Buffer.from(JSON.stringify(payload)).toString("base64url");
    return { value: `${PREFIX}${record}.${sign(this.#options.key, record)}`, expiresAt: exp };
  }

  /** What `secret` allows now, `undefined` if nothing. `spend`: a single-use secret is used up by this. */
  verify(now: number, secret: string, spend: boolean): SecretGrant | undefined {
    if (secret.length > MAX_LENGTH || !secret.startsWith(PREFIX)) return undefined;
    const [record = "", signature = "", ...more] = secret.slice(PREFIX.length).split(".");
    const { key, olderKeys } = this.#options;
    if (more.length > 0 || ![key, ...olderKeys].some((one) => equal(signature, sign(one, record)))) return undefined;
    const payload = JSON.parse(Buffer.from(record, "base64url").toString()) as Payload;
    if (payload.aud !== this.#options.audience) return undefined;
    if (now >= payload.exp || payload.iat > now + this.#options.leewaySeconds) return undefined;
    const session = this.#sessionOf(payload);
    if (session === undefined) return undefined;
    if (payload.once && spend && !this.#spend(now, payload)) return undefined;
    return { session: session ?? undefined };
  }

  /** `null`: it has none; `undefined`: they are gone. */
  #sessionOf({ id, session }: Payload): SessionPatch | null | undefined {
    if (session !== "kept") return session ?? null;
    const kept = this.#kept.get(id);
    const parsed = kept && parseSession(JSON.parse(kept.json));
    return parsed?.ok ? parsed.session : undefined;
  }

  #spend(now: number, { id, exp }: Payload): boolean {
    if (this.#used.size >= MAX_RECORDS) this.#forget(now);
    if (this.#used.has(id) || this.#used.size >= MAX_RECORDS) return false;
    this.#used.set(id, exp);
    return true;
  }

  #keep(now: number, id: string, json: string, until: number): boolean {
    const full = () => this.#kept.size >= MAX_RECORDS || this.#keptSize + json.length > MAX_KEPT;
    if (full()) this.#forget(now);
    if (full()) return false;
    this.#kept.set(id, { json, until });
    this.#keptSize += json.length;
    return true;
  }

  #forget(now: number): void {
    for (const [id, exp] of this.#used) if (now >= exp) this.#used.delete(id);
    for (const [id, { json, until }] of this.#kept) {
      if (now < until) continue;
      this.#kept.delete(id);
      this.#keptSize -= json.length;
    }
  }
}

function sign(key: Uint8Array, record: string): string {
  return createHmac("sha256", key).update(`${PREFIX}${record}`).digest("base64url");
}

function holdsKeys(session: SessionPatch | undefined): boolean {
  return session?.tools?.some((tool) => tool.type === "mcp" && (tool.authorization ?? tool.headers)) ?? false;
}

// Compared as text: base64url has several spellings of the same bytes, and only one is ours.
function equal(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}
