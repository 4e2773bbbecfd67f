/** Draws what the server forecasts: for each stage the median, and how far its tail reaches. */
import type { ServerEventOf } from "@sluice/client";
import { draw, make } from "./dom.ts";

/** A forecast as the server tells it. */
export type Forecast = ServerEventOf<"sluice.forecast">;
type Stage = Forecast["stages"][number];

/** Observations below which the server says nothing (docs/sluice-events.md). */
const FEWEST = 20;

const names: Readonly<Record<string, string>> = {
  turnEnd: "end of turn",
  partial: "words while speaking",
  sttFinal: "last words known",
  firstToken: "first word",
  tokenRate: "words' pieces",
  firstAudio: "first sound",
  speechRate: "speech made",
  lead: "lead wanted",
  buffer: "speech held",
};
const rates: Readonly<Record<string, string>> = { tokenRate: "/s", speechRate: "×" };

/** Draws `forecast`, or what it will be. */
export function drawForecast(panel: HTMLElement, forecast: Forecast | undefined): void {
  const stages = forecast?.stages ?? [];
  if (stages.length === 0) {
    const text =
      "What each stage of an answer will probably take, from what it took of late. The pipeline plans with it; a stage shows after its first turn.";
    panel.replaceChildren(make("p", { class: "hint" }, text));
    return;
  }
  const scale = Math.max(100, ...stages.filter(({ stage }) => !rates[stage]).map(({ p99 }) => p99 ?? 0));
  panel.replaceChildren(
    make(
      "table",
      {},
      make("caption", { class: "unseen" }, "Forecast of each stage: half, 90 % and 99 % of cases take no longer"),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          make("th", { scope: "col" }, make("span", { class: "unseen" }, "Stage")),
          make("td", { class: "track" }),
          ...["p50", "p90", "p99"].map((q) => make("th", { scope: "col", class: "ms" }, q)),
        ),
      ),
      make("tbody", {}, ...stages.map((stage) => rowOf(stage, scale))),
    ),
  );
}

function rowOf({ engine, stage, weight, p50, p90, p99 }: Stage, scale: number): HTMLElement {
  const unit = rates[stage];
  const known = p50 !== null && p90 !== null && p99 !== null;
  const name = make("th", { scope: "row" }, names[stage] ?? stage, " ", make("small", {}, engine));
  if (!known) {
    const seen = make("meter", { class: "learned", max: FEWEST, value: Math.min(weight, FEWEST) }, String(weight));
    seen.setAttribute("aria-label", "Observations so far");
    const text = `${Math.min(weight, FEWEST - 1)} of ${FEWEST} observations`;
    return make("tr", {}, name, make("td", { class: "track" }, seen), make("td", { class: "note", colspan: 3 }, text));
  }
  const bar = (part: string, from: number, to: number) =>
    draw(make("i", { class: "bar", "data-quantile": part }), {
      start: `${(100 * from) / scale}%`,
      length: `${(100 * Math.max(0, to - from)) / scale}%`,
    });
  const bars = unit ? [] : [bar("p50", 0, p50), bar("p90", p50, p90), bar("p99", p90, p99)];
  const say = (value: number) =>
    unit ? `${value < 10 ? value.toFixed(1) : Math.round(value)}${unit}` : String(Math.round(value));
  return make(
    "tr",
    {},
    name,
    make("td", { class: "track", "aria-hidden": true }, ...bars),
    ...[p50, p90, p99].map((value) => make("td", { class: "ms" }, say(value))),
  );
}
