/** What keeps a process alive: an engine that was aborted or closed must leave none of it. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** Runs `use` and fails when afterwards there are timers, sockets or threads that were not there before. */
export async function leavesNothing(use: () => Promise<void>): Promise<void> {
  const before = counts();
  await use();
  let left = leftOver(before);
  // Handles close over a few turns of the event loop.
  for (let turn = 0; turn < 20 && left.length > 0; turn++) {
    await sleep(5);
    left = leftOver(before);
  }
  assert.deepEqual(left, []);
}

/** Milliseconds from the abort of `controller` to the end of `iteration`, which may end with or without an error. */
export async function endAfterAbort(controller: AbortController, iteration: Promise<unknown>): Promise<number> {
  const from = performance.now();
  controller.abort();
  await iteration.catch(() => undefined);
  return performance.now() - from;
}

function leftOver(before: ReadonlyMap<string, number>): string[] {
  return [...counts()].filter(([kind, count]) => count > (before.get(kind) ?? 0)).map(([kind]) => kind);
}

function counts(): Map<string, number> {
  const kinds = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  return kinds;
}
