/** Speech as servers send it, cut anywhere, to samples at 24 kHz: raw PCM, WAV, and Ogg Opus. */
import { type Pcm, SAMPLE_RATE } from "@sluice/conversation";
import { createDecoder, type OpusDecoderHandle } from "libopus-wasm";
import { OggOpusReader } from "./openai-ogg.ts";
import { Resampler } from "./resampler.ts";

/** Turns the bytes of one reply into samples. `push` and `end` throw {@link BadAudio}. */
export interface SpeechDecoder {
  push(bytes: Uint8Array): Pcm;
  end(): Pcm;
  close(): void;
}

/** The bytes are not the audio that they should be; the message says what is wrong with them. */
export class BadAudio extends Error {
  override readonly name = "BadAudio";
}

const NOTHING: Pcm = new Int16Array(0);

/** Decodes headerless 16-bit little-endian mono; a WAV that comes all the same is recognised. */
export function createPcmDecoder(sampleRate: number): SpeechDecoder {
  let decoder: SpeechDecoder | undefined;
  let head: Uint8Array = new Uint8Array(0);
  return {
    push(bytes) {
      if (decoder) return decoder.push(bytes);
      head = Buffer.concat([head, bytes]);
      if (head.length < 4) return NOTHING;
      decoder = Buffer.from(head).toString("latin1", 0, 4) === "RIFF" ? createWavDecoder() : new Samples(sampleRate, 1);
      return decoder.push(head);
    },
    end: () => (decoder ? decoder.end() : NOTHING),
    close: () => {},
  };
}

/** Samples of a known format; carries what a cut leaves of a frame. */
class Samples implements SpeechDecoder {
  readonly #channels: number;
  readonly #resampler: Resampler | undefined;
  #rest: Buffer = Buffer.alloc(0);

  constructor(sampleRate: number, channels: number) {
    this.#channels = channels;
    this.#resampler = sampleRate === SAMPLE_RATE ? undefined : new Resampler(sampleRate, SAMPLE_RATE);
  }

