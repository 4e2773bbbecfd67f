import assert from "node:assert/strict";
import { test } from "node:test";
import { type Impairments, Link } from "./link.ts";
import { OutageSchedule } from "./outages.ts";

const near = (actual: number, expected: number, tolerance: number) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected} +- ${tolerance}`);

test("standstills come as often and last as long as asked, whoever asks when", () => {
  const outage = { everyMs: 1000, meanMs: 100 };
  const [dense, sparse] = [new OutageSchedule(outage, 3), new OutageSchedule(outage, 3)];
  let still = 0;
  for (let now = 0; now < 1_000_000; now++) {
    const until = dense.standsUntil(now);
    if (until !== undefined) still += 1;
    if (now % 37 === 0) assert.equal(sparse.standsUntil(now), until);
  }
  near(still / 1_000_000, 0.1 * (1 - Math.exp(-4)), 0.01);
});

test("packets wait through a standstill and leave together in order, or are lost in it", () => {
  const run = (impairments: Impairments) => {
    const link = new Link<number>(impairments, 1);
    const arrivals: { readonly at: number; readonly label: number }[] = [];
    for (let now = 0; now < 60_000; now += 20) {
      link.handlePacket(now, new Uint8Array(100), now);
      for (let next = link.nextArrival(now); next; next = link.nextArrival(now)) arrivals.push(next);
    }
    for (let next = link.nextArrival(Infinity); next; next = link.nextArrival(Infinity)) arrivals.push(next);
    return { link, arrivals };
  };
  const waiting = run({ delayMs: 10, outages: [{ everyMs: 5000, meanMs: 200 }] });
  assert.equal(waiting.arrivals.length, 3000);
  assert.ok(waiting.arrivals.every(({ label }, i) => label === i * 20));
  const held = waiting.arrivals.filter(({ at, label }) => at - label > 10 + 1e-9);
  near(held.length / 3000, 0.04, 0.015);
  assert.equal(waiting.link.stats.delayedByOutage, held.length);
  const losing = run({ delayMs: 10, outages: [{ everyMs: 5000, meanMs: 200, drops: true }] });
  assert.equal(losing.link.stats.outageLost, held.length);
  assert.equal(losing.arrivals.length, 3000 - held.length);
});

test("two directions of one path stand still at the same times", () => {
  const impairments: Impairments = { outages: [{ everyMs: 2000, meanMs: 150, drops: true }], loss: 0.1 };
  const [up, down] = [new Link(impairments, 1, 77), new Link(impairments, 2, 77)];
  let together = 0;
  for (let now = 0; now < 100_000; now += 5) {
    const before = [up.stats.outageLost, down.stats.outageLost];
    for (const link of [up, down]) link.handlePacket(now, new Uint8Array(1), undefined);
    const lost = [up.stats.outageLost - before[0]!, down.stats.outageLost - before[1]!];
    if (lost[0] === 1 && lost[1] === 1) together += 1;
    // Packets that random loss took before never meet the standstill; none meets one alone.
  }
  assert.ok(together > 500);
});
