/** CRC32c (Castagnoli), SCTP's checksum (RFC 9260 appendix A), four bytes at a time. */

const POLYNOMIAL = 0x82f63b78; // 0x1edc6f41 with its bits in reverse
const TABLES = createTables();

/** The CRC32c of `bytes`, taking the four at `zeroAt`, where the sum itself stands, for zero. */
export function crc32c(bytes: Uint8Array, zeroAt = -4): number {
  const [t0, t1, t2, t3] = TABLES;
  let crc = 0xffffffff;
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) {
    if (at !== zeroAt) crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc = t3[crc & 0xff]! ^ t2[(crc >>> 8) & 0xff]! ^ t1[(crc >>> 16) & 0xff]! ^ t0[crc >>> 24]!;
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]!) & 0xff]!;
  return ~crc >>> 0;
}

/** Table n is for a byte with n more behind it. */
function createTables(): readonly [Int32Array, Int32Array, Int32Array, Int32Array] {
  const tables = [new Int32Array(256), new Int32Array(256), new Int32Array(256), new Int32Array(256)] as const;
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
    tables[0][byte] = crc;
  }
  for (let n = 1; n < 4; n++) {
    const before = tables[n - 1]!;
    for (let byte = 0; byte < 256; byte++) tables[n]![byte] = (before[byte]! >>> 8) ^ tables[0][before[byte]! & 0xff]!;
  }
  return tables;
}
