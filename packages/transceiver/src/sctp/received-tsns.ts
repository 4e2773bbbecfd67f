/** Which TSNs have come (RFC 9260 sections 6.2 and 6.7): the cumulative one, what came beyond it, and what SACKs say of it. */
import { FIRST_EPOCH, unwrap32 } from "./serial.ts";

/** TSNs beyond the cumulative one that may come: eight times what our window holds in full packets. */
const MAX_AHEAD = 4_096;
/** Stretches beyond the cumulative TSN; a chunk that would begin another one is not taken. */
const MAX_GAPS = 192;
/** Duplicates that one SACK reports. */
const MAX_DUPLICATES = 16;

/** TSNs that came; all numbers are unwrapped. */
export class ReceivedTsns {
  /** All up to this one have come. */
  cumulative: number;
  /** Stretches that came beyond it: in order, apart, both ends in. */
  readonly #stretches: { first: number; last: number }[] = [];
  #duplicates: number[] = [];

  /** `initialTsn`: the peer's first. */
  constructor(initialTsn: number) {
    this.cumulative = FIRST_EPOCH + initialTsn - 1;
  }

  /** The number of `tsn` as it is on the wire. */
  unwrap(tsn: number): number {
    return unwrap32(this.cumulative, tsn);
  }

  /** Whether something is missing. */
  get hasGaps(): boolean {
    return this.#stretches.length > 0;
  }

  /** What is to be done with a chunk: take it, or not, because it is here already or too far ahead. */
  judge(tsn: number): "new" | "duplicate" | "tooFar" {
    if (tsn <= this.cumulative) return this.#duplicate(tsn);
    if (tsn > this.cumulative + MAX_AHEAD) return "tooFar";
    const next = this.#indexAfter(tsn);
    const before = this.#stretches[next - 1];
    if (before && before.last >= tsn) return this.#duplicate(tsn);
    const touches = before?.last === tsn - 1 || this.#stretches[next]?.first === tsn + 1;
    return tsn !== this.cumulative + 1 && !touches && this.#stretches.length >= MAX_GAPS ? "tooFar" : "new";
  }

  /** Takes one that {@link judge} found new. */
  add(tsn: number): void {
    const next = this.#indexAfter(tsn);
    const [before, after] = [this.#stretches[next - 1], this.#stretches[next]];
    if (before?.last === tsn - 1) {
      before.last = tsn;
      if (after?.first === tsn + 1) {
        before.last = after.last;
        this.#stretches.splice(next, 1);
      }
    } else if (after?.first === tsn + 1) after.first = tsn;
    else this.#stretches.splice(next, 0, { first: tsn, last: tsn });
    this.#advance();
  }

  /** Takes all up to `tsn` for come (RFC 3758 section 3.6); whether that is news. */
  skipTo(tsn: number): boolean {
    if (tsn <= this.cumulative) return false;
    this.cumulative = tsn;
    this.#advance();
    return true;
  }

  /** The gap blocks of a SACK. */
  gaps(): (readonly [number, number])[] {
    return this.#stretches.map(({ first, last }) => [first - this.cumulative, last - this.cumulative] as const);
  }

  /** The duplicates that came since this was asked last. */
  takeDuplicates(): number[] {
    const duplicates = this.#duplicates;
    this.#duplicates = [];
    return duplicates;
  }

  #duplicate(tsn: number): "duplicate" {
    if (this.#duplicates.length < MAX_DUPLICATES) this.#duplicates.push(tsn);
    return "duplicate";
  }

  #advance(): void {
    let passed = 0;
    for (const { first, last } of this.#stretches) {
      if (first > this.cumulative + 1) break;
      this.cumulative = Math.max(this.cumulative, last);
      passed += 1;
    }
    if (passed > 0) this.#stretches.splice(0, passed);
  }

  /** The index of the first stretch that begins after `tsn`; most chunks belong to the last one. */
  #indexAfter(tsn: number): number {
    let index = this.#stretches.length;
    while (index > 0 && this.#stretches[index - 1]!.first > tsn) index -= 1;
    return index;
  }
}
