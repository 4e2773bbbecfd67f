/**
 * An ear in the page: records the microphone and what comes out of the loudspeaker into two tracks of one clock, to the
 * sample, without a hand in the page's own code. What lies before the microphone's track (the device's capture buffer)
 * and behind the loudspeaker's (its output latency) is not in the recording; the browser's own figures for it are told.
 */
import type { BrowserContext, Page } from "playwright-core";

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
  const RATE = ${EAR_RATE};
  const worklet = \`registerProcessor("ear", class extends AudioWorkletProcessor {
    constructor() { super(); this.parts = [new Float32Array(4800), new Float32Array(4800)]; this.filled = 0; }
    process(inputs) {
      for (let track = 0; track < 2; track++) {
        const channel = inputs[track] && inputs[track][0];
        if (channel) this.parts[track].set(channel, this.filled);
        else this.parts[track].fill(0, this.filled, this.filled + 128);
      }
      if (this.filled === 0) this.startedAt = currentFrame;
      this.filled += 128;
      if (this.filled + 128 > 4800) {
        const size = this.filled;
        this.port.postMessage({ at: this.startedAt, mouth: this.parts[0].slice(0, size), ear: this.parts[1].slice(0, size) });
        this.filled = 0;
      }
      return true;
    }
  });\`;
  const state = { parts: [], startedMs: 0, capture: 0 };
  window.__ear = state;
  let ready;
  const own = new WeakSet();
  const taps = new WeakMap();
  const graph = () => ready ??= (async () => {
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    own.add(context);
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], { type: "text/javascript" })));
    const node = new AudioWorkletNode(context, "ear", { numberOfInputs: 2, numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => {
      if (state.parts.length === 0) {
        const stamp = context.getOutputTimestamp();
        state.startedMs = stamp.performanceTime - (stamp.contextTime - data.at / RATE) * 1000;
      }
      state.parts.push(data);
    };
    state.context = context;
    await context.resume();
    return { context, node };
  })();
  const tap = async (stream, input) => {
    const { context, node } = await graph();
    const source = context.createMediaStreamSource(stream);
    (state.sources ??= []).push(source);
    source.connect(node, 0, input);
  };
  const media = navigator.mediaDevices;
  if (media) {
    const getUserMedia = media.getUserMedia.bind(media);
    media.getUserMedia = async (constraints) => {
      const stream = await getUserMedia(constraints);
      state.capture = (stream.getAudioTracks()[0]?.getSettings().latency ?? 0) * 1000;
      tap(stream.clone(), 0);
      return stream;
    };
  }
  // Pipes whose speech the page decodes itself play it through Web Audio.
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode && !own.has(this.context) && !taps.has(this.context)) {
      const out = this.context.createMediaStreamDestination();
      taps.set(this.context, out);
      tap(out.stream, 1);
    }
    if (target instanceof AudioDestinationNode && taps.has(this.context)) connect.call(this, taps.get(this.context));
    return connect.call(this, target, ...rest);
  };
  const Peer = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer {
    constructor(...args) {
      super(...args);
      this.addEventListener("track", ({ track }) => { if (track.kind === "audio") tap(new MediaStream([track]), 1); });
    }
  };
})();`;

/** Puts the ear into every page of the context from now on. */
export async function installEar(context: BrowserContext): Promise<void> {
  await context.addInitScript(EAR_SCRIPT);
}

interface EarState {
  readonly parts: { readonly mouth: Float32Array; readonly ear: Float32Array }[];
  readonly startedMs: number;
  readonly capture: number;
  readonly context: AudioContext | undefined;
}

/** A page, as far as the ear needs it. */
interface Evaluating {
  evaluate<T>(work: () => T | Promise<T>): Promise<T>;
}

/** Takes what was recorded since the page began to use the microphone. */
export async function takeRecording(page: Evaluating): Promise<EarRecording> {
  // As base64 of 16-bit samples: Playwright's own encoding of arrays is a hundred times slower.
  const { mouth, ear, startedMs } = await page.evaluate(() => {
    const state = (globalThis as unknown as { __ear: EarState }).__ear;
    const encode = (track: "mouth" | "ear") => {
      const length = state.parts.reduce((sum, part) => sum + part[track].length, 0);
      const pcm = new Int16Array(length);
      let at = 0;
      for (const part of state.parts)
        for (const sample of part[track]) pcm[at++] = Math.max(-1, Math.min(1, sample)) * 32_767;
      const bytes = new Uint8Array(pcm.buffer);
      let text = "";
      for (let i = 0; i < bytes.length; i += 32_768) text += String.fromCharCode(...bytes.subarray(i, i + 32_768));
      return btoa(text);
    };
    return { mouth: encode("mouth"), ear: encode("ear"), startedMs: state.startedMs };
  });
  return { mouth: decode(mouth), ear: decode(ear), startedMs };
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
