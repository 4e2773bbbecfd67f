import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp } from "@sluice/routing";
import fc from "fast-check";
import { Peers, ROW_WORDS } from "./peers.ts";

const table = new Uint32Array(2 * ROW_WORDS);

test("an address comes back as the text that Node has for it", () => {
  for (const [ipv6, size] of [
    [false, 4],
    [true, 16],
  ] as const) {
    const peers = new Peers(ipv6);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: size, maxLength: size }), (ip) => {
        const text = formatIp(ip);
        assert.ok(peers.write(text, table, 1));
        assert.equal(peers.nameAt(table, 1), text);
        assert.equal(peers.nameAt(table, 1), text, "remembered");
      }),
    );
  }
});

test("IPv4 on an IPv6 socket is mapped, whichever way it is written", () => {
  const peers = new Peers(true);
  for (const text of ["192.0.2.1", "::ffff:192.0.2.1"]) {
    assert.ok(peers.write(text, table, 0));
    assert.equal(peers.nameAt(table, 0), "::ffff:192.0.2.1");
  }
});

test("names and addresses of the other family are refused", () => {
  assert.ok(!new Peers(false).write("::1", table, 0));
  assert.ok(!new Peers(false).write("localhost", table, 0));
  assert.ok(!new Peers(true).write("", table, 0));
});

test("addresses without end take no memory without end, and none is taken for another", () => {
  const peers = new Peers(false);
  for (let word = 0; word < 50_000; word++) {
    const text = `10.${word >> 16}.${(word >> 8) & 255}.${word & 255}`;
    assert.ok(peers.write(text, table, 0));
    assert.equal(peers.nameAt(table, 0), text);
  }
  assert.ok(peers.size <= 20_480);
});
