/** What signaling needs of the calls themselves; whoever composes the server implements it. */
import type { EventsOpener, SessionPatch, WebTransportCallAnswer } from "@sluice/realtime";

/** A client's wish for a WebRTC call. */
export interface WebRtcCallRequest {
  /** SDP. */
  readonly offer: string;
  /** The session that the client asked for. */
  readonly session: SessionPatch | undefined;
  /** The session that the client's secret carries; what the client asks for wins. */
  readonly defaults: SessionPatch | undefined;
  /** The model named in the URL. */
  readonly model: string | undefined;
  /** A header of the request by its lower-case name: a CDN's say where the client is. */
  readonly header: (name: string) => string | undefined;
  /** Address of the socket's other end. */
  readonly remoteAddress: string | undefined;
  /** The token of a conversation that goes on over this call (docs/resumption.md). */
  readonly resume?: string | undefined;
}

/** A WebRTC call that was taken. */
export interface WebRtcCall {
  /** `rtc_…` */
  readonly callId: string;
  /** SDP. */
  readonly answer: string;
}

/** A client's wish for a call over WebTransport. */
export interface WebTransportCallWish {
  /** What is spoken inside the session: docs/webtransport.md or docs/moq.md. */
  readonly transport: "webtransport" | "moq";
  /** The session that the client asked for. */
  readonly session: SessionPatch | undefined;
  /** The session that the client's secret carries; what the client asks for wins. */
  readonly defaults: SessionPatch | undefined;
  /** The model named in the URL. */
  readonly model: string | undefined;
  /** How much speech the client holds beyond the ear, milliseconds. */
  readonly leadMs: number;
  /** Who opens the event stream. */
  readonly events: EventsOpener;
  /** A header of the request by its lower-case name. */
  readonly header: (name: string) => string | undefined;
  /** Address of the socket's other end. */
  readonly remoteAddress: string | undefined;
  /** The token of a conversation that goes on over this call. */
  readonly resume?: string | undefined;
}

/** The calls of this server. */
export interface CallDirectory {
  /** Takes a call; throws {@link SdpError} for a bad offer and {@link AtCapacity} when there is no room. */
  openWebRtc(request: WebRtcCallRequest): Promise<WebRtcCall>;
  /**
   * Gives what opens a call over WebTransport. Throws {@link TransportUnavailable}, {@link SettingsTooLong} and
   * {@link AtCapacity}.
   */
  openWebTransport(request: WebTransportCallWish): WebTransportCallAnswer | Promise<WebTransportCallAnswer>;
  /** Ends a call; false if there is none of that name. */
  hangup(callId: string): boolean;
  /** Whether a call of that name is under way. */
  has(callId: string): boolean;
  /** Whether the token opens another connection to a call under way here. */
  isResumable(token: string): boolean;
  /** Whether it does, here or to a call that another transceiver left behind. */
  findResumable(token: string): Promise<boolean>;
}

/** No room for another call now. */
export class AtCapacity extends Error {
  override readonly name = "AtCapacity";
  /** When to try again. */
  readonly retryAfterSeconds: number;

  constructor(message = "this server has no room for another call now", retryAfterSeconds = 5) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** This server does not speak the transport that was asked for. */
export class TransportUnavailable extends Error {
  override readonly name = "TransportUnavailable";
}

/** The session's settings do not fit where they must travel. */
export class SettingsTooLong extends Error {
  override readonly name = "SettingsTooLong";
}
