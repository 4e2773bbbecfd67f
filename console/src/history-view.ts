/** Draws all turns side by side as stacked columns; choosing one shows its waterfall. */
import { draw, make, ms } from "./dom.ts";
import { limits } from "./stages.ts";
import { overheadMs, type Turn, type Turns } from "./turns.ts";

const SHOWN = 48;

/** The history panel. */
export class HistoryView {
  readonly #columns: HTMLElement;
  readonly #quantiles: HTMLElement;
  readonly #onChoose: (turn: Turn) => void;

  constructor(columns: HTMLElement, quantiles: HTMLElement, onChoose: (turn: Turn) => void) {
    this.#columns = columns;
    this.#quantiles = quantiles;
    this.#onChoose = onChoose;
    columns.addEventListener("keydown", (event) => this.#walk(event));
  }

  /** Draws the newest turns, with `chosen` marked. */
  draw(turns: Turns, chosen: Turn | undefined): void {
    const shown = turns.all.slice(-SHOWN);
    const total = turns.quantiles((turn) => turn.total_ms);
    const overhead = turns.quantiles(overheadMs);
    const scale = Math.max(1000, ...shown.map((turn) => turn.total_ms * 1.06));
    this.#quantiles.replaceChildren(
      ...figure("turns", String(turns.all.length)),
      ...figure("p50", ms(total?.p50), "ms"),
      ...figure("p95", ms(total?.p95), "ms"),
      ...figure("ours, p50", ms(overhead?.p50), "ms"),
      ...figure("ours, p95", ms(overhead?.p95), "ms"),
    );
    const lines = limits.map((limit) =>
      draw(make("i", { class: "level", "data-limit": limit }, make("b", {}, String(limit))), {
        at: `${(100 * limit) / scale}%`,
      }),
    );
    const quantileLines = total
      ? (["p50", "p95"] as const).map((name) =>
          draw(make("i", { class: `level quantile ${name}` }, make("b", {}, name)), {
            at: `${(100 * total[name]) / scale}%`,
          }),
        )
      : [];
    const columns = make("div", { class: "stacks", role: "radiogroup", "aria-label": "Turns" });
    for (const turn of shown) columns.append(this.#column(turn, turn === chosen, scale));
    this.#columns.replaceChildren(...lines, ...quantileLines, columns);
    if (shown.length === 0) this.#columns.append(make("p", { class: "hint" }, "Each turn becomes a column here."));
  }

  #column(turn: Turn, chosen: boolean, scale: number): HTMLElement {
    const segments = turn.stages.map((stage) =>
      draw(make("i", { "data-stage": stage.name }), { length: `${(100 * Math.max(0, stage.ms)) / scale}%` }),
    );
    const column = make(
      "button",
      {
        type: "button",
        role: "radio",
        "aria-checked": String(chosen),
        tabindex: chosen ? 0 : -1,
        "aria-label": `Turn ${turn.turn}, ${ms(turn.total_ms)} milliseconds`,
      },
      ...segments,
    );
    column.addEventListener("click", () => this.#onChoose(turn));
    return column;
  }

  #walk(event: KeyboardEvent): void {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    const columns = [...this.#columns.querySelectorAll("button")];
    const at = columns.indexOf(event.target as HTMLButtonElement);
    columns[at + step]?.click();
    this.#columns.querySelector<HTMLElement>("[aria-checked=true]")?.focus();
    event.preventDefault();
  }
}

function figure(term: string, value: string, unit = ""): Node[] {
  return [make("div", {}, make("dt", {}, term), make("dd", {}, value, make("small", {}, value === "–" ? "" : unit)))];
}
