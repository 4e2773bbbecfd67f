/** Streams that begin anew (RFC 6525), by which a data channel closes (RFC 8831 section 6.7). */
import type { Milli } from "@sluice/conversation";
import { CHUNK, decodeParameters, encodeChunk, encodeParameter, viewOf } from "./packet.ts";
import { FIRST_EPOCH, unwrap32 } from "./serial.ts";

/** Parameter types (RFC 6525 section 4). */
const PARAMETER = {
  outgoingReset: 13,
  incomingReset: 14,
  tsnReset: 15,
  response: 16,
  addOutgoing: 17,
  addIncoming: 18,
};
/** Results (RFC 6525 section 4.4). */
const RESULT = { performed: 1, denied: 2, badSequenceNumber: 5, inProgress: 6 };
/** Streams in one request: what fits into a packet beside all else. */
const MAX_STREAMS = 128;
const MAX_TRIES = 10;

/** What a RE-CONFIG led to. */
export interface ResetOutcome {
  /** The peer's streams that begin anew. None: nothing did; an empty list: all. */
  readonly incoming?: readonly number[];
  /** Ours that do, as the peer has agreed or will never. */
  readonly outgoing?: readonly number[];
  /** Chunks of answers. */
  readonly replies: readonly Uint8Array[];
}

interface Request {
  readonly sequence: number;
  readonly streams: readonly number[];
  readonly chunk: Uint8Array;
  tries: number;
  at: Milli;
}

/** Resets, both ways. */
export class StreamResets {
  #sequence: number; // of our next request
  #expected: number; // the peer's next request
  #lastResult = RESULT.performed;
  #notBefore: Milli | undefined;
  readonly #wanted = new Set<number>();
  #request: Request | undefined;

  constructor(initialTsn: number, peerInitialTsn: number) {
    this.#sequence = initialTsn;
    this.#expected = FIRST_EPOCH + peerInitialTsn;
  }

  /** Whether `stream` of ours is to begin anew and has not. */
  isPending(stream: number): boolean {
    return this.#wanted.has(stream) || this.#request?.streams.includes(stream) === true;
  }

  /** Asks for a reset of a stream of ours, once all that was sent on it has left. */
  want(stream: number): void {
    if (!this.isPending(stream)) this.#wanted.add(stream);
  }

  pollTimeout(): Milli | undefined {
    return this.#request?.at ?? this.#notBefore;
  }

  /** The request that is due; `hasWaiting`: whether a stream has messages that have not left. */
  nextRequest(
    now: Milli,
    timeoutMs: Milli,
    lastTsn: number,
    hasWaiting: (stream: number) => boolean,
  ): Uint8Array | undefined {
    const request = this.#request;
    if (request) {
      if (now < request.at) return undefined;
      request.tries += 1;
      request.at = now + timeoutMs;
      if (request.tries <= MAX_TRIES) return request.chunk;
      this.#request = undefined; // the peer will not; the channel is closed on our side all the same
    }
    if (this.#wanted.size === 0) return undefined;
    if (this.#notBefore !== undefined && now < this.#notBefore) return undefined;
    this.#notBefore = undefined;
    const streams = [...this.#wanted].filter((stream) => !hasWaiting(stream)).slice(0, MAX_STREAMS);
    if (streams.length === 0) return undefined;
    for (const stream of streams) this.#wanted.delete(stream);
    const sequence = this.#sequence;
    this.#sequence = (sequence + 1) >>> 0;
    const body = new Uint8Array(12 + 2 * streams.length);
    const view = viewOf(body);
    view.setUint32(0, sequence);
    view.setUint32(4, (this.#expected - 1) >>> 0);
    view.setUint32(8, lastTsn >>> 0);
    streams.forEach((stream, i) => {
      view.setUint16(12 + 2 * i, stream);
    });
    const chunk = encodeChunk(CHUNK.reconfig, 0, encodeParameter(PARAMETER.outgoingReset, body));
    this.#request = { sequence, streams, chunk, tries: 1, at: now + timeoutMs };
    return chunk;
  }

  /** Takes the value of a RE-CONFIG; `undefined` when it is malformed. `cumulativeTsn`: all up to it has come. */
  handleReconfig(now: Milli, timeoutMs: Milli, value: Uint8Array, cumulativeTsn: number): ResetOutcome | undefined {
    const parameters = decodeParameters(value);
    if (!parameters || parameters.length === 0 || parameters.length > 2) return undefined;
    let [incoming, outgoing] = [undefined as readonly number[] | undefined, undefined as readonly number[] | undefined];
    const replies: Uint8Array[] = [];
    for (const { type, value: body } of parameters) {
      const view = viewOf(body);
      if (body.length < 4) return undefined;
      if (type === PARAMETER.response) {
        if (body.length < 8) return undefined;
        outgoing = this.#handleResponse(now, timeoutMs, view.getUint32(0), view.getUint32(4)) ?? outgoing;
        continue;
      }
      if (type < PARAMETER.outgoingReset || type > PARAMETER.addIncoming) continue;
      const sequence = view.getUint32(0);
      const isReset = type === PARAMETER.outgoingReset;
      if (isReset && (body.length < 12 || body.length % 2 !== 0)) return undefined;
      const isDue = isReset && this.#isDue(sequence);
      const hasAllCome = isDue && unwrap32(cumulativeTsn, view.getUint32(8)) <= cumulativeTsn;
      // We neither add streams nor reset TSNs, and reset ours when their channels close, not when the peer would like it.
      const verdict = !isDue ? RESULT.denied : hasAllCome ? RESULT.performed : RESULT.inProgress;
      const result = this.#judge(sequence, verdict);
      if (hasAllCome) incoming = Array.from({ length: (body.length - 12) / 2 }, (_, i) => view.getUint16(12 + 2 * i));
      replies.push(encodeResponse(sequence, result));
    }
    return { replies, ...(incoming && { incoming }), ...(outgoing && { outgoing }) };
  }

  /** Whether a reset is to be looked at: it is the next request, or the last one again, for which it was too early. */
  #isDue(sequence: number): boolean {
    const number = unwrap32(this.#expected, sequence);
    return number === this.#expected || (number === this.#expected - 1 && this.#lastResult === RESULT.inProgress);
  }

  /** The result for a request: `verdict`, or what was said before to the same, or that it is out of turn. */
  #judge(sequence: number, verdict: number): number {
    const number = unwrap32(this.#expected, sequence);
    if (number !== this.#expected && number !== this.#expected - 1) return RESULT.badSequenceNumber;
    if (number === this.#expected - 1 && this.#lastResult !== RESULT.inProgress) return this.#lastResult;
    this.#expected = number + 1;
    this.#lastResult = verdict;
    return verdict;
  }

  #handleResponse(now: Milli, timeoutMs: Milli, sequence: number, result: number): readonly number[] | undefined {
    const request = this.#request;
    if (request?.sequence !== sequence) return undefined;
    this.#request = undefined;
    if (result !== RESULT.inProgress) return request.streams;
    // Under a new number: some answer the old one for ever as they did first.
    for (const stream of request.streams) this.#wanted.add(stream);
    this.#notBefore = now + timeoutMs;
    return undefined;
  }
}

function encodeResponse(sequence: number, result: number): Uint8Array {
  const body = new Uint8Array(8);
  viewOf(body).setUint32(0, sequence);
  viewOf(body).setUint32(4, result);
  return encodeChunk(CHUNK.reconfig, 0, encodeParameter(PARAMETER.response, body));
}
