/** Puts fragmented handshake messages together (RFC 6347 section 4.2.3), in bounded memory and bounded time. */
import type { HandshakeFragment } from "./dtls-handshake.ts";

/** A whole handshake message. */
export interface HandshakeMessage {
  readonly type: number;
  readonly messageSeq: number;
  readonly body: Uint8Array;
  /** The epoch that all of it came in. */
  readonly epoch: 0 | 1;
}

/** Bytes of one message; a client's certificate is the longest that we meet. */
const MAX_MESSAGE_LENGTH = 16 * 1024;
/** How far ahead of the next message fragments are kept. A flight has four. */
const MAX_AHEAD = 6;

interface Partial {
  readonly type: number;
  readonly epoch: 0 | 1;
  readonly body: Uint8Array;
  readonly seen: Uint8Array;
  missing: number;
}

/** Messages of one handshake, in order. At most 192 KiB. */
export class Reassembly {
  readonly #partials = new Map<number, Partial>();
  #nextSeq: number;

  constructor(nextSeq: number) {
    this.#nextSeq = nextSeq;
  }

  /** The message that `next` waits for. */
  get nextSeq(): number {
    return this.#nextSeq;
  }

  /**
   * Takes a fragment; returns the message's body when it completed a ClientHello, which does not wait for its turn and
   * is forgotten, so that a spoofed one cannot stay in the way.
   */
  add(fragment: HandshakeFragment, epoch: 0 | 1): Uint8Array | undefined {
    const { type, length, messageSeq, offset, body } = fragment;
    if (length > MAX_MESSAGE_LENGTH || messageSeq < this.#nextSeq || messageSeq >= this.#nextSeq + MAX_AHEAD) return;
    let partial = this.#partials.get(messageSeq);
    // Of two that contradict each other the later counts: the real peer sends again, a spoofer guesses.
    if (!partial || partial.type !== type || partial.body.length !== length || partial.epoch !== epoch) {
      if (partial?.epoch === 1 && epoch === 0) return; // authentic beats plaintext
      partial = { type, epoch, body: new Uint8Array(length), seen: new Uint8Array(length), missing: length };
      this.#partials.set(messageSeq, partial);
    }
    for (let i = 0; i < body.length; i++) {
      if (partial.seen[offset + i]) continue;
      partial.seen[offset + i] = 1;
      partial.body[offset + i] = body[i]!;
      partial.missing -= 1;
    }
    if (type !== 1 || partial.missing > 0) return;
    this.#partials.delete(messageSeq);
    return partial.body;
  }

  /** The next whole message in order, once. */
  next(): HandshakeMessage | undefined {
    const partial = this.#partials.get(this.#nextSeq);
    if (!partial || partial.missing > 0) return undefined;
    const messageSeq = this.#nextSeq;
    this.#partials.delete(messageSeq);
    this.#nextSeq += 1;
    return { type: partial.type, messageSeq, body: partial.body, epoch: partial.epoch };
  }
}
