/** What a relay counts. */

/** Why a packet was dropped. */
export const DROP_REASONS = [
  "unclassified",
  "oversize",
  "rate",
  "malformedStun",
  "notARequest",
  "malformedToken",
  "unknownKey",
  "forgedToken",
  "expiredToken",
  "badIntegrity",
  "unknownServer",
  "noRelay",
  "hopLimit",
  "badHop",
  "unknownFlow",
  "unroutableCid",
  "shortInitial",
  "lookupQueueFull",
  "lookupMiss",
  "backlog",
] as const;

/** One of {@link DROP_REASONS}. */
export type DropReason = (typeof DROP_REASONS)[number];

/** Counters of one forwarder; they only grow. */
export interface RelayStats {
  /** Packets from clients, and from relays on their behalf. */
  rxUp: number;
  /** Packets from transceivers, and from relays on their behalf. */
  rxDown: number;
  txUp: number;
  txDown: number;
  /** Copies of downlink packets to an address on probation. */
  probationCopies: number;
  flowsOpened: number;
  flowsConfirmed: number;
  flowsEvicted: number;
  flowsExpired: number;
  /** Flows of an unknown address found again, by what. */
  readonly recovered: Record<"stun" | "ssrc" | "transceiver" | "redis" | "miss", number>;
  readonly drops: Record<DropReason, number>;
}

/** All at zero. */
export function createStats(): RelayStats {
  return {
    rxUp: 0,
    rxDown: 0,
    txUp: 0,
    txDown: 0,
    probationCopies: 0,
    flowsOpened: 0,
    flowsConfirmed: 0,
    flowsEvicted: 0,
    flowsExpired: 0,
    recovered: { stun: 0, ssrc: 0, transceiver: 0, redis: 0, miss: 0 },
    drops: Object.fromEntries(DROP_REASONS.map((reason) => [reason, 0])) as Record<DropReason, number>,
  };
}
