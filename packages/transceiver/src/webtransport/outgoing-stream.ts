/** A stream that we send: keeps what QUIC does not take yet, also while there is no stream to send it on. */
import type { QuicStream } from "./quic-engine.ts";
import type { Session } from "./session.ts";

/** One stream, from before it is opened to its end. Whoever writes bounds {@link OutgoingStream.waiting}. */
export class OutgoingStream {
  readonly #session: Session;
  #stream: QuicStream | undefined;
  #pending: Uint8Array[] = [];
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
    if (this.#pending.length === 1) this.flush();
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
    for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
      const written = this.#session.write(this.#stream, first);
      if (written === undefined) return this.#drop();
      this.#waiting -= written;
      if (written < first.length) {
        this.#pending[0] = first.subarray(written);
        return;
      }
      this.#pending.shift();
    }
    if (!this.#ends) return;
    this.#session.finish(this.#stream);
    this.#isOver = true;
  }

  #drop(): void {
    this.#pending = [];
    this.#waiting = 0;
    this.#isOver = true;
  }
}
