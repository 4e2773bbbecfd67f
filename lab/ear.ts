/**
 * An ear in the page: records the microphone and what comes out of the loudspeaker into two tracks of one clock, to the
 * sample, without a hand in the page's own code. What lies before the microphone's track (the device's capture buffer)
 * and behind the loudspeaker's (its output latency) is not in the recording; the browser's own figures for it are told.
 *
 * Streams are read through `MediaStreamTrackProcessor` (W3C mediacapture-transform), whose pieces say when they were captured or
 * decoded. A `MediaStreamAudioSourceNode` holds each stream back by a time of its own: 0 to 7 ms in Chromium 156. Browsers
 * without it (Firefox) are listened to through such nodes all the same.
 */
import type { BrowserContext, Page } from "playwright-core";
import { resample } from "./speech.ts";

/** Samples per second of a recording. */
export const EAR_RATE = 48_000;

/** What was recorded: both tracks begin at the same instant. */
export interface EarRecording {
  readonly mouth: Int16Array;
  readonly ear: Int16Array;
  /** `performance.now()` of the page at the first sample. */
  readonly startedMs: number;
}

/** What the browser says of the sound devices. */
export interface DeviceLatency {
  readonly outputMs: number;
  readonly captureMs: number;
}

/** Runs in the page before its own scripts. Plain JavaScript on purpose: it is sent as text. */
export const EAR_SCRIPT = `(() => {
  const worklet = \`registerProcessor("ear", class extends AudioWorkletProcessor {
    constructor() { super(); this.pcm = new Float32Array(3840); this.filled = 0; }
    process([[samples]]) {
      if (this.filled === 0) this.frame = currentFrame;
      if (samples) this.pcm.set(samples, this.filled);
      else this.pcm.fill(0, this.filled, this.filled + 128);
      this.filled += 128;
      if (this.filled === this.pcm.length) {
        this.port.postMessage({ frame: this.frame, pcm: this.pcm });
        this.filled = 0;
      }
      return true;
    }
  });\`;
  const state = { taps: [], capture: 0 };
  window.__ear = state;
  const open = (track, rate) => {
    const tap = { track, rate, pieces: [] };
    state.taps.push(tap);
    return tap;
  };
  const connect = AudioNode.prototype.connect;
  const loaded = new WeakMap();
  const record = async (context, source, tap) => {
    const address = URL.createObjectURL(new Blob([worklet], { type: "text/javascript" }));
    if (!loaded.has(context)) loaded.set(context, context.audioWorklet.addModule(address));
    await loaded.get(context);
    const node = new AudioWorkletNode(context, "ear", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data: { frame, pcm } }) => {
      const { contextTime, performanceTime } = context.getOutputTimestamp();
      const heardAt = performanceTime + (frame / context.sampleRate - contextTime) * 1000;
      tap.pieces.push({ at: heardAt - context.outputLatency * 1000, pcm });
    };
    connect.call(source, node);
  };
  const listen = async (stream, track) => {
    const [source] = stream.getAudioTracks();
    if (!source) return;
    // The output's latency is told by a context alone.
    state.context ??= new AudioContext({ latencyHint: "interactive" });
    if (!("MediaStreamTrackProcessor" in globalThis)) {
      const streams = (state.streams ??= new AudioContext({ sampleRate: ${EAR_RATE}, latencyHint: "interactive" }));
      const node = streams.createMediaStreamSource(stream);
      (state.sources ??= []).push(node);
      return record(streams, node, open(track, streams.sampleRate));
    }
    const reader = new MediaStreamTrackProcessor({ track: source, maxBufferSize: 1000 }).readable.getReader();
    let tap;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      tap ??= open(track, value.sampleRate);
      const pcm = new Float32Array(value.numberOfFrames);
      value.copyTo(pcm, { planeIndex: 0, format: "f32-planar" });
      tap.pieces.push({ at: value.timestamp / 1000, pcm });
      value.close();
    }
  };
  const media = navigator.mediaDevices;
  if (media) {
    const getUserMedia = media.getUserMedia.bind(media);
    media.getUserMedia = async (constraints) => {
      const stream = await getUserMedia(constraints);
      state.capture = (stream.getAudioTracks()[0]?.getSettings().latency ?? 0) * 1000;
      listen(stream.clone(), "mouth");
      return stream;
    };
  }
  // Pipes whose speech the page decodes itself play it through Web Audio: what goes to the destination, when it is rendered.
  const mixes = new WeakMap();
  const mixOf = (context) => {
    const known = mixes.get(context);
    if (known) return known;
    const mix = new GainNode(context);
    mixes.set(context, mix);
    state.context ??= context;
    record(context, mix, open("ear", context.sampleRate));
    return mix;
  };
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode && this.context instanceof AudioContext) connect.call(this, mixOf(this.context));
    return connect.call(this, target, ...rest);
  };
  const Peer = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer {
    constructor(...args) {
      super(...args);
      this.addEventListener("track", ({ track }) => { if (track.kind === "audio") listen(new MediaStream([track]), "ear"); });
    }
  };
})();`;

/** Puts the ear into every page of the context from now on. */
export async function installEar(context: BrowserContext): Promise<void> {
  await context.addInitScript(EAR_SCRIPT);
}

