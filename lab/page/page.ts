/** The report as one self-contained page: the bars first, then what is behind them. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { PROFILES } from "@sluice/netem";
import { judge, type Verdict } from "../bars.ts";
import { provenanceOf, tablesOf } from "../interop/report.ts";
import type { ScenarioFigures } from "../measure.ts";
import { INFERENCE } from "../profiles/inference.ts";
import type { LabReport } from "../report.ts";
import * as chart from "./chart.ts";

const { plain, format } = chart;

/** The page of `report`. */
export function renderPage(report: LabReport): string {
  const verdicts = judge(report);
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Sluice, measured</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>${fonts()}${STYLE}</style>
<main>${head(report, verdicts)}${barsSection(verdicts)}${turnsSection(report)}${lossSection(report)}${recoverySection(report)}
${pipelineSection(report)}${capacitySection(report)}${peersSection(report)}${scenarioSection(report)}${sourcesSection()}</main></html>`;
}

/** The main chart alone, for the README. */
export function renderMainChart(report: LabReport): string {
  return standAlone(chart.distributions(distributionRows(report)));
}

function standAlone(svg: string): string {
  const background = svg.replace(
    /(<svg [^>]*?)>/,
    '$1 xmlns="http://www.w3.org/2000/svg"><rect width="100%" height="100%" fill="#fff"/>',
  );
  return `${background}\n`;
}

function head({ machine, commit, full, elapsed_s }: LabReport, verdicts: readonly Verdict[]): string {
  const count = (met: boolean | undefined) => verdicts.filter((verdict) => verdict.met === met).length;
  const { cpu, cores, memory_gb, os, node } = machine as unknown as Record<string, string | number>;
  return `<header><div><h1>Sluice, measured</h1><p>${plain(`${cpu ?? "?"}, ${cores ?? "?"} cores, ${memory_gb ?? "?"} GB, ${os ?? "?"}, Node ${node ?? "?"}`)}.
Commit <code>${plain(commit.slice(0, 12))}</code>; ${full ? "long" : "short"} run of ${format(elapsed_s / 60)} minutes. Repeat it: <code>npm run lab</code></p></div>
<div class="tally"><span class="met"><b>${count(true)}</b> met</span><span class="missed"><b>${count(false)}</b> missed</span><span class="open"><b>${count(undefined)}</b> not measured</span></div></header>${recordNote(verdicts)}`;
}

function recordNote(verdicts: readonly Verdict[]): string {
  const from = verdicts.flatMap(({ record }) => (record ? [`${record.date}, commit ${record.commit}`] : []));
  if (from.length === 0) return "";
  const days = [...new Set(from)].sort().map((day) => `${plain(day)} (${from.filter((one) => one === day).length})`);
  return `<p class="record"><i></i> ${from.length} figures are of record: longer benches than this run has time for, on a quiet machine. ${days.join("; ")}.</p>`;
}

const ISSUES: Readonly<Record<number, string>> = {
  2: "Talk to it",
  3: "The relay",
  4: "The conversation",
  5: "The second pipe",
  6: "The lab",
};

function barsSection(verdicts: readonly Verdict[]): string {
  const group = (issue: number) => {
    const name = ISSUES[issue];
    const rows = verdicts.filter((verdict) => verdict.issue === Number(issue));
    const order = (met: boolean | undefined) => (met === false ? 0 : met ? 1 : 2);
    const items = rows
      .toSorted((a, b) => order(a.met) - order(b.met))
      .map(
        (
          verdict,
        ) => `<li class="${verdict.met === undefined ? "open" : verdict.met ? "met" : "missed"}${verdict.record ? " record" : ""}" title="${plain(verdict.record ? `on record: ${verdict.record.command}, ${verdict.record.date}, ${verdict.record.commit}` : verdict.command)}">
<i></i><span>${plain(verdict.text)}</span><b>${verdict.value === undefined ? "–" : `${figure(verdict.value, verdict)}`}</b><em>${held(verdict)}</em><code>${plain(verdict.command)}</code></li>`,
      );
    return `<section class="bars"><h3><small>${issue}</small> ${name}</h3><ul>${items.join("")}</ul></section>`;
  };
  // Side by side and of one height, so that all of it is on the first screen.
  const columns = [
    [2, 4],
    [3, 5, 6],
  ].map((issues) => `<div>${issues.map(group).join("")}</div>`);
  return `<div class="groups">${columns.join("")}</div>`;
}

function figure(value: number, { unit }: Verdict): string {
  if (unit === "share") return `${format(value * 100)}\u202f%`;
  if (unit === "yes") return value === 1 ? "yes" : "no";
  if (unit === "words") return `${format(value)}\u202fword${value === 1 ? "" : "s"}`;
  return `${format(value)}${unit === "" ? "" : `\u202f${unit}`}`;
}

function held(verdict: Verdict): string {
  if (verdict.unit === "yes") return "";
  return `${verdict.is === "atMost" ? "≤" : "≥"} ${figure(verdict.bar, verdict)}`;
}

function distributionRows(report: LabReport): chart.DistributionRow[] {
  const virtual = Object.values(report.scenarioRuns ?? {}).map((run) => ({
    label: run.name,
    note: `${run.network} · ${run.inference} models`,
    values: run.mouth_to_ear_ms,
  }));
  const real = (rowsOf(report, "scenario") as unknown as (ScenarioFigures & { readonly pipe: string })[]).map(
    (run) => ({
      label: `${run.name}, Chromium`,
      note: `${run.network} · ${run.inference} models · ${run.pipe}`,
      values: run.mouth_to_ear_ms,
    }),
  );
  const rows: chart.DistributionRow[] = [...virtual, ...real];
  return rows.toSorted((a, b) => middle(a.values) - middle(b.values));
}

function turnsSection(report: LabReport): string {
  const runs = Object.values(report.scenarioRuns ?? {});
  if (runs.length === 0) return section("Mouth to ear", "", missing("npm run lab -- --only scenarios"));
  const real = rowsOf(report, "turn").filter((row) => row.stage !== undefined);
  const waterfallRows = runs
    .toSorted((a, b) => middle(a.mouth_to_ear_ms) - middle(b.mouth_to_ear_ms))
    .map((run) => ({ label: run.name, note: `${run.network} · ${run.inference}`, stages: run.stages }));
  const chromium = {
    label: "Chromium, loopback",
    note: "the parrot, real time",
    stages: Object.fromEntries(real.map((row) => [String(row.stage), Number(row.p50_ms)])),
  };
  return (
    section(
      "Mouth to ear",
      "From the last sample that left the mouth to the first of the answer at the ear, 500 ms of silence asked for included. Whole calls in virtual time: the real transceiver, conversation and pipeline; networks and models as published (below). “Chromium”: the same file for real, through the proxy. Every dot is a turn, the bar the 5th to 95th percentile. Red: a natural gap, a thought, a bad line.",
      chart.distributions(distributionRows(report)),
    ) +
    section(
      "Where the milliseconds go",
      "Medians of each stage, as server and client tell them. In virtual time they are checked against the recorded sound.",
      chart.waterfalls(real.length > 0 ? [chromium, ...waterfallRows] : waterfallRows) +
        (real.length > 0 ? "" : missing("npm run bench -- turn --json", "Chromium")),
    )
  );
}

const PIPES = [
  ["legacy", "legacy", "#8a929c"],
  ["webrtc", "WebRTC", "#2a5fa5"],
  ["webtransport", "QUIC", "#c7863c"],
] as const;

function lossSection(report: LabReport): string {
  const rows = [...(report.loss ?? []), ...rowsOf(report, "pipes")] as unknown as Record<string, unknown>[];
  const series = (key: "prompt_wer" | "answer_wer", intact: string) =>
    PIPES.map(([pipe, name, colour]) => ({
      name,
      colour,
      points: rows
        .filter((row) => row.pipe === pipe && typeof row.loss === "number")
        .map((row) => [Number(row.loss), Number(row[key] ?? 1 - Number(row[intact]))] as const)
        .filter(([, wer]) => Number.isFinite(wer))
        .sort(([a], [b]) => a - b),
    }));
  if ((report.loss ?? []).length === 0) return section("Words against loss", "", missing("npm run lab -- --only loss"));
  const [prompt, answer] = [series("prompt_wer", "prompt_intact"), series("answer_wer", "answer_intact")];
  const most = Math.max(0.05, ...[...prompt, ...answer].flatMap(({ points }) => points.map(([, y]) => y)));
  const limit = Math.ceil(most * 20) / 20;
  const absent = PIPES.filter(([pipe]) => !rows.some((row) => row.pipe === pipe)).map(([, name]) => name);
  return section(
    "Words against loss",
    "Tone speech: words as pairs of tones, heard by Goertzel, 30 ms away, independent losses both ways. <i>Legacy</i> is WebRTC as its critics describe it: nothing sent again, nothing sent twice, a fixed 200 ms at the ear, what is later is dropped.",
    `<div class="pair">${chart.lines("The model mishears (prompt)", prompt, limit)}${chart.lines("The caller mishears (answer)", answer, limit)}</div>` +
      (absent.length > 0 ? missing("npm run bench -- pipes --json", absent.join(", ")) : ""),
  );
}

function recoverySection(report: LabReport): string {
  const rows = rowsOf(report, "recovery");
  const body =
    rows.length === 0
      ? missing("npm run bench -- recovery --json")
      : chart.ranges(
          "Longest time without new audio, ms beyond the 20 ms of a packet",
          rows.flatMap((row) =>
            (["uplink", "downlink"] as const).map((way) => ({
              label: `${row.event}, ${way === "uplink" ? "up" : "down"}`,
              p50: Number(row[`${way}_gap_ms_p50`]),
              p95: Number(row[`${way}_gap_ms_p95`]),
              max: Number(row[`${way}_gap_ms_max`]),
              colour: way === "uplink" ? "#2a5fa5" : "#4b8f7b",
            })),
          ),
        );
  const gaps = Object.values(report.scenarioRuns ?? {}).map((run) => ({
    label: run.name,
    value: run.figures.gap_ms_p95,
  }));
  return section(
    "Gaps and recovery",
    "Real Chromium calls through proxy, relay and transceiver while the fleet fails; and, in virtual time, how long answers stood still between two words (95th percentile of calls).",
    body + (gaps.length > 0 ? chart.bars("Answers standing still, p95", gaps, "ms", 960) : ""),
  );
}

function pipelineSection(report: LabReport): string {
  const rows = rowsOf(report, "pipeline");
  const body = (["p50", "p95"] as const).map((q) =>
    chart.dumbbells(
      `First sound after the caller's last, ${q}, ms`,
      rows.map((row) => {
        const [before, after] = [Number(row[`fixed_${q}_ms`]), Number(row[`sluice_${q}_ms`])];
        return {
          label: String(row.profile),
          before,
          after,
          note: `${after <= before ? "−" : "+"}${Math.round(Math.abs(1 - after / before) * 100)} %`,
        };
      }),
      ["fixed", "forecast-driven"],
    ),
  );
  return section(
    "A pipeline that forecasts",
    "The same callers and the same model delays. <i>Fixed</i>: 500 ms of silence, whole sentences, 200 ms of lead, one thing after the other.",
    rows.length === 0 ? missing("npm run bench -- pipeline --json") : body.join(""),
  );
}

