/** The network and the pipe of the lab, as choices. */
import { make } from "./dom.ts";
import { describeProfile, type NetworkState, type Profile, titleOf } from "./network.ts";

/** What a person does here. */
export interface NetworkActions {
  /** `null`: straight to the server. */
  onProfile(name: string | null): void;
  onRebind(): void;
  onBlackout(): void;
}

const straight = { about: "no network in between", figures: "0 ms · 0 % lost" };

/** The choice of a network, and what may befall it. */
export class NetworkView {
  readonly #panel: HTMLElement;
  readonly #actions: NetworkActions;
  readonly #events: HTMLButtonElement[] = [];
  readonly #carried = make("p", { class: "note" });
  readonly #source = make("p", { class: "note" });
  #drawn = false;

  constructor(panel: HTMLElement, actions: NetworkActions) {
    this.#panel = panel;
    this.#actions = actions;
  }

  /** There is none: says why. */
  drawAbsent(text: string): void {
    this.#drawn = false;
    this.#panel.replaceChildren(make("p", { class: "hint" }, text));
  }

  /** Shows `state`. */
  draw(state: NetworkState): void {
    if (!this.#drawn) this.#build(state.profiles.filter(({ name }) => name !== "clear"));
    for (const input of this.#panel.querySelectorAll<HTMLInputElement>("input")) {
      input.checked = input.value === (state.profile ?? "");
    }
    for (const button of this.#events) button.disabled = state.profile === null;
    const { carried, dropped } = state.packets;
    const share = carried + dropped > 0 ? (100 * dropped) / (carried + dropped) : 0;
    this.#carried.textContent =
      state.profile === null
        ? "Choose one, and feel it: a call under way moves onto it."
        : `${carried.toLocaleString("en")} datagrams carried, ${dropped.toLocaleString("en")} dropped (${share.toFixed(1)} %).`;
    const chosen = state.profiles.find(({ name }) => name === state.profile);
    this.#source.textContent = chosen ? `Measured: ${chosen.measured} (${chosen.source}).` : "";
  }

  #build(profiles: readonly Profile[]): void {
    const cards = [
      this.#card("", "Straight", straight.about, straight.figures),
      ...profiles.map((profile) =>
        this.#card(profile.name, titleOf(profile.name), profile.about, describeProfile(profile)),
      ),
    ];
    const legend = make("legend", { class: "unseen" }, "Network between this page and the server");
    const action = (label: string, act: () => void) => {
      const button = make("button", { type: "button" }, label);
      button.addEventListener("click", act);
      return button;
    };
    this.#events.splice(
      0,
      this.#events.length,
      action("Rebind now", () => this.#actions.onRebind()),
      action("3 s blackout", () => this.#actions.onBlackout()),
    );
    this.#panel.replaceChildren(
      make("fieldset", { class: "cards" }, legend, ...cards),
      make("div", { class: "befall" }, ...this.#events, this.#carried),
      this.#source,
    );
    this.#drawn = true;
  }

  #card(value: string, title: string, about: string, figures: string): HTMLLabelElement {
    const input = make("input", { type: "radio", name: "network", value, class: "unseen" });
    input.addEventListener("change", () => this.#actions.onProfile(value === "" ? null : value));
    return make(
      "label",
      { class: "card" },
      input,
      make("b", { class: "card-title" }, title),
      make("span", { class: "card-about" }, about),
      make("small", { class: "card-figures" }, figures),
    );
  }
}
