import assert from "node:assert/strict";
import { test } from "node:test";
import { type Arrival, type Impairments, Link } from "./link.ts";

const PACKETS = 20_000;

/** Sends numbered packets `everyMs` apart and gives the link and what arrived. */
function run(impairments: Impairments, { count = PACKETS, everyMs = 1, size = 100, seed = 7 } = {}) {
  const link = new Link<number>(impairments, seed);
  const arrivals: Arrival<number>[] = [];
  const drain = (now: number) => {
    for (let next = link.nextArrival(now); next; next = link.nextArrival(now)) arrivals.push(next);
  };
  for (let i = 0; i < count; i++) {
    link.handlePacket(i * everyMs, new Uint8Array(size), i);
    drain(i * everyMs);
  }
  drain(Number.POSITIVE_INFINITY);
  return { link, arrivals, delays: arrivals.map(({ at, label }) => at - label * everyMs) };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const near = (actual: number, expected: number, tolerance: number) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected} +- ${tolerance}`);

test("an unimpaired link delivers everything at once and in order", () => {
  const { arrivals, delays } = run({});
  assert.deepEqual(
    arrivals.map(({ label }) => label),
    Array.from({ length: PACKETS }, (_, i) => i),
  );
  assert.ok(delays.every((delay) => delay === 0));
});

test("the same seed gives the same network, another seed another", () => {
  const impairments = { loss: 0.1, jitterMs: 5, delayMs: 20, duplicate: 0.05, corrupt: 0.05, reorder: 0.02 };
  assert.deepEqual(run(impairments).arrivals, run(impairments).arrivals);
  assert.notDeepEqual(run(impairments, { seed: 8 }).arrivals, run(impairments).arrivals);
});

test("random loss loses its share, one by one", () => {
  const { link, arrivals } = run({ loss: 0.1 });
  near(link.stats.lost / PACKETS, 0.1, 0.01);
  assert.equal(arrivals.length + link.stats.lost, PACKETS);
});

test("Gilbert-Elliott loss comes in bursts of the mean length it was given", () => {
  const { arrivals } = run({ loss: { goodToBad: 0.01, badToGood: 0.2 } });
  const arrived = new Set(arrivals.map(({ label }) => label));
  let [bursts, lost] = [0, 0];
  for (let i = 0; i < PACKETS; i++) {
    if (arrived.has(i)) continue;
    lost += 1;
    if (arrived.has(i - 1) || i === 0) bursts += 1;
  }
  near(lost / PACKETS, 0.01 / 0.21, 0.01);
  near(lost / bursts, 5, 0.7);
});

test("delay and jitter have the mean they were given, in order unless told otherwise", () => {
  const kept = run({ delayMs: 40, jitterMs: 5 });
  assert.deepEqual(
    kept.arrivals.map(({ label }) => label),
    kept.arrivals.map((_, i) => i),
  );
  const loose = run({ delayMs: 40, jitterMs: 5, jitterReorders: true });
  near(mean(loose.delays), 40, 0.3);
  near(Math.sqrt(mean(loose.delays.map((delay) => (delay - 40) ** 2))), 5, 0.3);
  assert.ok(loose.arrivals.some(({ label }, i) => i > 0 && label < loose.arrivals[i - 1]!.label));
});

test("a reordered packet overtakes those that are on the way", () => {
  const { link, arrivals } = run({ delayMs: 10, reorder: 0.05 });
  near(link.stats.reordered / PACKETS, 0.05, 0.01);
  const overtakers = arrivals.filter(({ label }, i) => i + 1 < arrivals.length && label > arrivals[i + 1]!.label);
  assert.ok(overtakers.length > PACKETS * 0.03);
});

test("duplicates come twice, corrupted packets differ in one bit and leave the original alone", () => {
  const link = new Link<undefined>({ duplicate: 1, corrupt: 1 }, 1);
  const packet = new Uint8Array(10);
  link.handlePacket(0, packet, undefined);
  for (let i = 0; i < 2; i++) {
    const bits = [...link.nextArrival(0)!.packet].reduce(
      (sum, byte) => sum + byte.toString(2).replaceAll("0", "").length,
      0,
    );
    assert.equal(bits, 1);
  }
  assert.equal(link.nextArrival(0), undefined);
  assert.deepEqual(packet, new Uint8Array(10));
});

test("a bottleneck spaces packets at its rate, and its full queue drops the newest", () => {
  // 100 bytes at 80 kbit/s take 10 ms; one comes every ms, and 1000 bytes may wait: 100 ms at most.
  const { link, arrivals, delays } = run({ bitsPerSecond: 80_000, queueBytes: 1000 }, { count: 1000 });
  assert.ok(arrivals.every(({ at }, i) => i === 0 || at - arrivals[i - 1]!.at >= 10 - 1e-9));
  assert.ok(Math.max(...delays) <= 100 + 1e-9 && Math.max(...delays) > 90);
  assert.equal(link.stats.queueDropped + arrivals.length, 1000);
});

test("what is larger than the MTU never arrives, and a blackhole takes all until it is lifted", () => {
  const link = new Link<string>({ mtu: 1200 }, 1);
  link.handlePacket(0, new Uint8Array(1201), "large");
  link.handlePacket(0, new Uint8Array(1200), "fits");
  link.impair({ blackhole: true });
  link.handlePacket(1, new Uint8Array(10), "swallowed");
  link.impair({});
  link.handlePacket(2, new Uint8Array(10), "through");
  assert.deepEqual(
    [link.nextArrival(9)?.label, link.nextArrival(9)?.label, link.nextArrival(9)],
    ["fits", "through", undefined],
  );
  assert.deepEqual([link.stats.tooBig, link.stats.blackholed], [1, 1]);
});

test("pollTimeout names the next arrival", () => {
  const link = new Link<undefined>({ delayMs: 30 }, 1);
  assert.equal(link.pollTimeout(), undefined);
  link.handlePacket(5, new Uint8Array(1), undefined);
  assert.equal(link.pollTimeout(), 35);
  assert.equal(link.nextArrival(34), undefined);
  assert.equal(link.nextArrival(35)?.at, 35);
});
