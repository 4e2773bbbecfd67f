/** A small part of the bench, pinned: what the pipeline's decisions are worth must not be lost unnoticed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PROFILES } from "./pipeline/profiles.ts";
import { measureProfile } from "./pipeline.ts";

const profile = (name: string) => PROFILES.find((one) => one.name === name)!;

test("with quick ears answers come a third sooner than by a fixed policy, whole, and without more cut-ins", () => {
  const row = measureProfile(profile("quick ears, quick model"), 1500, 1);
  assert.equal(row.turns, 1500);
  assert.ok(row.p50_lower_percent >= 35 && row.p95_lower_percent >= 25, JSON.stringify(row));
  assert.ok(row.gap_turn_share < 0.012, `${row.gap_turn_share}`); // 1500 turns; the bench itself holds 1 %
  assert.ok(row.wasted_token_share < 0.15, `${row.wasted_token_share}`);
  assert.ok(row.false_cutin_share <= row.false_cutin_share_fixed);
  assert.ok(row.false_cutin_share > 0.1, "callers hesitate, and are cut in on");
  assert.ok(row.eager_hit_share > 0.7, `${row.eager_hit_share}`);
});

test("the same seed is the same bench, and another is another", () => {
  const [one, two, other] = [1, 1, 2].map((seed) => measureProfile(profile("slow ears, quick model"), 100, seed));
  assert.deepEqual(one, two);
  assert.notDeepEqual(one, other);
});

test("a second model takes the tail off the waits, at the price that was set", () => {
  const alone = measureProfile(profile("quick ears, usual model"), 1000, 1);
  assert.ok(alone.p95_lower_percent < alone.oracle_p95_lower_percent, "who knows the future is sooner");
  const two = measureProfile(profile("quick ears, usual model and a second"), 1000, 1);
  const again = measureProfile(profile("quick ears, usual model asked twice"), 1000, 1);
  assert.ok(two.sluice_p95_ms < 0.8 * alone.sluice_p95_ms, `${two.sluice_p95_ms} of ${alone.sluice_p95_ms}`);
  assert.ok(again.sluice_p95_ms < 0.95 * alone.sluice_p95_ms, `${again.sluice_p95_ms} of ${alone.sluice_p95_ms}`);
  assert.ok(two.hedged_share > 0.1 && two.hedged_share < 0.6, `${two.hedged_share}`);
  assert.ok(two.hedged_in_vain_share < 0.15 && again.hedged_in_vain_share < 0.15, "the price that was set");
});
