/**
 * The sound of a track in pieces with the time of each (W3C mediacapture-transform; Chromium). Of a microphone: when it was
 * captured. Of what comes over WebRTC: when the jitter buffer gave it out, a device's latency before it is heard.
 */
import type { Milli } from "./clock-sync.ts";
import { FrameClock } from "./speech-end.ts";

/** Some 10 ms of one channel. */
export interface TrackPiece {
  /** `performance.now()` of the first sample. */
  readonly startMs: Milli;
  readonly sampleRate: number;
  /** Valid until the next piece. */
  readonly samples: Float32Array;
}

// TypeScript has it in workers alone; Chromium has it in windows too.
type TrackProcessor = new (init: {
  readonly track: MediaStreamTrack;
  readonly maxBufferSize: number;
}) => {
  readonly readable: ReadableStream<AudioData>;
};

/** Pieces that may wait for this thread, 2 s; what is more is lost. */
const MAX_PIECES = 200;
/** Timestamps are of the clock of `performance.now()` (Chromium 156); what is further off was made by another. */
const PLAUSIBLE_MS = 2_000;

/** Reads `track` until the returned function is called; `undefined` where the browser cannot. */
export function readPieces(track: MediaStreamTrack, onPiece: (piece: TrackPiece) => void): (() => void) | undefined {
  const Processor = (globalThis as { MediaStreamTrackProcessor?: TrackProcessor }).MediaStreamTrackProcessor;
  if (!Processor) return undefined;
  let reader: ReadableStreamDefaultReader<AudioData>;
  try {
    reader = new Processor({ track, maxBufferSize: MAX_PIECES }).readable.getReader();
  } catch {
    return undefined; // such as one that takes video alone
  }
  const clock = new FrameClock();
  let samples = new Float32Array(0);
  let stopped = false;
  const read = async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || stopped) return value?.close();
      const { numberOfFrames, sampleRate, timestamp } = value;
      if (samples.length !== numberOfFrames) samples = new Float32Array(numberOfFrames);
      value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      value.close();
      const now = performance.now();
      let startMs = timestamp / 1000;
      if (Math.abs(now - startMs) > PLAUSIBLE_MS) {
        clock.handleCallback(now, startMs);
        startMs = clock.toClock(startMs)!;
      }
      onPiece({ startMs, sampleRate, samples });
    }
  };
  read().catch((cause: unknown) => console.warn("sluice: a track is not read:", cause));
  return () => {
    stopped = true;
    reader.cancel().catch(() => undefined);
  };
}