function capacitySection(report: LabReport): string {
  const metric = (bench: string, name: string) =>
    report.benches?.[bench]?.metrics?.[name] ?? report.records?.[bench]?.metrics[name];
  const row = (label: string, value: number | undefined, mark?: number, strong = true): chart.BarRow =>
    mark === undefined ? { label, value, strong } : { label, value, mark, strong };
  return section(
    "Capacity",
    "On one core; the red mark is the bar.",
    `<div class="pair">${chart.bars(
      "Calls",
      [
        row("everything", metric("sessions", "sessions_per_core"), 60),
        row("transport only", metric("sessions-transport", "sessions_per_core"), 200),
        row("WebTransport", metric("sessions-webtransport", "sessions_per_core"), 60),
      ],
      "",
    )}${chart.bars(
      "Packets a second, one worker",
      [
        row("relay", metric("relay", "relay_pps"), metric("relay", "nginx_pps")),
        row("nginx stream", metric("relay", "nginx_pps"), undefined, false),
        row("bare dgram echo", metric("relay", "dgram_pps"), undefined, false),
      ],
      "",
    )}</div>`,
  );
}

function peersSection({ peers }: LabReport): string {
  const cell = (text: string) =>
    `<td>${text.startsWith("npm run ") ? `<code>${plain(text)}</code>` : plain(text)}</td>`;
  const tables = tablesOf(peers).map(
    ({ title, lead, head, rows }) => `<h3>${plain(title)}</h3><p>${plain(lead)}</p>
<table><tr>${head.map((text) => `<th>${plain(text)}`).join("")}</tr>${rows.map((row) => `<tr>${row.map(cell).join("")}</tr>`).join("")}</table>`,
  );
  const where = peers && provenanceOf(peers).length > 0 ? ` Measured ${plain(provenanceOf(peers).join("; "))}.` : "";
  return section(
    "Peers",
    `Other stacks in the same conversation and the same loss, on this machine.${where}`,
    tables.join(""),
  );
}

