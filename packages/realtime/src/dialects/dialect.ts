/** Other spellings of the protocol, translated at the edge: inside there is only the GA API. */

/** A spelling of the protocol. */
export interface Dialect {
  /** A client's text in GA words; what is no event of the dialect stays as it is, for the parser to refuse. */
  read(text: string): string;
  /** A server's event in the dialect's words: one, or none where the dialect has no such thing. */
  write(event: WireEvent): WireEvent | undefined;
}

/** An event as it goes over the wire. */
export interface WireEvent {
  readonly type: string;
}

/** Dialects by name; `ga` needs no translation. */
export type DialectName = "ga" | "beta";
