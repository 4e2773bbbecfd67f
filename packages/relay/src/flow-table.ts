/**
 * The one state of a relay: which transceiver a client address belongs to. Fixed capacity; flows that a transceiver has
 * answered and flows that it has not live in separate lists, so that a flood of the latter cannot push out the former.
 */
import type { IpAddress, ServerId } from "@sluice/routing";
import type { Milli } from "./directory.ts";
import type { SourceKey } from "./source.ts";

/** A client address and where its packets go. */
export interface Flow {
  readonly key: SourceKey;
  readonly ip: IpAddress;
  /** Numeric text of `ip`. */
  readonly address: string;
  readonly port: number;
  readonly entryRelay: number;
  readonly serverId: ServerId;
  /** The token that opened it; empty when something else did. */
  ufrag: string;
  /** A transceiver has answered this address. */
  confirmed: boolean;
  /** Matched by SSRC or cache: nothing has proved the address yet. */
  unverified: boolean;
  /** Hop header for its packets. */
  header: Uint8Array;
  readonly openedAt: Milli;
  lastSeenAt: Milli;
  /** When its transceiver last sent to this address. */
  answeredAt: Milli;
  /** SSRC of its newest RTP packet, -1 before the first. */
  ssrc: number;
  /** The flow whose SSRC this address claims. */
  readonly origin: Flow | undefined;
  probation: Probation | undefined;
  /** From when on another probation may begin. */
  probationFrom: Milli;
  /** When its owner last told the other workers and the cache about it. */
  announcedAt: Milli;
  /** Its neighbours in the table's lists; the table's own. */
  older: Flow | undefined;
  newer: Flow | undefined;
}

/** Another address that may belong to a flow's client, and gets copies until that is settled. */
export interface Probation {
  readonly ip: IpAddress;
  readonly port: number;
  readonly startedAt: Milli;
  readonly until: Milli;
  /** Bytes copied so far. */
  bytes: number;
}

/** Sizes of a table. */
export interface FlowTableOptions {
  /** Confirmed flows. Default 65,536, about 40 MiB when full. */
  readonly confirmed?: number;
  /** Flows that no transceiver has answered yet. Default 8192. */
  readonly tentative?: number;
}

/** Flows from the one that was seen longest ago to the newest. */
class Recency {
  readonly capacity: number;
  oldest: Flow | undefined;
  #newest: Flow | undefined;
  size = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  add(flow: Flow): void {
    flow.older = this.#newest;
    flow.newer = undefined;
    if (this.#newest) this.#newest.newer = flow;
    else this.oldest = flow;
    this.#newest = flow;
    this.size += 1;
  }

  remove(flow: Flow): void {
    if (flow.older) flow.older.newer = flow.newer;
    else this.oldest = flow.newer;
    if (flow.newer) flow.newer.older = flow.older;
    else this.#newest = flow.older;
    flow.older = undefined;
    flow.newer = undefined;
    this.size -= 1;
  }
}

/** Addresses that one token may have: old ones idle out while a client roams. */
const MAX_FLOWS_PER_TOKEN = 8;

/** How exactly {@link Flow.lastSeenAt} is kept: the order of the lists is renewed no more often. */
const TOUCH_MS: Milli = 1000;

/** All flows, by client address and by SSRC. */
export class FlowTable {
  readonly #flows = new Map<SourceKey, Flow>();
  readonly #bySsrc = new Map<number, Flow>();
  readonly #byUfrag = new Map<string, Flow[]>();
  readonly #confirmed: Recency;
  readonly #tentative: Recency;

  constructor({ confirmed = 65_536, tentative = 8192 }: FlowTableOptions = {}) {
    this.#confirmed = new Recency(confirmed);
    this.#tentative = new Recency(tentative);
  }

  /** Flows that a transceiver has answered. */
  get confirmedSize(): number {
    return this.#confirmed.size;
  }

  /** Flows that none has answered yet. */
  get tentativeSize(): number {
    return this.#tentative.size;
  }

  /** Entries of the SSRC index: never more than confirmed flows. */
  get ssrcSize(): number {
    return this.#bySsrc.size;
  }

  /** The flow of a client address. */
  get(key: SourceKey): Flow | undefined {
    return this.#flows.get(key);
  }

