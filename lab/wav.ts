/** RIFF WAVE files of 16-bit PCM: what Chromium's fake microphone plays and what a person can listen to. */

/** 16-bit PCM of a WAV file, channels interleaved. */
export interface Wav {
  readonly sampleRate: number;
  readonly channels: number;
  readonly pcm: Int16Array;
}

const HEADER_SIZE = 44;
const PCM_FORMAT = 1;
const EXTENSIBLE_FORMAT = 0xfffe;

/** A WAV file of `pcm`. */
export function encodeWav({ sampleRate, channels, pcm }: Wav): Uint8Array {
  const bytes = Buffer.alloc(HEADER_SIZE + pcm.length * 2);
  bytes.write("RIFF", 0, "latin1");
  bytes.writeUInt32LE(bytes.length - 8, 4);
  bytes.write("WAVEfmt ", 8, "latin1");
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(PCM_FORMAT, 20);
  bytes.writeUInt16LE(channels, 22);
  bytes.writeUInt32LE(sampleRate, 24);
  bytes.writeUInt32LE(sampleRate * channels * 2, 28);
  bytes.writeUInt16LE(channels * 2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write("data", 36, "latin1");
  bytes.writeUInt32LE(pcm.length * 2, 40);
  for (let at = 0; at < pcm.length; at++) bytes.writeInt16LE(pcm[at]!, HEADER_SIZE + at * 2);
  return bytes;
}

/** Reads a WAV file of 16-bit PCM; `undefined` when it is none. A recording cut short gives what is there. */
export function parseWav(file: Uint8Array): Wav | undefined {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (bytes.length < 12 || bytes.toString("latin1", 0, 4) !== "RIFF" || bytes.toString("latin1", 8, 12) !== "WAVE")
    return undefined;
  let format: { sampleRate: number; channels: number } | undefined;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const id = bytes.toString("latin1", at, at + 4);
    const size = bytes.readUInt32LE(at + 4);
    const body = bytes.subarray(at + 8, at + 8 + size);
    if (id === "fmt ") format = parseFormat(body);
    if (id === "data") return format && { ...format, pcm: samplesOf(body, format.channels) };
    at += 8 + size + (size % 2); // chunks begin at even offsets
  }
  return undefined;
}

function parseFormat(body: Buffer): { sampleRate: number; channels: number } | undefined {
  if (body.length < 16) return undefined;
  const tag = body.readUInt16LE(0);
  // The extensible form keeps the real format in the first bytes of a GUID.
  const format = tag === EXTENSIBLE_FORMAT && body.length >= 26 ? body.readUInt16LE(24) : tag;
  const [channels, sampleRate, bits] = [body.readUInt16LE(2), body.readUInt32LE(4), body.readUInt16LE(14)];
  return format === PCM_FORMAT && bits === 16 && channels > 0 && sampleRate > 0 ? { sampleRate, channels } : undefined;
}

function samplesOf(body: Buffer, channels: number): Int16Array {
  const pcm = new Int16Array(Math.floor(body.length / (2 * channels)) * channels);
  for (let at = 0; at < pcm.length; at++) pcm[at] = body.readInt16LE(at * 2);
  return pcm;
}
