/**
 * Plays the agent's audio through a media element: the shortest path to the device in every browser (a Web Audio
 * graph adds 20 to 35 ms in Chromium 156), and the one that echo cancellation knows.
 */

const RAMP_STEPS = 3;
const RAMP_STEP_MS = 3;

/** One audio output. */
export class Loudspeaker {
  readonly #element = new Audio();
  #analyser: AnalyserNode | undefined;
  #source: MediaStreamAudioSourceNode | undefined;
  #samples = new Float32Array(256);
  #context: AudioContext | undefined;
  #ramp: ReturnType<typeof setTimeout> | undefined;
  #stream: MediaStream | undefined;

  /** Plays `stream`; `onBlocked` when the browser refuses before a gesture. */
  play(stream: MediaStream, onBlocked: () => void): void {
    this.#stream = stream;
    this.#element.srcObject = stream;
    this.#element.play().catch((cause: unknown) => {
      if (cause instanceof DOMException && cause.name === "NotAllowedError") onBlocked();
    });
    this.#listen();
  }

  /** Measures level and latency through `context` from now on. */
  measureWith(context: AudioContext): void {
    this.#context = context;
    this.#listen();
  }

  /** Tries again to play; rejects when the browser still refuses. */
  async resume(): Promise<void> {
    await this.#element.play();
  }

  /** Fades out within 10 ms: a step would click. */
  silence(): void {
    clearTimeout(this.#ramp);
    const step = (left: number) => {
      this.#element.volume = left / (RAMP_STEPS + 1);
      // iOS keeps volume at 1, mute works everywhere.
      if (left > 0) this.#ramp = setTimeout(step, RAMP_STEP_MS, left - 1);
      else this.#element.muted = true;
    };
    step(RAMP_STEPS);
  }

  /** Full volume at once: there is nothing to fade in from. */
  restore(): void {
    clearTimeout(this.#ramp);
    this.#element.volume = 1;
    this.#element.muted = false;
  }

  /** RMS of the last 5 ms, 0 to 1. */
  level(): number {
    if (!this.#analyser || this.#element.muted) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return Math.sqrt(this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length);
  }

  /** Delay of the output device, which is the same for element and context; 0 where the browser says nothing. */
  latencyMs(): number {
    return (this.#context?.outputLatency ?? 0) * 1000;
  }

  /** Stops and lets go of the stream. */
  close(): void {
    clearTimeout(this.#ramp);
    this.#source?.disconnect();
    this.#element.pause();
    this.#element.srcObject = null;
  }

  #listen(): void {
    if (!this.#context || !this.#stream) return;
    this.#source?.disconnect();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: this.#samples.length });
    this.#source = this.#context.createMediaStreamSource(this.#stream);
    this.#source.connect(this.#analyser);
  }
}
