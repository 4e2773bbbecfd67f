/**
 * Opus (RFC 6716) at the rate of the conversation: 24 kHz mono in and out, whatever the other side sends. One WebAssembly
 * instance of libopus serves all sessions; `free()` gives a codec's memory back to it.
 */
import { type Pcm, SAMPLE_RATE, SAMPLES_PER_MS } from "@sluice/conversation";
import { Application, createDecoder, createEncoder, isOpusError, loadLibopus, Signal } from "libopus-wasm";

/** Length of a frame that we send, in milliseconds. */
export const FRAME_MS = 20;

/** Samples of a frame that we send. */
export const FRAME_SAMPLES = FRAME_MS * SAMPLES_PER_MS;

/** Decodes one stream; the order of calls is the order of the stream. */
export interface OpusDecoder {
  /** Any legal packet: 2.5 to 120 ms, mono or stereo. `undefined` when libopus refuses it. */
  decode(packet: Uint8Array): Pcm | undefined;
  /** The `durationMs` (a multiple of 2.5, up to 120) before `next`, out of its in-band FEC. */
  decodeFec(next: Uint8Array, durationMs: number): Pcm | undefined;
  /** Invents `durationMs` (a multiple of 2.5, up to 120) of what may have followed. */
  conceal(durationMs: number): Pcm;
  free(): void;
}

/** Encodes one stream in frames of {@link FRAME_SAMPLES}. */
export interface OpusEncoder {
  /** How much later than it went in a sample comes out of a decoder (RFC 7845 section 4.2, pre-skip), in milliseconds. */
  readonly lookaheadMs: number;
  encode(frame: Pcm): Uint8Array;
  /** Share of packets that the receiver loses, 0 to 100: how much is spent on in-band FEC. */
  setPacketLossPercent(percent: number): void;
  /** Bits per second from the next frame on; `undefined`: what the encoder was made with. */
  setBitrate(bitrate: number | undefined): void;
  free(): void;
}

/** Settings of an encoder. */
export interface OpusEncoderOptions {
  /**
   * `lowDelay` (default): the MDCT alone, 2.5 ms of look-ahead and 46 us a frame, but no in-band FEC: for streams that
   * RED or NACK repair. `voip`: SILK under it, with in-band FEC, 6.5 ms of look-ahead and 110 to 200 us a frame.
   */
  readonly mode?: "lowDelay" | "voip";
  /** Bits per second, variable rate; default 40,000 for `lowDelay`, 28,000 for `voip`. */
  readonly bitrate?: number;
  /** 0 to 10, default 3 for `lowDelay` (10 costs 3 times as much) and 1 for `voip` (9 costs 3 times as much). */
  readonly complexity?: number;
  /** Sends next to nothing in silence; default off. */
  readonly dtx?: boolean;
}

/** Makes codecs over the loaded library. */
export interface OpusCodec {
  /** Version of libopus. */
  readonly version: string;
  createDecoder(): Promise<OpusDecoder>;
  createEncoder(options?: OpusEncoderOptions): Promise<OpusEncoder>;
}

const modes = {
  lowDelay: { application: Application.RestrictedLowDelay, bitrate: 40_000, complexity: 3 },
  voip: { application: Application.Voip, bitrate: 28_000, complexity: 1 },
} as const;

/** Assumed until a receiver reports: enough to make in-band FEC worth its bits. */
const INITIAL_LOSS_PERCENT = 5;

/** Loads libopus, once per process. */
export async function loadOpus(): Promise<OpusCodec> {
  const { version } = await loadLibopus();
  return { version, createDecoder: openDecoder, createEncoder: openEncoder };
}

async function openDecoder(): Promise<OpusDecoder> {
  const decoder = await createDecoder({ sampleRate: SAMPLE_RATE, channels: 1 });
  return {
    decode: (packet) => unlessRefused(() => decoder.decode(packet)),
    decodeFec: (next, durationMs) =>
      unlessRefused(() => decoder.decode(next, { decodeFec: true, frameSize: durationMs * SAMPLES_PER_MS })),
    conceal: (durationMs) => decoder.decodePacketLoss(durationMs * SAMPLES_PER_MS),
    free: () => decoder.free(),
  };
}

async function openEncoder(options: OpusEncoderOptions = {}): Promise<OpusEncoder> {
  const mode = options.mode ?? "lowDelay";
  const bitrate = options.bitrate ?? modes[mode].bitrate;
  const encoder = await createEncoder({
    sampleRate: SAMPLE_RATE,
    channels: 1,
    application: modes[mode].application,
    frameSize: FRAME_SAMPLES,
    bitrate,
    complexity: options.complexity ?? modes[mode].complexity,
    signal: Signal.Voice,
    vbr: true,
    dtx: options.dtx ?? false,
    fec: mode === "voip",
    packetLossPercent: mode === "voip" ? INITIAL_LOSS_PERCENT : 0,
  });
  return {
    lookaheadMs: encoder.getLookahead() / SAMPLES_PER_MS,
    encode: (frame) => encoder.encode(frame, { maxPacketBytes: MAX_PACKET_SIZE }),
    setPacketLossPercent: (percent) => {
      if (mode === "voip") encoder.setPacketLossPercent(Math.max(0, Math.min(100, Math.round(percent))));
    },
    setBitrate: (other) => encoder.setBitrate(other ?? bitrate),
    free: () => encoder.free(),
  };
}

/** A frame and a redundant one stay under one datagram and RED's 10-bit length. */
const MAX_PACKET_SIZE = 500;

/** A hostile packet may pass every check of ours and still not decode. */
function unlessRefused(decode: () => Pcm): Pcm | undefined {
  try {
    return decode();
  } catch (error) {
    if (isOpusError(error)) return undefined;
    throw error;
  }
}