function scenarioSection(report: LabReport): string {
  const runs = Object.values(report.scenarioRuns ?? {});
  const cells = runs.map(({ name, about, network, inference, figures, failures }) => {
    const first = failures[0];
    return `<tr><td><b>${plain(name)}</b><br><small>${plain(about)}</small></td><td>${network}<br><small>${inference}</small></td>
<td>${figures.calls}</td><td>${figures.answered}/${figures.turns}</td><td>${format(figures.prompt_wer * 100)} %</td><td>${format(figures.answer_wer * 100)} %</td>
<td>${format(figures.gap_ms_p95)}</td><td>${Number.isFinite(figures.silenced_ms_p95) && figures.silenced_ms_p95 > 0 ? format(figures.silenced_ms_p95) : ""}</td>
<td>${first ? `<span class="missed">${failures.length}: ${plain(first.what.join("; "))}</span><br><code>npm run lab -- scenario ${plain(name)} --seed ${first.seed}</code>` : '<span class="met">all well</span>'}</td></tr>`;
  });
  const failed = Object.entries(report.benches ?? {}).filter(([, bench]) => bench.missing !== undefined);
  return (
    section(
      "Scenarios",
      "Each is one file in <code>lab/scenarios</code>; the seed replays the call to the sample.",
      `<table><tr><th>scenario<th>network, models<th>calls<th>turns answered<th>prompt misheard<th>answer misheard<th>gap p95, ms<th>silenced p95, ms<th>what was not as it must be</tr>${cells.join("")}</table>`,
    ) +
    (failed.length === 0
      ? ""
      : section(
          "Not measured in this run",
          "",
          `<ul class="plain">${failed.map(([name, bench]) => `<li><code>${plain(name)}</code>: ${plain(bench.missing!)}</li>`).join("")}</ul>`,
        ))
  );
}

