/** What a client says and hears: Opus frames ready to send, and an ear for what comes back. */
import { loadOpus } from "@sluice/transceiver";
import { decodeRed } from "../../packages/transceiver/src/webrtc/red.ts";
import { type RtpPacket, unwrapTimestamp } from "../../packages/transceiver/src/webrtc/rtp.ts";
import { JitterBuffer } from "../call/jitter-buffer.ts";
import { concatenate } from "../speech.ts";

/** Length of a frame, in milliseconds. */
export const FRAME_MS = 20;
/** Ticks of RTP's clock in a frame. */
export const FRAME_TICKS = 960;
/** Payload types, as Chromium has them. */
export const PAYLOAD_TYPES = { opus: 111, red: 63 } as const;

/** How long a packet may be late, or be on its way once more, before it is invented. */
export const PLAYOUT_MS = 300;

const FRAME_SAMPLES = 480;

/** `pcm` (24 kHz) in frames of Opus, the last one filled up. */
export async function encodeFrames(pcm: Int16Array): Promise<Uint8Array[]> {
  const encoder = await (await loadOpus()).createEncoder({ mode: "voip", bitrate: 32_000 });
  const frames = Array.from({ length: Math.ceil(pcm.length / FRAME_SAMPLES) }, (_, frame) => {
    const samples = new Int16Array(FRAME_SAMPLES);
    samples.set(pcm.subarray(frame * FRAME_SAMPLES, (frame + 1) * FRAME_SAMPLES));
    return Uint8Array.from(encoder.encode(samples));
  });
  encoder.free();
  return frames;
}

/**
 * Records RTP as it comes and plays it afterwards, as late as {@link PLAYOUT_MS} allows: so that what this process itself is
 * late with is not taken for the network's.
 */
export class Ear {
  readonly #frames: { at: number; timestamp: number; payload: Uint8Array; redundant: boolean }[] = [];
  readonly #startedAt = performance.now();
  #timestamp: number | undefined;

  /** Takes a packet of the one stream there is. */
  handleRtp({
    payloadType,
    timestamp: wrapped,
    payload,
  }: Pick<RtpPacket, "payloadType" | "timestamp" | "payload">): void {
    const timestamp = this.#timestamp === undefined ? wrapped : unwrapTimestamp(this.#timestamp, wrapped);
    this.#timestamp = Math.max(this.#timestamp ?? 0, timestamp);
    if (payloadType !== PAYLOAD_TYPES.red) return this.#record(timestamp, payload, false);
    const red = decodeRed(payload);
    for (const { timestampOffset, payload: before } of red?.redundant ?? [])
      this.#record(timestamp - timestampOffset, before, true);
    if (red) this.#record(timestamp, red.primary.payload, false);
  }

  /** What was heard from its beginning until now (24 kHz). */
  async play(): Promise<Int16Array> {
    const decoder = await (await loadOpus()).createDecoder();
    const buffer = new JitterBuffer({ decoder, fixedMs: PLAYOUT_MS });
    const pieces: Int16Array[] = [];
    const waiting = this.#frames.values();
    let next = waiting.next().value;
    for (let now = this.#startedAt; now < performance.now(); now += FRAME_MS) {
      for (; next && next.at <= now; next = waiting.next().value)
        buffer.handleFrame(next.at, next.timestamp, next.payload, next.redundant);
      pieces.push(buffer.play(now).slice());
    }
    decoder.free();
    return concatenate(pieces);
  }

  #record(timestamp: number, payload: Uint8Array, redundant: boolean): void {
    // A copy: the packet's owner may use its buffer again.
    this.#frames.push({ at: performance.now(), timestamp, payload: Uint8Array.from(payload), redundant });
  }
}
