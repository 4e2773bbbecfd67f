import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { createClient } from "redis";
import { MAX_RECORD_SIZE } from "../resumption/seal.ts";
import { RedisStore } from "./redis-store.ts";

const record = (size: number, value = 7) => new Uint8Array(size).fill(value);

async function openRedis(t: TestContext): Promise<{ url: string; process: ChildProcess }> {
  if (spawnSync("redis-server", ["--version"]).error) throw new Error("redis-server is missing: install it");
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  const process = spawn("redis-server", ["--port", `${port}`, "--save", "", "--bind", "127.0.0.1"], {
    stdio: "ignore",
  });
  t.after(() => process.kill("SIGKILL"));
  return { url: `redis://127.0.0.1:${port}`, process };
}

async function openStore(t: TestContext, url: string): Promise<{ store: RedisStore; lines: string[] }> {
  const lines: string[] = [];
  const store = new RedisStore({ url, livesMs: 5000, log: (line) => lines.push(line) });
  t.after(() => store.close());
  for (let tries = 0; !store.isUp && tries < 200; tries++) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(store.isUp);
  return { store, lines };
}

test("of all who ask Redis for a record one gets it, and its owner hears that it is gone", async (t) => {
  const { url } = await openRedis(t);
  const [{ store }, { store: other }] = [await openStore(t, url), await openStore(t, url)];
  assert.equal(await store.put("a", record(1000)), "kept");
  assert.equal(await store.put("a", record(2000)), "kept");
  assert.equal(await other.has("a"), true);
  const taken = await Promise.all([store.take("a"), other.take("a"), other.take("a")]);
  assert.deepEqual(
    taken.filter((one) => one !== undefined).map((one) => new Uint8Array(one)),
    [record(2000)],
  );
  assert.deepEqual([await other.has("a"), await store.put("a", record(3000))], [false, "taken"]);
});

test("what others put into Redis is neither taken whole nor in the way", async (t) => {
  const { url } = await openRedis(t);
  const { store } = await openStore(t, url);
  const vandal = createClient({ url });
  await vandal.connect();
  t.after(() => vandal.destroy());
  await vandal.rPush("sluice:conversation:a", "wrong type");
  assert.deepEqual(
    [await store.has("a"), await store.take("a"), await store.put("a", record(100))],
    [false, undefined, "away"],
  );
  assert.equal(await store.put("a", record(100)), "kept", "it was removed");
  await vandal.set("sluice:conversation:b", "x".repeat(MAX_RECORD_SIZE + 1));
  assert.deepEqual([await store.has("b"), await store.take("b")], [false, undefined]);
});

test("a Redis that hangs is given up after a second, asked no more for a while, and complained of once", async (t) => {
  const { url, process } = await openRedis(t);
  const { store, lines } = await openStore(t, url);
  process.kill("SIGSTOP");
  t.after(() => process.kill("SIGCONT"));
  const since = performance.now();
  const puts = Array.from({ length: 200 }, () => store.put("a", record(1000)));
  assert.ok(performance.now() - since < 500, "nobody waits to ask");
  assert.deepEqual(new Set(await Promise.all(puts)), new Set(["away"]));
  assert.equal(store.isUp, false);
  assert.equal(await store.put("a", record(1000)), "away");
  assert.ok(store.counters.skipped > 100);
  assert.deepEqual([lines.length, lines[1]?.includes("within this transceiver only")], [2, true]);
});
