/** The Data Channel Establishment Protocol (RFC 8832). */

/** Payload protocol identifiers (RFC 8831 section 8). */
export const PPID = { dcep: 50, text: 51, binary: 53, emptyText: 56, emptyBinary: 57 } as const;

/** DATA_CHANNEL_ACK (RFC 8832 section 5.2). */
export const DATA_CHANNEL_ACK = 2;
const DATA_CHANNEL_OPEN = 3;
/** Channel types (RFC 8832 section 5.1): the highest bit stands for unordered. */
const TYPE = { reliable: 0, maxRetransmits: 1, maxLifetime: 2, unordered: 0x80 };

/** How much a channel promises (RFC 8832 section 5.1); the default is everything, in order. */
export interface Reliability {
  readonly unordered?: boolean;
  readonly maxRetransmits?: number;
  /** In milliseconds. */
  readonly maxLifetimeMs?: number;
}

/** A DATA_CHANNEL_OPEN (RFC 8832 section 5.1). */
export interface DataChannelOpen {
  /** Whether every message arrives, in order. */
  readonly isOrderedReliable: boolean;
  readonly reliability: Reliability;
  readonly label: string;
}

/** Parses a DATA_CHANNEL_OPEN. */
export function decodeDataChannelOpen(message: Uint8Array): DataChannelOpen | undefined {
  if (message.length < 12 || message[0] !== DATA_CHANNEL_OPEN) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const labelSize = view.getUint16(8);
  if (12 + labelSize + view.getUint16(10) > message.length) return undefined;
  const type = message[1]!;
  const limit = view.getUint32(4);
  return {
    isOrderedReliable: type === TYPE.reliable,
    reliability: {
      ...(type & TYPE.unordered && { unordered: true }),
      ...((type & 0x7f) === TYPE.maxRetransmits && { maxRetransmits: limit }),
      ...((type & 0x7f) === TYPE.maxLifetime && { maxLifetimeMs: limit }),
    },
    label: new TextDecoder().decode(message.subarray(12, 12 + labelSize)),
  };
}

/** Formats a DATA_CHANNEL_OPEN without a protocol. */
export function encodeDataChannelOpen(label: string, reliability: Reliability = {}): Uint8Array {
  const name = new TextEncoder().encode(label);
  const message = new Uint8Array(12 + name.length);
  const view = new DataView(message.buffer);
  const { unordered, maxRetransmits, maxLifetimeMs } = reliability;
  message[0] = DATA_CHANNEL_OPEN;
  message[1] =
    (unordered ? TYPE.unordered : 0) |
    (maxRetransmits !== undefined ? TYPE.maxRetransmits : maxLifetimeMs !== undefined ? TYPE.maxLifetime : 0);
  view.setUint32(4, maxRetransmits ?? maxLifetimeMs ?? 0);
  view.setUint16(8, name.length);
  message.set(name, 12);
  return message;
}
