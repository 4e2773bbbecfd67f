import assert from "node:assert/strict";
import { test } from "node:test";
import { Nat } from "./nat.ts";

const inner = { address: "10.0.0.2", port: 5000 };

test("a mapping holds until it is rebound, and the old port then leads nowhere", () => {
  const nat = new Nat("198.51.100.1", 3);
  const first = nat.outward(inner);
  assert.deepEqual(nat.outward(inner), first);
  assert.deepEqual(nat.inward(first), inner);
  const second = nat.rebind(inner);
  assert.notEqual(second.port, first.port);
  assert.equal(nat.inward(first), undefined);
  assert.deepEqual(nat.inward(second), inner);
});

test("a changed path gives a new outer address and forgets every mapping", () => {
  const nat = new Nat("198.51.100.1", 3);
  const old = nat.outward(inner);
  nat.changePath("203.0.113.1");
  assert.equal(nat.inward(old), undefined);
  assert.equal(nat.outward(inner).address, "203.0.113.1");
});

test("two inner addresses never share a port", () => {
  const nat = new Nat("198.51.100.1", 3);
  const ports = Array.from({ length: 5000 }, (_, port) => nat.outward({ address: "10.0.0.3", port }).port);
  assert.equal(new Set(ports).size, ports.length);
});
