import assert from "node:assert/strict";
import { test } from "node:test";
import {
  clusterOf,
  createServerId,
  decodeServerId,
  encodeServerId,
  formatServerId,
  nodeOf,
  parseServerId,
} from "./server-id.ts";

test("a server id survives its bytes and its text", () => {
  for (const [cluster, node] of [
    [0, 0],
    [1, 2],
    [65_535, 65_535],
    [40_000, 1],
  ] as const) {
    const id = createServerId(cluster, node);
    assert.deepEqual([clusterOf(id), nodeOf(id)], [cluster, node]);
    assert.equal(decodeServerId(encodeServerId(id)), id);
    assert.equal(formatServerId(id), `${cluster}.${node}`);
    assert.equal(parseServerId(`${cluster}.${node}`), id);
  }
});

test("text and numbers that name no server are refused", () => {
  for (const text of ["", "1", "1.", ".1", "1.2.3", "65536.0", "0.65536", "01.2", "-1.2", "1.2 ", "127.0.0.1"])
    assert.equal(parseServerId(text), undefined, text);
  for (const [cluster, node] of [
    [-1, 0],
    [0, 65_536],
    [0.5, 0],
  ] as const)
    assert.throws(() => createServerId(cluster, node), RangeError);
  assert.equal(decodeServerId(new Uint8Array(3)), undefined);
});
