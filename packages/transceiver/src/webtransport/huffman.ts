/**
 * The Huffman code of HPACK and QPACK (RFC 7541, appendix B). The code is canonical, so the lengths of its 257 codes say
 * all: codes of one length count up in the order of their symbols. We read it; what we write is never compressed.
 */

/** Code lengths in bits of the octets 0 to 255, then of EOS. */
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];

const EOS = 256;
const MAX_LENGTH = 30;

/** Symbols in the order of their codes, and per length the first code and where its symbols begin. */
const symbols = LENGTHS.map((_, symbol) => symbol).sort((a, b) => LENGTHS[a]! - LENGTHS[b]! || a - b);
const counts = new Array<number>(MAX_LENGTH + 1).fill(0);
for (const length of LENGTHS) counts[length]! += 1;
const firstCodes = new Array<number>(MAX_LENGTH + 1).fill(0);
const firstSymbols = new Array<number>(MAX_LENGTH + 1).fill(0);
for (let length = 1; length <= MAX_LENGTH; length++) {
  firstCodes[length] = (firstCodes[length - 1]! + counts[length - 1]!) * 2;
  firstSymbols[length] = firstSymbols[length - 1]! + counts[length - 1]!;
}

/** The code of an octet, as a number and its length in bits; for tests and for those who write. */
export function huffmanCode(octet: number): { readonly code: number; readonly length: number } {
  const length = LENGTHS[octet]!;
  return { code: firstCodes[length]! + symbols.indexOf(octet) - firstSymbols[length]!, length };
}

/** The octets that `bytes` stands for; `undefined` when it is not a Huffman string (section 5.2). */
export function decodeHuffman(bytes: Uint8Array): Uint8Array | undefined {
  const octets = new Uint8Array(Math.floor((bytes.length * 8) / 5)); // the shortest code has five bits
  let size = 0;
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      length += 1;
      const index = code - firstCodes[length]!;
      if (index < counts[length]!) {
        const symbol = symbols[firstSymbols[length]! + index]!;
        if (symbol === EOS) return undefined;
        octets[size++] = symbol;
        code = 0;
        length = 0;
      } else if (length === MAX_LENGTH) return undefined;
    }
  }
  // What is left is padding: less than an octet, and the beginning of EOS, which is all ones.
  const isPadding = length < 8 && code === 2 ** length - 1;
  return isPadding ? octets.subarray(0, size) : undefined;
}
