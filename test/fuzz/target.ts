/** What the fuzz test needs to know of a parser. */

/** One parser under fuzz; it must neither throw nor hang. */
export interface FuzzTarget {
  readonly name: string;
  /** Valid inputs. */
  readonly seeds: readonly Uint8Array[];
  /** Longest input in bytes; default 256. Slow parsers take shorter ones. */
  readonly maxSize?: number;
  /** Share of the inputs that it gets; default 1. Less where cryptography, not parsing, takes the time. */
  readonly share?: number;
  readonly parse: (input: Uint8Array) => unknown;
}

/** A target whose parser takes text. */
export function textTarget(
  name: string,
  seeds: readonly string[],
  parse: (text: string) => unknown,
  maxSize = 256,
  share = 1,
): FuzzTarget {
  return {
    name,
    share,
    seeds: seeds.map((seed) => Buffer.from(seed)),
    maxSize,
    parse: (input) => parse(Buffer.from(input.buffer, input.byteOffset, input.length).toString("utf8")),
  };
}

/** `parse`, with the one error that it is documented to throw let through. */
export function tolerating<T>(errorName: string, parse: (text: string) => T): (text: string) => T | undefined {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof Error && error.name === errorName) return undefined;
      throw error;
    }
  };
}
