/**
 * What we use of `@moq/net`, by our own names: whoever has the package gives an adapter (`../node/moq-net.ts`), and nobody
 * else needs its types. Paths and track names are strings as the package gives them.
 */

/** One frame as a peer sent it. */
export interface MoqFrame {
  readonly payload: Uint8Array;
}

/** A group that is read: its frames in order. */
export interface MoqGroup {
  readonly sequence: number;
  /** `undefined` at its end; rejects when the group was given up. */
  readFrame(): Promise<MoqFrame | undefined>;
}

/** A track of the peer's that we follow. */
export interface MoqSubscription {
  /** Each group once, as it comes; `undefined` when the track is over. */
  recvGroup(): Promise<MoqGroup | undefined>;
  /** Frames that came by datagram, which are groups of one frame. */
  recvDatagram(): Promise<{ readonly sequence: number; readonly payload: Uint8Array } | undefined>;
  close(): void;
}

/** How a track is to be sent to us. */
export interface MoqSubscribeOptions {
  /** Of 255, higher first. */
  readonly priority: number;
  /** The oldest group first. */
  readonly ordered: boolean;
  /** How old a group may be that is still sent, milliseconds. */
  readonly latencyMax: number;
}

/** A broadcast of the peer's. */
export interface MoqRemoteBroadcast {
  track(name: string): { subscribe(options: MoqSubscribeOptions): MoqSubscription };
  close(): void;
}

/** A group that we write. */
export interface MoqOutgoingGroup {
  /** `micros`: its time, in the unit that tracks of ours are announced with. */
  writeFrame(payload: Uint8Array, micros: number): void;
  close(): void;
}

/** A track of ours. */
export interface MoqOutgoingTrack {
  appendGroup(): MoqOutgoingGroup;
}

/** A broadcast of ours; tracks that it has not are refused. */
export interface MoqBroadcast {
  createTrack(name: string, priority: number): MoqOutgoingTrack;
  close(): void;
}

/** A connection to a peer. */
export interface MoqConnection {
  /** Such as "moq-lite-05". */
  readonly version: string;
  /** Broadcasts of the peer's as they come and go. */
  announced(): {
    next(): Promise<{ readonly path: string; readonly active: boolean } | undefined>;
    close(): void;
  };
  consume(path: string): MoqRemoteBroadcast;
  /** Announces a broadcast. It is closed with the connection: each has its own. */
  publish(path: string): MoqBroadcast;
  close(): void;
}

/** The package. */
export interface MoqNet {
  /** Subprotocols of WebTransport that it speaks. */
  readonly protocols: readonly string[];
  /** The server's half of the handshake, over a W3C-shaped `WebTransport`; rejects when the peer breaks it. */
  accept(transport: object): Promise<MoqConnection>;
}

/** What the client and we both speak, by the client's preference; `undefined` where it named nothing, `null`: nothing. */
export function chooseProtocol(offered: readonly string[], spoken: readonly string[]): string | undefined | null {
  if (offered.length === 0) return undefined;
  return offered.find((protocol) => spoken.includes(protocol)) ?? null;
}
