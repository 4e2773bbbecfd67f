import assert from "node:assert/strict";
import { test } from "node:test";
import { Admission } from "./admission.ts";

const from = (address: string, validated = false) => ({
  from: { address, port: 5000 },
  validated,
  originalCid: new Uint8Array(8),
});

test("a source has its rate, and nobody else's", () => {
  const admission = new Admission({ perSecond: 10, burst: 5, seed: 1 });
  const answers = Array.from({ length: 7 }, () => admission.admit(0, from("192.0.2.1"), 0));
  assert.deepEqual(answers, ["accept", "accept", "accept", "accept", "accept", "ignore", "ignore"]);
  assert.equal(admission.admit(0, from("192.0.2.2"), 0), "accept");
  assert.equal(admission.admit(100, from("192.0.2.1"), 0), "accept");
  assert.equal(admission.counts.rateLimited, 2);
});

test("an IPv6 source is its /64", () => {
  const admission = new Admission({ perSecond: 1, burst: 1, seed: 1 });
  assert.equal(admission.admit(0, from("2001:db8::1"), 0), "accept");
  assert.equal(admission.admit(0, from("2001:db8::2"), 0), "ignore");
  assert.equal(admission.admit(0, from("2001:db8:0:1::2"), 0), "accept");
});

test("under load an address must be proved, and under too much nobody is answered", () => {
  const admission = new Admission({ retryAbove: 10, ignoreAbove: 20, seed: 1 });
  assert.equal(admission.admit(0, from("192.0.2.1"), 9), "accept");
  assert.equal(admission.admit(0, from("192.0.2.1"), 10), "retry");
  assert.equal(admission.admit(0, from("192.0.2.1", true), 10), "accept");
  assert.equal(admission.admit(0, from("192.0.2.1", true), 20), "ignore");
});
