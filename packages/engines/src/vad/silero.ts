/**
 * Voice activity detection by Silero v6 (MIT), the 16 kHz model that `@ricky0123/vad-web` ships, run by onnxruntime.
 * One inference session serves all streams: windows that are due together are one batch, a third of the cost of
 * one at a time (docs/decisions/0002-vad.md). The model keeps 2 x 128 floats and 64 samples per stream.
 */
import { fileURLToPath } from "node:url";
import type { Vad, VadEngine } from "@sluice/conversation";
import { InferenceSession, Tensor } from "onnxruntime-node";

const SAMPLE_RATE = 16_000;
const WINDOW_SIZE = 512;
const CONTEXT_SIZE = 64; // the model expects the end of the window before
const ROW_SIZE = CONTEXT_SIZE + WINDOW_SIZE;
const STATE_SIZE = 128; // of each of the two state vectors
const SETTLED = 0.05; // the model's answer to silence

/** Settings of {@link createSileroVad}. */
export interface SileroOptions {
  /** Windows per run, at most; default 16. One run blocks the event loop: about 70 us a window. */
  readonly maxBatch?: number;
  /** How long a window waits for others, in milliseconds; default 4. More makes larger batches and later answers. */
  readonly gatherMs?: number;
  /** Open streams from which on windows wait for others; default 6. */
  readonly gatherFrom?: number;
  /** Loudness (root mean square, of full scale) below which silence goes on unasked; default 0.0005 (-66 dB). */
  readonly quiet?: number;
  /** Unanswered windows of one stream, at most; default 64. More are answered by the newest known probability. */
  readonly maxPending?: number;
}

const defaults: Required<SileroOptions> = { maxBatch: 16, gatherMs: 4, gatherFrom: 6, quiet: 0.0005, maxPending: 64 };

/** Loads the model once for the whole process. */
export async function createSileroVad(options: SileroOptions = {}): Promise<VadEngine> {
  const model = fileURLToPath(import.meta.resolve("@ricky0123/vad-web/dist/silero_vad_v6.onnx"));
  const session = await InferenceSession.create(model, {
    intraOpNumThreads: 1, // a second thread costs more in hand-over than these small matrices take
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
  });
  const engine = new SileroEngine(session, { ...defaults, ...options });
  await warmUp(engine);
  return engine;
}

/** What the model remembers of one stream; a reset replaces it, so that a run under way writes to the old one. */
interface Memory {
  readonly context: Float32Array;
  readonly state: Float32Array;
}

/** One window that waits for its answer. */
interface Job {
  readonly stream: SileroStream;
  readonly memory: Memory;
  readonly window: Float32Array;
  readonly resolve: (probability: number) => void;
  readonly reject: (error: unknown) => void;
}

class SileroEngine implements VadEngine {
  readonly #session: InferenceSession;
  readonly #options: Required<SileroOptions>;
  readonly #sampleRate = new Tensor("int64", BigInt64Array.of(BigInt(SAMPLE_RATE)), []);
  readonly #streams = new Set<SileroStream>();
  #queue: Job[] = [];
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(session: InferenceSession, options: Required<SileroOptions>) {
    this.#session = session;
    this.#options = options;
  }

