/**
 * One direction of an impaired network path, in virtual time. Drive it: hand it each packet as it is sent, then take what
 * has arrived by now and wait for `pollTimeout()`. Impairments act in the order of a real path: MTU, loss, standstills, queue
 * and rate at the bottleneck, then delay, jitter and reordering, corruption and duplication on the way.
 */
import { type Loss, LossModel } from "./loss.ts";
import { type Outage, OutageSchedule } from "./outages.ts";
import { createRandom, normal, type Random } from "./random.ts";
import { type Due, type Milli, Schedule } from "./schedule.ts";

/** What a path does to packets. Every field may change while packets are on the way. */
export interface Impairments {
  /** One-way delay. Default 0. */
  readonly delayMs?: Milli;
  /** Standard deviation of the delay, which never falls below 0 nor rises above 4 of them. Default 0. */
  readonly jitterMs?: Milli;
  /** Whether jitter may let packets overtake each other. Default false: a queue keeps order. */
  readonly jitterReorders?: boolean;
  /** Loss. Default 0. */
  readonly loss?: Loss;
  /** Probability that a packet overtakes all that are on the way: it is spared the delay. Default 0. */
  readonly reorder?: number;
  /** Probability that a packet comes twice. Default 0. */
  readonly duplicate?: number;
  /** Probability that one bit of a packet flips. Default 0. */
  readonly corrupt?: number;
  /** Bits per second of the bottleneck, without headers below UDP. Default: no bottleneck. */
  readonly bitsPerSecond?: number;
  /** Bytes that wait at the bottleneck before it drops the newest. Default 64 KiB. */
  readonly queueBytes?: number;
  /** Bytes of the largest datagram that fits. Default 65,535. */
  readonly mtu?: number;
  /** Swallows everything. Default false. */
  readonly blackhole?: boolean;
  /** Times when nothing moves. Default none. */
  readonly outages?: readonly Outage[];
}

/** What became of the packets. */
export interface LinkStats {
  sent: number;
  delivered: number;
  lost: number;
  queueDropped: number;
  tooBig: number;
  blackholed: number;
  /** Lost in a standstill that drops. */
  outageLost: number;
  /** Held up by a standstill that does not. */
  delayedByOutage: number;
  duplicated: number;
  corrupted: number;
  reordered: number;
}

interface Transit<T> extends Due {
  readonly packet: Uint8Array;
  readonly label: T;
}

/** A packet that arrived, with the label it was sent with. */
export interface Arrival<T> {
  readonly at: Milli;
  readonly packet: Uint8Array;
  readonly label: T;
}

/** Packets on the way at once; beyond it the link drops, as a bound on memory. */
const MAX_IN_TRANSIT = 100_000;

/** One direction of a path. `T` is a label, such as an address, that travels with a packet. */
export class Link<T = undefined> {
  readonly stats: LinkStats = {
    sent: 0,
    delivered: 0,
    lost: 0,
    queueDropped: 0,
    tooBig: 0,
    blackholed: 0,
    outageLost: 0,
    delayedByOutage: 0,
    duplicated: 0,
    corrupted: 0,
    reordered: 0,
  };
  readonly #random: Random;
  readonly #loss: LossModel;
  readonly #transit = new Schedule<Transit<T>>();
  readonly #pathSeed: number;
  #impairments: Impairments;
  #outages: readonly OutageSchedule[] = [];
  #bottleneckFreeAt: Milli = 0;
  #lastArrival: Milli = 0;
  #order = 0;

  /** `pathSeed` decides when the path stands still: both directions of a path share it. Default: `seed`. */
  constructor(impairments: Impairments, seed: number, pathSeed: number = seed) {
    this.#impairments = impairments;
    this.#random = createRandom(seed);
    this.#loss = new LossModel(this.#random);
    this.#pathSeed = pathSeed;
    this.impair(impairments);
  }

  /** What the path does now. */
  get impairments(): Impairments {
    return this.#impairments;
  }

