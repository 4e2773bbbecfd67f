/** Packets of the last minute, second by second, from counters that only grow. Pure. */
import type { ServerEventOf, StatsDigest } from "@sluice/client";

/** What became of packets of 20 ms; `undefined`: this pipe does not say. */
export interface Fates {
  /** That were sent, or that came. */
  readonly carried: number;
  readonly lost: number | undefined;
  /** Lost and there in time all the same: sent again, or restored from what came after. */
  readonly repaired: number | undefined;
  /** Invented in place of what was missing when it was due. */
  readonly concealed: number;
}

/** One second, both ways. */
export interface Second {
  readonly up: Fates;
  readonly down: Fates;
}

/** What a turn says of the caller's packets. */
export type TurnPackets = ServerEventOf<"sluice.turn">["packets"];

const SECONDS = 60;

/** Collects them. */
export class Minute {
  readonly #seconds: Second[] = [];
  #before: { readonly pipe: string; readonly stats: StatsDigest } | undefined;
  #turn: TurnPackets | undefined; // of the second that is under way

  /** The last 60 seconds, oldest first; fewer before a minute has passed. */
  get seconds(): readonly Second[] {
    return this.#seconds;
  }

  /** The server's account of a turn: it alone knows which of the caller's packets came. */
  handleTurn(packets: TurnPackets): void {
    const { received, lost, repaired, fec, concealed } = packets;
    const before = this.#turn ?? { received: 0, lost: 0, repaired: 0, fec: 0, concealed: 0 };
    this.#turn = {
      received: before.received + received,
      lost: before.lost + lost,
      repaired: before.repaired + repaired,
      fec: before.fec + fec,
      concealed: before.concealed + concealed,
    };
  }

  /** A second has passed. Counters of another pipe begin anew. */
  handleStats(pipe: string, stats: StatsDigest): void {
    const before = this.#before?.pipe === pipe ? this.#before.stats : undefined;
    this.#before = { pipe, stats };
    const { lost = 0, repaired = 0, fec = 0, concealed = 0 } = this.#turn ?? {};
    this.#turn = undefined;
    const grown = (now: number, then: number | undefined) => Math.max(0, now - (then ?? now));
    this.#seconds.push({
      up: { carried: grown(stats.sent.packets, before?.sent.packets), lost, repaired: repaired + fec, concealed },
      down: {
        carried: grown(stats.received.packets, before?.received.packets),
        lost: grown(stats.received.lost, before?.received.lost),
        repaired:
          stats.received.repaired === undefined ? undefined : grown(stats.received.repaired, before?.received.repaired),
        concealed: grown(stats.received.concealedMs, before?.received.concealedMs) / 20,
      },
    });
    if (this.#seconds.length > SECONDS) this.#seconds.shift();
  }

  /** The whole minute in one; what no second told stays unknown. */
  get total(): Second {
    const sum = (way: "up" | "down"): Fates => {
      const known = (name: "lost" | "repaired") => {
        const told = this.#seconds.flatMap((second) => second[way][name] ?? []);
        return told.length === 0 && this.#seconds.length > 0 ? undefined : told.reduce((all, one) => all + one, 0);
      };
      const all = (name: "carried" | "concealed") =>
        this.#seconds.reduce((total, second) => total + second[way][name], 0);
      return { carried: all("carried"), lost: known("lost"), repaired: known("repaired"), concealed: all("concealed") };
    };
    return { up: sum("up"), down: sum("down") };
  }

  /** Another call. */
  clear(): void {
    this.#seconds.length = 0;
    this.#before = this.#turn = undefined;
  }
}
