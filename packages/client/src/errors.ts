/** What can go wrong for an app: one class for each decision it can take. `cause` keeps what the browser said. */

/** The person, the browser or a policy refused the microphone: explain, then let them ask again. */
export class MicrophoneDenied extends Error {
  override readonly name = "MicrophoneDenied";
}

/** No microphone is connected: ask for one, or go on in text. */
export class NoMicrophone extends Error {
  override readonly name = "NoMicrophone";
}

/** There is a microphone and it cannot be opened, mostly because another program holds it. */
export class MicrophoneBusy extends Error {
  override readonly name = "MicrophoneBusy";
}

/** Browsers give microphones only to https pages and to localhost: serve the page there. */
export class InsecureOrigin extends Error {
  override readonly name = "InsecureOrigin";
}

/** No answer from the server: check the address and the network, then retry. */
export class ServerUnreachable extends Error {
  override readonly name = "ServerUnreachable";
}

/** The server takes no more calls now. */
export class ServerBusy extends Error {
  override readonly name = "ServerBusy";
  /** How long the server asks to wait; `undefined` when it does not say. */
  readonly retryAfterMs: number | undefined;
  constructor(message: string, retryAfterMs: number | undefined, options?: ErrorOptions) {
    super(message, options);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The token is missing, wrong or expired: mint another one. */
export class Unauthorized extends Error {
  override readonly name = "Unauthorized";
}

/** The server refused the call or answered with something that is no Realtime server's answer. */
export class BadAnswer extends Error {
  override readonly name = "BadAnswer";
}

/** The media path could not be made or was lost and did not come back: retry with a new call. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** The server ended the call and said why: start another one. */
export class SessionEnded extends Error {
  override readonly name = "SessionEnded";
}

/** The connection was lost, and the server no longer has the conversation: start another one. */
export class ConversationGone extends Error {
  override readonly name = "ConversationGone";
}

/** This browser cannot carry a voice over the transport that was asked for: ask for another, or for `auto`. */
export class TransportUnsupported extends Error {
  override readonly name = "TransportUnsupported";
}
