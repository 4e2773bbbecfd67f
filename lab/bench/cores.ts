/** Which thread of a bench runs on which core, by util-linux' `taskset`. */
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";

/**
 * Keeps the main thread of the process `pid` on the core `main`, and its other threads of now, on which V8 collects and compiles, on `others` (default
 * `main`). False where the machine has one core, or no `taskset`: then figures are noisier, and whoever asks says so.
 */
export function pin(pid: number | undefined, main: number, others = main): boolean {
  if (cpus().length < 2) return false;
  try {
    execFileSync("taskset", ["-acp", String(others), String(pid)], { stdio: "ignore" });
    execFileSync("taskset", ["-cp", String(main), String(pid)], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
