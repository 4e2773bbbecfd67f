/**
 * `npm run lab`: measures, and writes `lab/report/index.html` and `report.json`. Under 10 minutes on 2 cores; `--full` takes
 * hours. Without network; what a bench needs and this machine does not have is named in the report. `--record` keeps what the
 * benches say as figures of record (`lab/record`).
 *
 *     npm run lab [-- --full] [--record] [--only scenarios,loss,instrument,turn,…] [--out FOLDER] [--from report.json]
 *     npm run lab -- scenario NAME [--seed 1] [--runs 1] [--pipe webrtc|legacy]                   one scenario, in virtual time
 *     npm run lab -- scenario NAME --chromium [--seed 1] [--runs 1] [--pipe webrtc|webtransport]  the same in a real Chromium
 *     npm run lab -- compare A.json B.json [--relative 0.1] [--share 0.02]
 *     npm run lab -- screenshot                                 pictures of lab/report into docs/
 *     npm run lab -- baseline                                   writes lab/baseline.json anew
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { findChromium } from "../test/chromium.ts";
import { BARS, judge } from "./bars.ts";
import { measureBaseline } from "./baseline.ts";
import { REAL_PIPES, type RealPipe } from "./chromium-call.ts";
import { runForReal } from "./chromium-scenario.ts";
import { compareReports, lostFigures } from "./compare.ts";
import { mergeReports, readRecord } from "./interop/record.ts";
import { loadScenarios, measureInstrument, measureLoss, measureScenario, type ScenarioFigures } from "./measure.ts";
import { format } from "./page/chart.ts";
import { renderMainChart, renderPage } from "./page/page.ts";
import { takeScreenshots } from "./page/screenshot.ts";
import { loadRecords } from "./record.ts";
import { type BenchOutcome, describeCommit, describeMachine, type LabReport } from "./report.ts";
import { runScenario, VIRTUAL_PIPES, type VirtualPipe } from "./scenario.ts";
import { type CallScore, summarise } from "./score.ts";

interface BenchPlan {
  /** Name in the report. */
  readonly name: string;
  readonly bench: string;
  readonly short: readonly string[];
  readonly full: readonly string[];
  readonly needs: readonly ("chromium" | "redis-server" | "nginx" | "cc")[];
  readonly limitS: number;
}

