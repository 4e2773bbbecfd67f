/**
 * Messages out of DATA chunks (RFC 9260 sections 6.5, 6.6 and 6.9): fragments joined by their TSNs, ordered messages delivered
 * by their sequence numbers, unordered ones as soon as they are whole. What is held is bounded by the caller, who knows
 * `heldBytes` and `heldChunks`; a message that is longer than it may be is read to its end and not kept.
 */
import type { Data } from "./chunks.ts";
import { unwrap16 } from "./serial.ts";

/** A message as it was sent. */
export interface Message {
  readonly stream: number;
  readonly ppid: number;
  readonly bytes: Uint8Array;
}

/** Fragments of one message with consecutive TSNs. */
interface Run {
  first: number;
  last: number;
  begins: boolean;
  ends: boolean;
  /** `undefined`: the message is too long. */
  parts: Uint8Array[] | undefined;
  size: number;
  readonly of: Pick<Data, "stream" | "ssn" | "ppid" | "unordered">;
}

interface Inbound {
  nextSsn: number;
  /** Whole messages whose turn has not come; `undefined`: not to be delivered. */
  readonly waiting: Map<number, Message | undefined>;
}

const FIRST_SSN = 2 ** 16;

/** Puts messages together. */
export class Reassembly {
  /** Messages that were too long, so far. */
  tooLong = 0;
  /** Bytes of fragments and of messages that wait for their turn. */
  heldBytes = 0;
  /** Fragments and messages that wait. */
  heldChunks = 0;
  readonly #maxMessageSize: number;
  readonly #byFirst = new Map<number, Run>();
  readonly #byLast = new Map<number, Run>();
  readonly #streams = new Map<number, Inbound>();
  readonly #ready: Message[] = [];

  /** `maxMessageSize`: bytes of the longest message that is delivered. */
  constructor(maxMessageSize: number) {
    this.#maxMessageSize = maxMessageSize;
  }

  /** Takes a chunk that came for the first time, with its unwrapped TSN; `false`: the peer breaks the protocol. */
  handleData(tsn: number, data: Data): boolean {
    if (data.begins && data.ends) {
      const fits = data.bytes.length <= this.#maxMessageSize;
      if (!fits) this.tooLong += 1;
      this.#complete(data, fits ? data.bytes : undefined, true);
      return true;
    }
    const run = this.#join(tsn, data);
    if (!run) return false;
    if (run.begins && run.ends) this.#finish(run);
    return true;
  }

