/**
 * Serial numbers (RFC 1982) without their arithmetic: what comes off the wire is unwrapped to a plain number next to one that
 * is known, compared as a number, and wrapped again on its way out. Only here is there a wrap to get wrong.
 */

/** Where unwrapped numbers begin: so high that none before them is negative. */
export const FIRST_EPOCH = 2 ** 32;

/** The number that `wire` (32 bits) stands for, within 2^31 of `reference`. */
export function unwrap32(reference: number, wire: number): number {
  return reference + ((wire - (reference >>> 0)) | 0);
}

/** The number that `wire` (16 bits) stands for, within 2^15 of `reference`. */
export function unwrap16(reference: number, wire: number): number {
  return reference + (((wire - (reference & 0xffff)) << 16) >> 16);
}