function sourcesSection(): string {
  const networks = Object.values(PROFILES)
    .filter(({ name }) => name !== "clear")
    .map(
      (profile) =>
        `<tr><td><b>${profile.name}</b><br><small>${plain(profile.about)}</small></td><td>${plain(profile.measured)}<br><small>${plain(profile.source)}</small></td><td><small>${plain(profile.assumed)}</small></td></tr>`,
    );
  const models = Object.values(INFERENCE).map(
    ({ name, about, sttFinal, llmFirst, ttsFirst, ttsRate }) =>
      `<tr><td><b>${name}</b><br><small>${plain(about)}</small></td>${[sttFinal, llmFirst, ttsFirst].map((stage) => `<td>${stage.p50} / ${stage.p95}<br><small>${plain(stage.source)}</small></td>`).join("")}<td>${ttsRate.realTimeFactor}×<br><small>${plain(ttsRate.source)}</small></td></tr>`,
  );
  return section(
    "Sources",
    "Networks and models are as others measured them; what no source told is marked as ours.",
    `<table><tr><th>network<th>measured, by whom<th>assumed</tr>${networks.join("")}</table><table><tr><th>models<th>transcript, p50 / p95 ms<th>first token<th>first audio<th>speech</tr>${models.join("")}</table>`,
  );
}

function section(title: string, lead: string, body: string): string {
  return `<section class="chapter"><h2>${title}</h2>${lead === "" ? "" : `<p>${lead}</p>`}${body}</section>`;
}

function missing(command: string, what = ""): string {
  return `<p class="absent">${what === "" ? "" : `${plain(what)}: `}not measured in this run. <code>${plain(command)}</code></p>`;
}

/** This run's rows of a bench, or those of record where they are more: a short run leaves some out. */
function rowsOf(report: LabReport, bench: string): Record<string, unknown>[] {
  const [now, kept] = [report.benches?.[bench]?.rows ?? [], report.records?.[bench]?.rows ?? []];
  return (kept.length > now.length ? kept : now) as Record<string, unknown>[];
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Infinity;
}

/** The page's own type, where it is installed: the page loads nothing. */
function fonts(): string {
  const require = createRequire(import.meta.url);
  const face = (family: string, weight: number, file: string) => {
    try {
      const data = readFileSync(require.resolve(file)).toString("base64");
      return `@font-face{font-family:'${family}';font-weight:${weight};src:url(data:font/woff2;base64,${data}) format('woff2')}`;
    } catch {
      return "";
    }
  };
  const sans = "@fontsource/ibm-plex-sans/files/ibm-plex-sans-latin";
  return (
    face("IBM Plex Sans", 400, `${sans}-400-normal.woff2`) +
    face("IBM Plex Sans", 600, `${sans}-600-normal.woff2`) +
    face("IBM Plex Mono", 400, "@fontsource/ibm-plex-mono/files/ibm-plex-mono-latin-400-normal.woff2")
  );
}

