/** How long the machine stood still: a thread that does nothing but wait, and sees how late it is woken. */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const EVERY_MS = 10;

/** Watches until the process ends; what it saw can be read even where the main thread never yields. */
export function watchStalls(): { readonly takeWorstMs: () => number } {
  const worst = new Int32Array(new SharedArrayBuffer(4));
  new Worker(new URL(import.meta.url), { workerData: worst }).unref();
  return { takeWorstMs: () => Atomics.exchange(worst, 0, 0) };
}

if (!isMainThread && workerData instanceof Int32Array && parentPort !== null) {
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    const late = Math.round(now - last) - EVERY_MS;
    if (late > Atomics.load(workerData, 0)) Atomics.store(workerData, 0, late);
    last = now;
  }, EVERY_MS);
}
