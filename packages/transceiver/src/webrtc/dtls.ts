/**
 * What a session needs of DTLS (RFC 5764) and of data channels (RFC 8831), whoever implements them. Datagrams in by a
 * call, everything out by the sink: implementations never see a socket.
 */
import type { Milli } from "@sluice/conversation";
import type { DtlsRecord } from "./dtls-record.ts";
import type { Fingerprint } from "./sdp.ts";

/** Protection profiles that we negotiate, in our order of preference (RFC 7714 section 14.2, RFC 5764 section 4.1.2). */
export type SrtpProfile = "AEAD_AES_128_GCM" | "AES128_CM_HMAC_SHA1_80";

/** What the handshake agreed on for media (RFC 5764 section 4.2). Holds keys: never log it. */
export interface SrtpKeys {
  readonly profile: SrtpProfile;
  readonly localKey: Uint8Array;
  readonly localSalt: Uint8Array;
  readonly remoteKey: Uint8Array;
  readonly remoteSalt: Uint8Array;
}

/** Where a {@link Dtls} puts what it makes. Called during a call of ours or later; nothing follows `onClosed`. */
export interface DtlsSink {
  /** A datagram for the peer, at most 1,200 bytes. */
  onPacket(packet: Uint8Array): void;
  /**
   * The handshake is over, the peer's certificate is the one of the offer and the peer holds its key. No keys: the peer
   * did not ask for SRTP.
   */
  onConnected(keys: SrtpKeys | undefined): void;
  /** One application record (an SCTP packet). */
  onData(data: Uint8Array): void;
  /** The association is over: by the peer, by us, or because the handshake failed. */
  onClosed(reason: string): void;
}

/** The server's end of one DTLS association. */
export interface Dtls {
  /** Takes one record of a datagram from the validated path. */
  handleRecord(now: Milli, record: DtlsRecord): void;
  /** Authentic media came: the peer has the keys, so that nothing of the handshake need be sent again. */
  handleMedia(): void;
  handleTimeout(now: Milli): void;
  pollTimeout(): Milli | undefined;
  /** Sends one application record. */
  send(data: Uint8Array): void;
  /** Sends close_notify and frees everything; `onClosed` is not called. */
  close(): void;
}

/** Opens associations with one certificate. */
export interface DtlsFactory {
  /** SHA-256 of our certificate, for the answer. */
  readonly fingerprint: Fingerprint;
  /** Opens an association with the peer whose certificate has one of `fingerprints`. */
  open(now: Milli, fingerprints: readonly Fingerprint[], sink: DtlsSink): Dtls;
}
