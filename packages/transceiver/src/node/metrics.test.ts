import assert from "node:assert/strict";
import { test } from "node:test";
import { Forecasts } from "@sluice/conversation";
import { Metrics } from "./metrics.ts";

test("what engines will probably take is shown by stage and quantile, times in seconds and rates as they are", async () => {
  const forecasts = new Forecasts();
  for (let i = 0; i < 50; i++) {
    forecasts.of("llm a").record(i, "firstToken", 400);
    forecasts.of("llm a").record(i, "tokenRate", 80);
  }
  const metrics = new Metrics(() => 0);
  metrics.addForecast(() => forecasts.entries(50, [0.5, 0.95]));
  const text = await metrics.render();
  const value = (line: RegExp) => Number(line.exec(text)?.[1]);
  assert.ok(
    Math.abs(value(/forecast_seconds\{engine="llm a",stage="firstToken",quantile="0.95"\} ([\d.]+)/) - 0.4) < 0.01,
  );
  assert.ok(
    Math.abs(value(/forecast_per_second\{engine="llm a",stage="tokenRate",quantile="0.5"\} ([\d.]+)/) - 80) < 2,
  );
  assert.ok(!text.includes('stage="sttFinal"'), "nothing is shown of what was never seen");
});

test("every voice over the agent is counted, also the one that was passed over, and the one that was no turn", async () => {
  const metrics = new Metrics(() => 0);
  const times = { duckedAfterMs: 40, decidedAfterMs: 200, voicedMs: 180 };
  metrics.handleDecision({ ...times, decision: "continue", reason: "hum" });
  metrics.handleDecision({ ...times, decision: "stop", reason: "speech" });
  metrics.handleDecision({ ...times, decision: "dismiss", reason: "noise" });
  const text = await metrics.render();
  assert.match(text, /floor_decisions_total\{decision="dismiss",reason="noise"\} 1/);
  assert.match(text, /floor_decisions_total\{decision="continue",reason="hum"\} 1/);
  assert.match(text, /floor_decisions_total\{decision="stop",reason="speech"\} 1/);
});
