/**
 * The playout ledger: per utterance, what was generated, sent, is buffered and was heard. Interruptions cut the agent's
 * memory by it, the timeline takes "first heard sample" from it. Never reads a clock.
 */
import type { PlayoutClock } from "@sluice/realtime";
import type { Milli } from "./audio.ts";

/** One utterance's account, in milliseconds of its own audio. */
export interface LedgerEntry {
  readonly generatedMs: Milli;
  readonly sentMs: Milli;
  /** Sent and not yet heard. */
  readonly bufferedMs: Milli;
  readonly heardMs: Milli;
  /** The client's own reports, or the pipe's clock standing in. */
  readonly clock: PlayoutClock;
}

/** A client's word on its own playout, in the server's clock. */
export interface PlayoutReport {
  readonly startedAt: Milli;
  readonly positionMs: Milli;
  readonly at: Milli;
}

/** What a client says is given to its device is heard by then at the latest: the latency of wireless headphones, and more. */
const DEVICE_WITHIN_MS = 500;
/** A client that was told to stop has stopped by then. */
const STOP_WITHIN_MS = 1000;

/** An utterance's account as it grows. */
export class PlayoutLedger {
  #generatedMs: Milli = 0;
  #sentMs: Milli = 0;
  #firstSentAt: Milli | undefined;
  #report: PlayoutReport | undefined;
  #stopped: Milli | undefined;
  #stoppedAt: Milli | undefined;

  handleGenerated(ms: Milli): void {
    this.#generatedMs += ms;
  }

  /** `sentMs` of the utterance are out at `now`; a pipe that sends ahead of the ear says so at once. */
  handleSent(now: Milli, sentMs: Milli): void {
    this.#firstSentAt ??= now;
    this.#sentMs = Math.max(this.#sentMs, Math.min(sentMs, this.#generatedMs));
  }

  /**
   * A report that claims more than was sent, or runs backwards in time, is bounded to what can be true. It comes before the sound
   * that it tells of is heard: the device's latency lies between, and a near client is quicker than that.
   */
  handleReport(now: Milli, report: PlayoutReport): void {
    if (this.#firstSentAt === undefined) return;
    const at = Math.min(report.at, now + DEVICE_WITHIN_MS);
    if (this.#report && at < this.#report.at) return;
    if (this.#stopped !== undefined) return;
    const startedAt = this.#report?.startedAt ?? Math.max(this.#firstSentAt, Math.min(report.startedAt, at));
    const positionMs = Math.max(0, Math.min(report.positionMs, this.#sentMs));
    this.#report = { startedAt, positionMs, at };
  }

  /** Nothing after `heardMs` is heard: the buffers were emptied. Default: what was heard by now. */
  handleStopped(now: Milli, heardMs: Milli = this.heardMs(now)): void {
    this.#stopped ??= heardMs;
    this.#stoppedAt ??= now;
  }

  /** The client's last word on where its sound stopped; answers whether that is news. It was told to stop and needed a while. */
  handleStopReport(report: PlayoutReport): boolean {
    if (this.#stopped === undefined || this.#stoppedAt === undefined) return false;
    if (report.at < this.#stoppedAt || report.at > this.#stoppedAt + STOP_WITHIN_MS) return false;
    const stopped = Math.max(0, Math.min(report.positionMs, this.#sentMs));
    const news = Math.abs(stopped - this.#stopped) >= 1;
    this.#stopped = stopped;
    return news;
  }

  get sentMs(): Milli {
    return this.#sentMs;
  }

  get generatedMs(): Milli {
    return this.#generatedMs;
  }

  get firstSentAt(): Milli | undefined {
    return this.#firstSentAt;
  }

  /** When the first sample was heard, and by which clock. */
  began(): { at: Milli; clock: PlayoutClock } | undefined {
    if (this.#report) return { at: this.#report.startedAt, clock: "client" };
    return this.#firstSentAt === undefined ? undefined : { at: this.#firstSentAt, clock: "egress" };
  }

  /** When the ear will have had all that was sent; `Infinity` before the first of it. */
  get playedOutAt(): Milli {
    if (this.#report) return this.#report.at + this.#sentMs - this.#report.positionMs;
    return this.#firstSentAt === undefined ? Infinity : this.#firstSentAt + this.#sentMs;
  }

  /** How much of it the ear has had by `now`; speech plays in real time between reports, and never past what was sent. */
  heardMs(now: Milli): Milli {
    if (this.#stopped !== undefined) return this.#stopped;
    if (this.#report) return Math.max(0, Math.min(this.#sentMs, this.#report.positionMs + now - this.#report.at));
    if (this.#firstSentAt === undefined) return 0;
    return Math.min(this.#sentMs, Math.max(0, now - this.#firstSentAt));
  }

  entry(now: Milli): LedgerEntry {
    const heardMs = this.heardMs(now);
    const bufferedMs = this.#stopped === undefined ? this.#sentMs - heardMs : 0;
    const clock: PlayoutClock = this.#report ? "client" : "egress";
    return { generatedMs: this.#generatedMs, sentMs: this.#sentMs, bufferedMs, heardMs, clock };
  }
}
