import assert from "node:assert/strict";
import { test } from "node:test";
import { measureInstrument } from "./measure.ts";

test("the instrument gives back what was put in: delay to 3 ms, loss to 0.1 %, gaps to 20 ms", async () => {
  const figures = await measureInstrument();
  assert.ok(figures.delay_error_ms <= 3, `delay is off by ${figures.delay_error_ms} ms`);
  assert.ok(figures.loss_error_percent <= 0.1, `loss is off by ${figures.loss_error_percent} %`);
  assert.ok(figures.gap_error_ms <= 20, `a gap is off by ${figures.gap_error_ms} ms`);
});
