/**
 * Opus in the browser: WebCodecs where it does Opus (W3C WebCodecs Opus registration), else libopus as WebAssembly, which is
 * only then loaded. 48 kHz mono, 20 ms a packet.
 */

/** Samples a second of all that is coded here. */
export const OPUS_RATE = 48_000;

/** Samples of a packet. */
export const OPUS_FRAME = 960;

/** Decodes one stream, in order. */
export interface FrameDecoder {
  /** `at`: place of the packet's first sample; it comes back with the audio. */
  decode(at: number, packet: Uint8Array): void;
  /** Calls back once all that was put in has come out. */
  flush(done: () => void): void;
  close(): void;
}

/** Encodes one stream; packets come in the order of their frames, each with its frame's place. */
export interface FrameEncoder {
  /** Takes {@link OPUS_FRAME} samples. */
  encode(at: number, pcm: Float32Array): void;
  /** Bits per second from the next frame on. */
  setBitrate(bitrate: number): void;
  close(): void;
}

/** Where decoded audio goes. */
export type OnAudio = (at: number, pcm: Float32Array) => void;
/** Where packets go. */
export type OnPacket = (at: number, packet: Uint8Array) => void;

/** Makes coders. */
export interface OpusCodec {
  readonly name: "webcodecs" | "libopus";
  createDecoder(onAudio: OnAudio): FrameDecoder;
  createEncoder(onPacket: OnPacket): FrameEncoder;
}

/** Bits per second of the caller's voice. */
export const BITRATE = 32_000;

/** The same where the path is narrow. */
export const NARROW_BITRATE = 16_000;

const decoderConfig = { codec: "opus", sampleRate: OPUS_RATE, numberOfChannels: 1 };
// `opus` is in the registration, not in TypeScript's types of AudioEncoderConfig everywhere.
const encoderConfig = {
  ...decoderConfig,
  bitrate: BITRATE,
  opus: { frameDuration: 20_000, application: "voip", signal: "voice", complexity: 5 },
} as AudioEncoderConfig;

let loaded: Promise<OpusCodec> | undefined;

/** The codec of this browser; the first call looks for it. Rejects where there is neither WebCodecs nor WebAssembly. */
export function loadOpus(): Promise<OpusCodec> {
  loaded ??= hasWebCodecs().then((has) => (has ? webCodecs : loadLibopus()));
  loaded.catch(() => {
    loaded = undefined; // such as a chunk that did not load: the next call may be luckier
  });
  return loaded;
}

async function hasWebCodecs(): Promise<boolean> {
  if (typeof AudioDecoder === "undefined" || typeof AudioEncoder === "undefined") return false;
  try {
    const [decoder, encoder] = await Promise.all([
      AudioDecoder.isConfigSupported(decoderConfig),
      AudioEncoder.isConfigSupported(encoderConfig),
    ]);
    return decoder.supported === true && encoder.supported === true;
  } catch {
    return false;
  }
}

const webCodecs: OpusCodec = {
  name: "webcodecs",
  createDecoder(onAudio) {
    const places: number[] = []; // decoders do not keep timestamps to the sample
    const decoder = new AudioDecoder({
      output(data) {
        const pcm = new Float32Array(data.numberOfFrames);
        data.copyTo(pcm, { planeIndex: 0, format: "f32-planar" });
        data.close();
        const at = places.shift();
        if (at !== undefined) onAudio(at, pcm);
      },
      error: (error) => console.warn("sluice: speech was not decoded:", error),
    });
    decoder.configure(decoderConfig);
    return {
      decode(at, packet) {
        if (decoder.state !== "configured") return;
        places.push(at);
        decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: micros(at), duration: 20_000, data: packet }));
      },
      flush(done) {
        if (decoder.state !== "configured") done();
        else decoder.flush().then(done, () => undefined); // closed meanwhile: nobody waits
      },
      close() {
        if (decoder.state !== "closed") decoder.close();
      },
    };
  },
  createEncoder(onPacket) {
    const places: number[] = [];
    const encoder = new AudioEncoder({
      output(chunk) {
        const packet = new Uint8Array(chunk.byteLength);
        chunk.copyTo(packet);
        const at = places.shift();
        if (at !== undefined) onPacket(at, packet);
      },
      error: (error) => console.warn("sluice: the microphone was not encoded:", error),
    });
    encoder.configure(encoderConfig);
    return {
      encode(at, pcm) {
        if (encoder.state !== "configured") return;
        places.push(at);
        const data = new AudioData({
          format: "f32-planar",
          sampleRate: OPUS_RATE,
          numberOfFrames: pcm.length,
          numberOfChannels: 1,
          timestamp: micros(at),
          data: pcm as Float32Array<ArrayBuffer>,
        });
        encoder.encode(data);
        data.close();
      },
      setBitrate(bitrate) {
        if (encoder.state === "configured") encoder.configure({ ...encoderConfig, bitrate });
      },
      close() {
        if (encoder.state !== "closed") encoder.close();
      },
    };
  },
};

/** libopus as WebAssembly, 240 KB that most browsers never load. */
export async function loadLibopus(): Promise<OpusCodec> {
  const { Application, createDecoder, createEncoder } = await import("libopus-wasm");
  return {
    name: "libopus",
    createDecoder: (onAudio) => {
      const made = createDecoder({ sampleRate: OPUS_RATE, channels: 1 });
      const queue = inOrder(made);
      return {
        decode: (at, packet) =>
          queue.run((decoder) => onAudio(at, decoder.decodeFloat(packet.length === 0 ? null : packet))),
        flush: (done) => queue.run(done),
        close: () => queue.close(),
      };
    },
    createEncoder: (onPacket) => {
      const made = createEncoder({
        sampleRate: OPUS_RATE,
        channels: 1,
        application: Application.Voip,
        bitrate: BITRATE,
        complexity: 5,
        frameSize: OPUS_FRAME,
      });
      const queue = inOrder(made);
      return {
        encode: (at, pcm) => queue.run((encoder) => onPacket(at, encoder.encodeFloat(pcm))),
        setBitrate: (bitrate) => queue.run((encoder) => encoder.setBitrate(bitrate)),
        close: () => queue.close(),
      };
    },
  };
}

/** Work for a coder that is still being made, in order; nothing runs after `close`. */
function inOrder<Coder extends { free(): void }>(made: Promise<Coder>) {
  let coder: Coder | undefined;
  let closed = false;
  let waiting: ((coder: Coder) => void)[] = [];
  const run = (work: (coder: Coder) => void) => {
    if (closed) return;
    if (!coder) {
      waiting.push(work);
      return;
    }
    try {
      work(coder);
    } catch (error) {
      console.warn("sluice: a frame was not coded:", error); // a packet that no encoder of ours made
    }
  };
  made.then(
    (it) => {
      coder = it;
      if (closed) it.free();
      for (const work of waiting.splice(0)) run(work);
    },
    (error) => console.warn("sluice: no codec:", error),
  );
  return {
    run,
    close() {
      closed = true;
      waiting = [];
      coder?.free();
    },
  };
}

function micros(samples: number): number {
  return Math.round((samples * 1_000_000) / OPUS_RATE);
}