interface EarState {
  readonly taps: readonly {
    readonly track: "mouth" | "ear";
    readonly rate: number;
    readonly pieces: readonly { readonly at: number; readonly pcm: Float32Array }[];
  }[];
  readonly capture: number;
  readonly context: AudioContext | undefined;
}

/** One source as the page recorded it: pieces one after another, and when the first sample of each was there. */
interface Tap {
  readonly track: "mouth" | "ear";
  readonly rate: number;
  readonly pcm: Int16Array;
  readonly pieces: readonly { readonly at: number; readonly length: number }[];
}

/** A page, as far as the ear needs it. */
interface Evaluating {
  evaluate<T>(work: () => T | Promise<T>): Promise<T>;
}

/** Takes what was recorded since the page began to use the microphone. */
export async function takeRecording(page: Evaluating): Promise<EarRecording> {
  // As base64 of 16-bit samples: Playwright's own encoding of arrays is a hundred times slower.
  const taken = await page.evaluate(() => {
    const { taps } = (globalThis as unknown as { __ear: EarState }).__ear;
    return taps.map(({ track, rate, pieces }) => {
      const pcm = new Int16Array(pieces.reduce((sum, piece) => sum + piece.pcm.length, 0));
      let place = 0;
      for (const piece of pieces)
        for (const sample of piece.pcm) pcm[place++] = Math.max(-1, Math.min(1, sample)) * 32_767;
      const bytes = new Uint8Array(pcm.buffer);
      let text = "";
      for (let i = 0; i < bytes.length; i += 32_768) text += String.fromCharCode(...bytes.subarray(i, i + 32_768));
      return { track, rate, pcm: btoa(text), pieces: pieces.map(({ at, pcm: { length } }) => ({ at, length })) };
    });
  });
  const spans = taken
    .map((tap): Tap => ({ ...tap, pcm: decode(tap.pcm) }))
    .flatMap((tap) => spansOf(tap).map((span) => ({ ...span, track: tap.track })));
  const startedMs = Math.min(...spans.map(({ startMs }) => startMs));
  const mix = (track: "mouth" | "ear") =>
    mixSpans(
      spans.filter((span) => span.track === track),
      startedMs,
    );
  return { mouth: mix("mouth"), ear: mix("ear"), startedMs };
}

/** Sound without a break, at {@link EAR_RATE}. */
interface SoundSpan {
  readonly startMs: number;
  readonly pcm: Int16Array;
}

/** Pieces on either side of a place that say when it was: single ones are told late. */
const NEIGHBOURS = 50;
/** Further off, a source stood still or jumped; nearer, its clock is only told unevenly. */
const BREAK_MS = 6;

/** The stretches of a tap in which its samples followed each other at their rate. */
export function spansOf({ rate, pcm, pieces }: Omit<Tap, "track">): SoundSpan[] {
  const spans: SoundSpan[] = [];
  let place = 0;
  const lags = pieces.map(({ at, length }) => {
    const lag = at - (place * 1000) / rate;
    place += length;
    return lag;
  });
  let [from, fromPlace] = [0, 0];
  place = 0;
  for (let piece = 1; piece <= pieces.length; piece++) {
    place += pieces[piece - 1]!.length;
    if (piece < pieces.length && !breaksAt(lags, from, piece)) continue;
    spans.push({
      startMs: (fromPlace * 1000) / rate + middle(lags, from, piece),
      pcm: resample(pcm.subarray(fromPlace, place), rate, EAR_RATE),
    });
    [from, fromPlace] = [piece, place];
  }
  return spans;
}

/** Whether samples are missing before a piece, or are too many: it and those that follow are off what the ones before promised. */
function breaksAt(lags: readonly number[], from: number, piece: number): boolean {
  const before = middle(lags, Math.max(from, piece - NEIGHBOURS), piece);
  const isOff = (lag: number) => Math.abs(lag - before) >= BREAK_MS;
  return isOff(lags[piece]!) && !isOff(lags[piece - 1]!) && isOff(middle(lags, piece, piece + NEIGHBOURS));
}

function middle(values: readonly number[], from: number, to: number): number {
  const sorted = values.slice(from, to).sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

/** All spans in one track that begins at `startedMs`; what sounds together is added. */
function mixSpans(spans: readonly SoundSpan[], startedMs: number): Int16Array {
  const placed = spans.map(({ startMs, pcm }) => ({ at: Math.round(((startMs - startedMs) * EAR_RATE) / 1000), pcm }));
  const track = new Int16Array(Math.max(0, ...placed.map(({ at, pcm }) => at + pcm.length)));
  for (const { at, pcm } of placed) {
    for (let i = 0; i < pcm.length; i++) track[at + i] = Math.max(-32_768, Math.min(32_767, track[at + i]! + pcm[i]!));
  }
  return track;
}

/** The browser's own word on what the recording cannot hold. */
export async function deviceLatency(page: Page): Promise<DeviceLatency> {
  return page.evaluate(() => {
    const { context, capture } = (globalThis as unknown as { __ear: EarState }).__ear;
    return { outputMs: (context?.outputLatency ?? 0) * 1000, captureMs: capture };
  });
}

function decode(base64: string): Int16Array {
  const bytes = Buffer.from(base64, "base64");
  return new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
