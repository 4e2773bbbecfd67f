/** The one file format that every speech recognition takes: WAV, mono, 16 bit. */
import { type Pcm, SAMPLE_RATE } from "@sluice/conversation";

const HEADER = 44;

/** `pcm` as a WAV file of `sampleRate`. */
export function encodeWav(pcm: Pcm, sampleRate = SAMPLE_RATE): Buffer {
  return Buffer.concat(wavParts([pcm], sampleRate));
}

/** The same as a header and views of the pieces, for whoever puts it into something larger: copied once, not three times. */
export function wavParts(pieces: readonly Pcm[], sampleRate = SAMPLE_RATE): readonly Buffer[] {
  const size = pieces.reduce((sum, pcm) => sum + pcm.byteLength, 0);
  const wav = Buffer.alloc(HEADER);
  wav.write("RIFF", 0, "latin1");
  wav.writeUInt32LE(HEADER + size - 8, 4);
  wav.write("WAVEfmt ", 8, "latin1");
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20); // PCM
  wav.writeUInt16LE(1, 22); // mono
  wav.writeUInt32LE(sampleRate, 24);
  wav.writeUInt32LE(2 * sampleRate, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36, "latin1");
  wav.writeUInt32LE(size, 40);
  return [wav, ...pieces.map(encodePcm16)];
}

/** The bytes of `pcm`, little-endian as every machine that Node runs on; a view, not a copy. */
export function encodePcm16(pcm: Pcm): Buffer {
  return Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength);
}
