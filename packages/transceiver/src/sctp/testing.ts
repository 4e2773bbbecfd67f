/** Two associations of ours with a network between them, in virtual time: for tests. */
import type { Milli } from "@sluice/conversation";
import { Association, type AssociationEvent, type AssociationOptions } from "./association.ts";
import { CHUNK, decodeSctpPacket } from "./packet.ts";

/** One direction of a network, as `Link` of netem is. */
export interface Wire {
  handlePacket(now: Milli, packet: Uint8Array, label: undefined): void;
  pollTimeout(): Milli | undefined;
  nextArrival(now: Milli): { readonly packet: Uint8Array } | undefined;
}

/** A wire that loses nothing and takes 20 ms. */
export function openGoodWire(): Wire {
  const transit: { readonly at: Milli; readonly packet: Uint8Array }[] = [];
  return {
    handlePacket: (now, packet) => void transit.push({ at: now + 20, packet }),
    pollTimeout: () => transit[0]?.at,
    nextArrival: (now) => (transit[0] && transit[0].at <= now ? transit.shift() : undefined),
  };
}

/** What a pair may be given. */
export interface PairOptions<W extends Wire> {
  readonly seed: number;
  /** One direction of the network. */
  readonly openWire: (seed: number) => W;
  /** Of both ends. */
  readonly options?: Partial<AssociationOptions>;
  /** First TSNs, ours and the peer's; default: random. */
  readonly firstTsns?: readonly [number, number];
}

/** One end of a pair. */
export interface End {
  readonly association: Association;
  readonly events: AssociationEvent[];
  /** What it sent. */
  packets: number;
}

/** Bytes that look unpredictable and are replayed by their seed. */
export function seededBytes(seed: number): (size: number) => Uint8Array {
  let state = seed >>> 0 || 1;
  const next = () => {
    // Marsaglia's xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 8) & 0xff;
  };
  return (size) => Uint8Array.from({ length: size }, next);
}

/** Two ends and the time. */
export class Pair<W extends Wire = Wire> {
  now = 0;
  readonly a: End;
  readonly b: End;
  readonly links: { readonly up: W; readonly down: W };

  constructor({ seed, openWire, options = {}, firstTsns }: PairOptions<W>) {
    const open = (offset: number, firstTsn: number | undefined): End => {
      const bytes = seededBytes(seed + offset);
      let isFirst = true;
      const random = (size: number) => {
        const drawn = bytes(size);
        // The first draw holds the tag and the TSN.
        if (isFirst && firstTsn !== undefined) new DataView(drawn.buffer).setUint32(4, firstTsn);
        isFirst = false;
        return drawn;
      };
      const association = new Association({
        localPort: 5000,
        remotePort: 5000,
        maxMessageSize: 262_144,
        random,
        ...options,
      });
      return { association, events: [], packets: 0 };
    };
    this.a = open(1, firstTsns?.[0]);
    this.b = open(2, firstTsns?.[1]);
    this.links = { up: openWire(seed), down: openWire(seed + 1) };
  }

  /** Lets time pass until `until`, or until `isDone`; whether it was done. */
  run(until: number, isDone: () => boolean = () => false): boolean {
    this.settle();
    // Bounded: a step without progress in time would go on for ever.
    for (let steps = 0; steps < 1_000_000; steps++) {
      if (isDone()) return true;
      const { up, down } = this.links;
      const due = [this.a.association, this.b.association, up, down].map((each) => each.pollTimeout() ?? Infinity);
      const next = Math.max(this.now, Math.min(...due));
      if (next > until) break;
      this.now = next;
      for (let packet = up.nextArrival(next); packet; packet = up.nextArrival(next))
        this.b.association.handlePacket(next, packet.packet);
      for (let packet = down.nextArrival(next); packet; packet = down.nextArrival(next))
        this.a.association.handlePacket(next, packet.packet);
      for (const { association } of [this.a, this.b])
        if (next >= (association.pollTimeout() ?? Infinity)) association.handleTimeout(next);
      this.settle();
    }
    this.now = Math.max(this.now, Math.min(until, 1e12));
    return isDone();
  }

  /** Brings both ends up. */
  connect(): void {
    this.a.association.connect(this.now);
    this.b.association.connect(this.now);
    this.run(this.now + 60_000, () => this.a.association.isEstablished && this.b.association.isEstablished);
  }

  /** Hands out what both ends have to send and to tell. */
  settle(): void {
    for (const [end, link] of [
      [this.a, this.links.up],
      [this.b, this.links.down],
    ] as const) {
      for (let event = end.association.nextEvent(); event; event = end.association.nextEvent())
        end.events.push(event.kind === "message" ? copyOf(event) : event);
      for (let packet = end.association.nextPacket(this.now); packet; packet = end.association.nextPacket(this.now)) {
        end.packets += 1;
        assertInOrder(packet);
        link.handlePacket(this.now, packet, undefined);
      }
    }
  }
}

/** The texts of the messages that `end` was told of. */
export function textsOf({ events }: End): string[] {
  return events.flatMap((event) => (event.kind === "message" ? [Buffer.from(event.message.bytes).toString()] : []));
}

/** Data comes last, and nothing is longer than a packet: peers that see otherwise abort (RFC 9260 section 6.10). */
function assertInOrder(packet: Uint8Array): void {
  const chunks = decodeSctpPacket(packet)?.chunks ?? [];
  const firstData = chunks.findIndex(({ type }) => type === CHUNK.data);
  const isInOrder = firstData < 0 || chunks.slice(firstData).every(({ type }) => type === CHUNK.data);
  if (chunks.length === 0 || !isInOrder || packet.length > 1_160) throw new Error("not a packet that a peer takes");
}

function copyOf(event: AssociationEvent & { readonly kind: "message" }): AssociationEvent {
  return { kind: "message", message: { ...event.message, bytes: event.message.bytes.slice() } };
}
