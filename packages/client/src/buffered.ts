/**
 * A pipe whose speech comes ahead of the ear: Opus frames of our own coding over any {@link Channel}, or base64 in events
 * where the other side knows nothing better. The sound device is not the connection's: it plays on what it holds, and keeps
 * what was said, while one connection is replaced by the next.
 */
import { type AudioFrame, createResampler, decodeBase64, encodeBase64, type ServerEvent } from "@sluice/realtime";
import type { CapturedFrame } from "./capture/recorder.ts";
import type { Milli } from "./clock-sync.ts";
import { OPUS_RATE } from "./opus.ts";
import type { SpeakerReport } from "./playout/speaker.ts";
import type { PlayedAudio } from "./playout-tracker.ts";
import type { Sound } from "./sound.ts";
import type { StatsDigest } from "./stats.ts";
import type { Transport, TransportKind, TransportListener } from "./transport.ts";

/** A connection that carries events and frames. */
export interface Channel {
  readonly kind: TransportKind;
  /** Whether frames travel as they are; known once it is open. Otherwise events carry base64. */
  readonly frames: boolean;
  dial(): Promise<void>;
  send(text: string): void;
  /** The caller's frames, in order; false if there is no room for them now. */
  sendFrames(frames: readonly CapturedFrame[]): boolean;
  /** What the path carries, where somebody says so: not even the audio, or more than it. */
  fit?(uplink: { readonly narrow: boolean; readonly datagrams: boolean }): void;
  /** Bytes so far. */
  readonly received: number;
  readonly sent: number;
  close(): void;
}

/** What a channel says. */
export interface ChannelListener {
  onMessage(text: string): void;
  onFrames(utterance: SpokenUtterance, frames: readonly AudioFrame[]): void;
  /** The utterance is complete. */
  onFinished(utterance: SpokenUtterance): void;
  /** The utterance is void. */
  onReset(utterance: SpokenUtterance): void;
  /** See {@link TransportListener.onClosed}. */
  onClosed(reason: Error | undefined, lost: boolean): void;
}

/** Whose speech it is. */
export interface SpokenUtterance {
  readonly responseId: string;
  readonly itemId: string;
}

const EVENT_RATE = 24_000; // audio/pcm in events
const PER_MS = OPUS_RATE / 1000;
const BLOCKED_AFTER_MS = 300;
const MAX_RESPONSES = 64;
/** Between two reports of the same playout where the path is narrow: each is as much as 60 ms of speech. */
const NARROW_REPORT_MS = 400;

/** Speech of events on its way to 48 kHz. */
interface Upsampled {
  readonly resampler: ReturnType<typeof createResampler>;
  at: number;
}

/** A pipe of events and buffered speech. */
export class BufferedTransport implements Transport {
  readonly #channel: Channel;
  #sound: Sound | undefined;
  readonly #openSound: (() => Promise<Sound>) | undefined;
  #held: (() => void)[] | undefined; // what came before the sound device was open
  readonly #listener: TransportListener;
  readonly #items = new Map<string, string[]>(); // by response
  readonly #upsampled = new Map<string, Upsampled>();
  #begun = false;
  #isNarrow = false;
  #reportedAt: Milli = 0;
  #sentUntil = 0;
  #packetsIn = 0;
  #packetsOut = 0;
  #before: { at: Milli; received: number; sent: number } | undefined;
  #closed = false;

