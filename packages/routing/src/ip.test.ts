import assert from "node:assert/strict";
import { isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { formatIp, isWithin, parseIp, parsePrefix } from "./ip.ts";

test("writes the canonical text of RFC 5952", () => {
  for (const [text, canonical] of [
    ["192.0.2.1", "192.0.2.1"],
    ["2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["::", "::"],
    ["::1", "::1"],
    ["fe80::", "fe80::"],
    ["2001:DB8::A", "2001:db8::a"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ])
    assert.equal(formatIp(parseIp(text!)!), canonical);
});

test("refuses what is no numeric address", () => {
  for (const text of [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "256.1.1.1",
    "1..2.3",
    ":",
    ":::",
    "1::2::3",
    "fe80::1%eth0",
  ])
    assert.equal(parseIp(text), undefined, text);
  for (const text of ["1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7", "g::1", "12345::", "1.2.3.4::", "localhost"])
    assert.equal(parseIp(text), undefined, text);
});

test("agrees with Node's own judgement of addresses, and reads back what it wrote", () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ unit: fc.constantFrom(..."0123.:af") })), (text) => {
      const ip = parseIp(text);
      assert.equal(ip !== undefined, isIP(text) !== 0, text);
      if (ip) assert.deepEqual(parseIp(formatIp(ip)), ip);
    }),
    { numRuns: 2000 },
  );
});

test("a network holds its addresses and no others, in both families and at every length", () => {
  const holds = (network: string, address: string) => isWithin(parseIp(address)!, parsePrefix(network)!);
  assert.ok(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
  assert.ok(holds("192.0.2.128/25", "192.0.2.200") && !holds("192.0.2.128/25", "192.0.2.127"));
  assert.ok(holds("2001:db8::/33", "2001:db8:7fff::1") && !holds("2001:db8::/33", "2001:db8:8000::1"));
  assert.ok(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
  assert.ok(holds("0.0.0.0/0", "198.51.100.9") && !holds("0.0.0.0/0", "2001:db8::1"));
  for (const wrong of ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "/8", "10.0.0/8", "::/129", "::/-1"]) {
    assert.equal(parsePrefix(wrong), undefined, wrong);
  }
});
