/** Seeded, structure-aware mutation of packets and texts. */

/** A generator of unsigned 32-bit integers (Marsaglia's xorshift32): quick, seeded, good enough to fuzz with. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>>= 0);
  };
}

const INTERESTING = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x20, 0x40, 0xc0, 0x22, 0x7b, 0x3a, 0x0a];

/** Makes inputs out of valid ones: each call gives the next, in a buffer that the call after it overwrites. */
export function createMutator(seeds: readonly Uint8Array[], random: () => number, maxSize: number): () => Uint8Array {
  const buffer = new Uint8Array(maxSize);
  const below = (limit: number) => random() % limit;
  const fill = (from: number, to: number) => {
    for (let i = from; i < to; i++) buffer[i] = random();
  };
  return () => {
    const seed = seeds[below(seeds.length)]!;
    if (seed === undefined || below(16) === 0) {
      const size = below(Math.min(maxSize, 64));
      fill(0, size);
      return buffer.subarray(0, size);
    }
    let size = Math.min(seed.length, maxSize);
    buffer.set(seed.length > maxSize ? seed.subarray(0, maxSize) : seed);
    for (let edits = 1 + below(4); edits > 0 && size > 0; edits--) {
      const at = below(size);
      switch (below(9)) {
        case 0: // one bit
          buffer[at]! ^= 1 << below(8);
          break;
        case 1: // a byte that means something somewhere
          buffer[at] = INTERESTING[below(INTERESTING.length)]!;
          break;
        case 2: // a random byte
          buffer[at] = random();
          break;
        case 3: // a 16-bit length, off by a little or a lot
          buffer[at] = below(3) === 0 ? 0xff : buffer[at]!;
          if (at + 1 < size) buffer[at + 1]! += below(9) - 4;
          break;
        case 4: // cut the end
          size = at;
          break;
        case 5: {
          // grow
          const end = Math.min(maxSize, size + 1 + below(32));
          fill(size, end);
          size = end;
          break;
        }
        case 6: {
          // repeat a piece
          const length = Math.min(1 + below(24), size - at, maxSize - size);
          buffer.copyWithin(at + length, at, size);
          size += length;
          break;
        }
        case 7: {
          // leave a piece out
          const length = Math.min(1 + below(24), size - at);
          buffer.copyWithin(at, at + length, size);
          size -= length;
          break;
        }
        default: {
          // a piece of another seed
          const other = seeds[below(seeds.length)]!;
          const start = below(other.length + 1);
          const length = Math.min(1 + below(48), other.length - start, maxSize - at);
          buffer.set(other.subarray(start, start + length), at);
          size = Math.max(size, at + length);
        }
      }
    }
    return buffer.subarray(0, size);
  };
}
