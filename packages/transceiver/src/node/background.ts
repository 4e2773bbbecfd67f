/**
 * What V8 does beside us. It collects garbage and compiles on up to four threads of its own; where they share a core with the
 * one that carries the packets, a kernel that preempts by its tick (4 ms at 250 Hz) may run each of them in turn: 16 ms without a packet.
 */
import { readdirSync, readFileSync } from "node:fs";
import { constants, setPriority } from "node:os";

const TASKS = "/proc/self/task";

/**
 * Lets those threads have only what packets leave them; answers how many there are. For a process that serves calls and does
 * nothing else. Linux, where threads have a priority each and V8's have a name; elsewhere nothing happens.
 */
export function yieldBackground(): number {
  let count = 0;
  try {
    for (const id of readdirSync(TASKS)) {
      if (!readFileSync(`${TASKS}/${id}/comm`, "utf8").includes("V8Worker")) continue;
      setPriority(Number(id), constants.priority.PRIORITY_LOW);
      count += 1;
    }
  } catch {
    // No such system, or none that lets us: they share as before.
  }
  return count;
}