  /** A `sound` that is to be opened is opened while the channel is dialled, which neither waits for. */
  constructor(
    connect: (listener: ChannelListener) => Channel,
    sound: Sound | (() => Promise<Sound>) | undefined,
    listener: TransportListener,
  ) {
    if (typeof sound === "function") {
      this.#held = [];
      this.#openSound = sound;
    } else this.#sound = sound;
    this.#listener = listener;
    this.#channel = connect({
      onMessage: (text) => this.#withSound(() => listener.onMessage(text)),
      onFrames: (utterance, frames) => this.#withSound(() => this.#play(utterance, frames)),
      onFinished: ({ itemId }) => this.#withSound(() => this.#sound?.speaker?.end(itemId)),
      onReset: ({ itemId }) => this.#withSound(() => this.#sound?.speaker?.cut([itemId])),
      onClosed: (reason, lost) => {
        if (this.#closed) return;
        this.close();
        listener.onClosed(reason, lost);
      },
    });
  }

  get kind(): TransportKind {
    return this.#channel.kind;
  }

  get truncates(): boolean {
    return !this.#channel.frames;
  }

  async dial(): Promise<void> {
    // First the request: to open a sound device blocks the page for up to 100 ms, but not the network.
    const dialled = this.#channel.dial();
    await Promise.all([dialled, this.#openSound?.().then((sound) => this.#adopt(sound))]);
  }

  send(text: string): void {
    this.#channel.send(text);
  }

  begin(audioFromMs: Milli | undefined): void {
    const { recorder, speaker, context } = this.#sound ?? {};
    this.#begun = true;
    recorder?.setNarrow(false); // another path than the last connection's
    this.#sentUntil = audioFromMs === undefined ? (recorder?.end ?? 0) : Math.round(audioFromMs * PER_MS);
    if (speaker) speaker.onReport = (report) => this.#report(report);
    if (recorder) recorder.onFrame = () => this.#sendFrames();
    this.#sendFrames();
    if (context?.state === "suspended" && !maySound(context)) {
      // A context made in a click runs within a few milliseconds; one that may not run never does.
      setTimeout(() => {
        if (context.state === "suspended" && !this.#closed) this.#listener.onPlayoutBlocked();
      }, BLOCKED_AFTER_MS);
    }
  }

  handleEvent(event: ServerEvent): void {
    const speaker = this.#sound?.speaker;
    switch (event.type) {
      case "output_audio_buffer.cleared": {
        const items = this.#items.get(event.response_id) ?? [];
        if (items.length > 0) speaker?.cut(items);
        return;
      }
      case "sluice.duck":
        speaker?.duck(event.gain, event.ramp_ms);
        return;
      case "sluice.uplink":
        this.#isNarrow = event.narrow;
        this.#channel.fit?.(event);
        this.#sound?.recorder.setNarrow(event.narrow);
        return;
      case "response.output_audio.delta":
        if (this.truncates) this.#playBase64(event.response_id, event.item_id, event.delta);
        return;
      case "response.output_audio.done":
        if (this.truncates) this.#endBase64(event.item_id);
        return;
      case "input_audio_buffer.speech_started":
        if (this.truncates) this.cut();
        return;
      default:
        return;
    }
  }

  played(): PlayedAudio | undefined {
    return undefined;
  }

  cut(): void {
    const { speaker } = this.#sound ?? {};
    if (!speaker) return;
    // All of it, also what the agent goes on to say before it hears of the cut.
    speaker.cut([...new Set([...this.#items.values()].flat())]);
  }

  /** The sound device has a context of its own. */
  measureWith(): void {}

  outputLevel(): number {
    return this.#sound?.speaker?.level() ?? 0;
  }

  async setMicrophone(track: MediaStreamTrack | null): Promise<void> {
    await this.#sound?.recorder.attach(track);
  }

  async resumePlayout(): Promise<void> {
    await this.#sound?.context.resume();
  }

  /** Nothing is concealed here but what the player counts. */
  handlePlayout(): void {}

  /** A connection of a network that is gone does not move; whether it is, the conversation finds out. */
  refresh(): void {}

  async stats(): Promise<StatsDigest> {
    const now = performance.now();
    const { received, sent } = this.#channel;
    const before = this.#before;
    this.#before = { at: now, received, sent };
    const rate = (bytes: number) => (before && now > before.at ? (bytes * 8) / (now - before.at) : undefined);
    const player = this.#sound?.speaker?.stats(now);
    return {
      roundTripMs: undefined,
      jitterBufferMs: player && player.buffered / PER_MS,
      jitterMs: undefined,
      outputLatencyMs: this.#sound?.speaker?.latencyMs(),
      received: {
        packets: this.#packetsIn,
        lost: 0,
        repaired: undefined, // TCP and QUIC do that below us
        concealedMs: player ? player.missing / PER_MS : 0,
        kbitPerSecond: rate(received - (before?.received ?? 0)),
      },
      sent: {
        packets: this.#packetsOut,
        lost: 0,
        repaired: undefined,
        concealedMs: 0,
        kbitPerSecond: rate(sent - (before?.sent ?? 0)),
      },
    };
  }

  /** The server heeds only the connection that carries the conversation. */
  abandon(): void {
    this.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { recorder, speaker } = this.#sound ?? {};
    if (this.#begun && recorder) recorder.onFrame = undefined;
    if (this.#begun && speaker) speaker.onReport = undefined;
    this.#channel.close();
  }

  #adopt(sound: Sound): void {
    this.#sound = sound;
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const work of held) this.#withSound(work);
  }

  #withSound(work: () => void): void {
    if (this.#held) this.#held.push(work);
    else if (!this.#closed) work();
  }

  #play(utterance: SpokenUtterance, frames: readonly AudioFrame[]): void {
    this.#know(utterance.responseId, utterance.itemId);
    this.#packetsIn += frames.length;
    for (const { time, packet } of frames) this.#sound?.speaker?.play(utterance.itemId, time, packet);
  }

  #playBase64(responseId: string, itemId: string, delta: string): void {
    this.#know(responseId, itemId);
    const bytes = decodeBase64(delta);
    const speaker = this.#sound?.speaker;
    if (!bytes || !speaker) return;
    this.#packetsIn += 1;
    const stream = this.#upsampled.get(itemId) ?? { resampler: createResampler(EVENT_RATE, OPUS_RATE), at: 0 };
    this.#upsampled.set(itemId, stream);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const samples = Int16Array.from({ length: bytes.length >> 1 }, (_, i) => view.getInt16(i * 2, true));
    const pcm = stream.resampler.resampleToFloat(samples);
    const at = stream.at;
    stream.at += pcm.length;
    speaker.playPcm(itemId, at, pcm);
  }

  #endBase64(itemId: string): void {
    this.#upsampled.delete(itemId);
    this.#sound?.speaker?.end(itemId);
  }

  #know(responseId: string, itemId: string): void {
    const items = this.#items.get(responseId) ?? [];
    if (items.includes(itemId)) return;
    this.#items.set(responseId, [...items, itemId]);
    if (this.#items.size > MAX_RESPONSES) this.#items.delete(this.#items.keys().next().value!);
  }

  #sendFrames(): void {
    const { recorder } = this.#sound ?? {};
    if (!recorder || !this.#begun || this.#closed) return;
    const frames = recorder.since(this.#sentUntil);
    const last = frames.at(-1);
    if (!last) return;
    if (!this.#channel.frames) {
      this.#listener.onOutgoing({ type: "input_audio_buffer.append", audio: toBase64(frames) });
    } else if (!this.#channel.sendFrames(frames)) return; // again with the next frame
    this.#sentUntil = last.time + 1;
    this.#packetsOut += frames.length;
  }

  #report(report: SpeakerReport): void {
    const now = performance.now();
    const canWait = this.#isNarrow && report.kind === "playing" && now - this.#reportedAt < NARROW_REPORT_MS;
    if (canWait && report.positionMs > NARROW_REPORT_MS) return;
    this.#reportedAt = now;
    if (!report.unheard) this.#listener.onPlayed(report);
    if (report.kind !== "cut" || !this.truncates) return;
    const audio_end_ms = Math.floor(report.positionMs);
    const { itemId: item_id } = report;
    this.#listener.onOutgoing({ type: "conversation.item.truncate", item_id, content_index: 0, audio_end_ms });
  }
}

/** The frames as 24 kHz 16-bit samples, every second one: speech has nothing up there that a recogniser needs. */
function toBase64(frames: readonly CapturedFrame[]): string {
  const samples = frames.reduce((sum, { pcm }) => sum + (pcm.length >> 1), 0);
  const bytes = new DataView(new ArrayBuffer(samples * 2));
  let at = 0;
  for (const { pcm } of frames) {
    for (let i = 0; i + 1 < pcm.length; i += 2) {
      // The mean of two samples: a null at the rate's end, where aliases would come from.
      const value = (pcm[i]! + pcm[i + 1]!) / 2;
      bytes.setInt16(at, Math.max(-1, Math.min(1, value)) * 32_767, true);
      at += 2;
    }
  }
  return encodeBase64(new Uint8Array(bytes.buffer));
}

/** Whether the browser says that it will let `context` sound: Firefox does, and may take seconds to open a device. */
function maySound(context: AudioContext): boolean {
  const { getAutoplayPolicy } = navigator as { getAutoplayPolicy?: (of: AudioContext) => string };
  return getAutoplayPolicy?.call(navigator, context) === "allowed";
}
