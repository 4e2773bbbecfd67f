/** What relays and transceivers say of each other on the command line. */
import { isIP } from "node:net";
import { type KeyConfig, KeyFormatError, parseKeys, parsePrefix, parseServerId, type ServerId } from "@sluice/routing";
import { UsageError } from "./flags.ts";

/** A numeric address and a port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** A numeric address. */
export function readAddress(value: string, flag: string): string {
  if (isIP(value)) return value;
  throw new UsageError(`${flag} must be a numeric IP address, not "${value}"`);
}

/** A numeric address or a network such as `10.0.0.0/8`. */
export function readNetwork(value: string, flag: string): string {
  if (parsePrefix(value)) return value;
  throw new UsageError(`${flag} must be a numeric IP address or a network such as 10.0.0.0/8, not "${value}"`);
}

/** `address:port`, or `[address]:port` for IPv6. */
export function readEndpoint(value: string, flag: string): Endpoint {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(value);
  const address = match?.[1] ?? match?.[2] ?? "";
  const port = Number(match?.[3]);
  if (isIP(address) && port >= 1 && port <= 65_535) return { address, port };
  throw new UsageError(`${flag} must hold address:port, such as 192.0.2.1:3478 or [2001:db8::1]:3478, not "${value}"`);
}

/** `cluster.node`, such as `1.7`. */
export function readServerId(value: string, flag: string): ServerId {
  const id = parseServerId(value);
  if (id !== undefined) return id;
  throw new UsageError(`${flag} must be cluster.node, two numbers from 0 to 65535 such as 1.7, not "${value}"`);
}

/** `cluster.node=address:port`, with `/webrtc` behind it for one without a QUIC engine. */
export function readTransceiver(
  value: string,
  flag: string,
): Endpoint & { readonly serverId: ServerId; readonly quic?: false } {
  const [id = "", place = ""] = value.split("=");
  const endpoint = place.replace(/\/webrtc$/, "");
  const only = endpoint !== place && { quic: false as const };
  return { serverId: readServerId(id, flag), ...readEndpoint(endpoint, flag), ...only };
}

/** `number@cluster=address:port`. */
export function readRelayPeer(
  value: string,
  flag: string,
): Endpoint & { readonly number: number; readonly cluster: number } {
  const match = /^(\d{1,3})@(\d{1,5})=(.+)$/.exec(value);
  const [number, cluster] = [Number(match?.[1]), Number(match?.[2])];
  if (match && number >= 1 && number <= 255 && cluster <= 65_535) {
    return { number, cluster, ...readEndpoint(match[3]!, flag) };
  }
  throw new UsageError(`${flag} must hold number@cluster=address:port, such as 3@2=198.51.100.1:3478, not "${value}"`);
}

/** `[region[@latitude;longitude]=]address:port`. */
export function readPublicRelay(value: string, flag: string) {
  const [head = "", endpoint] = value.split("=");
  if (endpoint === undefined) return readEndpoint(head, flag);
  const [region, place] = head.split("@");
  const [latitude, longitude] = (place ?? "").split(";").map(Number);
  if (place !== undefined && !(Math.abs(latitude!) <= 90 && Math.abs(longitude!) <= 180)) {
    throw new UsageError(`${flag} has a place that is none: "${place}"; write latitude;longitude in degrees`);
  }
  return {
    ...readEndpoint(endpoint, flag),
    region: region || undefined,
    position: place === undefined ? undefined : { latitude: latitude!, longitude: longitude! },
  };
}

/** The fleet's keys, as `sluice keys new` writes them; never shown again. */
export function readKeys(value: string): readonly KeyConfig[] {
  try {
    return parseKeys(value);
  } catch (cause) {
    if (cause instanceof KeyFormatError) throw new UsageError(`SLUICE_KEYS: ${cause.message}`, { cause });
    throw cause;
  }
}

/** The address of a Redis; it may hold a password, and is not shown. */
export function readRedis(value: string, flag: string): string {
  const protocol = URL.canParse(value) ? new URL(value).protocol : "";
  if (protocol === "redis:" || protocol === "rediss:") return value;
  throw new UsageError(`${flag} must be an address such as redis://:password@host:6379, or rediss:// for TLS`);
}
