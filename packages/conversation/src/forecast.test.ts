import assert from "node:assert/strict";
import { test } from "node:test";
import { formatForecast } from "./extensions.ts";
import { Forecast, Forecasts } from "./forecast.ts";

test("nothing is forecast of a stage that was hardly seen, nor of one seen long ago", () => {
  const forecast = new Forecast({ halfLifeMs: 1000, halfLifeCount: 1000 });
  for (let i = 0; i < 19; i++) forecast.record(0, "firstToken", 300);
  assert.equal(forecast.quantile(0, "firstToken", 0.5), undefined);
  for (let i = 0; i < 21; i++) forecast.record(0, "firstToken", 300);
  assert.ok(Math.abs(forecast.quantile(0, "firstToken", 0.95)! - 300) < 7);
  assert.equal(forecast.quantile(0, "firstAudio", 0.95), undefined);
  assert.equal(forecast.quantile(10_000, "firstToken", 0.95), undefined);
});

test("an engine is found by its name, and the one nobody asked for goes when there are too many", () => {
  const forecasts = new Forecasts();
  const first = forecasts.of("llm 0");
  for (let i = 1; i < 32; i++) forecasts.of(`llm ${i}`);
  assert.equal(forecasts.of("llm 0"), first);
  for (let i = 32; i < 60; i++) forecasts.of(`llm ${i}`);
  assert.equal(forecasts.of("llm 0"), first);
  for (let i = 0; i < 40; i++) first.record(0, "sttFinal", 247);
  const told = [...forecasts.entries(0, [0.5, 0.95])];
  assert.deepEqual(
    told.map(({ engine, stage, q }) => [engine, stage, q]),
    [
      ["llm 0", "sttFinal", 0.5],
      ["llm 0", "sttFinal", 0.95],
    ],
  );
});

test("a client is told each stage's quantiles, what is not known yet as null, and no model's name", () => {
  const forecasts = new Forecasts();
  for (let i = 0; i < 30; i++) forecasts.of("llm secret-model").record(0, "firstToken", 100);
  forecasts.of("speech").record(0, "turnEnd", 500);
  const told = formatForecast(0, forecasts);
  assert(told.type === "sluice.forecast");
  const [known, unknown] = told.stages;
  assert.deepEqual(
    { ...known, p50: 0, p90: 0, p99: 0, weight: 0 },
    { engine: "llm", stage: "firstToken", weight: 0, p50: 0, p90: 0, p99: 0 },
  );
  for (const value of [known?.p50, known?.p90, known?.p99]) assert(Math.abs(Number(value) - 100) <= 2);
  assert.deepEqual(unknown, { engine: "speech", stage: "turnEnd", weight: 1, p50: null, p90: null, p99: null });
  assert.equal(told.stages.length, 2);
});
