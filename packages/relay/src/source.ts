/** Addresses of clients as the relay keys them: one number for IPv4, text for the rest. */
import { formatIp, type IpAddress, parseIp } from "@sluice/routing";

/** Names one client address and port, and the relay it entered by when that is another one. */
export type SourceKey = number | string;

/** The key of a client at `address` (numeric text as the kernel gives it). Costs no allocation for IPv4. */
export function sourceKey(address: string, port: number, entryRelay = 0): SourceKey {
  const ipv4 = readIpv4(address);
  // 48 bits fit a double exactly; clients of other relays are told apart by text.
  return entryRelay === 0 && ipv4 >= 0 ? ipv4 * 0x10000 + port : `${entryRelay} ${address} ${port}`;
}

/** The key of a client whose address came in a hop header. */
export function sourceKeyOf(address: IpAddress, port: number, entryRelay = 0): SourceKey {
  if (entryRelay === 0 && address.length === 4)
    return (((address[0]! << 24) | (address[1]! << 16) | (address[2]! << 8) | address[3]!) >>> 0) * 0x10000 + port;
  return `${entryRelay} ${formatIp(address)} ${port}`;
}

/** 32 bits that spread sources, ports included: for rendezvous hashing. Clients can choose them; no secret hangs on it. */
export function hashSource(address: IpAddress, port: number): number {
  return hashBytes(address, address.length, 0x811c9dc5 ^ port);
}

/** 32 bits that name the host, or for IPv6 the /64, that `address` belongs to. */
export function hashHost(address: string, seed: number): number {
  const ipv4 = readIpv4(address);
  if (ipv4 >= 0) return mix(ipv4 ^ mix(seed));
  const ip = parseIp(address) ?? NOBODY;
  return hashBytes(ip, Math.min(8, ip.length), seed);
}

/** Mixes 32 bits so that each depends on all (the finalizer of MurmurHash3). */
export function mix(value: number): number {
  let mixed = value | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

const NOBODY = new Uint8Array(16);

/** FNV-1a. */
function hashBytes(bytes: Uint8Array, size: number, start: number): number {
  let hash = start;
  for (let i = 0; i < size; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash >>> 0;
}

/** The 32 bits of a dotted address, -1 for any other. */
function readIpv4(text: string): number {
  let [ip, part] = [0, 0];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2e) {
      ip = ip * 256 + part;
      part = 0;
    } else if (code >= 0x30 && code <= 0x39) part = part * 10 + code - 0x30;
    else return -1;
  }
  return ip * 256 + part;
}