  /** Skips messages that the peer has abandoned (RFC 3758 section 3.6): fragments up to `tsn`, and numbers of streams. */
  handleForward(tsn: number, streams: readonly { readonly stream: number; readonly ssn: number }[]): void {
    for (const run of [...this.#byFirst.values()]) if (run.first <= tsn) this.#drop(run);
    for (const { stream, ssn } of streams) {
      const inbound = this.#inbound(stream);
      const skipped = unwrap16(inbound.nextSsn, ssn);
      if (skipped < inbound.nextSsn) continue;
      // What is whole is delivered although it may be skipped.
      const whole = [...inbound.waiting.keys()].filter((each) => each <= skipped).sort((a, b) => a - b);
      for (const each of whole) this.#release(inbound, each);
      inbound.nextSsn = skipped + 1;
      this.#deliver(inbound);
    }
  }

  /** The peer begins to count anew on `streams` (RFC 6525 section 5.2.2); none: on all. */
  resetStreams(streams: readonly number[]): void {
    for (const stream of streams.length > 0 ? streams : [...this.#streams.keys()]) {
      const inbound = this.#streams.get(stream);
      if (!inbound) continue;
      for (const ssn of inbound.waiting.keys()) this.#forget(inbound, ssn);
      this.#streams.delete(stream);
    }
  }

  /** The next message that is due; its bytes may be a view into the packet that it came in. */
  nextMessage(): Message | undefined {
    return this.#ready.shift();
  }

  /** Puts a fragment to those beside it; `undefined`: they are not of one message. */
  #join(tsn: number, data: Data): Run | undefined {
    const before = this.#byLast.get(tsn - 1);
    const after = this.#byFirst.get(tsn + 1);
    // A message may begin where another has not ended: that one was given up before all of it was sent (RFC 3758).
    const continues = before !== undefined && !before.ends && !data.begins;
    const continued = after !== undefined && !after.begins && !data.ends;
    if ((continues && !isOfOne(before.of, data)) || (continued && !isOfOne(after.of, data))) return undefined;
    const { stream, ssn, ppid, unordered } = data;
    const run: Run = continues
      ? before
      : {
          first: tsn,
          last: tsn - 1,
          begins: data.begins,
          ends: false,
          parts: [],
          size: 0,
          of: { stream, ssn, ppid, unordered },
        };
    if (!continues) this.#byFirst.set(tsn, run);
    else this.#byLast.delete(tsn - 1);
    run.last = tsn;
    run.ends = data.ends;
    this.#extend(run, data.bytes.length, [data.bytes.slice()]);
    if (continued) {
      this.#unlink(after);
      run.last = after.last;
      run.ends = after.ends;
      this.heldBytes -= after.parts ? after.size : 0;
      this.heldChunks -= after.parts?.length ?? 0;
      this.#extend(run, after.size, after.parts);
    }
    this.#byLast.set(run.last, run);
    return run;
  }

  #extend(run: Run, size: number, parts: readonly Uint8Array[] | undefined): void {
    const held = run.parts ? run.size : 0;
    run.size += size;
    if (run.parts && parts && run.size <= this.#maxMessageSize) {
      for (const part of parts) run.parts.push(part);
      this.heldBytes += size;
      this.heldChunks += parts.length;
    } else {
      this.heldBytes -= held;
      this.heldChunks -= run.parts?.length ?? 0;
      run.parts = undefined;
    }
  }

  #finish(run: Run): void {
    this.#drop(run);
    if (!run.parts) {
      this.tooLong += 1;
      this.#complete(run.of, undefined, false);
      return;
    }
    const bytes = new Uint8Array(run.size);
    let at = 0;
    for (const part of run.parts) {
      bytes.set(part, at);
      at += part.length;
    }
    this.#complete(run.of, bytes, false);
  }

  /** A message is whole: delivers it, or keeps it until its turn. */
  #complete({ stream, ssn, ppid, unordered }: Run["of"], bytes: Uint8Array | undefined, isView: boolean): void {
    const message = bytes && { stream, ppid, bytes };
    if (unordered) {
      if (message) this.#ready.push(message);
      return;
    }
    const inbound = this.#inbound(stream);
    const number = unwrap16(inbound.nextSsn, ssn);
    if (number < inbound.nextSsn || inbound.waiting.has(number)) return; // a number used twice
    if (number === inbound.nextSsn) {
      if (message) this.#ready.push(message);
      inbound.nextSsn += 1;
      this.#deliver(inbound);
      return;
    }
    inbound.waiting.set(number, message && isView ? { ...message, bytes: message.bytes.slice() } : message);
    this.heldBytes += message?.bytes.length ?? 0;
    this.heldChunks += 1;
  }

  #deliver(inbound: Inbound): void {
    for (; inbound.waiting.has(inbound.nextSsn); inbound.nextSsn++) this.#release(inbound, inbound.nextSsn);
  }

  #release(inbound: Inbound, ssn: number): void {
    const message = inbound.waiting.get(ssn);
    this.#forget(inbound, ssn);
    if (message) this.#ready.push(message);
  }

  #forget(inbound: Inbound, ssn: number): void {
    this.heldBytes -= inbound.waiting.get(ssn)?.bytes.length ?? 0;
    this.heldChunks -= 1;
    inbound.waiting.delete(ssn);
  }

  #drop(run: Run): void {
    this.#unlink(run);
    this.heldBytes -= run.parts ? run.size : 0;
    this.heldChunks -= run.parts?.length ?? 0;
  }

  #unlink(run: Run): void {
    this.#byFirst.delete(run.first);
    this.#byLast.delete(run.last);
  }

  #inbound(stream: number): Inbound {
    let inbound = this.#streams.get(stream);
    if (!inbound) {
      inbound = { nextSsn: FIRST_SSN, waiting: new Map() };
      this.#streams.set(stream, inbound);
    }
    return inbound;
  }
}

function isOfOne(of: Run["of"], data: Data): boolean {
  return (
    of.stream === data.stream &&
    of.unordered === data.unordered &&
    (of.unordered || of.ssn === data.ssn) &&
    of.ppid === data.ppid
  );
}
