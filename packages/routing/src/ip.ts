/** Numeric IP addresses between text and bytes (RFC 4291 section 2.2, RFC 5952), without the resolver or `node:net`. */

/** 4 bytes for IPv4, 16 for IPv6. */
export type IpAddress = Uint8Array;

/** Reads a numeric address; an IPv4-mapped IPv6 address becomes the IPv4 one, a zone is refused. */
export function parseIp(text: string): IpAddress | undefined {
  if (text.length > 45) return undefined;
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** Writes an address in its canonical text (RFC 5952). */
export function formatIp(ip: IpAddress): string {
  if (ip.length === 4) return `${ip[0]}.${ip[1]}.${ip[2]}.${ip[3]}`;
  const words = Array.from({ length: 8 }, (_, i) => (ip[2 * i]! << 8) | ip[2 * i + 1]!);
  let [start, length] = [-1, 1]; // the longest run of two zero words or more is shortened
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && words[i + run] === 0) run++;
    if (run > length) [start, length] = [i, run];
  }
  const hex = words.map((word) => word.toString(16));
  if (start < 0) return hex.join(":");
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
}

/** A network: the first `bits` of its addresses are those of `ip`. */
export interface IpPrefix {
  readonly ip: IpAddress;
  readonly bits: number;
}

/** Reads an address (itself alone) or a network such as `10.0.0.0/8` or `2001:db8::/32` (RFC 4632, RFC 4291 section 2.3). */
export function parsePrefix(text: string): IpPrefix | undefined {
  const [address = "", length, ...more] = text.split("/");
  const ip = parseIp(address);
  if (!ip || more.length > 0) return undefined;
  if (length === undefined) return { ip, bits: ip.length * 8 };
  const bits = Number(length);
  return /^\d{1,3}$/.test(length) && bits <= ip.length * 8 ? { ip, bits } : undefined;
}

/** Whether `ip` is of the network. */
export function isWithin(ip: IpAddress, prefix: IpPrefix): boolean {
  if (ip.length !== prefix.ip.length) return false;
  const whole = prefix.bits >> 3;
  for (let at = 0; at < whole; at++) if (ip[at] !== prefix.ip[at]) return false;
  const mask = 0xff00 >> (prefix.bits & 7);
  return (prefix.bits & 7) === 0 || ((ip[whole]! ^ prefix.ip[whole]!) & mask & 0xff) === 0;
}

function parseIpv4(text: string): IpAddress | undefined {
  const ip = new Uint8Array(4);
  let [part, value, digits] = [0, 0, 0];
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT;
    if (code === DOT) {
      if (digits === 0 || part > 3) return undefined;
      ip[part++] = value;
      [value, digits] = [0, 0];
      continue;
    }
    // A leading zero means octal to some readers, so it means nothing here.
    if (code < 0x30 || code > 0x39 || (digits > 0 && value === 0)) return undefined;
    value = value * 10 + code - 0x30;
    if (value > 255 || ++digits > 3) return undefined;
  }
  return part === 4 ? ip : undefined;
}

const DOT = 0x2e;

function parseIpv6(text: string): IpAddress | undefined {
  const sides = text.split("::");
  if (sides.length > 2) return undefined;
  const head = parseWords(sides[0]!, sides.length === 1);
  const tail = sides.length === 2 ? parseWords(sides[1]!, true) : [];
  if (!head || !tail) return undefined;
  const gap = 8 - head.length - tail.length;
  if (sides.length === 2 ? gap < 1 : gap !== 0) return undefined;
  const words = [...head, ...new Array<number>(gap).fill(0), ...tail];
  const ip = Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]));
  const mapped = words.slice(0, 5).every((word) => word === 0) && words[5] === 0xffff;
  return mapped ? ip.slice(12) : ip;
}

/** Reads colon-separated words; an embedded IPv4 address may close them when `last`. */
function parseWords(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const words: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (last && index === parts.length - 1 && part.includes(".")) {
      const ip = parseIpv4(part);
      if (!ip) return undefined;
      words.push((ip[0]! << 8) | ip[1]!, (ip[2]! << 8) | ip[3]!);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) words.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return words.length <= 8 ? words : undefined;
}
