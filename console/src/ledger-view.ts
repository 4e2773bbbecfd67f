/** Draws the playout ledger of the newest utterance and the packets of the call. */
import type { ServerEventOf, StatsDigest } from "@sluice/client";
import { draw, make, ms } from "./dom.ts";
import type { Turn } from "./turns.ts";

/** One account of one utterance. */
export type Ledger = ServerEventOf<"sluice.ledger">;

/** Draws `ledger`: each bar is a part of the one above it. */
export function drawLedger(panel: HTMLElement, ledger: Ledger | undefined): void {
  const whole = Math.max(1, ledger?.generated_ms ?? 1);
  const rows = [
    ["generated", ledger?.generated_ms, "made by the model"],
    ["sent", ledger?.sent_ms, "left the server"],
    ["buffered", ledger?.buffered_ms, "on its way to your ear"],
    ["heard", ledger?.heard_ms, "left the loudspeaker"],
  ] as const;
  // What is on its way lies between what was heard and what was sent.
  const start = { generated: 0, sent: 0, buffered: ledger?.heard_ms ?? 0, heard: 0 };
  const body = rows.map(([name, value, explanation]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row", title: explanation }, name),
      make(
        "td",
        { class: "track", "aria-hidden": true },
        draw(make("i", { class: "bar", "data-part": name }), {
          start: `${(100 * start[name]) / whole}%`,
          length: `${value === undefined ? 0 : (100 * value) / whole}%`,
        }),
      ),
      make("td", { class: "ms" }, value === undefined ? "–" : (value / 1000).toFixed(2)),
    ),
  );
  const clock = ledger
    ? ledger.clock === "client"
      ? "heard by this page's clock"
      : "heard by the server's clock"
    : "";
  panel.replaceChildren(
    make(
      "table",
      {},
      make("caption", { class: "unseen" }, "Speech of the newest answer, in seconds"),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          make("td", {}),
          make("td", { class: "note" }, clock),
          make("th", { scope: "col", class: "ms" }, "s"),
        ),
      ),
      make("tbody", {}, ...body),
    ),
  );
}

/** Draws what was lost and saved: your voice in the chosen turn, and the agent's in the whole call. */
export function drawPackets(panel: HTMLElement, turn: Turn | undefined, stats: StatsDigest | undefined): void {
  const up = turn?.packets;
  const down = stats?.received;
  const count = (value: number | undefined) => (value === undefined ? "–" : String(value));
  const row = (name: string, ...values: string[]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...values.map((value) => make("td", { class: "ms" }, value)));
  panel.replaceChildren(
    make(
      "table",
      {},
      make("caption", { class: "unseen" }, "Packets of 20 ms"),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          make("td", {}),
          make("th", { scope: "col", class: "ms" }, turn ? `you, turn ${turn.turn}` : "you, this turn"),
          make("th", { scope: "col", class: "ms" }, "agent, call"),
        ),
      ),
      make(
        "tbody",
        {},
        row("received", count(up?.received), count(down?.packets)),
        row("lost", count(up?.lost), count(down?.lost)),
        row("repaired", count(up?.repaired), "–"),
        row("by FEC", count(up?.fec), "–"),
        row("concealed", count(up?.concealed), down ? `${ms(down.concealedMs)} ms` : "–"),
      ),
    ),
  );
}

/** The few numbers of the masthead. */
export function drawVitals(list: HTMLElement, stats: StatsDigest | undefined): void {
  const figures: readonly [string, string, string][] = [
    ["round trip", ms(stats?.roundTripMs), "ms"],
    ["jitter buffer", ms(stats?.jitterBufferMs), "ms"],
    ["up", ms(stats?.sent.kbitPerSecond), "kbit/s"],
    ["down", ms(stats?.received.kbitPerSecond), "kbit/s"],
  ];
  list.replaceChildren(
    ...figures.map(([term, value, unit]) =>
      make("div", {}, make("dt", {}, term), make("dd", {}, value, make("small", {}, value === "–" ? "" : unit))),
    ),
  );
}
