/** Where a worker thread begins. */
import { parentPort, workerData } from "node:worker_threads";
import { runWorker } from "./worker.ts";

if (parentPort) await runWorker(parentPort, workerData);
