/** Messages that wait to leave, first come, first cut; with the sequence numbers of their streams. */
import type { Milli } from "@sluice/conversation";
import type { Data } from "./chunks.ts";

/** A message to send. */
export interface OutgoingMessage {
  readonly stream: number;
  readonly ppid: number;
  /** At least one byte (RFC 8831 section 6.6 has an identifier for empty messages); not to be changed afterwards. */
  readonly bytes: Uint8Array;
  /** Default false. */
  readonly unordered?: boolean;
  /** Times that a chunk of it is sent again; default: until it arrives (RFC 3758). */
  readonly maxRetransmits?: number | undefined;
  /** When it is of no more use; default: never. */
  readonly expiresAt?: Milli | undefined;
}

/** A message that waits or has begun to leave. */
export interface Queued extends OutgoingMessage {
  readonly ssn: number;
  readonly remaining: number;
}

interface Entry extends Queued {
  ssn: number;
  remaining: number;
}

const COMPACT_AT = 256;

/** A queue of messages. */
export class MessageQueue {
  /** Bytes that have not left. */
  bytes = 0;
  #entries: Entry[] = [];
  #head = 0;
  readonly #nextSsns = new Map<number, number>();
  readonly #waiting = new Map<number, number>(); // messages by stream

  get isEmpty(): boolean {
    return this.#head === this.#entries.length;
  }

  push(message: OutgoingMessage): void {
    this.#entries.push({ ...message, ssn: 0, remaining: message.bytes.length });
    this.bytes += message.bytes.length;
    this.#waiting.set(message.stream, (this.#waiting.get(message.stream) ?? 0) + 1);
  }

  has(stream: number): boolean {
    return this.#waiting.has(stream);
  }

  /** The message that is cut next; with `mayAbandon`, whole ones that are of no more use are dropped. */
  first(now: Milli, mayAbandon: boolean): Queued | undefined {
    for (let entry = this.#entries[this.#head]; entry; entry = this.#entries[this.#head]) {
      const isUseless = mayAbandon && entry.expiresAt !== undefined && now >= entry.expiresAt;
      if (!isUseless || entry.remaining < entry.bytes.length) return entry;
      this.#remove(entry);
    }
    return undefined;
  }

  /** Takes the next `size` bytes of the first message. */
  cut(size: number): Omit<Data, "tsn" | "immediate"> {
    const entry = this.#entries[this.#head]!;
    const { stream, ppid, unordered = false, bytes } = entry;
    const from = bytes.length - entry.remaining;
    const begins = from === 0;
    if (begins && !unordered) {
      entry.ssn = this.#nextSsns.get(stream) ?? 0;
      this.#nextSsns.set(stream, (entry.ssn + 1) & 0xffff);
    }
    entry.remaining -= size;
    this.bytes -= size;
    const ends = entry.remaining === 0;
    if (ends) this.#remove(entry);
    return { stream, ssn: entry.ssn, ppid, unordered, begins, ends, bytes: bytes.subarray(from, from + size) };
  }

  /** Drops what has not left of `message`, which has begun to; an empty chunk stands for it. */
  abandon(message: Queued): Omit<Data, "tsn" | "immediate"> | undefined {
    const entry = this.#entries[this.#head];
    if (entry !== message) return undefined;
    const { stream, ssn, ppid, unordered = false, bytes } = entry;
    this.#remove(entry);
    return { stream, ssn, ppid, unordered, begins: false, ends: true, bytes: bytes.subarray(bytes.length) };
  }

  /** Counts `streams` from 0. */
  resetStreams(streams: readonly number[]): void {
    for (const stream of streams) this.#nextSsns.delete(stream);
  }

  #remove(entry: Entry): void {
    this.bytes -= entry.remaining;
    entry.remaining = 0;
    const waiting = this.#waiting.get(entry.stream)! - 1;
    if (waiting > 0) this.#waiting.set(entry.stream, waiting);
    else this.#waiting.delete(entry.stream);
    this.#head += 1;
    if (this.#head < COMPACT_AT && this.#head < this.#entries.length) return;
    this.#entries = this.#entries.slice(this.#head);
    this.#head = 0;
  }
}
