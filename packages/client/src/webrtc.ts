/**
 * The WebRTC pipe: one audio stream each way and the data channel `oai-events`, set up by one HTTP request with an
 * SDP offer (OpenAI Realtime API, `POST /v1/realtime/calls`). The request leaves before ICE has gathered anything: the
 * server answers with its own candidates and learns ours from the checks.
 */
import type { ServerEvent } from "@sluice/realtime";
import { BadAnswer, ConnectionLost } from "./errors.ts";
import { Loudspeaker } from "./loudspeaker.ts";
import type { PlayedAudio } from "./playout-tracker.ts";
import { authorization, postCall } from "./signaling.ts";
import { type StatsDigest, StatsReader } from "./stats.ts";
import type { Transport, TransportListener } from "./transport.ts";

/** What the pipe needs to be opened. */
export interface WebRtcOptions {
  readonly callsUrl: URL;
  readonly token: string | undefined;
  readonly playout: boolean;
  /** How long a broken path is mended before the call counts as lost; asked for when it breaks. */
  readonly mendMs: () => number;
  /** Ends the dialling. */
  readonly signal: AbortSignal;
}

const RESTART_AFTER_MS = 1_000;
const RESTART_EVERY_MS = 3_000;
const MAX_QUEUED_EVENTS = 1_000;
/** How long after the server's cut the jitter buffer may still hold what was cut. */
const DRAIN_MS = 250;
/** A cut of ours is answered by the server; when it is not, nothing is worth more silence than this. */
const MAX_SILENCE_MS = 2_000;

/**
 * Has the browser start what a first call waits for (network process, certificate, codecs): 100 to 200 ms in a fresh
 * Chromium 156. Asks the person nothing and sends nothing.
 */
export async function prepareWebRtc(): Promise<void> {
  const peer = new RTCPeerConnection();
  try {
    peer.createDataChannel("oai-events");
    peer.addTransceiver("audio");
    await peer.setLocalDescription();
  } finally {
    peer.close();
  }
}

/** A call over WebRTC. */
export class WebRtcTransport implements Transport {
  readonly kind = "webrtc";
  readonly truncates = false;
  readonly #options: WebRtcOptions;
  readonly #listener: TransportListener;
  readonly #peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  readonly #channel: RTCDataChannel;
  readonly #audio: RTCRtpTransceiver;
  readonly #stats = new StatsReader();
  readonly #loudspeaker = new Loudspeaker();
  #queued: string[] = [];
  #answer: RTCSessionDescriptionInit | undefined;
  #hangupUrl: URL | undefined;
  #closed = false;
  #restart: ReturnType<typeof setTimeout> | undefined;
  #restoreTimer: ReturnType<typeof setTimeout> | undefined;
  #brokenSince: number | undefined;

