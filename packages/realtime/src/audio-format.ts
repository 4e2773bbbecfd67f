/**
 * The audio of events: PCM at 24 kHz or G.711 at 8 kHz, in base64, to and from the one format inside Sluice, mono
 * 16-bit samples at 24 kHz. Both directions are streams: what one chunk splits, the next completes.
 */
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { decodeG711, encodeG711, type G711Law } from "./g711.ts";
import { createResampler } from "./resampler.ts";
import type { AudioFormat } from "./session.ts";

const INNER_RATE = 24_000;
const G711_RATE = 8000;

/** Reads a stream of audio in a session's input format. */
export interface AudioDecoder {
  /** Samples at 24 kHz; `undefined` if it is not base64, and then the stream is as before. */
  decode(base64: string): Int16Array | undefined;
  /** The same of raw bytes; half a sample waits for the next call. */
  decodeBytes(bytes: Uint8Array): Int16Array;
  /** Forgets half a sample and the resampler's past. */
  reset(): void;
}

/** Writes a stream of audio in a session's output format. */
export interface AudioEncoder {
  /** `pcm` at 24 kHz as base64. */
  encode(pcm: Int16Array): string;
  /** The same as raw bytes. */
  encodeBytes(pcm: Int16Array): Uint8Array;
  /** What resampling still held back (2 ms of G.711, nothing of PCM), as base64; then starts anew. */
  flush(): string;
}

/** Bytes of one second of audio. */
export function bytesPerSecond(format: AudioFormat): number {
  return format.type === "audio/pcm" ? INNER_RATE * 2 : G711_RATE;
}

/** Creates the decoder of one stream. */
export function createAudioDecoder(format: AudioFormat): AudioDecoder {
  const { decodeBytes, reset } =
    format.type === "audio/pcm" ? createPcmReader() : createG711Reader(format.type === "audio/pcmu" ? "pcmu" : "pcma");
  return {
    decode(base64) {
      const bytes = decodeBase64(base64);
      return bytes && decodeBytes(bytes);
    },
    decodeBytes,
    reset,
  };
}

/** Creates the encoder of one stream. */
export function createAudioEncoder(format: AudioFormat): AudioEncoder {
  if (format.type === "audio/pcm") {
    return { encode: (pcm) => encodeBase64(toLittleEndian(pcm)), encodeBytes: toLittleEndian, flush: () => "" };
  }
  const law: G711Law = format.type === "audio/pcmu" ? "pcmu" : "pcma";
  const resampler = createResampler(INNER_RATE, G711_RATE);
  const encodeBytes = (pcm: Int16Array) => encodeG711(law, resampler.resample(pcm));
  return {
    encode: (pcm) => encodeBase64(encodeBytes(pcm)),
    encodeBytes,
    flush: () => encodeBase64(encodeG711(law, resampler.flush())),
  };
}

function createPcmReader() {
  let half: number | undefined; // the first byte of a sample whose second is still to come
  return {
    decodeBytes(bytes: Uint8Array): Int16Array {
      const total = bytes.length + (half === undefined ? 0 : 1);
      const samples = new Int16Array(total >> 1);
      let at = 0;
      let next = 0;
      if (half !== undefined && bytes.length > 0) {
        samples[at++] = half | (bytes[next++]! << 8);
        half = undefined;
      }
      for (; at < samples.length; at++, next += 2) samples[at] = bytes[next]! | (bytes[next + 1]! << 8);
      if (next < bytes.length) half = bytes[next];
      return samples;
    },
    reset() {
      half = undefined;
    },
  };
}

function createG711Reader(law: G711Law) {
  const resampler = createResampler(G711_RATE, INNER_RATE);
  return {
    decodeBytes: (bytes: Uint8Array) => resampler.resample(decodeG711(law, bytes)),
    reset: () => resampler.reset(),
  };
}

function toLittleEndian(pcm: Int16Array): Uint8Array {
  const bytes = new Uint8Array(pcm.length * 2);
  for (let i = 0; i < pcm.length; i++) {
    const sample = pcm[i]!;
    bytes[2 * i] = sample;
    bytes[2 * i + 1] = sample >> 8;
  }
  return bytes;
}
