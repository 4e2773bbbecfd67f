import assert from "node:assert/strict";
import { test } from "node:test";
import { BARS, find, judge } from "./bars.ts";
import { compareReports, lostFigures } from "./compare.ts";
import { renderPage } from "./page/page.ts";

const report = {
  commit: "abc",
  machine: {},
  full: false,
  elapsed_s: 12,
  benches: {
    turn: { command: "", metrics: { setup_ms_p95: 400, server_ms_p95: 12 }, rows: [] },
    sessions: { command: "", metrics: { sessions_per_core: 70 }, rows: [] },
    relay: { command: "", metrics: { relay_pps: 90, nginx_pps: 100 }, rows: [] },
    recovery: { command: "", metrics: {}, rows: [{ event: "NAT rebinding", uplink_ok: true, downlink_ok: false }] },
  },
  loss: [
    {
      pipe: "webrtc",
      loss: 0.1,
      calls: 1,
      prompt_wer: 0.002,
      prompt_intact: 0.998,
      answer_wer: 0,
      mouth_to_ear_ms_p50: 600,
      gap_ms_p95: 0,
    },
  ],
};

test("a bar is met, missed, or was not measured", () => {
  const verdicts = new Map(judge(report).map((verdict) => [verdict.id, verdict]));
  assert.equal(verdicts.get("turn-setup_ms_p95")?.met, false);
  assert.equal(verdicts.get("turn-server_ms_p95")?.met, true);
  assert.equal(verdicts.get("sessions")?.met, true);
  assert.equal(verdicts.get("relay-nginx")?.value, 0.9);
  assert.equal(verdicts.get("relay-nginx")?.met, false);
  assert.equal(verdicts.get("relay-dgram")?.met, undefined);
  assert.equal(verdicts.get("recovery-NAT rebinding-uplink")?.met, true);
  assert.equal(verdicts.get("recovery-NAT rebinding-downlink")?.met, false);
  assert.equal(verdicts.get("webrtc-10")?.met, true);
});

test("what a run did not measure is held to the figure of record, and marked as such", () => {
  const record = { command: "", date: "2026-11-26", commit: "def", machine: {}, metrics: {}, rows: [] };
  const records = {
    overhead: { ...record, metrics: { overhead_ms_p50: 4 } },
    turn: { ...record, metrics: { setup_ms_p95: 100 } },
  };
  const verdicts = new Map(judge({ ...report, records }).map((verdict) => [verdict.id, verdict]));
  assert.deepEqual([verdicts.get("overhead-p50")?.met, verdicts.get("overhead-p50")?.record?.commit], [true, "def"]);
  assert.deepEqual(
    [verdicts.get("turn-setup_ms_p95")?.met, verdicts.get("turn-setup_ms_p95")?.record],
    [false, undefined],
    "this run's own figure goes before",
  );
  const page = renderPage({ ...report, records } as unknown as Parameters<typeof renderPage>[0]);
  assert.match(page, /1 figures are of record.*2026-11-26, commit def/);
});

test("every bar has a command and an id of its own, and every issue has bars", () => {
  assert.equal(new Set(BARS.map(({ id }) => id)).size, BARS.length);
  assert.ok(BARS.every(({ command }) => command.startsWith("npm run ")));
  assert.deepEqual([...new Set(BARS.map(({ issue }) => issue))].sort(), [2, 3, 4, 5, 6]);
  assert.equal(find({ rows: [{ a: "x, y", b: 2 }] }, "rows[a=x, y].b"), 2);
});

test("the page names every bar with its command, and says what was not measured", () => {
  const page = renderPage(report as unknown as Parameters<typeof renderPage>[0]);
  for (const { text, command } of BARS)
    assert.ok(page.includes(text.replaceAll('"', "&#34;").replaceAll("&", "&#38;")) && page.includes(command), text);
  assert.ok(page.includes("not measured"));
  assert.ok(
    !/<(script|link|img)\b|https?:\/\/(?!www\.w3\.org)/.test(page.replace(/<code>.*?<\/code>/gs, "")),
    "the page must load nothing",
  );
});

test("a comparison finds what got worse, in the direction that is worse for each figure", () => {
  const worse = structuredClone(report);
  worse.benches.turn.metrics.server_ms_p95 = 30;
  worse.benches.sessions.metrics.sessions_per_core = 50;
  worse.benches.turn.metrics.setup_ms_p95 = 300;
  worse.loss[0]!.prompt_wer = 0.1;
  const broken = compareReports(report, worse)
    .filter((change) => change.broken)
    .map(({ path }) => path);
  assert.deepEqual(broken.sort(), [
    "benches.sessions.metrics.sessions_per_core",
    "benches.turn.metrics.server_ms_p95",
    "loss[pipe=webrtc,loss=0.1].prompt_wer",
  ]);
  assert.deepEqual(
    compareReports(report, report).filter((change) => change.broken),
    [],
  );
  assert.deepEqual(lostFigures(report, { ...report, loss: [] }).length, 5);
});
