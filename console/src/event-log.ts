/** The raw events, both ways: newest first, filterable, the newest 500 of them. */
import { make } from "./dom.ts";

interface Logged {
  readonly sent: boolean;
  readonly atMs: number;
  readonly event: { readonly type: string };
}

const MAX_EVENTS = 500;
const CHATTER = /\.delta$|^sluice\.(clock|forecast|ledger|(playout|speech)\.report)/;

/** The events panel. */
export class EventLog {
  readonly #list: HTMLElement;
  readonly #events: Logged[] = [];
  #pattern = "";
  #chatter = false;
  #startMs = 0;

  constructor(list: HTMLElement) {
    this.#list = list;
    this.#redraw();
  }

  /** A call begins: times count from here. */
  start(nowMs: number): void {
    this.#startMs = nowMs;
    this.clear();
  }

  /** Forgets all events. */
  clear(): void {
    this.#events.length = 0;
    this.#redraw();
  }

  /** Shows events whose type holds `pattern`; `chatter` adds the many small ones. */
  filter(pattern: string, chatter: boolean): void {
    this.#pattern = pattern.trim().toLowerCase();
    this.#chatter = chatter;
    this.#redraw();
  }

  /** An event was sent or came. */
  add(nowMs: number, sent: boolean, event: { readonly type: string }): void {
    const logged = { sent, atMs: nowMs - this.#startMs, event };
    this.#events.push(logged);
    if (this.#events.length > MAX_EVENTS) this.#events.shift();
    if (!this.#shows(logged)) return;
    this.#list.querySelector(".hint")?.remove();
    this.#list.prepend(rowOf(logged));
    while (this.#list.childElementCount > MAX_EVENTS) this.#list.lastElementChild?.remove();
  }

  #shows({ event }: Logged): boolean {
    return (this.#chatter || !CHATTER.test(event.type)) && event.type.toLowerCase().includes(this.#pattern);
  }

  #redraw(): void {
    const rows = this.#events.filter((logged) => this.#shows(logged)).map(rowOf);
    const hint = this.#events.length > 0 ? "No event fits the filter." : "Every event of the protocol, as it was sent.";
    this.#list.replaceChildren(...(rows.length > 0 ? rows.reverse() : [make("li", { class: "hint" }, hint)]));
  }
}

function rowOf({ sent, atMs, event }: Logged): HTMLElement {
  const details = make(
    "details",
    {},
    make(
      "summary",
      {},
      make("time", {}, (atMs / 1000).toFixed(3)),
      make("i", { "data-sent": sent, title: sent ? "sent" : "received" }, sent ? "→" : "←"),
      make("code", {}, event.type),
    ),
  );
  // Written out only when looked at: most events never are.
  details.addEventListener("toggle", () => details.append(make("pre", {}, JSON.stringify(event, undefined, 2))), {
    once: true,
  });
  return make("li", {}, details);
}