  /** The confirmed flow that sends with this SSRC. */
  ownerOf(ssrc: number): Flow | undefined {
    return this.#bySsrc.get(ssrc);
  }

  /** Adds `flow`, in place of the one at its address; true when another had to go for want of room. */
  add(flow: Flow): boolean {
    this.delete(flow.key);
    const evicts = this.#makeRoom(flow.confirmed);
    this.#flows.set(flow.key, flow);
    this.#home(flow.confirmed).add(flow);
    this.#index(flow);
    return evicts;
  }

  /** Says which token a flow of this table belongs to. */
  setUfrag(flow: Flow, ufrag: string): void {
    if (flow.ufrag === ufrag) return;
    this.#unindex(flow);
    flow.ufrag = ufrag;
    this.#index(flow);
  }

  /** Marks a flow of this table as seen. */
  touch(now: Milli, flow: Flow): void {
    if (now - flow.lastSeenAt < TOUCH_MS) return;
    flow.lastSeenAt = now;
    if (!flow.confirmed) return; // the tentative are listed, and leave, in the order they came
    this.#confirmed.remove(flow);
    this.#confirmed.add(flow);
  }

  /** Moves a flow of this table among the confirmed; true when another had to go for want of room. */
  confirm(flow: Flow): boolean {
    if (flow.confirmed) return false;
    this.#tentative.remove(flow);
    const evicts = this.#makeRoom(true);
    flow.confirmed = true;
    this.#confirmed.add(flow);
    return evicts;
  }

  /** Makes `flow`, a confirmed one, the owner of `ssrc`, and of that alone. */
  claimSsrc(flow: Flow, ssrc: number): void {
    if (this.#bySsrc.get(flow.ssrc) === flow) this.#bySsrc.delete(flow.ssrc);
    flow.ssrc = ssrc;
    this.#bySsrc.set(ssrc, flow);
  }

  /** Forgets the flow of an address. */
  delete(key: SourceKey): void {
    const flow = this.#flows.get(key);
    if (!flow) return;
    this.#flows.delete(key);
    this.#home(flow.confirmed).remove(flow);
    if (this.#bySsrc.get(flow.ssrc) === flow) this.#bySsrc.delete(flow.ssrc);
    this.#unindex(flow);
  }

  /** Forgets flows not seen since `idleBefore`, and unanswered ones opened before `tentativeBefore`; counts them. */
  expire(idleBefore: Milli, tentativeBefore: Milli): number {
    const before = this.#flows.size;
    for (let flow = this.#confirmed.oldest; flow && flow.lastSeenAt < idleBefore; flow = this.#confirmed.oldest)
      this.delete(flow.key);
    for (let flow = this.#tentative.oldest; flow && flow.openedAt < tentativeBefore; flow = this.#tentative.oldest)
      this.delete(flow.key);
    return before - this.#flows.size;
  }

  /** Every confirmed flow, the one seen longest ago first. */
  *confirmedFlows(): Generator<Flow> {
    for (let flow = this.#confirmed.oldest; flow; flow = flow.newer) yield flow;
  }

  /** One token replayed from ever new addresses must not fill the table: it keeps its few that were seen last. */
  #index(flow: Flow): void {
    if (flow.ufrag === "") return;
    const siblings = this.#byUfrag.get(flow.ufrag);
    if (!siblings) {
      this.#byUfrag.set(flow.ufrag, [flow]);
      return;
    }
    if (siblings.length >= MAX_FLOWS_PER_TOKEN)
      this.delete(siblings.reduce((oldest, next) => (next.lastSeenAt < oldest.lastSeenAt ? next : oldest)).key);
    siblings.push(flow);
  }

  #unindex(flow: Flow): void {
    const siblings = this.#byUfrag.get(flow.ufrag);
    const index = siblings?.indexOf(flow) ?? -1;
    if (!siblings || index < 0) return;
    siblings.splice(index, 1);
    if (siblings.length === 0) this.#byUfrag.delete(flow.ufrag);
  }

  #home(confirmed: boolean): Recency {
    return confirmed ? this.#confirmed : this.#tentative;
  }

  #makeRoom(confirmed: boolean): boolean {
    const { size, capacity, oldest } = this.#home(confirmed);
    if (size < capacity || !oldest) return false;
    this.delete(oldest.key);
    return true;
  }
}