const STYLE = `
:root{--ink:#1c2127;--grey:#6b7480;--rule:#e3e6ea;--met:#2f7d4f;--missed:#b3392f;--blue:#2a5fa5}
*{box-sizing:border-box}body{margin:0;background:#fff;color:var(--ink);font:14px/1.5 'IBM Plex Sans',system-ui,sans-serif;-webkit-font-smoothing:antialiased}
main{max-width:1040px;margin:0 auto;padding:28px 40px 60px}
h1{font-size:26px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}h2{font-size:19px;margin:0 0 4px;letter-spacing:-.01em}
h3{font-size:13px;margin:0 0 2px;padding-bottom:3px;border-bottom:1.5px solid var(--ink)}h3 small{color:var(--grey);font-weight:400;margin-right:3px}
p{margin:0 0 14px;color:#3c444d;max-width:760px}code{font:11.5px 'IBM Plex Mono',ui-monospace,monospace;background:#f4f5f7;padding:1px 4px;border-radius:2px}
header{display:flex;justify-content:space-between;align-items:flex-end;gap:30px;margin-bottom:16px}header p{margin:0;font-size:12.5px;color:var(--grey)}
.tally{display:flex;gap:22px;white-space:nowrap;font-size:12.5px;color:var(--grey)}.tally b{display:block;font-size:30px;line-height:1;color:var(--ink);font-variant-numeric:tabular-nums}
.tally .met b{color:var(--met)}.tally .missed b{color:var(--missed)}.tally .open b{color:#9aa2ac}
.groups{display:grid;grid-template-columns:1fr 1fr;gap:34px}.bars{margin:0 0 12px;break-inside:avoid}.bars h3{break-after:avoid}.bars ul{list-style:none;margin:0;padding:0}
.bars li{break-inside:avoid;display:grid;grid-template-columns:12px minmax(0,1fr) auto 70px;column-gap:6px;align-items:baseline;padding:2px 0 1px;border-bottom:1px solid var(--rule);font-size:12.2px;line-height:1.3}
.bars li i{width:8px;height:8px;border-radius:50%;align-self:center}.met i{background:var(--met)}.missed i{background:var(--missed)}.open i{border:1.5px solid #b3bac2}
.record i{background:none;border:2px solid var(--grey)}.met.record i{border-color:var(--met)}.missed.record i{border-color:var(--missed)}
p.record{margin:-8px 0 14px;font-size:12px;color:var(--grey);max-width:none}p.record i{display:inline-block;width:8px;height:8px;border-radius:50%;margin-right:3px}
.bars li b{font-variant-numeric:tabular-nums;text-align:right;white-space:nowrap}.bars li em{font-style:normal;color:var(--grey);text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.bars li.missed b{color:var(--missed)}.bars li.open span,.bars li.open b{color:#98a0a9}
.bars li code{grid-column:2/5;background:none;padding:0;color:#a2a9b1;font-size:9.6px;line-height:1.25;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.chapter{margin-top:44px;break-inside:avoid}.chapter svg{max-width:100%;height:auto;display:block;margin:6px 0 10px}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:40px}
table{border-collapse:collapse;width:100%;font-size:12.2px;line-height:1.35;margin:4px 0 20px}th{font-weight:600;text-align:left;border-bottom:1.5px solid var(--ink);padding:4px 12px 4px 0;vertical-align:bottom}
td{border-bottom:1px solid var(--rule);padding:6px 12px 6px 0;vertical-align:top;font-variant-numeric:tabular-nums}small{color:var(--grey);font-size:11px}
td .missed,span.missed{color:var(--missed)}td .met{color:var(--met)}.absent{color:var(--grey);font-style:italic}.absent code{font-style:normal}.plain{padding-left:18px}
@media(max-width:820px){main{padding:20px}.groups{grid-template-columns:1fr;gap:0}.pair{grid-template-columns:1fr}header{flex-direction:column;align-items:flex-start}}
@media print{@page{size:A4;margin:13mm}main{padding:0;max-width:none}body{font-size:12px}.chapter{margin-top:26px}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
`;
