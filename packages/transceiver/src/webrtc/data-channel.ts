/** The Data Channel Establishment Protocol (RFC 8832), as the side that is opened to. */

/** Payload protocol identifiers (RFC 8831 section 8). */
export const PPID = { dcep: 50, text: 51, binary: 53, emptyText: 56, emptyBinary: 57 } as const;

/** DATA_CHANNEL_ACK (RFC 8832 section 5.2). */
export const DATA_CHANNEL_ACK = 2;

/** A DATA_CHANNEL_OPEN (RFC 8832 section 5.1). */
export interface DataChannelOpen {
  /** Whether every message arrives, in order. */
  readonly isOrderedReliable: boolean;
  readonly label: string;
}

/** Parses a DATA_CHANNEL_OPEN. */
export function decodeDataChannelOpen(message: Uint8Array): DataChannelOpen | undefined {
  if (message.length < 12 || message[0] !== 3) return undefined;
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const labelSize = view.getUint16(8);
  if (12 + labelSize + view.getUint16(10) > message.length) return undefined;
  return {
    isOrderedReliable: message[1] === 0,
    label: new TextDecoder().decode(message.subarray(12, 12 + labelSize)),
  };
}
