/** The thread that runs an end-of-turn model: one run is tens of milliseconds of computing, which would delay everybody's packets. */
import { parentPort, workerData } from "node:worker_threads";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { logMel, MEL_BANDS, MEL_HOP, MEL_RATE } from "./log-mel.ts";

/** What the thread is asked: floats at {@link MEL_RATE}. */
export interface TurnJob {
  readonly id: number;
  readonly samples: Float32Array<ArrayBuffer>;
}

/** What it says; `ready` comes once. */
export type TurnAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "probability"; readonly id: number; readonly probability: number }
  | { readonly kind: "failed"; readonly id: number | undefined; readonly message: string };

/** Audio that the model looks at, its end last; what is missing is silence before it. */
const SECONDS = 8;
const SAMPLES = SECONDS * MEL_RATE;

const post = (answer: TurnAnswer) => parentPort?.postMessage(answer);
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

try {
  const options = { intraOpNumThreads: 1, interOpNumThreads: 1, graphOptimizationLevel: "all" } as const;
  const session = await InferenceSession.create(workerData as string, options);
  const input = session.inputNames[0]!;
  const judge = async (samples: Float32Array) => {
    const audio = new Float32Array(SAMPLES);
    const newest = samples.subarray(Math.max(0, samples.length - SAMPLES));
    audio.set(newest, SAMPLES - newest.length);
    const features = new Tensor("float32", logMel(audio), [1, MEL_BANDS, SAMPLES / MEL_HOP]);
    const results = await session.run({ [input]: features });
    const value = Number((results[session.outputNames[0]!]?.data as Float32Array | undefined)?.[0]);
    if (!Number.isFinite(value)) throw new Error("the model answered with no number");
    // Smart Turn v3 ends in a sigmoid; exports without it give log-odds.
    return value >= 0 && value <= 1 ? value : 1 / (1 + Math.exp(-value));
  };
  await judge(new Float32Array(SAMPLES)); // also tells a model of other shapes, before anybody calls
  let turn: Promise<void> = Promise.resolve();
  parentPort?.on("message", ({ id, samples }: TurnJob) => {
    turn = turn
      .then(() => judge(samples))
      .then(
        (probability) => post({ kind: "probability", id, probability }),
        (error: unknown) => post({ kind: "failed", id, message: messageOf(error) }),
      );
  });
  post({ kind: "ready" });
} catch (error) {
  post({ kind: "failed", id: undefined, message: messageOf(error) });
}
