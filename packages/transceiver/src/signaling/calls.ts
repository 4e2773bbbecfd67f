/** What signaling needs of the calls themselves; whoever composes the server implements it. */
import type { SessionPatch } from "@sluice/realtime";

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
}

/** A WebRTC call that was taken. */
export interface WebRtcCall {
  /** `rtc_…` */
  readonly callId: string;
  /** SDP. */
  readonly answer: string;
}

/** The calls of this server. */
export interface CallDirectory {
  /** Takes a call; throws {@link SdpError} for a bad offer and {@link AtCapacity} when there is no room. */
  openWebRtc(request: WebRtcCallRequest): Promise<WebRtcCall>;
  /** Ends a call; false if there is none of that name. */
  hangup(callId: string): boolean;
  /** Whether a call of that name is under way. */
  has(callId: string): boolean;
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
