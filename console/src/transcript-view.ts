/** Draws the conversation as text, and tells it to screen readers one whole message at a time. */
import type { TranscriptEntry } from "@sluice/client";
import { make } from "./dom.ts";

const MAX_SHOWN = 200;
const names = { user: "you", assistant: "agent", system: "system" } as const;

/** The transcript panel. */
export class TranscriptView {
  readonly #list: HTMLElement;
  readonly #announce: HTMLElement;
  readonly #rows = new Map<string, HTMLElement>();
  readonly #announced = new Set<string>();
  /** Whether the newest is in sight, and stays so. */
  #follows = true;

  constructor(list: HTMLElement, announce: HTMLElement) {
    this.#list = list;
    this.#announce = announce;
    this.clear();
    // A window that changes its size must not hide what was said last.
    new ResizeObserver(() => {
      if (this.#follows) list.scrollTop = list.scrollHeight;
    }).observe(list);
    list.addEventListener("scroll", () => {
      this.#follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    });
  }

  /** Forgets the call before. */
  clear(): void {
    this.#rows.clear();
    this.#announced.clear();
    this.#list.replaceChildren(make("li", { class: "hint" }, "What you and the agent say is written down here."));
  }

  /** A message appeared or changed. */
  show(entry: TranscriptEntry): void {
    if (this.#rows.size === 0) this.#list.replaceChildren();
    const row = rowOf(entry);
    const known = this.#rows.get(entry.id);
    if (known) known.replaceWith(row);
    else this.#list.append(row);
    this.#rows.set(entry.id, row);
    for (const [id, oldest] of this.#rows) {
      if (this.#rows.size <= MAX_SHOWN) break;
      oldest.remove();
      this.#rows.delete(id);
    }
    if (this.#follows) this.#list.scrollTop = this.#list.scrollHeight;
    if (entry.complete && entry.text && !this.#announced.has(entry.id)) {
      this.#announced.add(entry.id);
      this.#announce.textContent = `${names[entry.role]}: ${entry.text}`;
    }
  }
}

function rowOf(entry: TranscriptEntry): HTMLElement {
  const notes: Node[] = [];
  if (entry.heardMs !== undefined) {
    notes.push(make("small", {}, `interrupted, heard to ${(entry.heardMs / 1000).toFixed(1)} s`));
  }
  const placeholder = entry.spoken && entry.role === "user" ? (entry.complete ? "spoken" : "speaking…") : "…";
  const text = entry.text ? make("p", {}, entry.text) : make("p", { class: "unwritten" }, placeholder);
  return make(
    "li",
    { "data-role": entry.role, "data-open": !entry.complete },
    make("b", {}, names[entry.role]),
    text,
    ...notes,
  );
}
