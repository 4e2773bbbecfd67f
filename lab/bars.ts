/**
 * Every bar of the project's issues, as data. `path` leads to a figure in `report.json`: names parted by dots, `[key=value,…]`
 * picks the first row that has them. Where this run has none, the figure of record stands for it, marked; where there is no such
 * either, the report says "not measured".
 */
import type { BenchRecord } from "./record.ts";

/** What a figure is held to. */
export interface Bar {
  readonly id: string;
  /** Number of the issue that set it. */
  readonly issue: number;
  readonly text: string;
  /** Where its figure is. */
  readonly path: string;
  /** Another figure that the first is divided by, or that is taken from it. */
  readonly per?: string;
  readonly less?: string;
  readonly is: "atMost" | "atLeast";
  readonly bar: number;
  /** `share` is told in percent, `yes` as yes or no. */
  readonly unit: string;
  readonly command: string;
}

const bench = (name: string, more = "") => `npm run bench -- ${name} --json${more}`;
const atMost = (
  issue: number,
  id: string,
  text: string,
  path: string,
  bar: number,
  unit: string,
  command: string,
): Bar => ({
  id,
  issue,
  text,
  path,
  is: "atMost",
  bar,
  unit,
  command,
});
const atLeast = (...of: Parameters<typeof atMost>): Bar => ({ ...atMost(...of), is: "atLeast" });

const turn = (id: string, text: string, bar: number) =>
  atMost(2, `turn-${id}`, text, `benches.turn.metrics.${id}`, bar, "ms", bench("turn"));
const recovery = (event: string, text: string, direction: "uplink" | "downlink"): Bar =>
  atLeast(
    3,
    `recovery-${text}-${direction}`,
    `${text}: ${direction} whole again in time`,
    `benches.recovery.rows[event=${event}].${direction}_ok`,
    1,
    "yes",
    bench("recovery"),
  );
const pipes = (id: string, text: string, path: string, is: Bar["is"], bar: number, unit: string): Bar => ({
  id: `pipes-${id}`,
  issue: 5,
  text,
  path: `benches.pipes.rows[${path}`,
  is,
  bar,
  unit,
  command: bench("pipes"),
});

const flood = (id: string, text: string, figure: string, bar: number, unit: string) =>
  atMost(5, `flood-${id}`, text, `benches.quic-flood.metrics.${figure}`, bar, unit, bench("quic-flood"));
const takeover = (id: string, text: string, figure: string, bar: number, unit: string) =>
  atMost(5, `takeover-${id}`, text, `benches.takeover.metrics.${figure}`, bar, unit, bench("takeover"));

