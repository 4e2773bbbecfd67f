/**
 * How much may be on the way (RFC 9260 section 7.2). Departs from it in one place: the window never falls below four packets,
 * as in browsers' SCTP. After a timeout the RFC begins again with one packet, so that at 20 % loss an event of three packets
 * would wait for three round trips, while the audio of the same call flows on regardless.
 */

const INITIAL_PACKETS = 10; // as TCP (RFC 6928) and browsers' SCTP
const MIN_PACKETS = 4;

/** The congestion window. */
export class CongestionWindow {
  readonly #packetSize: number;
  #window: number;
  #threshold = Infinity;
  #partialBytes = 0;
  #recoveryEnds: number | undefined; // a TSN

  /** `packetSize`: bytes of a full packet. */
  constructor(packetSize: number) {
    this.#packetSize = packetSize;
    this.#window = INITIAL_PACKETS * packetSize;
  }

  /** Bytes that may be on the way. */
  get bytes(): number {
    return this.#window;
  }

  /** Whether a loss is being mended, for which the window has shrunk already. */
  get inRecovery(): boolean {
    return this.#recoveryEnds !== undefined;
  }

  /** `bytes` were acknowledged, all up to `cumulativeTsn`, of `flightBefore` that were on the way. */
  handleProgress(cumulativeTsn: number, bytes: number, flightBefore: number): void {
    if (this.#recoveryEnds !== undefined) {
      if (cumulativeTsn >= this.#recoveryEnds) this.#recoveryEnds = undefined;
      return;
    }
    if (flightBefore + this.#packetSize <= this.#window) return; // what was not used says nothing about what fits
    if (this.#window <= this.#threshold) {
      this.#window += Math.min(bytes, this.#packetSize);
      return;
    }
    this.#partialBytes += bytes;
    if (this.#partialBytes < this.#window) return;
    this.#partialBytes -= this.#window;
    this.#window += this.#packetSize;
  }

  /** SACKs tell of a loss; whether that is news, for which `lastTsn` is the last that was sent. */
  handleLoss(lastTsn: number): boolean {
    if (this.#recoveryEnds !== undefined) return false;
    this.#shrink();
    this.#window = this.#threshold;
    this.#recoveryEnds = lastTsn;
    return true;
  }

  /** Nothing was acknowledged in time. */
  handleTimeout(): void {
    this.#shrink();
    this.#window = MIN_PACKETS * this.#packetSize;
    this.#recoveryEnds = undefined;
  }

  /** Nothing was sent for a while: what the path took then it may not take now. */
  handleIdle(): void {
    this.#window = Math.min(this.#window, INITIAL_PACKETS * this.#packetSize);
  }

  #shrink(): void {
    this.#threshold = Math.max(this.#window / 2, MIN_PACKETS * this.#packetSize);
    this.#partialBytes = 0;
  }
}
