/** What to tell a person when something is wrong, and what they can do about it. */
import {
  ConnectionLost,
  ConversationGone,
  InsecureOrigin,
  MicrophoneBusy,
  MicrophoneDenied,
  NoMicrophone,
  ServerBusy,
  ServerUnreachable,
  SessionEnded,
  TransportUnsupported,
  Unauthorized,
} from "@sluice/client";

/** A problem in words. */
export interface Problem {
  readonly title: string;
  readonly advice: string;
  /** Whether going on without a microphone, in writing, would help. */
  readonly offerWriting: boolean;
  /** Whether a key is what is missing. */
  readonly asksKey: boolean;
}

/** Puts an error of the SDK into words. */
export function explain(error: unknown): Problem {
  const problem = (title: string, advice: string, offerWriting = false): Problem => {
    return { title, advice, offerWriting, asksKey: error instanceof Unauthorized };
  };
  if (error instanceof MicrophoneDenied) {
    return problem(
      "The microphone was refused",
      "Allow it for this page in the browser's address bar or settings, then try again.",
      true,
    );
  }
  if (error instanceof NoMicrophone) {
    return problem("No microphone was found", "Connect one, or choose one in the system's sound settings.", true);
  }
  if (error instanceof MicrophoneBusy) {
    return problem("The microphone is in use", "Another program holds it. Close that program, then try again.", true);
  }
  if (error instanceof InsecureOrigin) {
    return problem(
      "This page may not use a microphone",
      `Browsers allow it only on https pages and on localhost, and this is ${location.origin}. Open the page on localhost or put https in front of it.`,
      true,
    );
  }
  if (error instanceof ServerUnreachable) {
    return problem("The server does not answer", "See whether it still runs (npm start) and try again.");
  }
  if (error instanceof ServerBusy) {
    const seconds = error.retryAfterMs === undefined ? "in a moment" : `in ${Math.ceil(error.retryAfterMs / 1000)} s`;
    return problem("The server is full", `It takes no more calls now. Try again ${seconds}.`);
  }
  if (error instanceof Unauthorized) {
    return problem(
      "The server wants a key",
      "Enter its SLUICE_API_KEY, or a client secret that was minted with it. The page forgets it when it is closed.",
    );
  }
  if (error instanceof SessionEnded) return problem("The server ended the call", sentence(error.message));
  if (error instanceof TransportUnsupported) {
    return problem("This browser cannot use that pipe", `${sentence(error.message)} Choose another one, or the best.`);
  }
  if (error instanceof ConversationGone) {
    return problem("The connection was lost", "The server has let the conversation go. Start another one.");
  }
  if (error instanceof ConnectionLost) {
    return problem(
      "The connection was lost",
      `${sentence(error.message)} Try again; if it stays, a firewall may block UDP.`,
    );
  }
  return problem("The call could not be made", sentence(error instanceof Error ? error.message : String(error)));
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
}