  constructor(options: WebRtcOptions, listener: TransportListener) {
    this.#options = options;
    this.#listener = listener;
    this.#channel = this.#peer.createDataChannel("oai-events");
    // One m-line whether or not there is a microphone: it can be added later without another offer.
    this.#audio = this.#peer.addTransceiver("audio", { direction: "sendrecv" });
    this.#channel.onopen = () => {
      for (const text of this.#queued.splice(0)) this.#channel.send(text);
    };
    this.#channel.onmessage = ({ data }) => {
      if (typeof data === "string" && !this.#closed) listener.onMessage(data);
    };
    this.#channel.onclose = () => this.#end(undefined, false);
    this.#peer.onconnectionstatechange = () => this.#followPath();
    // jitterBufferTarget stays the browser's: 0 saved no measurable delay in Chromium 156 and made more gaps.
    this.#peer.ontrack = ({ track }) => {
      if (options.playout) this.#loudspeaker.play(new MediaStream([track]), () => listener.onPlayoutBlocked());
    };
  }

  /** Makes the offer and takes the server's answer. */
  async dial(): Promise<void> {
    await this.#peer.setLocalDescription();
    const { callsUrl, token, signal } = this.#options;
    const body = { type: "application/sdp", text: this.#peer.localDescription!.sdp };
    const response = await postCall(callsUrl, token, body, signal);
    const location = response.headers.get("location");
    // Set before anything can fail, so that close() hangs up what the server has opened.
    if (location) this.#hangupUrl = new URL(`${new URL(location, this.#options.callsUrl).href}/hangup`);
    if (this.#closed) this.#hangUp();
    const sdp = await response.text();
    this.#options.signal.throwIfAborted();
    this.#answer = { type: "answer", sdp };
    try {
      await this.#peer.setRemoteDescription(this.#answer);
    } catch (cause) {
      throw new BadAnswer(`${this.#options.callsUrl.href} answered with no usable SDP`, { cause });
    }
  }

  send(text: string): void {
    if (this.#channel.readyState === "open") this.#channel.send(text);
    else if (this.#channel.readyState === "connecting" && this.#queued.length < MAX_QUEUED_EVENTS) {
      this.#queued.push(text);
    }
  }

  played(): PlayedAudio | undefined {
    const source = this.#audio.receiver.getSynchronizationSources?.()[0];
    if (source?.rtpTimestamp === undefined) return undefined;
    // The time that the jitter buffer gave the packet out, in whole milliseconds of the epoch (Chromium 156, libwebrtc's
    // SourceTracker); half of one is the mean of what was cut off.
    const atMs = source.timestamp > 1e12 ? source.timestamp - performance.timeOrigin + 0.5 : source.timestamp;
    return { atMs, rtpTimestamp: source.rtpTimestamp, latencyMs: this.#loudspeaker.latencyMs() };
  }

  /** Nothing to do: the browser sends and plays as soon as the path is there. */
  begin(): void {}

  handleEvent(event: ServerEvent): void {
    switch (event.type) {
      case "sluice.utterance.started":
      case "output_audio_buffer.started":
        this.#restore();
        return;
      case "output_audio_buffer.cleared":
        this.#silence(DRAIN_MS);
        this.handlePlayout(false);
        return;
      case "output_audio_buffer.stopped":
        this.handlePlayout(false);
        return;
      default:
        return;
    }
  }

  cut(): void {
    this.#silence(MAX_SILENCE_MS);
  }

  measureWith(context: AudioContext): void {
    this.#loudspeaker.measureWith(context);
  }

  outputLevel(): number {
    return this.#loudspeaker.level();
  }

  async setMicrophone(track: MediaStreamTrack | null): Promise<void> {
    await this.#audio.sender.replaceTrack(track);
  }

  async resumePlayout(): Promise<void> {
    await this.#loudspeaker.resume();
  }

  handlePlayout(playing: boolean): void {
    this.#peer.getStats().then(
      (report) => this.#stats.handlePlayout(report.values(), playing),
      () => undefined, // the call is over
    );
  }

  async stats(): Promise<StatsDigest> {
    const report = await this.#peer.getStats();
    return this.#stats.digest(report.values(), this.#loudspeaker.latencyMs());
  }

  close(): void {
    if (this.#closed) return;
    // Closing the channel tells the server, unless there is none, or the page goes away before that is sent.
    if (this.#channel.readyState !== "open" || document.visibilityState === "hidden") this.#hangUp();
    this.abandon();
  }

  /** Without hanging up: that would end the call by its name, and so what goes on elsewhere. */
  abandon(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#restart);
    clearTimeout(this.#restoreTimer);
    this.#loudspeaker.close();
    this.#channel.close();
    this.#peer.close();
  }

  // keepalive: the request survives the page that makes it. Whether it arrives is the server's consent timer's matter.
  #hangUp(): void {
    if (!this.#hangupUrl) return;
    const headers = authorization(this.#options.token);
    fetch(this.#hangupUrl, { method: "POST", keepalive: true, headers }).catch(() => undefined);
  }

  // Silent until the server has stopped too: what it sent before it heard of the interruption is still on its way.
  #silence(forMs: number): void {
    this.#loudspeaker.silence();
    clearTimeout(this.#restoreTimer);
    this.#restoreTimer = setTimeout(() => this.#restore(), forMs);
  }

  #restore(): void {
    clearTimeout(this.#restoreTimer);
    this.#loudspeaker.restore();
  }

  #end(reason: Error | undefined, lost: boolean): void {
    if (this.#closed) return;
    this.abandon(); // whoever closed it knows; the call may go on over another pipe
    this.#listener.onClosed(reason, lost);
  }

  #followPath(): void {
    const state = this.#peer.connectionState;
    if (state === "connected") {
      clearTimeout(this.#restart);
      if (this.#brokenSince !== undefined) this.#listener.onPath(true);
      this.#brokenSince = undefined;
    } else if (state === "disconnected" || state === "failed") {
      if (this.#brokenSince === undefined) {
        this.#brokenSince = performance.now();
        this.#listener.onPath(false);
      }
      clearTimeout(this.#restart);
      this.#restart = setTimeout(() => this.#mend(), state === "failed" ? 0 : RESTART_AFTER_MS);
    } else if (state === "closed") {
      this.#end(undefined, false);
    }
  }

  // The server is ICE-lite and keeps its credentials, so its first answer holds for every restart of ours: a new
  // network needs no signaling (RFC 8445 section 9; tried in Chromium 156).
  refresh(): void {
    if (this.#answer && !this.#closed) this.#restartIce();
  }

  async #mend(): Promise<void> {
    if (this.#closed || !this.#answer || this.#brokenSince === undefined) return;
    const mendMs = this.#options.mendMs();
    if (performance.now() - this.#brokenSince > mendMs) {
      this.#end(new ConnectionLost(`no path to the server for ${Math.round(mendMs / 1000)} s`), true);
      return;
    }
    this.#restart = setTimeout(() => this.#mend(), RESTART_EVERY_MS);
    await this.#restartIce();
  }

  async #restartIce(): Promise<void> {
    try {
      this.#peer.restartIce();
      await this.#peer.setLocalDescription();
      await this.#peer.setRemoteDescription(this.#answer!);
    } catch (cause) {
      this.#end(new ConnectionLost("the path to the server could not be restarted", { cause }), true);
    }
  }
}
