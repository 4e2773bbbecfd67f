/**
 * Who may use this server. Without an API key: whoever sits at this machine, as far as a request can show it, so that
 * neither a proxy, nor a page on the web, nor a name that resolves here (DNS rebinding) counts. With one: whoever has
 * it, or a client secret minted with it.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { SessionPatch } from "@sluice/realtime";
import { isLoopbackAddress, isLoopbackHost, isLoopbackOrigin, isProxied } from "./address.ts";
import type { ClientSecrets } from "./client-secret.ts";

/** The parts of a request that say who sent it. */
export interface Caller {
  /** Address of the socket's other end. */
  readonly remoteAddress: string | undefined;
  /** A header by its lower-case name. */
  readonly header: (name: string) => string | undefined;
}

/** How a request was allowed. */
export type Grant =
  /** It came from this machine, which is open. */
  | { readonly kind: "loopback" }
  /** It had the API key. */
  | { readonly kind: "key" }
  /** It had a client secret, which may carry a session's settings. */
  | { readonly kind: "secret"; readonly session: SessionPatch | undefined };

/** Why a request was not allowed, for a person. */
export interface Refusal {
  readonly kind: "refused";
  readonly code: "invalid_api_key" | "missing_api_key" | "forbidden_origin";
  readonly message: string;
}

/** Settings of {@link Auth}. */
export interface AuthOptions {
  /** `SLUICE_API_KEY`; without one, only this machine may call. */
  readonly apiKey: string | undefined;
  readonly secrets: ClientSecrets;
}

/** Subprotocol by which browsers, which cannot set headers, hand a WebSocket their key. */
const KEY_PROTOCOL = "openai-insecure-api-key.";

/** Decides about every request. */
export class Auth {
  readonly #options: AuthOptions;

  constructor(options: AuthOptions) {
    this.#options = options;
  }

  /** The mint and judge of client secrets. */
  get secrets(): ClientSecrets {
    return this.#options.secrets;
  }

  /** Judges a request. `spend`: it opens a session, which uses a single-use secret up. `now`: Unix seconds. */
  authorize(now: number, caller: Caller, spend = false): Grant | Refusal {
    const { apiKey, secrets } = this.#options;
    const credential = credentialOf(caller);
    if (apiKey !== undefined && credential !== undefined && equalKeys(credential, apiKey)) return { kind: "key" };
    if (credential?.startsWith("ek_")) {
      const grant = secrets.verify(now, credential, spend);
      if (grant) return { kind: "secret", session: grant.session };
      return refuse("invalid_api_key", "This client secret is not valid here, or no longer.");
    }
    if (apiKey === undefined) return openToLoopback(caller);
    if (credential === undefined) {
      return refuse("missing_api_key", "Give this server's API key or a client secret as a Bearer token.");
    }
    return refuse("invalid_api_key", "This is not the API key of this server.");
  }
}

function openToLoopback(caller: Caller): Grant | Refusal {
  const { remoteAddress, header } = caller;
  if (!isLoopbackAddress(remoteAddress) || isProxied(header)) {
    const message = "This server takes calls from its own machine only. To open it, start it with SLUICE_API_KEY set.";
    return refuse("missing_api_key", message);
  }
  const origin = header("origin");
  if (!isLoopbackHost(header("host")) || (origin !== undefined && !isLoopbackOrigin(origin))) {
    const message = "Without SLUICE_API_KEY, this server takes calls only from pages at localhost.";
    return refuse("forbidden_origin", message);
  }
  return { kind: "loopback" };
}

/** The key or secret of a request, wherever clients put it. */
function credentialOf({ header }: Caller): string | undefined {
  const [, bearer] = /^Bearer +(\S+) *$/i.exec(header("authorization") ?? "") ?? [];
  if (bearer !== undefined) return bearer;
  const key = header("api-key");
  if (key !== undefined) return key;
  const protocols = header("sec-websocket-protocol")?.split(",") ?? [];
  const protocol = protocols.map((one) => one.trim()).find((one) => one.startsWith(KEY_PROTOCOL));
  return protocol?.slice(KEY_PROTOCOL.length);
}

// Hashed first: the comparison must not tell the length either.
function equalKeys(a: string, b: string): boolean {
  const hash = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

function refuse(code: Refusal["code"], message: string): Refusal {
  return { kind: "refused", code, message };
}
