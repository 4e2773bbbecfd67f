/** What changed from one report to another, and whether it may. */
import { BARS } from "./bars.ts";

/** A figure in both reports. */
export interface Change {
  readonly path: string;
  readonly before: number;
  readonly after: number;
  /** Positive: worse. Relative, or absolute where the figure is a share. */
  readonly worse: number;
  /** More than is allowed. */
  readonly broken: boolean;
}

/** By how much figures may get worse. */
export interface Thresholds {
  /** Default 0.1: a tenth. */
  readonly relative?: number;
  /** Of shares and error rates, default 0.02. */
  readonly share?: number;
  /** Milliseconds and counts that are not worth a word, default 5 ms or 1. */
  readonly ms?: number;
  readonly count?: number;
}

const BIGGER_IS_BETTER = /per_core|_pps$|answered$|intact|hit_share|lower_percent/;
const NO_QUALITY = /elapsed|seconds|\.calls$|\.turns$|setups$|bargeins$|events$|machine|commit|batches|calls_per_event/;

/** Every figure that both have, the worst first. */
export function compareReports(before: unknown, after: unknown, thresholds: Thresholds = {}): Change[] {
  const { relative = 0.1, share = 0.02, ms = 5, count = 1 } = thresholds;
  const [old, now] = [figuresOf(before), figuresOf(after)];
  const changes: Change[] = [];
  for (const [path, value] of old) {
    const next = now.get(path);
    if (next === undefined || NO_QUALITY.test(path)) continue;
    const known = BARS.find((bar) => bar.path === path);
    const bigger = known ? known.is === "atLeast" : BIGGER_IS_BETTER.test(path);
    const lost = bigger ? value - next : next - value;
    if (isShare(path)) {
      changes.push({ path, before: value, after: next, worse: lost, broken: lost > share });
      continue;
    }
    const worse = lost / Math.max(Math.abs(value), 1e-9);
    const least = /_ms/.test(path) ? ms : /_us/.test(path) ? 0 : count;
    changes.push({ path, before: value, after: next, worse, broken: worse > relative && lost > least });
  }
  return changes.sort((a, b) => Number(b.broken) - Number(a.broken) || b.worse - a.worse);
}

/** Figures of `before` that `after` does not have any more. */
export function lostFigures(before: unknown, after: unknown): string[] {
  const now = figuresOf(after);
  return [...figuresOf(before).keys()].filter((path) => !now.has(path) && !NO_QUALITY.test(path));
}

function isShare(path: string): boolean {
  return /_share|_wer|intact/.test(path);
}

/** Numbers by path: scenarios, benches' metrics, words against loss, the instrument. */
function figuresOf(report: unknown): Map<string, number> {
  const figures = new Map<string, number>();
  const walk = (value: unknown, path: string): void => {
    if (typeof value === "number" && Number.isFinite(value)) figures.set(path, value);
    else if (Array.isArray(value)) {
      for (const row of value as Record<string, unknown>[]) {
        if (row && typeof row === "object" && "pipe" in row) walk(row, `${path}[pipe=${row.pipe},loss=${row.loss}]`);
      }
    } else if (value && typeof value === "object")
      for (const [key, inner] of Object.entries(value)) {
        if (key === "rows" || key === "scenarioRuns" || key === "records" || (key === "loss" && !Array.isArray(inner)))
          continue;
        walk(inner, path === "" ? key : `${path}.${key}`);
      }
  };
  walk(report, "");
  return figures;
}
