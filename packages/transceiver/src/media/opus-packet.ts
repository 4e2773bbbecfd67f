/** What an Opus packet says of itself without being decoded (RFC 6716 section 3, RFC 6716 section 4.2.4 for FEC). */

/** Ticks of the RTP clock of Opus in a millisecond (RFC 7587 section 4.1: always 48 kHz). */
export const OPUS_TICKS_PER_MS = 48;

/** Longest packet, 120 ms, in ticks. */
export const OPUS_MAX_TICKS = 120 * OPUS_TICKS_PER_MS;

const SILK_MS = [10, 20, 40, 60] as const;
const CELT_MS = [2.5, 5, 10, 20] as const;

/** How long a packet plays in ticks of 48 kHz; `undefined` when its framing is malformed. */
export function opusPacketTicks(packet: Uint8Array): number | undefined {
  const frame = firstFrame(packet);
  if (frame === undefined) return undefined;
  const ticks = frame.count * frameMs(packet[0]!) * OPUS_TICKS_PER_MS;
  return ticks > OPUS_MAX_TICKS ? undefined : ticks;
}

/** Whether the packet holds only "nothing to hear" (RFC 7587 section 3.1.3): at most the TOC and one octet. */
export function isOpusDtx(packet: Uint8Array): boolean {
  return packet.length <= 2;
}

/** Whether the packet carries in-band FEC for the time before it: the LBRR flag of its first SILK frame. */
export function opusPacketHasFec(packet: Uint8Array): boolean {
  const config = packet.length === 0 ? 31 : packet[0]! >> 3;
  if (config >= 16) return false; // CELT only
  const frame = firstFrame(packet);
  if (frame === undefined || frame.size < 1) return false;
  const silkFrames = Math.max(1, frameMs(packet[0]!) / 20);
  const flags = packet[frame.at]!;
  // Per channel one voice activity flag for each SILK frame, then one LBRR flag; each is one bit of the range coder
  // at even odds, so they stand in the first octet as they are.
  const stereo = (packet[0]! & 0x04) !== 0;
  const first = (flags & (0x80 >> silkFrames)) !== 0;
  return first || (stereo && (flags & (0x80 >> (2 * silkFrames + 1))) !== 0);
}

function frameMs(toc: number): number {
  const config = toc >> 3;
  if (config < 12) return SILK_MS[config & 3]!;
  if (config < 16) return SILK_MS[config & 1]!;
  return CELT_MS[config & 3]!;
}

/** Number of frames, and where the first begins and its size; `undefined` when malformed (RFC 6716 section 3.4). */
function firstFrame(packet: Uint8Array): { count: number; at: number; size: number } | undefined {
  if (packet.length === 0) return undefined;
  switch (packet[0]! & 3) {
    case 0:
      return { count: 1, at: 1, size: packet.length - 1 };
    case 1:
      return packet.length % 2 === 1 ? { count: 2, at: 1, size: (packet.length - 1) / 2 } : undefined;
    case 2: {
      const length = frameLength(packet, 1);
      if (length === undefined || length.next + length.size > packet.length) return undefined;
      return { count: 2, at: length.next, size: length.size };
    }
    default:
      return firstOfMany(packet);
  }
}

/** Code 3: a frame count octet, padding, and with VBR the length of every frame but the last (RFC 6716 section 3.2.5). */
function firstOfMany(packet: Uint8Array): { count: number; at: number; size: number } | undefined {
  if (packet.length < 2) return undefined;
  const count = packet[1]! & 0x3f;
  if (count === 0) return undefined;
  let at = 2;
  let end = packet.length;
  if (packet[1]! & 0x40) {
    let octet: number | undefined;
    do {
      octet = packet[at++];
      if (octet === undefined) return undefined;
      end -= octet === 255 ? 254 : octet;
    } while (octet === 255);
  }
  if ((packet[1]! & 0x80) === 0) {
    const size = (end - at) / count;
    return size >= 0 && Number.isInteger(size) ? { count, at, size } : undefined;
  }
  let size: number | undefined;
  let total = 0;
  for (let index = 1; index < count; index++) {
    const length = frameLength(packet, at);
    if (length === undefined) return undefined;
    size ??= length.size;
    total += length.size;
    at = length.next;
  }
  return at + total <= end ? { count, at, size: size ?? end - at } : undefined;
}

function frameLength(packet: Uint8Array, at: number): { size: number; next: number } | undefined {
  const first = packet[at];
  if (first === undefined || first < 252) return first === undefined ? undefined : { size: first, next: at + 1 };
  const second = packet[at + 1];
  return second === undefined ? undefined : { size: second * 4 + first, next: at + 2 };
}
