import assert from "node:assert/strict";
import { test } from "node:test";
import { describeProfile, titleOf } from "./network.ts";
import { nextTab } from "./tabs.ts";

test("arrows go around the tabs, Home and End to their ends, and no other key anywhere", () => {
  assert.deepEqual([nextTab("ArrowRight", 1, 2), nextTab("ArrowLeft", 0, 2)], [0, 1]);
  assert.deepEqual([nextTab("Home", 1, 3), nextTab("End", 0, 3)], [0, 2]);
  for (const key of [" ", "Enter", "Tab", "a"]) assert.equal(nextTab(key, 0, 2), undefined);
});

test("a network's name and figures are written as people write them", () => {
  const names = ["good-wifi", "lte-edge", "hotel-nat"].map(titleOf);
  assert.deepEqual(names, ["Good wifi", "LTE edge", "Hotel NAT"]);
  const profile = { name: "x", about: "", round_trip_ms: 32, measured: "", source: "", assumed: "" };
  const said = [0, 0.0005, 0.0169].map((loss) => describeProfile({ ...profile, loss }));
  assert.deepEqual(said, ["32 ms · 0 % lost", "32 ms · 0.05 % lost", "32 ms · 1.7 % lost"]);
});