  push(bytes: Uint8Array): Pcm {
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : Buffer.from(bytes);
    const frameSize = 2 * this.#channels;
    const pcm = new Int16Array(Math.floor(all.length / frameSize));
    if (this.#channels === 1)
      all.copy(new Uint8Array(pcm.buffer), 0, 0, pcm.byteLength); // little-endian, as all of ours
    else mix(all, this.#channels, pcm);
    this.#rest = all.subarray(pcm.length * frameSize);
    return this.#resampler ? this.#resampler.process(pcm) : pcm;
  }

  end(): Pcm {
    return this.#resampler?.end() ?? NOTHING;
  }

  close(): void {}
}

/** Interleaved channels as one. */
function mix(frames: Buffer, channels: number, pcm: Pcm): void {
  for (let at = 0; at < pcm.length; at++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) sum += frames.readInt16LE(2 * (at * channels + channel));
    pcm[at] = Math.round(sum / channels);
  }
}

const MAX_HEADER = 64 * 1024;
const PCM_FORMAT = 1;
const EXTENSIBLE = 0xfffe;
/** Lengths that stand for "not known yet": streams are written before they are measured. */
const UNKNOWN_FROM = 0x7ffff000;

/** Decodes 16-bit WAV, mono or more, of known or unknown length; what follows the samples is ignored. */
export function createWavDecoder(): SpeechDecoder {
  let head: Buffer = Buffer.alloc(0);
  let samples: Samples | undefined;
  let left = Number.POSITIVE_INFINITY;
  const take = (bytes: Buffer): Pcm => {
    const part = bytes.subarray(0, Math.min(left, bytes.length));
    left -= part.length;
    return samples!.push(part);
  };
  return {
    push(bytes) {
      if (samples) return take(Buffer.from(bytes));
      head = Buffer.concat([head, bytes]);
      const header = parseWavHeader(head);
      if (!header) {
        if (head.length > MAX_HEADER) throw new BadAudio("a WAV without samples");
        return NOTHING;
      }
      samples = new Samples(header.sampleRate, header.channels);
      left = header.dataLength;
      return take(head.subarray(header.dataAt));
    },
    end() {
      if (!samples && head.length > 0) throw new BadAudio("a WAV that ends within its header");
      return samples?.end() ?? NOTHING;
    },
    close: () => {},
  };
}

interface WavHeader {
  readonly sampleRate: number;
  readonly channels: number;
  readonly dataAt: number;
  readonly dataLength: number;
}

/** The header at the beginning of `head`; `undefined` while it is not whole. Throws {@link BadAudio}. */
function parseWavHeader(head: Buffer): WavHeader | undefined {
  if (head.length < 12) return undefined;
  if (head.toString("latin1", 0, 4) !== "RIFF" || head.toString("latin1", 8, 12) !== "WAVE") {
    throw new BadAudio("no WAV");
  }
  let format: { sampleRate: number; channels: number } | undefined;
  for (let at = 12; at + 8 <= head.length; ) {
    const id = head.toString("latin1", at, at + 4);
    const length = head.readUInt32LE(at + 4);
    const body = at + 8;
    if (id === "data") {
      if (!format) throw new BadAudio("a WAV without a format");
      const dataLength = length === 0 || length >= UNKNOWN_FROM ? Number.POSITIVE_INFINITY : length;
      return { ...format, dataAt: body, dataLength };
    }
    if (id === "fmt ") {
      if (body + 16 > head.length) return undefined;
      format = parseFormat(head.subarray(body, body + 16));
    }
    at = body + length + (length % 2);
  }
  return undefined;
}

function parseFormat(chunk: Buffer): { sampleRate: number; channels: number } {
  const [kind, channels] = [chunk.readUInt16LE(0), chunk.readUInt16LE(2)];
  const [sampleRate, bits] = [chunk.readUInt32LE(4), chunk.readUInt16LE(14)];
  if ((kind !== PCM_FORMAT && kind !== EXTENSIBLE) || bits !== 16) throw new BadAudio(`a WAV of ${bits} bits, not 16`);
  if (channels < 1 || channels > 8 || !isSampleRate(sampleRate)) throw new BadAudio("a WAV of an impossible format");
  return { sampleRate, channels };
}

/** Whether audio of this rate can be meant. */
export function isSampleRate(rate: number): boolean {
  return Number.isInteger(rate) && rate >= 8000 && rate <= 192_000 && rate % 25 === 0;
}

/** Decodes Ogg Opus (RFC 7845), directly at 24 kHz. */
export async function createOggOpusDecoder(): Promise<SpeechDecoder> {
  const ogg = new OggOpusReader();
  const opus = await createDecoder({ channels: 1, sampleRate: SAMPLE_RATE });
  let skip: number | undefined;
  return {
    push(bytes) {
      const packets = ogg.push(bytes);
      if (ogg.broken) throw new BadAudio("no Ogg Opus");
      const pieces = packets.map((packet) => decode(opus, packet));
      skip ??= ogg.preSkip === undefined ? undefined : Math.round((ogg.preSkip * SAMPLE_RATE) / 48_000);
      return dropFirst(pieces);
    },
    end: () => NOTHING,
    close: () => opus.free(),
  };

  function dropFirst(pieces: readonly Pcm[]): Pcm {
    const all = new Int16Array(pieces.reduce((length, piece) => length + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    const dropped = Math.min(skip ?? 0, all.length); // the encoder's warm-up
    skip = (skip ?? 0) - dropped;
    return all.subarray(dropped);
  }
}

function decode(opus: OpusDecoderHandle, packet: Uint8Array): Pcm {
  try {
    return opus.decode(packet).slice();
  } catch (error) {
    throw new BadAudio("a broken Opus packet", { cause: error });
  }
}
