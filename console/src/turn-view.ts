/** Draws one turn: the headline number and the waterfall, which is a table so that it can also be heard. */
import { draw, make, ms } from "./dom.ts";
import { limits, stages, verdict } from "./stages.ts";
import { overheadMs, type Turn } from "./turns.ts";

/** Draws `turn`, or, before the first one, what its stages will be. */
export function drawTurn(headline: HTMLElement, waterfall: HTMLElement, turn: Turn | undefined): void {
  headline.replaceChildren(...(turn ? headlineOf(turn) : emptyHeadline()));
  waterfall.replaceChildren(tableOf(turn));
}

function headlineOf(turn: Turn): Node[] {
  const ear = turn.clock === "client";
  return [
    make("p", { class: "total" }, make("strong", {}, ms(turn.total_ms)), make("span", {}, "ms")),
    make(
      "p",
      { class: "gloss" },
      make("b", {}, `Turn ${turn.turn}: ${verdict(turn.total_ms)}.`),
      ` From your last sound to the first sound of the answer, ${ear ? "mouth to ear" : "by the server's clock alone"}: ${ms(
        turn.silence_ms,
      )} ms of silence to know that you had finished and ${ms(overheadMs(turn))} ms of ours.`,
    ),
  ];
}

function emptyHeadline(): Node[] {
  return [
    make("p", { class: "total" }, make("strong", {}, "–"), make("span", {}, "ms")),
    make(
      "p",
      { class: "gloss" },
      make("b", {}, "No turn yet."),
      " Press Talk and say something; stop, and the time until you are answered is taken apart here.",
    ),
  ];
}

function tableOf(turn: Turn | undefined): HTMLTableElement {
  const scale = Math.max(1000, (turn?.total_ms ?? 0) * 1.06);
  const rows = turn
    ? turn.stages.map((stage) => ({ name: stage.name as string, ms: stage.ms }))
    : Object.keys(stages).map((name) => ({ name, ms: undefined }));
  let start = 0;
  const body = rows.map(({ name, ms: length }) => {
    const stage = stages[name];
    const bar = draw(make("i", { class: "bar", "data-stage": name }), {
      start: `${(100 * start) / scale}%`,
      length: `${(100 * Math.max(0, length ?? 0)) / scale}%`,
    });
    start += length ?? 0;
    return make(
      "tr",
      {},
      make(
        "th",
        { scope: "row", title: stage?.explanation },
        make("i", { class: "key", "data-stage": name }),
        stage?.label ?? name,
      ),
      make(
        "td",
        { class: "track", "aria-hidden": length !== undefined },
        length === undefined ? (stage?.explanation ?? "") : bar,
      ),
      make("td", { class: "ms" }, length === undefined ? "–" : ms(length)),
    );
  });
  // In a long turn the limits lie close together: the last one is labelled.
  const isRoomy = (limit: number, next: number | undefined) => next === undefined || (next - limit) / scale > 0.09;
  const labelOf = (limit: number, index: number) =>
    isRoomy(limit, limits[index + 1]) ? [make("b", {}, String(limit))] : [];
  const rulers = limits.map((limit, index) =>
    draw(make("i", { class: "ruler", "data-limit": limit }, ...labelOf(limit, index)), {
      at: `${(100 * limit) / scale}%`,
    }),
  );
  return make(
    "table",
    turn ? {} : { class: "empty" },
    make(
      "caption",
      { class: "unseen" },
      turn ? `Stages of turn ${turn.turn}, ${ms(turn.total_ms)} ms in all` : "Stages of a turn",
    ),
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        make("th", { scope: "col" }, make("span", { class: "unseen" }, "Stage")),
        make("td", { class: "track", "aria-hidden": true }, ...rulers),
        make("th", { scope: "col", class: "ms" }, "ms"),
      ),
    ),
    make("tbody", {}, ...body),
  );
}
