/** Opens the microphone and says in one word why it could not. */
import { InsecureOrigin, MicrophoneBusy, MicrophoneDenied, NoMicrophone } from "./errors.ts";

/** `true`: the default microphone, echo cancelled; `false`: none; or constraints, or a stream of the app's own. */
export type MicrophoneChoice = boolean | MediaTrackConstraints | MediaStream;

/** An open microphone. */
export interface Microphone {
  readonly track: MediaStreamTrack;
  /** Stops the track, unless it belongs to the app. */
  release(): void;
}

/** Opens `choice`; `undefined` for none. Throws one of the four microphone errors. */
export async function openMicrophone(choice: MicrophoneChoice): Promise<Microphone | undefined> {
  if (choice === false) return undefined;
  if (typeof MediaStream !== "undefined" && choice instanceof MediaStream) {
    const track = choice.getAudioTracks()[0];
    if (!track) throw new NoMicrophone("the given stream has no audio track");
    return { track, release: () => undefined };
  }
  if (!globalThis.navigator?.mediaDevices?.getUserMedia) {
    throw new InsecureOrigin(
      `${location.origin} is neither https nor localhost, so the browser gives it no microphone`,
    );
  }
  const constraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  try {
    const audio = choice === true ? constraints : { ...constraints, ...choice };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const track = stream.getAudioTracks()[0];
    if (!track) throw new NoMicrophone("the browser opened a stream without audio");
    return { track, release: () => track.stop() };
  } catch (cause) {
    throw microphoneError(cause);
  }
}

/** The error class for what `getUserMedia` threw (W3C mediacapture-main section 10.1.2.3). */
export function microphoneError(cause: unknown): Error {
  const name = cause instanceof Error || cause instanceof DOMException ? cause.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") {
    return new MicrophoneDenied("the microphone was refused", { cause });
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return new NoMicrophone("no microphone that fits was found", { cause });
  }
  if (name === "NotReadableError" || name === "AbortError") {
    return new MicrophoneBusy("the microphone could not be opened", { cause });
  }
  return cause instanceof Error ? cause : new Error(String(cause));
}
