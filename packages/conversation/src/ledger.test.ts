import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PlayoutLedger } from "./ledger.ts";

function sending(ms = 1000): PlayoutLedger {
  const ledger = new PlayoutLedger();
  ledger.handleGenerated(ms);
  ledger.handleSent(5000, 20);
  return ledger;
}

test("without reports the ear is where real time is, never past what was sent", () => {
  const ledger = sending();
  ledger.handleSent(5100, 120);
  assert.equal(ledger.heardMs(5100), 100);
  assert.equal(ledger.heardMs(9000), 120);
  assert.equal(ledger.entry(5100).clock, "egress");
});

test("a client's report replaces the egress clock, and plays on from there", () => {
  const ledger = sending();
  ledger.handleSent(5500, 520);
  ledger.handleReport(5500, { startedAt: 5080, positionMs: 400, at: 5490 });
  assert.deepEqual(ledger.began(), { at: 5080, clock: "client" });
  assert.equal(ledger.heardMs(5500), 410);
  assert.equal(ledger.entry(5500).bufferedMs, 110);
});

test("a sound that is in the device when a client tells of it is heard when the device gives it out", () => {
  const ledger = sending();
  ledger.handleReport(5012, { startedAt: 5040, positionMs: 0, at: 5040 });
  assert.deepEqual(ledger.began(), { at: 5040, clock: "client" });
  ledger.handleSent(5040, 60);
  assert.equal(ledger.heardMs(5030), 0);
  assert.equal(ledger.heardMs(5055), 15);
});

test("a client that tells of the far future is not believed", () => {
  const ledger = sending();
  ledger.handleReport(5012, { startedAt: 60_000, positionMs: 0, at: 60_000 });
  assert.equal(ledger.began()?.at, 5512);
});

test("when it is stopped, nothing more is heard", () => {
  const ledger = sending();
  ledger.handleSent(5500, 520);
  ledger.handleStopped(5500);
  assert.equal(ledger.heardMs(9000), 500);
  assert.equal(ledger.entry(9000).bufferedMs, 0);
});

test("whatever a client claims, heard <= sent <= generated, and nothing was heard before it was sent", () => {
  // The parser of events lets only finite numbers through.
  const number = fc.double({ noNaN: true, noDefaultInfinity: true });
  const report = fc.record({ startedAt: number, positionMs: number, at: number });
  fc.assert(
    fc.property(fc.array(report, { maxLength: 8 }), fc.nat(2000), (reports, sentMs) => {
      const ledger = sending();
      ledger.handleSent(6000, sentMs);
      for (const one of reports) ledger.handleReport(6000, one);
      const { generatedMs, sentMs: sent, heardMs } = ledger.entry(6000);
      assert(heardMs >= 0 && heardMs <= sent && sent <= generatedMs);
      assert((ledger.began()?.at ?? 0) >= 5000);
    }),
  );
});