/** What is run, in the order of how much it disturbs what follows. */
const BENCHES: readonly BenchPlan[] = [
  { name: "token", bench: "token", short: ["--calls", "50000"], full: [], needs: [], limitS: 60 },
  { name: "srtp", bench: "srtp", short: ["--rounds", "5"], full: [], needs: [], limitS: 60 },
  { name: "pipeline", bench: "pipeline", short: ["--turns", "1000"], full: [], needs: [], limitS: 120 },
  { name: "overhead", bench: "overhead", short: ["--turns", "8", "--rounds", "2"], full: [], needs: [], limitS: 120 },
  { name: "bargein", bench: "bargein", short: ["--trials", "4"], full: [], needs: [], limitS: 100 },
  { name: "ear", bench: "ear", short: ["--turns", "5"], full: [], needs: ["chromium"], limitS: 60 },
  {
    name: "turn",
    bench: "turn",
    short: ["--turns", "10", "--setups", "5"],
    full: [],
    needs: ["chromium"],
    limitS: 120,
  },
  { name: "sessions", bench: "sessions", short: ["--seconds", "8"], full: [], needs: [], limitS: 90 },
  {
    name: "sessions-transport",
    bench: "sessions",
    short: ["--seconds", "6", "--transport-only"],
    full: ["--transport-only"],
    needs: [],
    limitS: 90,
  },
  {
    name: "relay",
    bench: "relay",
    short: ["--rounds", "1", "--from", "100000"],
    full: ["--rounds", "3"],
    needs: ["nginx", "cc"],
    limitS: 120,
  },
  {
    name: "recovery",
    bench: "recovery",
    short: ["--calls", "2", "--at-once", "2", "--only", "NAT"],
    full: [],
    needs: ["chromium", "redis-server"],
    limitS: 60,
  },
  { name: "scenario", bench: "scenario", short: [], full: ["--runs", "4"], needs: ["chromium"], limitS: 90 },
  { name: "pipes", bench: "pipes", short: ["--quick"], full: [], needs: ["chromium"], limitS: 150 },
  {
    name: "sessions-webtransport",
    bench: "sessions",
    short: ["--seconds", "6", "--transport", "webtransport"],
    full: ["--transport", "webtransport"],
    needs: [],
    limitS: 90,
  },
  { name: "quic-flood", bench: "quic-flood", short: [], full: [], needs: [], limitS: 60 },
  {
    name: "takeover",
    bench: "takeover",
    short: ["--kills", "1"],
    full: ["--kills", "4"],
    needs: ["chromium", "redis-server"],
    limitS: 90,
  },
];
/** Parts of the report that are not benches. */
const PARTS = ["scenarios", "loss", "instrument"] as const;
/** A short run stops starting benches after this. */
const SHORT_LIMIT_S = 540;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    full: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
    only: { type: "string" },
    out: { type: "string", default: join(import.meta.dirname, "report") },
    from: { type: "string" },
    seed: { type: "string", default: "1" },
    runs: { type: "string" },
    chromium: { type: "boolean", default: false },
    pipe: { type: "string" },
    relative: { type: "string" },
    share: { type: "string" },
  },
});
const [command = "report", ...rest] = positionals;
const commands: Readonly<Record<string, () => Promise<number>>> = {
  report: writeReport,
  scenario: tellScenario,
  compare: tellChanges,
  baseline: writeBaseline,
  screenshot: takePictures,
};
const chosen = commands[command];
if (!chosen) {
  console.error(`no command "${command}"; there are: ${Object.keys(commands).join(", ")}`);
  process.exit(2);
}
process.exitCode = await chosen();

async function writeReport(): Promise<number> {
  const startedAt = performance.now();
  const elapsed = () => (performance.now() - startedAt) / 1000;
  const only = values.only?.split(",");
  const wants = (name: string) => only === undefined || only.includes(name);
  const unknown =
    only?.filter((name) => !PARTS.some((part) => part === name) && !BENCHES.some((bench) => bench.name === name)) ?? [];
  if (unknown.length > 0) {
    console.error(
      `nothing is called ${unknown.join(", ")}; there are: ${[...PARTS, ...BENCHES.map(({ name }) => name)].join(", ")}`,
    );
    return 2;
  }
  const earlier =
    values.from === undefined ? {} : (JSON.parse(await readFile(values.from, "utf8")) as Partial<LabReport>);
  const report: Record<string, unknown> = {
    ...earlier,
    commit: describeCommit(),
    machine: describeMachine(),
    full: values.full,
    records: await loadRecords(),
  };
  const onRecord = join(import.meta.dirname, "..", "docs", "peers.json");
  report.peers = mergeReports(readRecord(onRecord), readRecord(join(values.out, "peers.json")));

  // What is measured is kept, whatever happens later.
  const keep = () => write({ ...report, elapsed_s: (earlier.elapsed_s ?? 0) + elapsed() } as unknown as LabReport);
  if (wants("instrument")) report.instrument = await step("the instrument against itself", () => measureInstrument());
  if (wants("scenarios")) {
    const runs: Record<string, ScenarioFigures> = {};
    const scores: CallScore[] = [];
    for (const [name, scenario] of await loadScenarios()) {
      runs[name] = await step(`scenario ${name}`, () =>
        measureScenario(scenario, Number(values.runs ?? (values.full ? 1000 : 5)), 1, ({ score }) =>
          scores.push(score),
        ),
      );
    }
    report.scenarioRuns = runs;
    report.scenarios = Object.fromEntries(Object.entries(runs).map(([name, { figures }]) => [name, figures]));
    report.totals = summarise(scores);
    await keep();
  }
  if (wants("loss")) report.loss = await step("words against loss", () => measureLoss(values.full ? 30 : 3));
  await keep();
  const benches: Record<string, BenchOutcome> = { ...earlier.benches };
  for (const plan of BENCHES) {
    if (!wants(plan.name)) {
      benches[plan.name] ??= { command: commandOf(plan), missing: "left out by --only" };
      continue;
    }
    const late = !values.full && elapsed() + 20 > SHORT_LIMIT_S;
    benches[plan.name] = late
      ? { command: commandOf(plan), missing: `the short run was over; ${commandOf(plan)} runs it alone` }
      : await step(`bench ${plan.name}`, () => runBench(plan, SHORT_LIMIT_S - elapsed()));
    report.benches = benches;
    await keep();
    const { missing } = benches[plan.name]!;
    if (missing !== undefined) console.error(`  ${plan.name}: not measured: ${missing}`);
  }
  report.benches = benches;
  report.elapsed_s = (earlier.elapsed_s ?? 0) + elapsed();
  // Only a short run of everything is held to its time.
  report.whole_s = values.only === undefined && values.from === undefined && !values.full ? elapsed() : undefined;
  return await save(report as unknown as LabReport);
}

