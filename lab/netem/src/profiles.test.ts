import assert from "node:assert/strict";
import { test } from "node:test";
import { Link } from "./link.ts";
import { networkProfile, PROFILES } from "./profiles.ts";

const SECONDS = 600;

/** Round trips of a ping every 20 ms, those that came back, sorted. */
function roundTrips(name: string, seed = 5): { readonly sorted: readonly number[]; readonly lost: number } {
  const { up, down } = networkProfile(name);
  const there = new Link<number>(up, seed, seed);
  const back = new Link<number>(down, seed + 1, seed);
  const trips: number[] = [];
  const take = (now: number) => {
    for (let next = there.nextArrival(now); next; next = there.nextArrival(now))
      back.handlePacket(next.at, new Uint8Array(100), next.label);
    for (let next = back.nextArrival(now); next; next = back.nextArrival(now)) trips.push(next.at - next.label);
  };
  for (let now = 0; now < SECONDS * 1000; now += 20) {
    take(now);
    there.handlePacket(now, new Uint8Array(100), now);
  }
  take(Infinity);
  return { sorted: trips.sort((a, b) => a - b), lost: 1 - trips.length / (SECONDS * 50) };
}

const at = (sorted: readonly number[], q: number) => sorted[Math.floor(q * (sorted.length - 1))]!;
const within = (actual: number, low: number, high: number) =>
  assert.ok(actual >= low && actual <= high, `${actual} is not within ${low} and ${high}`);

test("good Wi-Fi has the radio hop that was measured: 3 ms at the median, 20 ms at the 90th percentile", () => {
  const { sorted } = roundTrips("good-wifi");
  const internetMs = 13;
  within(at(sorted, 0.5) - internetMs, 1.5, 5);
  within(at(sorted, 0.9) - internetMs, 5, 25);
  within(at(sorted, 0.99) - internetMs, 40, 250);
});

test("busy cafe Wi-Fi takes more than 20 ms for half of the round trips and more than 100 ms for a tenth", () => {
  const { sorted, lost } = roundTrips("cafe-wifi");
  const internetMs = 10;
  within(at(sorted, 0.5) - internetMs, 20, 45);
  within(at(sorted, 0.9) - internetMs, 80, 140);
  within(lost, 0.02, 0.05);
});

test("LTE answers within what was measured", () => within(at(roundTrips("lte").sorted, 0.5), 50, 64));

test("a satellite answers in 50 ms at the median, 40 and 60 at the quartiles, and loses something every 15 s", () => {
  const { sorted, lost } = roundTrips("satellite");
  within(at(sorted, 0.5), 45, 57);
  within(at(sorted, 0.25), 38, 50);
  within(at(sorted, 0.75), 50, 65);
  within(lost, 0.01, 0.05);
});

test("a train loses the path for a while at each handover", () => within(roundTrips("train").lost, 0.03, 0.09));

test("the cell's edge loses and delays more than its middle", () => {
  const [edge, middle] = [roundTrips("lte-edge"), roundTrips("lte")];
  assert.ok(at(edge.sorted, 0.5) > at(middle.sorted, 0.5) + 30 && edge.lost > 0.04);
});

test("every profile says where it is from, and a wrong name says which there are", () => {
  for (const { name, source, measured, assumed } of Object.values(PROFILES))
    if (name !== "clear") assert.ok(source.length > 20 && measured.length > 20 && assumed.length > 10, name);
  assert.throws(() => networkProfile("moon"), /good-wifi, cafe-wifi, lte/);
});
