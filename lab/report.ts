/** A report: what was measured, where, and at which commit. */
import { execFileSync } from "node:child_process";
import { cpus, release, totalmem, type } from "node:os";
import type { PeersReport } from "./interop/report.ts";
import type { InstrumentFigures, LossFigures, ScenarioFigures } from "./measure.ts";
import type { BenchRecord } from "./record.ts";
import type { summarise } from "./score.ts";

/** What a bench said, or why it said nothing. */
export interface BenchOutcome {
  readonly command: string;
  readonly seconds?: number;
  readonly metrics?: Readonly<Record<string, number>>;
  readonly rows?: readonly unknown[];
  readonly missing?: string;
}

/** `report.json`. */
export interface LabReport {
  readonly commit: string;
  readonly machine: Readonly<Record<string, unknown>>;
  readonly full: boolean;
  readonly elapsed_s: number;
  /** The same, of a run that left nothing out. */
  readonly whole_s?: number | undefined;
  readonly benches?: Readonly<Record<string, BenchOutcome>>;
  /** What the long benches said before, each at the commit that it names. */
  readonly records?: Readonly<Record<string, BenchRecord>>;
  /** Figures of each scenario. */
  readonly scenarios?: Readonly<Record<string, ReturnType<typeof summarise>>>;
  /** The same with every turn, for the charts. */
  readonly scenarioRuns?: Readonly<Record<string, ScenarioFigures>>;
  readonly totals?: ReturnType<typeof summarise>;
  readonly loss?: readonly LossFigures[];
  readonly instrument?: InstrumentFigures;
  /** What `npm run interop` measured before. */
  readonly peers?: PeersReport;
}

/** This machine. */
export function describeMachine(): Record<string, unknown> {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()}`,
    node: process.versions.node,
  };
}

/** The commit that is checked out, with a plus when files differ from it; "unknown" outside a clone. */
export function describeCommit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    return (
      git("rev-parse", "HEAD").trim() + (git("status", "--porcelain", "--untracked-files=no").trim() === "" ? "" : "+")
    );
  } catch {
    return "unknown";
  }
}
