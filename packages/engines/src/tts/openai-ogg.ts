/** Opus packets out of an Ogg stream (RFC 3533, RFC 7845) that is cut anywhere. One stream, no seeking. */

const PAGE_HEADER = 27;
/** A page is at most this long: 27 + 255 + 255 * 255 bytes. */
const LONGEST_PAGE = 65_307;
/** Far more than any Opus packet (RFC 6716: 1275 bytes a frame, 48 frames). */
const LONGEST_PACKET = 64 * 1024;

/** Reads one Ogg Opus stream. */
export class OggOpusReader {
  #held: Buffer = Buffer.alloc(0);
  #partial: Buffer[] = []; // a packet that goes on in the next page
  #headers = 0;
  /** Samples at 48 kHz to drop at the beginning; `undefined` before the header was read. */
  preSkip: number | undefined;
  /** The bytes are no Ogg Opus; nothing more comes. */
  broken = false;

  /** Takes bytes, gives the audio packets that are whole. */
  push(bytes: Uint8Array): Uint8Array[] {
    if (this.broken) return [];
    this.#held = Buffer.concat([this.#held, bytes]);
    const packets: Uint8Array[] = [];
    for (let size = this.#pageSize(); size !== undefined && size <= this.#held.length; size = this.#pageSize()) {
      this.#readPage(this.#held.subarray(0, size), packets);
      this.#held = this.#held.subarray(size);
      if (this.broken) return [];
    }
    return packets;
  }

  /** Size of the page that begins here; `undefined` when not even that is known. */
  #pageSize(): number | undefined {
    const held = this.#held;
    if (held.length < PAGE_HEADER) {
      if (!"OggS".startsWith(held.toString("latin1", 0, 4))) this.broken = true;
      return undefined;
    }
    if (held.toString("latin1", 0, 4) !== "OggS" || held[4] !== 0) {
      this.broken = true;
      return undefined;
    }
    const segments = held[26]!;
    if (held.length < PAGE_HEADER + segments) return undefined;
    let size = PAGE_HEADER + segments;
    for (let at = 0; at < segments; at++) size += held[PAGE_HEADER + at]!;
    return Math.min(size, LONGEST_PAGE);
  }

  #readPage(page: Buffer, packets: Uint8Array[]): void {
    const segments = page[26]!;
    const continued = (page[5]! & 1) === 1;
    let at = PAGE_HEADER + segments;
    let skipping = continued && this.#partial.length === 0; // its beginning was never seen
    if (!continued) this.#partial = [];
    for (let segment = 0; segment < segments; segment++) {
      const length = page[PAGE_HEADER + segment]!;
      if (!skipping) this.#partial.push(page.subarray(at, at + length));
      at += length;
      if (length === 255) continue; // the packet goes on
      if (!skipping) this.#endPacket(Buffer.concat(this.#partial), packets);
      this.#partial = [];
      skipping = false;
    }
    if (this.#partial.reduce((size, piece) => size + piece.length, 0) > LONGEST_PACKET) this.broken = true;
  }

  #endPacket(packet: Buffer, packets: Uint8Array[]): void {
    this.#headers++;
    if (this.#headers === 1) {
      if (packet.length < 19 || packet.toString("latin1", 0, 8) !== "OpusHead") this.broken = true;
      else this.preSkip = packet.readUInt16LE(10);
    } else if (this.#headers > 2 && packet.length > 0) packets.push(packet); // the second one is OpusTags
  }
}
