/** Where conversations are kept that outlive their transceiver. What implements it is not trusted, and never waited for. */

/** What became of a record that was to be kept. `taken`: another transceiver has the conversation. */
export type Keeping = "kept" | "away" | "taken";

/** Sealed records by the name of the token that opens them. */
export interface ConversationStore {
  /** Whether it could be reached last. */
  readonly isUp: boolean;
  /** Keeps a record, in place of an older one. */
  put(name: string, record: Uint8Array): Promise<Keeping>;
  /** Whether there is a record to take. */
  has(name: string): Promise<boolean>;
  /** Takes a record away: of all who ask, one gets it. */
  take(name: string): Promise<Uint8Array | undefined>;
  /** Forgets a record. */
  drop(name: string): void;
}