  open(): Vad {
    if (this.#closed) throw new Error("the voice activity model is closed");
    const stream = new SileroStream(this, this.#options, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const stream of [...this.#streams]) stream.close();
    clearTimeout(this.#timer);
    await this.#running;
    await this.#session.release();
  }

  /** Queues one window; it runs with those of this tick, and with later ones when there are many streams. */
  enqueue(job: Job): void {
    this.#queue.push(job);
    this.#schedule();
  }

  /** Forgets the windows of a stream. */
  drop(stream: SileroStream): void {
    for (const job of this.#queue) if (job.stream === stream) job.resolve(0);
    this.#queue = this.#queue.filter((job) => job.stream !== stream);
  }

  #schedule(): void {
    if (this.#running || this.#queue.length === 0) return;
    const full = this.#queue.length >= this.#options.maxBatch;
    if (full || this.#streams.size < this.#options.gatherFrom) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), this.#options.gatherMs);
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running = this.#runBatch().then(() => {
      this.#running = undefined;
      this.#schedule();
    });
  }

  async #runBatch(): Promise<void> {
    // Windows of the same tick join: the queue is read after the tick's other callbacks have run.
    await new Promise(setImmediate);
    const batch = this.#takeBatch();
    if (batch.length === 0) return; // their streams were closed
    try {
      await this.#run(batch);
    } catch (error) {
      for (const job of batch) job.reject(error);
    }
  }

  /** The oldest windows, one of each stream: the next one needs the state that this one leaves. */
  #takeBatch(): Job[] {
    const batch: Job[] = [];
    const seen = new Set<Memory>();
    const rest: Job[] = [];
    for (const job of this.#queue) {
      if (batch.length < this.#options.maxBatch && !seen.has(job.memory)) batch.push(job);
      else rest.push(job);
      seen.add(job.memory);
    }
    this.#queue = rest;
    return batch;
  }

  async #run(batch: readonly Job[]): Promise<void> {
    const size = batch.length;
    const input = new Float32Array(size * ROW_SIZE);
    const state = new Float32Array(2 * size * STATE_SIZE);
    for (const [row, { memory, window }] of batch.entries()) {
      input.set(memory.context, row * ROW_SIZE);
      input.set(window, row * ROW_SIZE + CONTEXT_SIZE);
      memory.context.set(window.subarray(WINDOW_SIZE - CONTEXT_SIZE));
      state.set(memory.state.subarray(0, STATE_SIZE), row * STATE_SIZE);
      state.set(memory.state.subarray(STATE_SIZE), (size + row) * STATE_SIZE);
    }
    const results = await this.#session.run({
      input: new Tensor("float32", input, [size, ROW_SIZE]),
      state: new Tensor("float32", state, [2, size, STATE_SIZE]),
      sr: this.#sampleRate,
    });
    const output = results.output?.data as Float32Array;
    const next = results.stateN?.data as Float32Array;
    for (const [row, { memory, resolve }] of batch.entries()) {
      memory.state.set(next.subarray(row * STATE_SIZE, (row + 1) * STATE_SIZE));
      memory.state.set(next.subarray((size + row) * STATE_SIZE, (size + row + 1) * STATE_SIZE), STATE_SIZE);
      resolve(output[row] ?? 0);
    }
  }
}

class SileroStream implements Vad {
  readonly sampleRate = SAMPLE_RATE;
  readonly windowSize = WINDOW_SIZE;
  readonly #engine: SileroEngine;
  readonly #options: Required<SileroOptions>;
  readonly #onClose: () => void;
  #memory = emptyMemory();
  #pending = 0;
  #newest = 0;
  #closed = false;

  constructor(engine: SileroEngine, options: Required<SileroOptions>, onClose: () => void) {
    this.#engine = engine;
    this.#options = options;
    this.#onClose = onClose;
  }

  async detect(window: Float32Array): Promise<number> {
    if (window.length !== WINDOW_SIZE)
      throw new RangeError(`a window has ${WINDOW_SIZE} samples, not ${window.length}`);
    if (this.#closed) return 0;
    // A machine that is two seconds behind does not catch up by computing what nobody waits for any more.
    if (this.#pending >= this.#options.maxPending) return this.#newest;
    // A muted or paused microphone costs nothing, once the model itself has found the voice to be over: a state that
    // still holds the end of a word would take the next noise for its continuation.
    if (this.#pending === 0 && this.#newest < SETTLED && loudness(window) < this.#options.quiet) {
      this.#memory.context.set(window.subarray(WINDOW_SIZE - CONTEXT_SIZE));
      return 0;
    }
    this.#pending += 1;
    try {
      this.#newest = await new Promise<number>((resolve, reject) =>
        // Copied: the caller may reuse its buffer.
        this.#engine.enqueue({ stream: this, memory: this.#memory, window: window.slice(), resolve, reject }),
      );
      return this.#newest;
    } finally {
      this.#pending -= 1;
    }
  }

  reset(): void {
    this.#memory = emptyMemory();
    this.#newest = 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#engine.drop(this);
    this.#onClose();
  }
}

function loudness(window: Float32Array): number {
  let squares = 0;
  for (const sample of window) squares += sample * sample;
  return Math.sqrt(squares / window.length);
}

function emptyMemory(): Memory {
  return { context: new Float32Array(CONTEXT_SIZE), state: new Float32Array(2 * STATE_SIZE) };
}

/** The first run allocates for milliseconds; better now than in a call. */
async function warmUp(engine: VadEngine): Promise<void> {
  const vad = engine.open();
  await vad.detect(new Float32Array(WINDOW_SIZE).fill(0.1));
  vad.close();
}
