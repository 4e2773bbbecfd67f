import assert from "node:assert/strict";
import { test } from "node:test";
import { parseWebTransportCall } from "./webtransport-call.ts";

test("takes a wish with nothing in it, and one with everything", () => {
  assert.deepEqual(parseWebTransportCall({ transport: "webtransport" }), {
    ok: true,
    request: { transport: "webtransport", session: undefined, leadMs: 10_000, events: "client" },
  });
  const body = {
    transport: "webtransport",
    lead_ms: 0,
    events: "server",
    session: { type: "realtime", instructions: "Be brief." },
  };
  const parsed = parseWebTransportCall(body);
  assert.ok(parsed.ok);
  assert.equal(parsed.request.leadMs, 0);
  assert.equal(parsed.request.events, "server");
  const moq = parseWebTransportCall({ transport: "moq" });
  assert.equal(moq.ok && moq.request.transport, "moq");
  assert.equal(parsed.request.session?.instructions, "Be brief.");
});

test("says which part of a wish cannot be met", () => {
  const param = (value: unknown) => {
    const parsed = parseWebTransportCall(value);
    return parsed.ok ? "ok" : parsed.error.param;
  };
  assert.equal(param(7), null);
  assert.equal(param({ transport: "carrier pigeon" }), "transport");
  for (const lead_ms of [-1, 60_001, Number.NaN, "10", null]) {
    assert.equal(param({ transport: "webtransport", lead_ms }), "lead_ms");
  }
  assert.equal(param({ transport: "webtransport", events: "nobody" }), "events");
  const session = { audio: { output: { speed: 9 } } };
  assert.equal(param({ transport: "webtransport", session }), "session.audio.output.speed");
});
