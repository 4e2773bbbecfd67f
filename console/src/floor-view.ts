/** Lists what became of the caller's voice while the agent spoke (softer, then silent, or back up), and what was no turn. */
import type { ServerEventOf } from "@sluice/client";
import { draw, make, ms } from "./dom.ts";

/** One decision. */
export type Floor = ServerEventOf<"sluice.floor">;

const MOST = 8;
/** The track is this long; a decision is due after 200 ms. */
const SCALE_MS = 400;

const verdicts: Readonly<Record<Floor["decision"], string>> = {
  stop: "stopped",
  continue: "went on",
  dismiss: "no turn",
};

const reasons: Readonly<Record<Floor["reason"], string>> = {
  speech: "clear speech",
  words: "words",
  hum: "a hum",
  noise: "a cough or breath",
  short: "too short",
};

/** The newest decisions first. */
export class FloorView {
  readonly #list: HTMLElement;

  constructor(list: HTMLElement) {
    this.#list = list;
    this.clear();
  }

  clear(): void {
    const hint = "Speak, cough or hum while the agent speaks: it gets softer at once, and what it decides shows here.";
    this.#list.replaceChildren(make("li", { class: "hint" }, hint));
  }

  /** Adds one, at `second` of the call. */
  add(second: number, floor: Floor): void {
    this.#list.querySelector(".hint")?.remove();
    const at = (value: number) => `${Math.min(100, (100 * value) / SCALE_MS)}%`;
    const { decision, reason, ducked_after_ms: ducked, decided_after_ms: decided, voiced_ms: voiced } = floor;
    const marks = [draw(make("i", { class: "bar", "data-part": "voice" }), { start: "0%", length: at(voiced) })];
    if (ducked !== null) marks.push(draw(make("i", { class: "mark", "data-part": "ducked" }), { at: at(ducked) }));
    marks.push(draw(make("i", { class: "mark", "data-part": decision }), { at: at(decided) }));
    const softer = ducked === null ? "" : `softer after ${ms(ducked)} ms, `;
    const sentence = `${softer}decided after ${ms(decided)} ms: ${reasons[reason]}`;
    this.#list.prepend(
      make(
        "li",
        { "data-decision": decision },
        make("time", {}, `${second.toFixed(1)} s`),
        make("b", { class: "floor-verdict" }, verdicts[decision]),
        make("span", { class: "track moments", "aria-hidden": true }, ...marks),
        make("p", {}, sentence),
      ),
    );
    while (this.#list.children.length > MOST) this.#list.lastElementChild!.remove();
  }
}