async function write(report: LabReport): Promise<void> {
  await mkdir(values.out, { recursive: true });
  await writeFile(join(values.out, "report.json"), `${JSON.stringify(report)}\n`);
  await writeFile(join(values.out, "index.html"), renderPage(report));
  await writeFile(join(values.out, "main.svg"), renderMainChart(report));
}

async function save(report: LabReport): Promise<number> {
  await write(report);
  const verdicts = judge(report);
  for (const { text, value, bar, unit, record, command: how } of verdicts.filter(({ met }) => met === false))
    console.log(
      `missed: ${text}: ${format(value!)} ${unit} (bar ${format(bar)})${record ? `, on record of ${record.date}, ${record.commit}` : ""}; ${how}`,
    );
  const count = (met: boolean | undefined) => verdicts.filter((verdict) => verdict.met === met).length;
  console.log(
    `${BARS.length} bars: ${count(true)} met, ${count(false)} missed, ${count(undefined)} not measured; ${verdicts.filter(({ record }) => record).length} of them by figures of record`,
  );
  console.log(join(values.out, "index.html"));
  return 0;
}

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const from = performance.now();
  const result = await work();
  console.error(`${what}: ${((performance.now() - from) / 1000).toFixed(0)} s`);
  return result;
}

function commandOf({ bench, full }: BenchPlan): string {
  return ["npm run bench --", bench, "--json", ...full].join(" ");
}

async function runBench(plan: BenchPlan, leftS: number): Promise<BenchOutcome> {
  const command = commandOf(plan);
  if (!existsSync(join(import.meta.dirname, "bench", `${plan.bench}.ts`)))
    return { command, missing: "there is no such bench yet" };
  const absent = plan.needs.filter((need) => !isThere(need));
  if (absent.length > 0)
    return {
      command,
      missing: `${absent.join(" and ")} is not installed here (npm test installs what tests need; Debian: apt-get install ${absent.join(" ")})`,
    };
  const args = [
    "--conditions=sluice-source",
    join(import.meta.dirname, "bench", "run.ts"),
    plan.bench,
    "--json",
    ...(values.full ? plan.full : plan.short),
    ...(values.record ? ["--record", plan.name] : []),
  ];
  const limitS = values.full ? 3600 : Math.min(plan.limitS, leftS);
  const from = performance.now();
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += chunk));
  child.stderr.on("data", (chunk: Buffer) => (err = (err + chunk).slice(-4000)));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    process.kill(-child.pid!, "SIGKILL"); // with all that it started
  }, limitS * 1000);
  const code = await new Promise<number | null>((done) => child.once("close", done));
  clearTimeout(timer);
  const seconds = (performance.now() - from) / 1000;
  if (late) return { command, seconds, missing: `not done within ${Math.round(limitS)} s` };
  if (code !== 0) return { command, seconds, missing: `it failed: ${err.trim().split("\n").at(-1) ?? code}` };
  const { metrics, rows } = JSON.parse(out) as { metrics: Record<string, number>; rows: unknown[] };
  return { command, seconds, metrics, rows };
}

