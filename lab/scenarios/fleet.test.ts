/** 2,000 seeded fleets under faults. `SLUICE_FLEET_SEED` replays one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FAULTS, runFleet } from "./fleet.ts";

const SEEDS = 2000;
const replayed = process.env.SLUICE_FLEET_SEED;

test("in every fleet nothing is misdelivered, no table overflows, and all are heard within 3 s of the last fault", (context) => {
  const seeds = replayed === undefined ? Array.from({ length: SEEDS }, (_, seed) => seed + 1) : [Number(replayed)];
  const [seen, delivered] = [new Map<string, number>(), { up: 0, down: 0 }];
  for (const seed of seeds) {
    const report = runFleet(seed);
    assert.deepEqual(report.violations.slice(0, 5), [], `SLUICE_FLEET_SEED=${seed}\n${report.faults.join("\n")}`);
    delivered.up += report.delivered.up;
    delivered.down += report.delivered.down;
    for (const fault of report.faults) seen.set(fault.split(" ")[1]!, (seen.get(fault.split(" ")[1]!) ?? 0) + 1);
  }
  context.diagnostic(`${delivered.up} packets up, ${delivered.down} down, faults: ${JSON.stringify([...seen])}`);
  if (replayed === undefined) for (const fault of FAULTS) assert.ok(seen.get(fault)! > 100, fault);
});

test("a seed replays its fleet exactly", () => {
  assert.deepEqual({ ...runFleet(5).delivered }, { ...runFleet(5).delivered });
});
