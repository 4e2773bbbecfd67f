import assert from "node:assert/strict";
import { test } from "node:test";
import { Link } from "@sluice/netem";
import type { Address } from "../webrtc/ice-lite.ts";
import { QuicPair, type QuicPairOptions } from "../webtransport/quic-pair.ts";
import { loadQuicEngine } from "./quic-engine.ts";

const loaded = loadQuicEngine();
const skip = loaded.engine ? false : loaded.reason;

function pair(options: Partial<QuicPairOptions> = {}, impairments = { delayMs: 30 }): QuicPair {
  const [up, down] = [new Link<Address>(impairments, 1), new Link<Address>(impairments, 2)];
  return new QuicPair({ engine: loaded.engine!, up, down, ...options });
}

test("a client connects in one round trip", { skip }, () => {
  const wire = pair();
  wire.connect();
  assert.ok(wire.run(() => wire.client.of("connected").length > 0));
  assert.equal(wire.now, 60);
});
