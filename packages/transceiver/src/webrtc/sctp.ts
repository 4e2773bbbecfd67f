/** What a session needs of SCTP over DTLS and of data channels (RFC 8261, RFC 8831, RFC 8832), whoever implements it. */
import type { Milli } from "@sluice/conversation";

/** Where an {@link Sctp} puts what it makes, during a call of ours; nothing follows `onClosed`. */
export interface SctpSink {
  /** One SCTP packet for DTLS. */
  onPacket(packet: Uint8Array): void;
  /** The events channel is open: what is sent from now on leaves, what was sent before has just left. */
  onOpen(): void;
  /** A text message on the events channel. */
  onText(text: string): void;
  /** The association or the events channel is over. */
  onClosed(reason: string): void;
}

/** What came that no events channel carries; it is answered with nothing. */
export interface SctpCounts {
  /** Packets that are not well-formed. */
  malformed: number;
  binary: number;
  /** Longer than the answer's `a=max-message-size`. */
  tooLong: number;
}

/** The server's end of one SCTP association that carries one events channel. */
export interface Sctp {
  readonly counts: Readonly<SctpCounts>;
  /** Takes one SCTP packet out of DTLS. */
  handlePacket(now: Milli, packet: Uint8Array): void;
  handleTimeout(now: Milli): void;
  pollTimeout(): Milli | undefined;
  /** Sends a text message in order; kept until the channel opens. `false`: 4 MiB are waiting already, and it is lost. */
  sendText(now: Milli, text: string): boolean;
  /** Ends the association; `onClosed` is not called. */
  close(): void;
}

/** Opens associations. */
export interface SctpFactory {
  /** `peerMaxMessageSize`: bytes of one message that the peer takes. */
  open(now: Milli, options: { readonly peerPort: number; readonly peerMaxMessageSize: number }, sink: SctpSink): Sctp;
}