  /** Changes what the path does to packets that are sent from now on. */
  impair(impairments: Impairments): void {
    const { outages = [] } = impairments;
    const unchanged =
      outages.length === this.#outages.length && outages.every((o, i) => o === this.#outages[i]!.outage);
    if (!unchanged) this.#outages = outages.map((outage, i) => new OutageSchedule(outage, this.#pathSeed + 101 * i));
    this.#impairments = impairments;
  }

  /** Takes a packet that was sent `now`. */
  handlePacket(now: Milli, packet: Uint8Array, label: T): void {
    const { mtu = 65_535, loss = 0, blackhole = false, duplicate = 0 } = this.#impairments;
    this.stats.sent += 1;
    if (blackhole) this.stats.blackholed += 1;
    else if (packet.length > mtu) this.stats.tooBig += 1;
    else if (this.#loss.next(loss)) this.stats.lost += 1;
    else {
      const moves = this.#passOutages(now);
      if (moves === undefined) {
        this.stats.outageLost += 1;
        return;
      }
      const leaves = this.#leaveBottleneck(moves, packet.length);
      if (leaves === undefined || this.#transit.size >= MAX_IN_TRANSIT) {
        this.stats.queueDropped += 1;
        return;
      }
      this.#travel(leaves, packet, label);
      if (this.#chance(duplicate)) {
        this.stats.duplicated += 1;
        this.#travel(leaves, packet, label);
      }
    }
  }

  /** When the next packet arrives; `undefined` with none on the way. */
  pollTimeout(): Milli | undefined {
    return this.#transit.first?.at;
  }

  /** The next packet that has arrived by `now`. */
  nextArrival(now: Milli): Arrival<T> | undefined {
    const { first } = this.#transit;
    if (!first || first.at > now) return undefined;
    this.#transit.pop();
    this.stats.delivered += 1;
    return first;
  }

  /** When the path moves for a packet that came `now`; `undefined` when a standstill swallows it. */
  #passOutages(now: Milli): Milli | undefined {
    let moves = now;
    for (const schedule of this.#outages) {
      const until = schedule.standsUntil(now);
      if (until === undefined) continue;
      if (schedule.outage.drops) return undefined;
      moves = Math.max(moves, until);
    }
    if (moves > now) this.stats.delayedByOutage += 1;
    return moves;
  }

  /** When a packet that came `now` has left the bottleneck; `undefined` when its queue is full. */
  #leaveBottleneck(now: Milli, size: number): Milli | undefined {
    const { bitsPerSecond, queueBytes = 65_536 } = this.#impairments;
    if (bitsPerSecond === undefined) return now;
    const starts = Math.max(now, this.#bottleneckFreeAt);
    const waiting = ((starts - now) * bitsPerSecond) / 8000;
    if (waiting + size > queueBytes) return undefined;
    this.#bottleneckFreeAt = starts + (size * 8000) / bitsPerSecond;
    return this.#bottleneckFreeAt;
  }

  #travel(leaves: Milli, packet: Uint8Array, label: T): void {
    const { delayMs = 0, jitterMs = 0, jitterReorders = false, reorder = 0, corrupt = 0 } = this.#impairments;
    const jitter = jitterMs > 0 ? Math.max(-4, Math.min(4, normal(this.#random))) * jitterMs : 0;
    let at = leaves + Math.max(0, delayMs + jitter);
    if (this.#chance(reorder)) {
      this.stats.reordered += 1;
      at = leaves;
    } else if (!jitterReorders) {
      at = Math.max(at, this.#lastArrival);
      this.#lastArrival = at;
    }
    this.#transit.push({
      at,
      order: this.#order++,
      packet: this.#chance(corrupt) ? this.#flip(packet) : packet,
      label,
    });
  }

  #flip(packet: Uint8Array): Uint8Array {
    if (packet.length === 0) return packet;
    this.stats.corrupted += 1;
    const copy = Uint8Array.from(packet);
    const bit = Math.floor(this.#random() * copy.length * 8);
    copy[bit >> 3]! ^= 1 << (bit & 7);
    return copy;
  }

  #chance(probability: number): boolean {
    return probability > 0 && this.#random() < probability;
  }
}
