/** Addresses between text and the words of the addon's tables, remembered: formatting costs more than forwarding. */
import { formatIp, parseIp } from "@sluice/routing";

/** Words that a datagram takes in a table: its length, the peer's port, four of the address (IPv4: the first). */
export const ROW_WORDS = 6;

const MAX_NAMES = 16_384;
const SLOTS = 4096;

/** Remembers the texts of peers of one address family. */
export class Peers {
  readonly #ipv6: boolean;
  readonly #words = new Map<string, Uint32Array>();
  readonly #names: ({ readonly words: Uint32Array; readonly name: string } | undefined)[] = new Array(SLOTS);

  constructor(ipv6: boolean) {
    this.#ipv6 = ipv6;
  }

  /** Texts remembered: 20,480 at most. */
  get size(): number {
    return this.#words.size + this.#names.filter((name) => name !== undefined).length;
  }

  /** The address in a row of a table, as Node would write it. */
  nameAt(table: Uint32Array, row: number): string {
    const at = row * ROW_WORDS + 2;
    const [a, b, c, d] = [table[at]!, table[at + 1]!, table[at + 2]!, table[at + 3]!];
    const slot = (Math.imul(a ^ Math.imul(b ^ Math.imul(c ^ Math.imul(d, 31), 31), 31), 0x9e3779b1) >>> 20) % SLOTS;
    const known = this.#names[slot];
    if (known) {
      const { words } = known;
      if (words[0] === a && words[1] === b && words[2] === c && words[3] === d) return known.name;
    }
    const name = this.#format(a, b, c, d);
    this.#names[slot] = { words: Uint32Array.of(a, b, c, d), name };
    return name;
  }

  /** Writes `address` into a row; false when it is no numeric address of this family. */
  write(address: string, table: Uint32Array, row: number): boolean {
    let words = this.#words.get(address);
    if (!words) {
      words = this.#parse(address);
      if (!words) return false;
      if (this.#words.size >= MAX_NAMES) this.#words.clear();
      this.#words.set(address, words);
    }
    const at = row * ROW_WORDS + 2;
    table[at] = words[0]!;
    table[at + 1] = words[1]!;
    table[at + 2] = words[2]!;
    table[at + 3] = words[3]!;
    return true;
  }

  #format(a: number, b: number, c: number, d: number): string {
    if (!this.#ipv6) return dotted(a);
    if (a === 0 && b === 0 && c === 0xffff) return `::ffff:${dotted(d)}`;
    const ip = new DataView(new ArrayBuffer(16));
    for (const [index, word] of [a, b, c, d].entries()) ip.setUint32(4 * index, word);
    return formatIp(new Uint8Array(ip.buffer));
  }

  #parse(address: string): Uint32Array | undefined {
    const ip = parseIp(address);
    if (!ip) return undefined;
    const view = new DataView(ip.buffer, ip.byteOffset, ip.length);
    if (ip.length === 4)
      return this.#ipv6 ? Uint32Array.of(0, 0, 0xffff, view.getUint32(0)) : Uint32Array.of(view.getUint32(0), 0, 0, 0);
    if (!this.#ipv6) return undefined;
    return Uint32Array.of(view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12));
  }
}

const dotted = (word: number) => `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
