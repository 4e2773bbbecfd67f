/** What ends the caller's turn: chosen on the page, for the call under way and the next ones, and shown as the session has it. */
import type { SessionSettings } from "@sluice/client";
import { make } from "./dom.ts";

type TurnDetection = NonNullable<NonNullable<NonNullable<SessionSettings["audio"]>["input"]>["turn_detection"]>;

/** A session as the server tells it, as far as it is read. */
interface ToldSession {
  readonly audio?: {
    readonly input?: {
      readonly turn_detection?: { readonly type: string; readonly silence_duration_ms?: number } | null;
    };
  };
}

const SEMANTIC = "semantic";

/** The page's control for it. */
export class TurnEnd {
  readonly #select: HTMLSelectElement;
  #chosen: string | undefined;

  /** `chosen`: what the address asks for. `apply` takes a change to the call under way, if there is one. */
  constructor(select: HTMLSelectElement, chosen: string | null, apply: (audio: SessionSettings) => void) {
    this.#select = select;
    if (chosen && [...select.options].some(({ value }) => value === chosen)) this.#chosen = select.value = chosen;
    select.addEventListener("change", () => {
      this.#chosen = select.value;
      const address = new URL(location.href);
      address.searchParams.set("turn", select.value);
      window.history.replaceState(null, "", address);
      apply(this.settings());
    });
  }

  /** What a session is to be told; nothing where nobody chose, so that the server's own settings hold. */
  settings(): SessionSettings {
    if (this.#chosen === undefined) return {};
    const turnDetection: TurnDetection =
      this.#chosen === SEMANTIC
        ? { type: "semantic_vad" }
        : { type: "server_vad", silence_duration_ms: Number(this.#chosen) };
    return { audio: { input: { turn_detection: turnDetection } } };
  }

  /** Shows what holds in a session. */
  show({ audio }: ToldSession): void {
    const told = audio?.input?.turn_detection;
    if (!told) return;
    const value = told.type === "semantic_vad" ? SEMANTIC : String(told.silence_duration_ms);
    if (![...this.#select.options].some((option) => option.value === value)) {
      this.#select.append(make("option", { value }, `after ${value} ms of silence`));
    }
    this.#select.value = value;
  }
}
