/**
 * Measures the microphone's level in blocks of some 2.5 ms, with the time that each block was captured, as well as the browser
 * tells it: to a tenth of a millisecond where pieces of the track have timestamps (W3C mediacapture-transform; Chromium), else
 * by when they pass the audio graph, which is up to 10 ms later: a `MediaStreamAudioSourceNode` keeps a queue of its own,
 * and how long it is nobody says, nor is it the same in two contexts (docs/decisions/0030-lab.md).
 */
import { FrameClock } from "./speech-end.ts";
import { readPieces } from "./track-pieces.ts";

/** A level and when it was. */
export interface LevelBlock {
  /** `performance.now()` at which the block's last sample was captured. */
  readonly endMs: number;
  readonly durationMs: number;
  /** 0 to 1. */
  readonly rms: number;
}

// The audio thread must have its code as a module of its own; a Blob keeps the SDK one import. Its clock is Date.now():
// worklets have no performance.now(), and a message's arrival would add the main thread's delays.
const WORKLET = `
const BLOCKS = 8;
registerProcessor("sluice-level", class extends AudioWorkletProcessor {
  levels = new Float32Array(BLOCKS);
  count = 0;
  process([input]) {
    const samples = input[0];
    let sum = 0;
    if (samples) for (let i = 0; i < samples.length; i++) sum += samples[i] * samples[i];
    this.levels[this.count++] = samples ? Math.sqrt(sum / samples.length) : 0;
    if (this.count === BLOCKS) {
      this.count = 0;
      this.port.postMessage({ wallMs: Date.now(), frame: currentFrame, levels: this.levels });
    }
    return true;
  }
});`;
const QUANTUM = 128;

interface WorkletMessage {
  readonly wallMs: number;
  /** Of the first sample of the newest block. */
  readonly frame: number;
  readonly levels: Float32Array;
}

/** An audio context with the meter in it. */
export interface MeterHost {
  readonly context: AudioContext;
  /** Rejects where a content security policy forbids `blob:` scripts. */
  readonly ready: Promise<void>;
}

/** Measures in `context`, or in one of its own; `undefined` where the browser has none. */
export function openMeterHost(context = createContext()): MeterHost | undefined {
  return context && { context, ready: load(context) };
}

function createContext(): AudioContext | undefined {
  return typeof AudioContext === "undefined" ? undefined : new AudioContext({ latencyHint: "interactive" });
}

/** Measures `track` until the returned function is called. Await the host's `ready` before. */
export function meterVoice(
  context: AudioContext,
  track: MediaStreamTrack,
  onBlock: (block: LevelBlock) => void,
): () => void {
  return meterPieces(track, onBlock) ?? meterGraph(context, track, onBlock);
}

const BLOCKS_OF_PIECE = 4;

/** By the timestamps of the track itself; `undefined` where the browser has none. */
function meterPieces(track: MediaStreamTrack, onBlock: (block: LevelBlock) => void): (() => void) | undefined {
  return readPieces(track, ({ startMs, sampleRate, samples }) => {
    const durationMs = (samples.length * 1000) / sampleRate / BLOCKS_OF_PIECE;
    for (let block = 0; block < BLOCKS_OF_PIECE; block++) {
      const from = Math.round((block * samples.length) / BLOCKS_OF_PIECE);
      const to = Math.round(((block + 1) * samples.length) / BLOCKS_OF_PIECE);
      const rms = Math.sqrt(samples.subarray(from, to).reduce((sum, it) => sum + it * it, 0) / (to - from));
      onBlock({ endMs: startMs + (to * 1000) / sampleRate, durationMs, rms });
    }
  });
}

/** By the audio graph. */
function meterGraph(context: AudioContext, track: MediaStreamTrack, onBlock: (block: LevelBlock) => void): () => void {
  const source = context.createMediaStreamSource(new MediaStream([track]));
  const meter = new AudioWorkletNode(context, "sluice-level", { numberOfOutputs: 0, channelCount: 1 });
  const clock = new FrameClock();
  const captureLatencyMs = trackLatencyMs(track);
  meter.port.onmessage = ({ data }: MessageEvent<WorkletMessage>) => {
    const perMs = context.sampleRate / 1000;
    // Both clocks of this thread, read together, carry the audio thread's Date.now() over.
    const wallMs = data.wallMs - (Date.now() - performance.now());
    const newest = data.frame + QUANTUM;
    clock.handleCallback(wallMs, newest / perMs);
    data.levels.forEach((rms, index) => {
      const end = (newest - (data.levels.length - 1 - index) * QUANTUM) / perMs;
      onBlock({ endMs: clock.toClock(end)! - captureLatencyMs, durationMs: QUANTUM / perMs, rms });
    });
  };
  source.connect(meter);
  return () => {
    meter.port.onmessage = null;
    source.disconnect();
    meter.disconnect();
  };
}

/** How long the browser says the track's samples took from the microphone; 0 where it says nothing. */
export function trackLatencyMs(track: MediaStreamTrack): number {
  // `latency` left the specification's type but Chromium and Firefox still tell it.
  const latency = (track.getSettings() as { latency?: number }).latency;
  return typeof latency === "number" && latency > 0 && latency < 1 ? latency * 1000 : 0;
}

async function load(context: AudioContext): Promise<void> {
  const address = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
  try {
    await context.audioWorklet.addModule(address);
  } finally {
    URL.revokeObjectURL(address);
  }
}
