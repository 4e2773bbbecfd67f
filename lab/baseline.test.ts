import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { measureBaseline } from "./baseline.ts";
import { compareReports, lostFigures } from "./compare.ts";
import { format } from "./page/chart.ts";

test("the pinned scenarios are no worse than the baseline", async () => {
  const baseline = JSON.parse(await readFile(join(import.meta.dirname, "baseline.json"), "utf8"));
  const now = JSON.parse(JSON.stringify(await measureBaseline()));
  const broken = compareReports(baseline, now, { relative: 0.15, share: 0.03, ms: 30 }).filter(
    (change) => change.broken,
  );
  const told = broken.map(({ path, before, after }) => `${path}: ${format(before)} -> ${format(after)}`);
  assert.deepEqual(told, [], "meant? then: npm run lab -- baseline");
  assert.deepEqual(lostFigures(baseline, now), []);
});
