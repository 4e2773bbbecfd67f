/** The lab tab: a bad network on this machine, another pipe in the middle of a conversation, and what the call makes of them. */
import type { Conversation, StatsDigest, TransportChoice, TransportKind } from "@sluice/client";
import { find } from "./dom.ts";
import { FloorView } from "./floor-view.ts";
import { drawForecast } from "./forecast-view.ts";
import { Minute } from "./minute.ts";
import { drawMinute } from "./minute-view.ts";
import { askNetwork, type NetworkOrder, type NetworkState, titleOf } from "./network.ts";
import { NetworkView } from "./network-view.ts";

/** What the lab needs of the page. */
export interface LabParts {
  /** What the server asked for, if it did. */
  readonly token: () => string | undefined;
  /** Takes the call, or the next one, to another pipe; rejects with why not. */
  readonly switchPipe: (kind: TransportKind) => Promise<void>;
}

const BLACKOUT_MS = 3_000;
const ABSENT =
  "A bad network to try comes with the repository: clone it, npm start, and talk from the same machine. A server that others can reach never offers it.";

/** The tab; it follows the call whether or not it is looked at. */
export class Lab {
  readonly #parts: LabParts;
  readonly #minute = new Minute();
  readonly #floor = new FloorView(find("floor"));
  readonly #pipes = [...find("lab-pipe").querySelectorAll<HTMLInputElement>("input")];
  readonly #network: NetworkView;
  #state: NetworkState | undefined;
  #call: Conversation | undefined;
  #pipe: TransportKind | undefined;
  #through = false; // the call's media goes through the network
  #shown = false;
  #newestTurn = "";
  #asking = false; // one at a time: an older answer must not undo a newer choice

  constructor(parts: LabParts) {
    this.#parts = parts;
    this.#network = new NetworkView(find("network"), {
      onProfile: (profile) => void this.#chooseNetwork(profile),
      onRebind: () => void this.#order({ rebind: true }, "Every client has another source port now."),
      onBlackout: () =>
        void this.#order({ blackout_ms: BLACKOUT_MS }, `Nothing passes for ${BLACKOUT_MS / 1000} s from now on.`),
    });
    for (const input of this.#pipes) {
      input.addEventListener("change", () => void this.#choosePipe(input.value as TransportKind));
    }
    drawMinute(find("minute"), this.#minute);
    drawForecast(find("forecast"), undefined);
    // The bad network belongs to the page that chose it.
    addEventListener("pagehide", () => {
      if (this.#state?.profile) askNetwork(this.#parts.token(), { profile: null }).catch(() => undefined);
    });
  }

  /** The tab is looked at, or no longer. */
  show(on: boolean): void {
    this.#shown = on;
    if (!on) return;
    this.#askForecast();
    void this.#order(undefined, "");
  }

  /** A call began. */
  follow(conversation: Conversation): void {
    const began = performance.now();
    this.#call = conversation;
    this.#minute.clear();
    this.#floor.clear();
    conversation.on("sluice.turn", ({ response_id, packets }) => {
      if (response_id !== this.#newestTurn) this.#minute.handleTurn(packets); // it may come again, measured at the ear
      this.#newestTurn = response_id;
    });
    conversation.on("sluice.floor", (floor) => this.#floor.add((performance.now() - began) / 1000, floor));
    conversation.on("sluice.forecast", (forecast) => drawForecast(find("forecast"), forecast));
    conversation.on("transport", (choice) => this.#showPipe(choice));
    if (conversation.transport) this.#showPipe(conversation.transport);
    if (this.#shown) this.#askForecast();
  }

  /** A second of the call has passed. */
  handleStats(stats: StatsDigest): void {
    this.#minute.handleStats(this.#pipe ?? "", stats);
    if (!this.#shown) return;
    drawMinute(find("minute"), this.#minute);
    if (this.#state?.profile && !this.#asking) void this.#order(undefined, undefined);
  }

  /** The call is over. */
  end(): void {
    this.#call = this.#pipe = undefined;
    this.#through = false;
    for (const input of this.#pipes) input.checked = false;
  }

  #askForecast(): void {
    if (this.#call?.state !== "connected") return;
    this.#call.send({ type: "session.update", session: { type: "realtime", sluice: { forecast: true } } });
  }

  #showPipe({ kind }: TransportChoice): void {
    this.#pipe = kind;
    this.#through = this.#state?.profile != null && kind !== "websocket";
    for (const input of this.#pipes) input.checked = input.value === kind;
    this.#sayWay();
  }

  async #choosePipe(kind: TransportKind): Promise<void> {
    const began = performance.now();
    this.#say("changing…");
    try {
      await this.#parts.switchPipe(kind);
      if (this.#call) this.#say(`The conversation went over within ${Math.round(performance.now() - began)} ms.`);
      else this.#say("The next call takes it.");
    } catch (cause) {
      for (const input of this.#pipes) input.checked = input.value === this.#pipe;
      this.#say(`It stays where it is: ${cause instanceof Error ? cause.message : String(cause)}.`);
    }
  }

  /** A network takes what is sent to it: a call that goes straight must be moved. */
  async #chooseNetwork(profile: string | null): Promise<void> {
    await this.#order({ profile }, undefined);
    const pipe = this.#pipe;
    if (profile === null || !this.#call || pipe === undefined || pipe === "websocket" || this.#through) {
      return this.#sayWay();
    }
    await this.#choosePipe(pipe);
    if (this.#through) this.#say(`The call goes through ${titleOf(profile)} now.`);
  }

  async #order(order: NetworkOrder | undefined, done: string | undefined): Promise<void> {
    this.#asking = true;
    try {
      this.#state = await askNetwork(this.#parts.token(), order);
      if (this.#state) this.#network.draw(this.#state);
      else this.#network.drawAbsent(ABSENT);
      if (done) this.#say(done);
    } catch (cause) {
      this.#say(cause instanceof Error ? cause.message : String(cause));
    } finally {
      this.#asking = false;
    }
  }

  #sayWay(): void {
    const profile = this.#state?.profile;
    if (profile == null || !this.#call) return this.#say("");
    if (this.#pipe === "websocket")
      return this.#say("A WebSocket is TCP: it goes around this network, which is for UDP.");
    if (this.#through) this.#say(`The call goes through ${titleOf(profile)}.`);
  }

  #say(text: string): void {
    find("lab-note").textContent = text;
  }
}
