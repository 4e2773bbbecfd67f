/** What the relay pays for a first packet: reading a connection ID, a ufrag, a check and its integrity. */
import { randomBytes } from "node:crypto";
import {
  createKeyRing,
  createServerId,
  formatBindingRequest,
  generateKey,
  hasValidFingerprint,
  hasValidIntegrity,
  icePassword,
  mintUfrag,
  parseStun,
  readUfrag,
} from "@sluice/routing";
import type { BenchOptions, BenchResult } from "./run.ts";

/** Runs the bench; flag `calls`, default 200,000 of each. */
export async function run({ flags }: BenchOptions): Promise<BenchResult> {
  const calls = Number(flags.calls ?? 200_000);
  const ring = createKeyRing([generateKey(randomBytes, 1), generateKey(randomBytes, 0)]);
  const serverId = createServerId(1, 2);
  const cid = ring.mintCid(serverId, randomBytes(12));
  const ufrag = mintUfrag(ring, { serverId, expiresAt: 4_000_000_000, random: randomBytes });
  const password = icePassword(ring, ufrag);
  const request = { transactionId: randomBytes(12), username: `${ufrag}:peer`, password };
  const packet = formatBindingRequest(request);
  const message = parseStun(packet)!;
  const metrics = {
    cid_decode_us: cost(calls, () => ring.readCid(cid)),
    ufrag_read_us: cost(calls, () => readUfrag(ring, ufrag, 0)),
    ice_password_us: cost(calls, () => icePassword(ring, ufrag)),
    stun_parse_us: cost(calls, () => parseStun(packet)),
    stun_fingerprint_us: cost(calls, () => hasValidFingerprint(message)),
    stun_integrity_us: cost(calls, () => hasValidIntegrity(message, password)),
  };
  return { metrics };
}

/** Microseconds of processor time a call, the best of five runs: others on this machine only ever make it longer. */
function cost(calls: number, work: () => unknown): number {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < calls; i++) work();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / calls);
  }
  return best;
}
