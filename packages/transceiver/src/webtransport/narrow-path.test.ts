import assert from "node:assert/strict";
import { test } from "node:test";
import { type Impairments, Link } from "@sluice/netem";
import { NarrowPath } from "./narrow-path.ts";

const FRAME_MS = 20;
const HEADERS = 45;

/** What travels up: a frame of some place on the caller's clock, or the acknowledgement of a ping. */
type Packet = { readonly capturedAt: number } | { readonly pingedAt: number };

/** A caller who sends frames over a network, one a packet, and what the receiver makes of them and of round trips. */
class Call {
  readonly path = new NarrowPath();
  readonly told: string[] = [];
  readonly link: Link<Packet>;
  now = 0;
  /** The caller's clock is off by this, and goes this much faster. */
  slipMs = 0;
  drift = 0;
  /** Nothing leaves the page, nothing is looked at by the receiver, until then. */
  pageStandsUntil = 0;
  receiverStandsUntil = 0;
  downMs = 50;
  #kept: { capturedAt: number; bytes: number }[] = [];
  #arrived: { packet: Packet; bytes: number }[] = [];
  #pings: { at: number; pingedAt: number }[] = [];

  constructor(impairments: Impairments, seed = 1) {
    this.link = new Link<Packet>(impairments, seed);
  }

  /** Speaks for a while: `bytes` a frame, each packet so many times. */
  talk(ms: number, bytes: number, copies = 1): void {
    for (const end = this.now + ms; this.now < end; this.now += FRAME_MS) {
      this.#kept.push({ capturedAt: this.now * (1 + this.drift) - this.slipMs, bytes });
      if (this.now >= this.pageStandsUntil) {
        for (const { capturedAt, bytes } of this.#kept.splice(0))
          for (let copy = 0; copy < copies; copy++) this.#send(bytes, { capturedAt });
      }
      // Acknowledgements are made though the page stands still.
      for (const { pingedAt } of this.#take(this.#pings, ({ at }) => at <= this.now)) this.#send(0, { pingedAt });
      this.#receive();
    }
  }

  #take<Item>(list: Item[], is: (item: Item) => boolean): Item[] {
    const taken = list.filter(is);
    list.splice(0, list.length, ...list.filter((item) => !is(item)));
    return taken;
  }

  #send(bytes: number, packet: Packet): void {
    this.link.handlePacket(this.now, new Uint8Array(bytes + HEADERS), packet);
  }

  #receive(): void {
    for (let next = this.link.nextArrival(this.now); next; next = this.link.nextArrival(this.now))
      this.#arrived.push({ packet: next.label, bytes: next.packet.length - HEADERS });
    if (this.now < this.receiverStandsUntil) return;
    const { path, now } = this;
    for (const { packet, bytes } of this.#arrived.splice(0)) {
      const before = [path.isNarrow, path.hasRoom];
      if ("pingedAt" in packet) path.handleRoundTrip(now, now - packet.pingedAt);
      else path.handleFrame(now, now - packet.capturedAt + 5000, bytes);
      if (before[0] !== path.isNarrow) this.told.push(`narrow ${path.isNarrow} at ${now}`);
      if (before[1] !== path.hasRoom) this.told.push(`room ${path.hasRoom} at ${now}`);
    }
    if (path.takeAsk(now)) this.#pings.push({ at: now + this.downMs, pingedAt: now });
  }

  get narrowed(): number[] {
    return this.told.filter((it) => it.startsWith("narrow true")).map((it) => Number(it.split(" at ")[1]));
  }
}

const plain: Impairments = { delayMs: 50 };
const narrow: Impairments = { ...plain, bitsPerSecond: 40_000, queueBytes: 8000 };

test("a voice that the path carries shows that there is room for more, and silence shows it later", () => {
  const call = new Call(plain);
  call.talk(1500, 86);
  assert.equal(call.path.hasRoom, false);
  call.talk(1000, 86);
  assert.deepEqual([call.path.hasRoom, call.path.isNarrow], [true, false]);
  const silent = new Call(plain);
  silent.talk(2500, 20);
  assert.equal(silent.path.hasRoom, false);
  silent.talk(1500, 20);
  assert.equal(silent.path.hasRoom, true);
});

test("a voice that is more than the path carries is told before the queue is full, and shows no room", () => {
  const call = new Call(narrow);
  call.talk(1000, 20);
  call.talk(2500, 86);
  assert.equal(call.path.isNarrow, true, call.told.join());
  assert.equal(call.link.stats.queueDropped, 0);
  assert(!call.told.some((it) => it.startsWith("room true")), call.told.join());
});

test("more than the path carries, once there seemed to be room, takes the room back", () => {
  const call = new Call({ ...narrow, bitsPerSecond: 64_000, queueBytes: 16_000 });
  call.talk(3000, 86);
  assert.equal(call.path.hasRoom, true);
  call.talk(2500, 86, 2);
  assert.deepEqual([call.path.isNarrow, call.path.hasRoom], [true, false]);
  assert.equal(call.link.stats.queueDropped, 0);
});

