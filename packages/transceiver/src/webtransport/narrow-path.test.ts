import assert from "node:assert/strict";
import { test } from "node:test";
import { type Impairments, Link } from "@sluice/netem";
import { NarrowPath } from "./narrow-path.ts";

const FRAME_MS = 20;
const HEADERS = 45;

/** A caller who sends frames of `bytes` over a network, one a packet, and what the receiver makes of it. */
function talk(impairments: Impairments, seed = 1) {
  const path = new NarrowPath();
  const link = new Link<number>(impairments, seed);
  let now = 0;
  const told: string[] = [];
  const receive = () => {
    for (let next = link.nextArrival(now); next; next = link.nextArrival(now)) {
      const before = [path.isNarrow, path.hasRoom];
      path.handleDelay(now, now - next.label + 5000, next.packet.length - HEADERS);
      if (before[0] !== path.isNarrow) told.push(`narrow ${path.isNarrow} at ${now}`);
      if (before[1] !== path.hasRoom) told.push(`room ${path.hasRoom} at ${now}`);
    }
  };
  const send = (ms: number, bytes: number, copies = 1) => {
    for (const end = now + ms; now < end; now += FRAME_MS) {
      for (let copy = 0; copy < copies; copy++) link.handlePacket(now, new Uint8Array(bytes + HEADERS), now);
      receive();
    }
  };
  return { path, link, send, told };
}

const plain: Impairments = { delayMs: 50 };
const narrow: Impairments = { ...plain, bitsPerSecond: 40_000, queueBytes: 8000 };

test("a voice that the path carries shows that there is room for more, and silence shows it later", () => {
  const { path, send } = talk(plain);
  send(1500, 86);
  assert.equal(path.hasRoom, false);
  send(1000, 86);
  assert.deepEqual([path.hasRoom, path.isNarrow], [true, false]);
  const silent = talk(plain);
  silent.send(2500, 20);
  assert.equal(silent.path.hasRoom, false);
  silent.send(1500, 20);
  assert.equal(silent.path.hasRoom, true);
});

test("a voice that is more than the path carries is told before the queue is full, and shows no room", () => {
  const { path, link, send, told } = talk(narrow);
  send(1000, 20);
  send(1500, 86);
  assert.equal(path.isNarrow, true, told.join());
  assert.equal(link.stats.queueDropped, 0);
  assert(!told.some((it) => it.startsWith("room true")), told.join());
});

test("more than the path carries, once there seemed to be room, takes the room back", () => {
  const { path, link, send } = talk({ ...narrow, bitsPerSecond: 64_000 });
  send(3000, 86);
  assert.equal(path.hasRoom, true);
  send(1000, 86, 2);
  assert.deepEqual([path.isNarrow, path.hasRoom], [true, false]);
  assert.equal(link.stats.queueDropped, 0);
});

for (const [name, impairments] of [
  ["a fifth of all is lost", { ...plain, loss: 0.2 }],
  ["losses come in runs", { ...plain, loss: { goodToBad: 0.036, badToGood: 0.25 } }],
  ["delays vary as on a mobile network", { delayMs: 60, jitterMs: 30, jitterReorders: true }],
] as const) {
  test(`a path is not narrow because ${name}, and has room`, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { path, send, told } = talk(impairments, seed);
      send(20_000, 86);
      assert(path.hasRoom && !told.some((it) => it.startsWith("narrow")), `seed ${seed}: ${told}`);
    }
  });
}

test("what stood still for a while is late at once, and that is not narrow", () => {
  const { path, send, link } = talk(plain);
  send(3000, 86);
  link.impair({ ...plain, delayMs: 250 });
  send(240, 86);
  link.impair(plain);
  send(3000, 86);
  assert.deepEqual([path.isNarrow, path.hasRoom], [false, true]);
});

test("more is tried after a while, and after each try that failed after a longer one", () => {
  const { path, link, send, told } = talk(narrow);
  send(1000, 20);
  for (let turn = 0; turn < 160; turn++) send(2000, path.isNarrow ? 20 : 86);
  const narrowed = told.filter((it) => it.startsWith("narrow true")).map((it) => Number(it.split(" at ")[1]));
  assert.equal(narrowed.length, 4, told.join());
  const [a, b, c, d] = narrowed as [number, number, number, number];
  assert(b - a > 30_000 && c - b > 60_000 && d - c > 120_000, told.join());
  assert.equal(link.stats.queueDropped, 0);
});
