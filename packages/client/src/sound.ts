/** Microphone and loudspeaker of the pipes whose audio we code ourselves. They outlive the connections of a conversation. */
import { Recorder } from "./capture/recorder.ts";
import { loadOpus, OPUS_RATE } from "./opus.ts";
import { Speaker } from "./playout/speaker.ts";
import { loadWorklet } from "./worklet.ts";

/** An open sound device. */
export interface Sound {
  readonly context: AudioContext;
  readonly recorder: Recorder;
  /** `undefined` where the agent is not to be played. */
  readonly speaker: Speaker | undefined;
  close(): void;
}

/** Whether this browser can do it at all. */
export function hasSound(): boolean {
  return typeof AudioWorkletNode !== "undefined" && typeof AudioContext !== "undefined";
}

/**
 * Opens it; call it from the click itself: browsers start sound only then. Rejects where a content security policy forbids
 * `blob:` scripts, or where there is no Opus.
 */
export async function openSound(playout: boolean): Promise<Sound> {
  const context = new AudioContext({ sampleRate: OPUS_RATE, latencyHint: "interactive" });
  try {
    const [codec] = await Promise.all([loadOpus(), loadWorklet(context)]);
    const recorder = new Recorder(context, codec);
    const speaker = playout ? new Speaker(context, codec) : undefined;
    return {
      context,
      recorder,
      speaker,
      close() {
        recorder.close();
        speaker?.close();
        context.close().catch(() => undefined);
      },
    };
  } catch (cause) {
    context.close().catch(() => undefined);
    throw cause;
  }
}
