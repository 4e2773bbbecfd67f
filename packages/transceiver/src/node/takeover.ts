/** Conversations that outlive their transceiver: finds those of others, and says what became of each wish for one. */
import { randomBytes } from "node:crypto";
import type { KeyRing } from "@sluice/routing";
import type { ConversationStore } from "../resumption/conversation-store.ts";
import { Seal } from "../resumption/seal.ts";
import { type CallSnapshot, decodeSnapshot } from "../resumption/snapshot-format.ts";

/** What became of tokens and records; it counts up. */
export interface TakeoverCounters {
  /** Conversations of other transceivers that go on here. */
  takenOver: number;
  /** Conversations of ours that go on elsewhere. */
  takenAway: number;
  /** Tokens that no transceiver of the fleet made. */
  forgedTokens: number;
  /** Nothing was there: taken by another, out of date, or never kept. */
  gone: number;
  /** Records that were not sealed for their token by the fleet. */
  unsealed: number;
  /** Sealed records that make no sense to this version. */
  malformed: number;
  expired: number;
  /** Conversations that were too long to be kept. */
  tooLong: number;
}

/** Finds and takes. */
export class Takeover {
  readonly seal: Seal;
  readonly store: ConversationStore | undefined;
  readonly counters: TakeoverCounters = {
    takenOver: 0,
    takenAway: 0,
    forgedTokens: 0,
    gone: 0,
    unsealed: 0,
    malformed: 0,
    expired: 0,
    tooLong: 0,
  };

  /** Without a store nothing is ever found. */
  constructor(keyRing: KeyRing, store: ConversationStore | undefined) {
    this.seal = new Seal(keyRing, randomBytes);
    this.store = store;
  }

  /** Whether there is a conversation that the token opens. Guesses are refused without asking the store. */
  async find(token: string): Promise<boolean> {
    if (!this.store) return false;
    if (!this.seal.isToken(token)) {
      this.counters.forgedTokens += 1;
      return false;
    }
    const found = await this.store.has(this.seal.nameOf(token));
    if (!found) this.counters.gone += 1;
    return found;
  }

  /** Takes the conversation: nobody else can from here on. */
  async take(token: string): Promise<CallSnapshot | undefined> {
    if (!this.store || !this.seal.isToken(token)) return undefined;
    const record = await this.store.take(this.seal.nameOf(token));
    if (!record) {
      this.counters.gone += 1;
      return undefined;
    }
    const plain = this.seal.open(token, record);
    if (!plain) {
      this.counters.unsealed += 1;
      return undefined;
    }
    const reading = decodeSnapshot(Date.now(), plain);
    if (reading.ok) return reading.snapshot;
    this.counters[reading.reason] += 1;
    return undefined;
  }
}