/** All bars, by issue. */
export const BARS: readonly Bar[] = [
  turn("setup_ms_p95", "click to session, p95", 350),
  turn("overhead_ms_p95", "mouth to ear beyond the silence asked for, p95", 200),
  turn("server_ms_p95", "our server's part of it, p95", 40),
  turn("bargein_ms_p95", "interrupting voice to silence, p95", 250),
  atLeast(
    2,
    "sessions",
    "calls per core, decoding and voice activity",
    "benches.sessions.metrics.sessions_per_core",
    60,
    "",
    bench("sessions"),
  ),
  atLeast(
    2,
    "sessions-transport",
    "calls per core, transport only",
    "benches.sessions-transport.metrics.sessions_per_core",
    200,
    "",
    bench("sessions", " --transport-only"),
  ),
  atMost(
    2,
    "pacing",
    "how late frames leave at 60 calls, p99",
    "benches.sessions.metrics.pacing_error_ms_p99",
    5,
    "ms",
    bench("sessions"),
  ),

  atMost(3, "cid", "connection ID decode", "benches.token.metrics.cid_decode_us", 2, "us", bench("token")),
  ...[
    ["NAT rebinding", "NAT rebinding"],
    ["relay SIGKILL and restart, Redis up", "relay killed, Redis up"],
    ["relay SIGKILL and restart, no Redis", "relay killed, no Redis"],
    ["packets move to another relay, Redis up", "another relay"],
    ["one of 2 workers killed", "a worker killed"],
    ["Redis stopped", "Redis stopped"],
    ["Redis paused 30 s", "Redis paused 30 s"],
    ["Redis flushed", "Redis flushed"],
    ["Redis poisoned with wrong types", "Redis poisoned"],
  ].flatMap(([event, text]) => [recovery(event!, text!, "uplink"), recovery(event!, text!, "downlink")]),
  {
    ...atLeast(
      3,
      "relay-nginx",
      "relay's packets a second, of nginx's",
      "benches.relay.metrics.relay_pps",
      1,
      "x",
      bench("relay"),
    ),
    per: "benches.relay.metrics.nginx_pps",
  },
  {
    ...atLeast(
      3,
      "relay-dgram",
      "relay's packets a second, of a bare echo's",
      "benches.relay.metrics.relay_pps",
      0.85,
      "x",
      bench("relay"),
    ),
    per: "benches.relay.metrics.dgram_pps",
  },
  atMost(
    3,
    "relay-added",
    "relay's added delay at 20,000 a second, p99",
    "benches.relay.metrics.added_ms_p99",
    5,
    "ms",
    bench("relay"),
  ),
  atMost(3, "relay-rss", "relay's memory", "benches.relay.metrics.rss_mb", 120, "MB", bench("relay")),

  atLeast(
    4,
    "pipeline-p50",
    "first sound sooner than a fixed pipeline's, p50",
    "benches.pipeline.metrics.p50_lower_percent_least",
    35,
    "%",
    bench("pipeline"),
  ),
  atLeast(
    4,
    "pipeline-p95",
    "the same, p95",
    "benches.pipeline.metrics.p95_lower_percent_least",
    25,
    "%",
    bench("pipeline"),
  ),
  atMost(
    4,
    "pipeline-gaps",
    "turns with a gap in the answer",
    "benches.pipeline.metrics.gap_turn_share_most",
    0.01,
    "share",
    bench("pipeline"),
  ),
  atMost(
    4,
    "pipeline-wasted",
    "tokens generated in vain",
    "benches.pipeline.metrics.wasted_token_share_most",
    0.15,
    "share",
    bench("pipeline"),
  ),
  atMost(
    4,
    "pipeline-cutins",
    "false cut-ins beyond the fixed pipeline's",
    "benches.pipeline.metrics.false_cutin_more_most",
    0,
    "share",
    bench("pipeline"),
  ),
  atMost(
    4,
    "overhead-p50",
    "our own time, end of turn to first packet, p50",
    "benches.overhead.metrics.overhead_ms_p50",
    5,
    "ms",
    bench("overhead"),
  ),
  atMost(4, "overhead-p95", "the same, p95", "benches.overhead.metrics.overhead_ms_p95", 15, "ms", bench("overhead")),
  atMost(
    4,
    "overhead-40",
    "the same with 40 calls on a core, p95",
    "benches.overhead.metrics.overhead_40_ms_p95",
    30,
    "ms",
    bench("overhead"),
  ),
  atMost(4, "duck", "voice to softer, p95", "benches.bargein.metrics.duck_ms_p95", 100, "ms", bench("bargein")),
  atMost(4, "duck-5", "the same at 5 % loss", "benches.bargein.metrics.duck_ms_p95_loss5", 100, "ms", bench("bargein")),
  atMost(4, "stop", "voice to silence, p95", "benches.bargein.metrics.stop_ms_p95", 250, "ms", bench("bargein")),
  atMost(4, "stop-5", "the same at 5 % loss", "benches.bargein.metrics.stop_ms_p95_loss5", 250, "ms", bench("bargein")),
  atMost(
    4,
    "truncation",
    "words by which an interrupted memory is off (LTE)",
    "scenarios.barge-in-on-lte.truncation_words_max",
    1,
    "words",
    "npm run lab -- scenario barge-in-on-lte",
  ),
  atMost(
    4,
    "coughs",
    "answers that a cough or a mhm stopped",
    "benches.bargein.metrics.false_stops",
    0,
    "",
    bench("bargein"),
  ),
  atMost(
    4,
    "coughs-lost",
    "milliseconds of the answer that they cost",
    "benches.bargein.metrics.skipped_ms",
    0,
    "ms",
    bench("bargein"),
  ),

  atLeast(
    5,
    "webrtc-10",
    "WebRTC: prompt's words at 10 % loss (virtual time)",
    "loss[pipe=webrtc,loss=0.1].prompt_intact",
    0.99,
    "share",
    "npm run lab -- --only loss",
  ),
  pipes(
    "quic-20",
    "QUIC: prompt intact at 20 % loss",
    "pipe=webtransport,loss=0.2].prompt_intact",
    "atLeast",
    1,
    "share",
  ),
  pipes(
    "quic-blackout",
    "QUIC: prompt intact through a 3 s blackout",
    "pipe=webtransport,condition=blackout].prompt_intact",
    "atLeast",
    1,
    "share",
  ),
  pipes(
    "webrtc-10",
    "WebRTC in Chromium: prompt intact at 10 % loss",
    "pipe=webrtc,loss=0.1].prompt_intact",
    "atLeast",
    0.99,
    "share",
  ),
  pipes(
    "answer",
    "QUIC: answer intact through a 3 s blackout",
    "pipe=webtransport,condition=blackout].answer_intact",
    "atLeast",
    1,
    "share",
  ),
  pipes(
    "rebind-prompt",
    "QUIC: prompt intact through 30 NAT rebindings",
    "condition=rebind30].prompt_intact",
    "atLeast",
    1,
    "share",
  ),
  pipes("rebind-answer", "the same, answer", "condition=rebind30].answer_intact", "atLeast", 1, "share"),
  pipes(
    "rebind",
    "QUIC: nothing comes after a rebinding for, longest (a round trip of 100 ms and 200 ms)",
    "condition=rebind30].resumed_ms_max",
    "atMost",
    300,
    "ms",
  ),
  pipes("setup", "QUIC: round trips to a session", "pipe=webtransport,loss=0].setup_rtts", "atMost", 3.2, "RTT"),
  atLeast(
    5,
    "sessions-quic",
    "calls per core over WebTransport",
    "benches.sessions-webtransport.metrics.sessions_per_core",
    60,
    "",
    bench("sessions", " --transport webtransport"),
  ),
  flood("memory", "a flood of QUIC packets: memory grows by at most", "memory_growth_mib_peak", 32, "MiB"),
  flood("lost", "live packets that it costs", "live_packets_lost_percent", 0.5, "%"),
  takeover("heard", "transceiver killed in mid-answer: heard on from another, p95", "speaking_ms_p95", 3000, "ms"),
  takeover("forgotten", "what was forgotten meanwhile", "forgotten", 0, ""),
  takeover("failed", "calls that were not taken over", "failed", 0, ""),

  atMost(
    6,
    "instrument-delay",
    "instrument: known delay in, error out",
    "instrument.delay_error_ms",
    3,
    "ms",
    "npm run lab -- --only instrument",
  ),
  atMost(
    6,
    "instrument-loss",
    "instrument: known loss in, error out",
    "instrument.loss_error_percent",
    0.1,
    "%",
    "npm run lab -- --only instrument",
  ),
  atMost(
    6,
    "instrument-gap",
    "instrument: known gap in, error out",
    "instrument.gap_error_ms",
    20,
    "ms",
    "npm run lab -- --only instrument",
  ),
  atMost(
    6,
    "ear",
    "timeline against recorded sound in Chromium, median",
    "benches.ear.metrics.difference_ms_abs_p50",
    3,
    "ms",
    bench("ear"),
  ),
  atMost(
    6,
    "timeline",
    "timeline against recorded sound, p95 (virtual time)",
    "totals.timeline_difference_ms_p95",
    3,
    "ms",
    "npm run lab -- --only scenarios",
  ),
  atMost(6, "duration", "this report took", "whole_s", 600, "s", "npm run lab"),
];

