/**
 * How a transceiver makes itself known through an untrusted store such as Redis: JSON that says where it is, signed with
 * the fleet's key, so that whoever can write to the store still cannot name a destination.
 */
import { timingSafeEqual } from "node:crypto";
import { formatIp, parseIp } from "./ip.ts";
import { hmacSha256, type KeyRing } from "./key-ring.ts";
import { formatServerId, parseServerId, type ServerId } from "./server-id.ts";

/** Where a transceiver is and how it does. */
export interface Registration {
  readonly serverId: ServerId;
  /** Numeric address of its UDP port for relays. */
  readonly address: string;
  readonly port: number;
  /** 0 idle, 1 full. */
  readonly load: number;
  /** Takes no new calls. */
  readonly draining: boolean;
  /** Whether it speaks QUIC. One that does not say is of a version that was taken to. */
  readonly quic: boolean;
  /** Unix seconds. */
  readonly expiresAt: number;
}

/** A registration of this fleet, or why it counts as none. */
export type RegistrationReading =
  | { readonly ok: true; readonly registration: Registration }
  | { readonly ok: false; readonly reason: "malformed" | "unknownKey" | "forged" | "expired" };

const MAX_LENGTH = 512;

/** Writes a registration, signed with the minting key. */
export function formatRegistration(ring: KeyRing, registration: Registration): string {
  const { serverId, ...rest } = registration;
  const body = JSON.stringify({ serverId: formatServerId(serverId), ...rest });
  const { rotation, registrationKey } = ring.minting;
  return `${rotation}.${hmacSha256(registrationKey, body).toString("base64url")}.${body}`;
}

/** Reads a registration, its signature first; `nowSeconds` is unix time. */
export function parseRegistration(ring: KeyRing, text: string, nowSeconds: number): RegistrationReading {
  const match = text.length <= MAX_LENGTH ? /^([0-6])\.([A-Za-z0-9_-]{43})\.(\{.*\})$/.exec(text) : null;
  if (!match) return { ok: false, reason: "malformed" };
  const key = ring.keyAt(Number(match[1]));
  if (!key) return { ok: false, reason: "unknownKey" };
  const tag = Buffer.from(match[2]!, "base64url");
  if (!timingSafeEqual(tag, hmacSha256(key.registrationKey, match[3]!))) return { ok: false, reason: "forged" };
  const registration = readBody(match[3]!);
  if (!registration) return { ok: false, reason: "malformed" };
  return nowSeconds > registration.expiresAt ? { ok: false, reason: "expired" } : { ok: true, registration };
}

/** The body is ours, but a newer or older version of us may have written it. */
function readBody(body: string): Registration | undefined {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  const { port, load, draining, quic = true, expiresAt } = value;
  const serverId = typeof value.serverId === "string" ? parseServerId(value.serverId) : undefined;
  const ip = typeof value.address === "string" ? parseIp(value.address) : undefined;
  if (serverId === undefined || ip === undefined || typeof draining !== "boolean") return undefined;
  if (typeof quic !== "boolean") return undefined;
  if (!Number.isInteger(port) || (port as number) < 1 || (port as number) > 65_535) return undefined;
  if (typeof load !== "number" || !Number.isInteger(expiresAt)) return undefined;
  return {
    serverId,
    address: formatIp(ip),
    port: port as number,
    load,
    draining,
    quic,
    expiresAt: expiresAt as number,
  };
}
