/**
 * The microphone of pipes whose audio we code ourselves: 20 ms frames from the first moment on, kept until they are heard on
 * the other side. Capture does not wait for a connection: what is said meanwhile is sent when there is one, and again over
 * the next one if it was lost with the last.
 */
import { type AudioFrame, createResampler, type Resampler } from "@sluice/realtime";
import { BITRATE, type FrameEncoder, NARROW_BITRATE, OPUS_FRAME, OPUS_RATE, type OpusCodec } from "../opus.ts";
import { CAPTURE, type Captured, loadWorklet } from "../worklet.ts";
import { Talkspurts } from "./talkspurt.ts";

/** A frame of the caller. */
export interface CapturedFrame extends AudioFrame {
  /** Voice begins with it. */
  readonly begins: boolean;
  /** As captured, for pipes that carry no Opus. */
  readonly pcm: Float32Array;
}

/** Frames kept: 30 s. */
const MAX_KEPT = 1_500;

/** One microphone; it outlives the connections of its conversation. */
export class Recorder {
  readonly #context: AudioContext;
  readonly #encoder: FrameEncoder;
  readonly #talkspurts = new Talkspurts();
  readonly #captured: { at: number; pcm: Float32Array; begins: boolean }[] = []; // not encoded yet
  #kept: CapturedFrame[] = [];
  #input: { disconnect(): void } | undefined;
  #next = 0; // time of the next frame
  #counting = true;
  #resampler: Resampler | undefined;
  #rest = new Float32Array(0);
  #attached = 0;
  #isNarrow = false;
  /** Called after every frame; read it with {@link Recorder.since}. */
  onFrame: (() => void) | undefined;

  /** `context` has the worklet. */
  constructor(context: AudioContext, codec: OpusCodec) {
    this.#context = context;
    this.#encoder = codec.createEncoder((at, packet) => this.#keep(at, packet));
  }

  /** Time of the frame after the newest, at 48 kHz. */
  get end(): number {
    return this.#next;
  }

  /** Listens to `track` from now on, or to nothing. */
  async attach(track: MediaStreamTrack | null): Promise<void> {
    const turn = ++this.#attached;
    this.#input?.disconnect();
    this.#input = undefined;
    if (!track) return;
    const input = await this.#connect(track);
    // Another track was attached while this one's graph was made.
    if (turn === this.#attached) this.#input = input;
    else input.disconnect();
  }

  /** Whether frames are to be small: not as good, and half as long. */
  setNarrow(isNarrow: boolean): void {
    if (isNarrow === this.#isNarrow) return;
    this.#isNarrow = isNarrow;
    this.#encoder.setBitrate(isNarrow ? NARROW_BITRATE : BITRATE);
  }

  /** The frames from `time` on that are still kept. */
  since(time: number): CapturedFrame[] {
    const from = this.#kept.findIndex((frame) => frame.time >= time);
    return from < 0 ? [] : this.#kept.slice(from);
  }

  close(): void {
    this.#attached += 1;
    this.#input?.disconnect();
    this.#encoder.close();
    this.onFrame = undefined;
    this.#counting = false;
  }

  async #connect(track: MediaStreamTrack): Promise<{ disconnect(): void }> {
    let context = this.#context;
    let source: MediaStreamAudioSourceNode;
    try {
      source = context.createMediaStreamSource(new MediaStream([track]));
    } catch {
      // Firefox connects a microphone only to a context of its own rate.
      context = new AudioContext();
      await loadWorklet(context);
      source = context.createMediaStreamSource(new MediaStream([track]));
    }
    this.#resampler = context.sampleRate === OPUS_RATE ? undefined : createResampler(context.sampleRate, OPUS_RATE);
    this.#rest = new Float32Array(0);
    const node = new AudioWorkletNode(context, CAPTURE, { numberOfOutputs: 0, channelCount: 1 });
    node.port.onmessage = ({ data }: MessageEvent<Captured>) => this.#take(data.pcm);
    source.connect(node);
    return {
      disconnect: () => {
        node.port.onmessage = null;
        source.disconnect();
        if (context !== this.#context) context.close().catch(() => undefined);
      },
    };
  }

  #take(captured: Float32Array): void {
    if (!this.#counting) return;
    if (!this.#resampler) {
      this.#encode(captured);
      return;
    }
    const more = this.#resampler.resampleToFloat(captured);
    let pcm = new Float32Array(this.#rest.length + more.length);
    pcm.set(this.#rest);
    pcm.set(more, this.#rest.length);
    for (; pcm.length >= OPUS_FRAME; pcm = pcm.slice(OPUS_FRAME)) this.#encode(pcm.slice(0, OPUS_FRAME));
    this.#rest = pcm;
  }

  #encode(pcm: Float32Array): void {
    const rms = Math.sqrt(pcm.reduce((sum, sample) => sum + sample * sample, 0) / pcm.length);
    const at = this.#next;
    this.#next += OPUS_FRAME;
    this.#captured.push({ at, pcm, begins: this.#talkspurts.handleFrame(rms) });
    this.#encoder.encode(at, pcm);
  }

  #keep(at: number, packet: Uint8Array): void {
    while (this.#captured.length > 0 && this.#captured[0]!.at < at) this.#captured.shift();
    const captured = this.#captured[0]?.at === at ? this.#captured.shift() : undefined;
    if (!captured) return;
    this.#kept.push({ time: at, packet, begins: captured.begins, pcm: captured.pcm });
    if (this.#kept.length > MAX_KEPT) this.#kept = this.#kept.slice(-MAX_KEPT + 250);
    this.onFrame?.();
  }
}