for (const [name, impairments] of [
  ["a fifth of all is lost", { ...plain, loss: 0.2 }],
  ["losses come in runs", { ...plain, loss: { goodToBad: 0.036, badToGood: 0.25 } }],
  ["delays vary as on a mobile network", { delayMs: 60, jitterMs: 30, jitterReorders: true }],
] as const) {
  test(`a path is not narrow because ${name}, and has room`, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const call = new Call(impairments, seed);
      call.talk(20_000, 86);
      assert(call.path.hasRoom && call.narrowed.length === 0, `seed ${seed}: ${call.told}`);
    }
  });
}

test("a page that stands still half of the time is no narrow path", () => {
  const call = new Call(plain);
  for (let n = 0; n < 100; n++) {
    call.pageStandsUntil = call.now + 150 + (n % 7) * 100;
    call.talk(400 + (n % 5) * 100, 86);
  }
  assert.deepEqual([call.path.hasRoom, call.narrowed], [true, []]);
});

test("a receiver that stands still half of the time sees no narrow path", () => {
  const call = new Call(plain);
  for (let n = 0; n < 100; n++) {
    call.receiverStandsUntil = call.now + 150 + (n % 7) * 100;
    call.talk(400 + (n % 5) * 100, 86);
  }
  assert.deepEqual([call.path.hasRoom, call.narrowed], [true, []]);
});

test("a server that looks at what came for a moment in every half second sees no narrow path", () => {
  // Both witnesses are read by the one who stands still, and neither is ever early.
  const path = new NarrowPath();
  for (let n = 0; n < 100; n++) {
    path.handleFrame(n * 20, 0, 86);
    path.handleRoundTrip(n * 20, 100);
  }
  for (let n = 0; n < 100; n++) {
    for (let frame = 0; frame < 10; frame++) path.handleFrame(2000 + n * 450, 400, 86);
    path.handleRoundTrip(2000 + n * 450, 500);
  }
  assert.equal(path.isNarrow, false);
});

test("a caller's clock that loses time, as where a sound device runs dry, or drifts, is no narrow path", () => {
  const call = new Call(plain);
  for (let n = 0; n < 30; n++) {
    call.talk(1000, 86);
    call.slipMs += 200;
  }
  assert.deepEqual([call.path.hasRoom, call.narrowed], [true, []]);
  for (const drift of [-0.0005, 0.0005]) {
    const drifting = new Call(plain);
    drifting.drift = drift;
    drifting.talk(600_000, 86);
    assert.deepEqual([drifting.path.hasRoom, drifting.narrowed], [true, []]);
  }
});

test("a queue on the way down alone does not make the way up narrow", () => {
  const call = new Call(plain);
  call.talk(3000, 86);
  call.downMs = 500;
  call.talk(10_000, 86);
  assert.deepEqual([call.path.hasRoom, call.narrowed], [true, []]);
});

test("a radio that sends in bursts, and an outage, are late and soon over", () => {
  const call = new Call(plain);
  call.talk(3000, 86);
  for (let n = 0; n < 100; n++) {
    call.link.impair({ ...plain, delayMs: 250 });
    call.talk(240, 86);
    call.link.impair(plain);
    call.talk(200, 86);
  }
  call.pageStandsUntil = call.now + 3000;
  call.talk(6000, 86);
  assert.deepEqual([call.path.hasRoom, call.narrowed], [true, []]);
});

test("a longer path is taken for a queue for a while at most, and not again", () => {
  const call = new Call(plain);
  call.talk(10_000, 86);
  call.link.impair({ delayMs: 200 });
  call.downMs = 200;
  call.talk(300_000, 86);
  assert(call.narrowed.length <= 1 && !call.path.isNarrow && call.path.hasRoom, call.told.join());
  const widened = call.told.find((it) => it.startsWith("narrow false"));
  assert(widened === undefined || Number(widened.split(" at ")[1]) < 100_000, call.told.join());
});

test("a path that grows wide again is used so after half a minute, a shorter one at once is not late", () => {
  const call = new Call(narrow);
  call.talk(1000, 20);
  call.talk(3000, 86);
  assert.equal(call.path.isNarrow, true);
  call.link.impair({ delayMs: 20 });
  call.talk(29_000, 20);
  assert.equal(call.path.isNarrow, true);
  call.talk(10_000, 20);
  assert.equal(call.path.isNarrow, false);
  call.talk(100_000, 86);
  assert.deepEqual([call.path.isNarrow, call.path.hasRoom, call.narrowed.length], [false, true, 1]);
});

test("more is tried after a while, and after each try that failed after a longer one", () => {
  const call = new Call(narrow);
  call.talk(1000, 20);
  for (let turn = 0; turn < 160; turn++) call.talk(2000, call.path.isNarrow ? 20 : 86);
  assert.equal(call.narrowed.length, 4, call.told.join());
  const [a, b, c, d] = call.narrowed as [number, number, number, number];
  assert(b - a > 30_000 && c - b > 60_000 && d - c > 120_000, call.told.join());
  assert.equal(call.link.stats.queueDropped, 0);
});
