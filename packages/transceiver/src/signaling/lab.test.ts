import assert from "node:assert/strict";
import { test } from "node:test";
import type { Grant } from "./auth.ts";
import { ParameterError } from "./http-error.ts";
import { answerLab, type LabOrder } from "./lab.ts";

/** Asks a lab that notes its orders. */
function createLab() {
  const orders: LabOrder[] = [];
  const lab = {
    place: undefined,
    state: async () => ({ profiles: [], profile: "lte", packets: { carried: 5, dropped: 1 } }),
    apply: async (order: LabOrder) => {
      if (order.profile === "moon") throw new RangeError("There is no network 'moon'.");
      orders.push(order);
    },
    close: async () => {},
  };
  const ask = (
    body: object | undefined,
    { headers = {}, from = "127.0.0.1", grant = { kind: "loopback" } as Grant } = {},
  ) => {
    const init = body ? { method: "POST", body: JSON.stringify(body) } : {};
    const request = new Request("http://localhost:8080/v1/lab/network", {
      ...init,
      headers: { host: "localhost:8080", "content-type": "application/json", ...headers },
    });
    return answerLab(lab, request, from, grant);
  };
  return { ask, orders };
}

test("a page of this machine sees the network and changes it", async () => {
  const { ask, orders } = createLab();
  const state = await ask(undefined);
  assert.equal(state.headers.get("cache-control"), "no-store");
  assert.equal(((await state.json()) as { profile: string }).profile, "lte");
  const changes = [{ profile: "train" }, { profile: null }, { rebind: true }, { blackout_ms: 3000 }];
  for (const change of changes)
    assert.equal((await ask(change, { headers: { origin: "http://localhost:8080" } })).status, 200);
  assert.deepEqual(orders, changes);
  assert.equal((await ask({ rebind: true }, { grant: { kind: "key" } })).status, 200);
});

test("nobody else can, whatever they have: not over the network, by a proxy, from a page on the web, by a name that resolves here", async () => {
  const { ask, orders } = createLab();
  const secret: Grant = { kind: "secret", session: undefined };
  for (const attempt of [
    { from: "192.0.2.7" },
    { from: "192.0.2.7", grant: { kind: "key" } as Grant },
    { headers: { "x-forwarded-for": "127.0.0.1" }, grant: { kind: "key" } as Grant },
    { headers: { origin: "https://evil.example" } },
    { headers: { origin: "null" } },
    { headers: { host: "evil.example:8080" } },
    { grant: secret },
  ])
    for (const body of [undefined, { rebind: true }])
      assert.equal((await ask(body, attempt)).status, 403, JSON.stringify(attempt));
  assert.deepEqual(orders, []);
});

test("an order that is none is refused and changes nothing", async () => {
  const { ask, orders } = createLab();
  for (const body of [{ profile: "moon" }, { profile: 7 }, { blackout_ms: 60_000 }, { rebind: "yes" }, []])
    await assert.rejects(ask(body), ParameterError);
  assert.deepEqual(orders, []);
});
