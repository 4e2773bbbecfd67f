/**
 * The loudspeaker of pipes whose speech comes ahead of the ear: frames are decoded as they come, a player on the audio
 * thread holds them, and its word on what was played is put on the page's clock.
 *
 * It plays straight into the audio context's destination: the shortest path, the only one with a clock of its own
 * (`getOutputTimestamp`), and one that the echo canceller hears (docs/decisions/0022-client.md: 73 dB in Chromium 156).
 */
import type { Milli } from "../clock-sync.ts";
import { type FrameDecoder, OPUS_RATE, type OpusCodec } from "../opus.ts";
import type { PlayoutPosition } from "../playout-tracker.ts";
import { PLAYER } from "../worklet.ts";
import type { PlayerReport, PlayerStats } from "./player.ts";

/** What was heard, and whether more will be. */
export interface SpeakerReport extends PlayoutPosition {
  readonly kind: PlayerReport["kind"];
  /** It was cut before its first sample. */
  readonly unheard: boolean;
}

const PER_MS = OPUS_RATE / 1000;
const STATS_EVERY_MS = 1_000;

/** One loudspeaker; it outlives the connections of its conversation. */
export class Speaker {
  readonly #context: AudioContext;
  readonly #codec: OpusCodec;
  readonly #analyser: AnalyserNode;
  readonly #samples = new Float32Array(256);
  readonly #decoders = new Map<string, FrameDecoder>();
  #node: AudioWorkletNode | undefined;
  #stats: PlayerStats | undefined;
  #statsAt: Milli = 0;
  /** Called with every report. */
  onReport: ((report: SpeakerReport) => void) | undefined;

  /** `context` runs at 48 kHz and has the worklet. */
  constructor(context: AudioContext, codec: OpusCodec) {
    this.#context = context;
    this.#codec = codec;
    this.#analyser = new AnalyserNode(context, { fftSize: this.#samples.length });
    this.#node = new AudioWorkletNode(context, PLAYER, { numberOfInputs: 0, outputChannelCount: [1] });
    this.#node.port.onmessage = ({ data }: MessageEvent<{ report?: PlayerReport; stats?: PlayerStats }>) => {
      if (data.stats) this.#stats = data.stats;
      if (data.report) this.#report(data.report);
    };
    this.#node.connect(this.#analyser);
    this.#node.connect(context.destination);
  }

  /** Opus packets of an utterance; `at`: its own sample at 48 kHz. */
  play(utterance: string, at: number, packet: Uint8Array): void {
    let decoder = this.#decoders.get(utterance);
    if (!decoder) {
      decoder = this.#codec.createDecoder((place, pcm) => this.#push(utterance, place, pcm));
      this.#decoders.set(utterance, decoder);
    }
    decoder.decode(at, packet);
  }

  /** Decoded audio of an utterance, at 48 kHz. */
  playPcm(utterance: string, at: number, pcm: Float32Array): void {
    this.#push(utterance, at, pcm);
  }

  /** No more of the utterance will come. */
  end(utterance: string): void {
    const decoder = this.#decoders.get(utterance);
    if (!decoder) {
      this.#tell("end", utterance);
      return;
    }
    decoder.flush(() => {
      this.#tell("end", utterance);
      this.#closeDecoder(utterance);
    });
  }

  /** Silence within 10 ms, for these utterances or for all, and for what is on its way of them. */
  cut(utterances?: readonly string[]): void {
    for (const id of utterances ?? [...this.#decoders.keys()]) this.#closeDecoder(id);
    this.#tell("cut", utterances);
  }

  duck(gain: number, rampMs: Milli): void {
    this.#tell("duck", gain, Math.round(rampMs * PER_MS));
  }

  /** RMS of the last 5 ms, 0 to 1. */
  level(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return Math.sqrt(this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length);
  }

  /** From the audio thread to the air, as far as the browser says. */
  latencyMs(): Milli {
    return ((this.#context.outputLatency || this.#context.baseLatency) ?? 0) * 1000;
  }

  /** The player's counters, at most a second old; `undefined` before the first. */
  stats(now: Milli): PlayerStats | undefined {
    if (now - this.#statsAt > STATS_EVERY_MS / 2) {
      this.#statsAt = now;
      this.#tell("stats");
    }
    return this.#stats;
  }

  close(): void {
    for (const id of [...this.#decoders.keys()]) this.#closeDecoder(id);
    this.#node?.disconnect();
    this.#node = undefined;
    this.onReport = undefined;
  }

  #push(utterance: string, at: number, pcm: Float32Array): void {
    this.#node?.port.postMessage(["push", utterance, at, pcm], [pcm.buffer as ArrayBuffer]);
  }

  #tell(...message: unknown[]): void {
    this.#node?.port.postMessage(message);
  }

  #closeDecoder(utterance: string): void {
    this.#decoders.get(utterance)?.close();
    this.#decoders.delete(utterance);
  }

  #report({ kind, utterance, startedFrame, position, frame }: PlayerReport): void {
    const now = performance.now();
    const heardAt = this.#earTime(frame);
    // Said is what the ear has had by now; of a cut or an end, what it will have had.
    const early = kind === "playing" ? Math.max(0, Math.min(position / PER_MS, heardAt - now)) : 0;
    this.onReport?.({
      kind,
      itemId: utterance,
      startedMs: this.#earTime(startedFrame),
      positionMs: position / PER_MS - early,
      atMs: heardAt - early,
      unheard: startedFrame < 0,
    });
  }

  /** When an output frame is heard, `performance.now()`. */
  #earTime(frame: number): Milli {
    const contextMs = (frame / this.#context.sampleRate) * 1000;
    const { contextTime = 0, performanceTime = 0 } = this.#context.getOutputTimestamp?.() ?? {};
    if (performanceTime > 0 && contextTime > 0) return performanceTime + contextMs - contextTime * 1000;
    return performance.now() + contextMs - this.#context.currentTime * 1000 + this.latencyMs();
  }
}
