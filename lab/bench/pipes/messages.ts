/** What the pipes bench and its server say to each other. */
import type { AudioOrigin } from "@sluice/conversation";

/** What the server is started with. */
export interface ServerSetup {
  /** As `SLUICE_KEYS` holds them. */
  readonly keys: string;
  /** UDP ports of the transceiver as it is, and of the one that repairs nothing. */
  readonly udpPorts: Readonly<Record<"product" | "legacy", number>>;
  /** What clients are told to send to, by the region that their request names. */
  readonly lanes: readonly { readonly region: string; readonly port: number }[];
}

/** Where the two transceivers are, beside each other in the relay's directory. */
export const SERVER_IDS = { product: "0.1", legacy: "0.2" } as const;

/** To the server: take what was heard of every call, and begin anew. */
export interface ServerRequest {
  readonly kind: "take";
}

/** From the server. */
export type ServerReport =
  | { readonly kind: "ready"; readonly urls: Readonly<Record<"product" | "legacy", string>> }
  | { readonly kind: "taken"; readonly calls: readonly HeardCall[] };

/** A piece of the caller's audio as recognition got it. */
export interface HeardPiece {
  /** Place of its first sample in the caller's audio. */
  readonly mediaMs: number;
  readonly origin: AudioOrigin;
  /** 24 kHz. */
  readonly pcm: Int16Array;
}

/** One connection of a caller, as its conversation heard it. */
export interface HeardCall {
  /** The model that it asked for: each call of the bench asks for one of its own. */
  readonly name: string | undefined;
  readonly pieces: readonly HeardPiece[];
  /** Unix milliseconds at which audio came for voice activity. */
  readonly arrivals: readonly number[];
  /** Why it ended; absent while it goes on. */
  readonly ended: string | undefined;
}
