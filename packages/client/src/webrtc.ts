/**
 * The WebRTC pipe: one audio stream each way and the data channel `oai-events`, set up by one HTTP request with an
 * SDP offer (OpenAI Realtime API, `POST /v1/realtime/calls`). The request leaves before ICE has gathered anything: the
 * server answers with its own candidates and learns ours from the checks.
 */
import { BadAnswer, ConnectionLost, ServerBusy, ServerUnreachable, Unauthorized } from "./errors.ts";
import { Loudspeaker } from "./loudspeaker.ts";
import type { PlayedAudio } from "./playout-tracker.ts";
import { type StatsDigest, StatsReader } from "./stats.ts";
import type { Transport, TransportListener } from "./transport.ts";

/** What the pipe needs to be opened. */
export interface WebRtcOptions {
  readonly callsUrl: URL;
  readonly token: string | undefined;
  readonly playout: boolean;
  /** How long a broken path is mended before the call counts as lost. */
  readonly reconnectMs: number;
  /** Ends the dialling. */
  readonly signal: AbortSignal;
}

const RESTART_AFTER_MS = 1_000;
const RESTART_EVERY_MS = 3_000;
const MAX_QUEUED_EVENTS = 1_000;

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
    this.#channel.onclose = () => this.#end(undefined);
    this.#peer.onconnectionstatechange = () => this.#followPath();
    // jitterBufferTarget stays the browser's: 0 saved no measurable delay in Chromium 156 and made more gaps.
    this.#peer.ontrack = ({ track }) => {
      if (options.playout) this.#loudspeaker.play(new MediaStream([track]), () => listener.onPlayoutBlocked());
    };
  }

  /** Makes the offer and takes the server's answer. */
  async dial(): Promise<void> {
    await this.#peer.setLocalDescription();
    const response = await this.#post(this.#peer.localDescription!.sdp);
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

  silence(): void {
    this.#loudspeaker.silence();
  }

  restore(): void {
    this.#loudspeaker.restore();
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
    this.#closed = true;
    clearTimeout(this.#restart);
    // Closing the channel tells the server, unless there is none, or the page goes away before that is sent.
    if (this.#channel.readyState !== "open" || document.visibilityState === "hidden") this.#hangUp();
    this.#loudspeaker.close();
    this.#channel.close();
    this.#peer.close();
  }

  // keepalive: the request survives the page that makes it. Whether it arrives is the server's consent timer's matter.
  #hangUp(): void {
    if (!this.#hangupUrl) return;
    const headers = this.#authorization();
    fetch(this.#hangupUrl, { method: "POST", keepalive: true, headers }).catch(() => undefined);
  }

  #end(reason: Error | undefined): void {
    if (this.#closed) return;
    this.close();
    this.#listener.onClosed(reason);
  }

  #authorization(): Record<string, string> {
    return this.#options.token === undefined ? {} : { authorization: `Bearer ${this.#options.token}` };
  }

  async #post(offer: string): Promise<Response> {
    const { callsUrl, signal } = this.#options;
    let response: Response;
    try {
      response = await fetch(callsUrl, {
        method: "POST",
        headers: { "content-type": "application/sdp", ...this.#authorization() },
        body: offer,
        signal,
      });
    } catch (cause) {
      signal.throwIfAborted();
      throw new ServerUnreachable(`no answer from ${callsUrl.origin}`, { cause });
    }
    if (response.ok) return response;
    const message = `${callsUrl.origin} answered ${response.status}: ${await errorMessage(response)}`;
    if (response.status === 401 || response.status === 403) throw new Unauthorized(message);
    if (response.status === 429 || response.status === 503) {
      const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
      throw new ServerBusy(message, Number.isFinite(seconds) ? seconds * 1000 : undefined);
    }
    if (response.status >= 500) throw new ServerUnreachable(message);
    throw new BadAnswer(message);
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
      this.#end(undefined);
    }
  }

  // The server is ICE-lite and keeps its credentials, so its first answer holds for every restart of ours: a new
  // network needs no signaling (RFC 8445 section 9; tried in Chromium 156).
  async #mend(): Promise<void> {
    if (this.#closed || !this.#answer || this.#brokenSince === undefined) return;
    if (performance.now() - this.#brokenSince > this.#options.reconnectMs) {
      this.#end(new ConnectionLost(`no path to the server for ${Math.round(this.#options.reconnectMs / 1000)} s`));
      return;
    }
    this.#restart = setTimeout(() => this.#mend(), RESTART_EVERY_MS);
    try {
      this.#peer.restartIce();
      await this.#peer.setLocalDescription();
      await this.#peer.setRemoteDescription(this.#answer);
    } catch (cause) {
      this.#end(new ConnectionLost("the path to the server could not be restarted", { cause }));
    }
  }
}

async function errorMessage(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const message: unknown = JSON.parse(text)?.error?.message;
    return typeof message === "string" ? message : response.statusText;
  } catch {
    return response.statusText || "no reason given";
  }
}
