/**
 * End-of-turn models of Smart Turn v3's shapes (pipecat-ai/smart-turn, BSD-2): in, the log-mel spectrogram of the newest 8 s,
 * `[1, 80, 800]`; out, the probability that the caller has finished. The file is the user's; none is shipped.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { SAMPLE_RATE, type TurnDetector } from "@sluice/conversation";
import { Resampler } from "../tts/resampler.ts";
import { MEL_RATE } from "./log-mel.ts";
import type { TurnAnswer, TurnJob } from "./smart-turn-worker.ts";

/** A turn detector whose thread ends with `close`; it never keeps a process alive. */
export interface SmartTurn extends TurnDetector {
  close(): Promise<void>;
}

/** Pauses that wait for their turn; more are not judged, and wait as they would without a model. */
const MAX_WAITING = 16;

interface Waiting {
  readonly resolve: (probability: number) => void;
  readonly reject: (error: Error) => void;
}

/** Loads the model at `path` in a thread of its own; throws when it is no such model. */
export async function createSmartTurn(path: string): Promise<SmartTurn> {
  const script = new URL(`./smart-turn-worker${extname(import.meta.filename)}`, import.meta.url);
  const worker = new Worker(script, { workerData: path });
  const waiting = new Map<number, Waiting>();
  const ready = Promise.withResolvers<void>();
  const fail = (error: Error) => {
    ready.reject(error);
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  worker.on("message", (answer: TurnAnswer) => {
    if (answer.kind === "ready") return ready.resolve();
    if (answer.id === undefined) return fail(new Error(answer.kind === "failed" ? answer.message : "no answer"));
    const one = waiting.get(answer.id);
    waiting.delete(answer.id);
    if (answer.kind === "probability") one?.resolve(answer.probability);
    else one?.reject(new Error(answer.message));
  });
  worker.on("error", fail);
  worker.on("exit", () => fail(new Error("the turn model's thread ended")));
  try {
    await ready.promise;
  } catch (error) {
    await worker.terminate();
    throw new Error(`${path} is no end-of-turn model: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  worker.unref();
  let nextId = 0;
  return {
    async detect({ audio }, signal) {
      signal.throwIfAborted();
      if (waiting.size >= MAX_WAITING) throw new Error("too many pauses wait for the turn model");
      const id = nextId++;
      const answer = Promise.withResolvers<number>();
      waiting.set(id, answer);
      const abort = () => {
        waiting.delete(id);
        answer.reject(signal.reason);
      };
      signal.addEventListener("abort", abort, { once: true });
      const samples = toFloats(audio);
      worker.postMessage({ id, samples } satisfies TurnJob, [samples.buffer]);
      return answer.promise.finally(() => signal.removeEventListener("abort", abort));
    },
    close: async () => {
      await worker.terminate();
    },
  };
}

function toFloats(audio: Int16Array): Float32Array<ArrayBuffer> {
  const newest = audio.subarray(Math.max(0, audio.length - 9 * SAMPLE_RATE));
  const resampler = new Resampler(SAMPLE_RATE, MEL_RATE);
  const parts = [resampler.process(newest), resampler.end()];
  const floats = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) for (const sample of part) floats[at++] = sample / 32_768;
  return floats;
}
