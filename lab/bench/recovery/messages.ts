/** What the recovery bench, its agent and its relay of several workers say to each other. */

/** What the agent is started with. */
export interface AgentSetup {
  /** As `SLUICE_KEYS` holds them. */
  readonly keys: string;
  /** Such as `0.1`. */
  readonly serverId: string;
  readonly udpPort: number;
  /** What clients are told to send to. */
  readonly relay: { readonly address: string; readonly port: number };
  /** Where relays find it; absent: they are configured with it. */
  readonly redis: string | undefined;
}

/** What the relay is started with; any message makes it kill its first worker. */
export interface RelaySetup {
  /** As `SLUICE_KEYS` holds them. */
  readonly keys: string;
  /** Where the agent is. */
  readonly udpPort: number;
  readonly workers: number;
}

/** From the relay. */
export interface RelayReport {
  readonly kind: "ready";
  readonly port: number;
}

/** To the agent: take what was noted, and begin anew. */
export interface AgentRequest {
  readonly kind: "take";
}

/** From the agent. */
export type AgentReport =
  | { readonly kind: "ready"; readonly url: string }
  | { readonly kind: "taken"; readonly calls: readonly HeardCall[] };

/** The uplink of one call as the transceiver heard it; times are Unix milliseconds. */
export interface HeardCall {
  /** When each packet with new audio came. */
  readonly arrivals: readonly number[];
  /** Audio of packets that did not come themselves: when it was replaced, and how much. */
  readonly replaced: readonly (readonly [at: number, ms: number])[];
  /** Why the call ended; absent while it goes on. */
  readonly ended: string | undefined;
}
