/** CRC-32 of ISO 3309 as STUN's FINGERPRINT uses it (RFC 8489 section 14.7). */

/** The CRC of the first `size` bytes. */
export function crc32(bytes: Uint8Array, size: number): number {
  let crc = 0xffffffff;
  for (let i = 0; i < size; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});