/** A bar and what became of it. */
export interface Verdict extends Bar {
  readonly value: number | undefined;
  readonly met: boolean | undefined;
  /** Where the value is from, if not from this run. */
  readonly record?: BenchRecord;
}

/** Holds a report to the bars. */
export function judge(report: unknown, bars: readonly Bar[] = BARS): Verdict[] {
  const { records = {} } = (report ?? {}) as { readonly records?: Readonly<Record<string, BenchRecord>> };
  return bars.map((bar) => {
    const measured = figure(report, bar);
    const value = measured ?? figure({ benches: records }, bar);
    const record = measured === undefined && value !== undefined ? records[bar.path.split(".")[1]!] : undefined;
    return {
      ...bar,
      value,
      met: value === undefined ? undefined : bar.is === "atMost" ? value <= bar.bar : value >= bar.bar,
      ...(record && { record }),
    };
  });
}

function figure(report: unknown, { path, per, less }: Bar): number | undefined {
  const value = find(report, path);
  const other = per ?? less;
  if (value === undefined || other === undefined) return value;
  const second = find(report, other);
  if (second === undefined) return undefined;
  return per === undefined ? value - second : value / second;
}

/** The number at `path`; a truth counts as 1, a falsehood as 0. */
export function find(root: unknown, path: string): number | undefined {
  let at = root;
  for (const part of path.match(/\[[^\]]*\]|[^.[]+/g) ?? []) {
    if (part.startsWith("[")) {
      const wanted = part
        .slice(1, -1)
        .split(/,(?=[a-z_]+=)/)
        .map((pair) => pair.split("=") as [string, string]);
      at = Array.isArray(at) ? at.find((row) => wanted.every(([key, value]) => String(row[key]) === value)) : undefined;
    } else at = (at as Record<string, unknown> | undefined)?.[part];
    if (at === undefined || at === null) return undefined;
  }
  if (typeof at === "boolean") return at ? 1 : 0;
  return typeof at === "number" && Number.isFinite(at) ? at : undefined;
}
