/** Draws the last minute's packets: a strip for each direction, a column for each second, and the sums as a table. */
import { draw, make } from "./dom.ts";
import type { Fates, Minute, Second } from "./minute.ts";

const SECONDS = 60;
/** Speech is 50 packets a second; what is caught up on goes off the strip. */
const FULL = 60;

const ways = [
  ["up", "you to agent", "sent"],
  ["down", "agent to you", "received"],
] as const;

/** Draws `minute`. */
export function drawMinute(panel: HTMLElement, minute: Minute): void {
  const { total } = minute;
  panel.replaceChildren(
    ...ways.map(([way, label]) =>
      make(
        "div",
        { class: "strip", "data-way": way, "aria-hidden": true },
        make("b", { class: "strip-title" }, label),
        make("div", { class: "seconds" }, ...padded(minute.seconds).map((second) => columnOf(second?.[way]))),
      ),
    ),
    make(
      "p",
      { class: "axis", "aria-hidden": true },
      ...["60 s ago", "45", "30", "15", "now"].map((text) => make("span", {}, text)),
    ),
    tableOf(total),
  );
}

function padded(seconds: readonly Second[]): readonly (Second | undefined)[] {
  return [...Array<undefined>(SECONDS - seconds.length), ...seconds];
}

function columnOf(fates: Fates | undefined): HTMLElement {
  if (!fates) return make("i", {});
  const share = (count: number | undefined) => `${Math.min(100, (100 * (count ?? 0)) / FULL)}%`;
  // A single lost packet must be seen: 2 % of the height would be a hair.
  const seen = (count: number | undefined) => (count ? `max(3px, ${share(count)})` : "0px");
  const parts = [
    ["carried", share(fates.carried)],
    ["repaired", seen(fates.repaired)],
    ["concealed", seen(fates.concealed)],
    ["lost", seen(Math.max(0, (fates.lost ?? 0) - (fates.repaired ?? 0) - fates.concealed))],
  ] as const;
  return make("i", {}, ...parts.map(([fate, length]) => draw(make("span", { "data-fate": fate }), { length })));
}

function tableOf({ up, down }: Second): HTMLTableElement {
  const count = (value: number | undefined) => (value === undefined ? "–" : String(Math.round(value)));
  const row = (fate: string | undefined, name: string, a: number | undefined, b: number | undefined) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("i", { class: "key", "data-fate": fate }), name),
      make("td", { class: "ms" }, count(a)),
      make("td", { class: "ms" }, count(b)),
    );
  return make(
    "table",
    {},
    make("caption", { class: "unseen" }, "Packets of 20 ms in the last minute"),
    make(
      "thead",
      {},
      make("tr", {}, make("td", {}), ...ways.map(([, label]) => make("th", { scope: "col", class: "ms" }, label))),
    ),
    make(
      "tbody",
      {},
      row("carried", "sent, received", up.carried, down.carried),
      row("lost", "lost on the way", up.lost, down.lost),
      row("repaired", "repaired in time", up.repaired, down.repaired),
      row("concealed", "concealed", up.concealed, down.concealed),
    ),
  );
}