function isThere(need: BenchPlan["needs"][number]): boolean {
  if (need === "chromium") return findChromium() !== undefined;
  return (process.env.PATH ?? "")
    .split(":")
    .concat("/usr/sbin")
    .some((folder) => existsSync(join(folder, need)));
}

async function tellScenario(): Promise<number> {
  const scenarios = await loadScenarios();
  const scenario = scenarios.get(rest[0] ?? "");
  if (!scenario) {
    for (const { name, about } of scenarios.values()) console.log(`${name.padEnd(18)} ${about}`);
    return rest[0] === undefined ? 0 : 2;
  }
  const pipes: readonly string[] = values.chromium ? REAL_PIPES : VIRTUAL_PIPES;
  if (values.pipe !== undefined && !pipes.includes(values.pipe)) {
    console.error(
      `no pipe "${values.pipe}" ${values.chromium ? "in Chromium" : "in virtual time"}; there are: ${pipes.join(", ")}`,
    );
    return 2;
  }
  if (values.chromium && findChromium() === undefined) {
    console.error("a real scenario needs Chromium, which is not installed here: npm test installs it or says how");
    return 2;
  }
  const how = [
    ...(values.chromium ? ["--chromium"] : []),
    ...(values.pipe === undefined ? [] : ["--pipe", values.pipe]),
  ];
  const scores: CallScore[] = [];
  let failed = 0;
  for (let seed = Number(values.seed), end = seed + Number(values.runs ?? 1); seed < end; seed++) {
    const { score, failures } = values.chromium
      ? await runForReal(scenario, { seed, pipe: values.pipe as RealPipe | undefined })
      : await runScenario(scenario, { seed, ...(values.pipe !== undefined && { pipe: values.pipe as VirtualPipe }) });
    scores.push(score);
    if (failures.length === 0) continue;
    failed += 1;
    const again = ["npm run lab -- scenario", scenario.name, ...how, "--seed", seed].join(" ");
    console.log(`seed ${seed}: ${failures.join("; ")}  (${again})`);
  }
  console.log(
    JSON.stringify(
      scores.length === 1 ? { ...summarise(scores), turns: scores[0]!.turns } : summarise(scores),
      null,
      2,
    ),
  );
  return failed === 0 ? 0 : 1;
}

async function tellChanges(): Promise<number> {
  const [a, b] = rest;
  if (a === undefined || b === undefined) {
    console.error("usage: npm run lab -- compare A.json B.json [--relative 0.1] [--share 0.02]");
    return 2;
  }
  const [before, after] = await Promise.all(
    [a, b].map(async (path) => JSON.parse(await readFile(resolve(path), "utf8"))),
  );
  const changes = compareReports(before, after, {
    ...(values.relative === undefined ? {} : { relative: Number(values.relative) }),
    ...(values.share === undefined ? {} : { share: Number(values.share) }),
  });
  for (const { path, before: old, after: now, worse, broken } of changes) {
    if (old === now) continue;
    console.log(`${broken ? "WORSE " : worse > 0 ? "  -   " : "  +   "} ${path}: ${format(old)} -> ${format(now)}`);
  }
  for (const path of lostFigures(before, after)) console.log(`  ?    ${path}: not measured any more`);
  const broken = changes.filter((change) => change.broken).length;
  console.log(
    `${changes.length} figures compared, ${changes.filter((change) => change.before !== change.after).length} changed, ${broken} past the threshold`,
  );
  return broken === 0 ? 0 : 1;
}

async function takePictures(): Promise<number> {
  const docs = join(import.meta.dirname, "..", "docs");
  await takeScreenshots(join(values.out, "index.html"), join(docs, "lab.png"), join(values.out, "whole.png"));
  await copyFile(join(values.out, "main.svg"), join(docs, "lab-main.svg"));
  console.log(join(docs, "lab.png"));
  return 0;
}

async function writeBaseline(): Promise<number> {
  const path = join(import.meta.dirname, "baseline.json");
  await writeFile(path, `${JSON.stringify(await measureBaseline(), null, 2)}\n`);
  console.log(path);
  return 0;
}
