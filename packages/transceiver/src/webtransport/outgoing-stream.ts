/** A stream that we send: keeps what QUIC does not take yet, also while there is no stream to send it on. */
import type { QuicStream } from "./quic-engine.ts";
import type { Session } from "./session.ts";

/** Pieces that went out before those that wait are moved to the front. */
const COMPACT_FROM = 1024;

/** One stream, from before it is opened to its end. Whoever writes bounds {@link OutgoingStream.waiting}. */
export class OutgoingStream {
  readonly #session: Session;
  #stream: QuicStream | undefined;
  #pending: Uint8Array[] = [];
  #first = 0; // of what is pending: moving the rest for every piece would cost its square
  #waiting = 0;
  #ends = false;
  #isOver = false;

  constructor(session: Session) {
    this.#session = session;
  }

  /** The stream, once it is open. */
  get stream(): QuicStream | undefined {
    return this.#stream;
  }

  /** Bytes that QUIC has not taken. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Whether everything was taken, its end too. */
  get isComplete(): boolean {
    return this.#isOver;
  }

  /** Has a stream to go out on. */
  open(stream: QuicStream): void {
    this.#stream = stream;
    this.flush();
  }

  /** Appends bytes, which are kept as they are. */
  write(bytes: Uint8Array): void {
    if (this.#isOver || bytes.length === 0) return;
    this.#pending.push(bytes);
    this.#waiting += bytes.length;
    if (this.#pending.length === this.#first + 1) this.flush();
  }

  /** No more will be written. */
  finish(): void {
    this.#ends = true;
    this.flush();
  }

  /** Ends it at once: what was not sent never is. */
  reset(code: number): void {
    if (this.#stream !== undefined) this.#session.reset(this.#stream, code);
    this.#drop();
  }

  /** Hands over what QUIC takes. */
  flush(): void {
    if (this.#stream === undefined || this.#isOver) return;
    for (let next = this.#pending[this.#first]; next !== undefined; next = this.#pending[this.#first]) {
      const written = this.#session.write(this.#stream, next);
      if (written === undefined) return this.#drop();
      this.#waiting -= written;
      if (written < next.length) {
        this.#pending[this.#first] = next.subarray(written);
        this.#compact();
        return;
      }
      this.#first += 1;
    }
    this.#pending = [];
    this.#first = 0;
    if (!this.#ends) return;
    this.#session.finish(this.#stream);
    this.#isOver = true;
  }

  #compact(): void {
    if (this.#first < COMPACT_FROM) return;
    this.#pending = this.#pending.slice(this.#first);
    this.#first = 0;
  }

  #drop(): void {
    this.#pending = [];
    this.#first = 0;
    this.#waiting = 0;
    this.#isOver = true;
  }
}
