/**
 * What SRTP costs on 20 ms Opus packets of 100 octets of payload: `protect_us`, `unprotect_us` (AEAD_AES_128_GCM) and
 * `protect_cm_us`, `unprotect_cm_us` (AES128_CM_HMAC_SHA1_80), `protect_native_us` and `unprotect_native_us` (GCM by the
 * native addon, where it was built), medians of alternating rounds: `--rounds 15`,
 * `--packets 4000` each. CPU time of the whole process, collection of garbage included, so that neighbours on the
 * machine count little.
 */
import { loadGcm } from "../../packages/transceiver/src/node/srtp-addon.ts";
import { encodeRtp } from "../../packages/transceiver/src/webrtc/rtp.ts";
import { createSrtpContext } from "../../packages/transceiver/src/webrtc/srtp.ts";
import { type SrtpProfile, srtpKeySizes } from "../../packages/transceiver/src/webrtc/srtp-suite.ts";
import { quantile } from "../quantile.ts";
import type { BenchOptions, BenchResult } from "./run.ts";

const PAYLOAD_SIZE = 100;
const SUITES: readonly { readonly suffix: string; readonly profile: SrtpProfile; readonly native: boolean }[] = [
  ...(loadGcm() ? [{ suffix: "_native", profile: "AEAD_AES_128_GCM", native: true } as const] : []),
  { suffix: "", profile: "AEAD_AES_128_GCM", native: false },
  { suffix: "_cm", profile: "AES128_CM_HMAC_SHA1_80", native: false },
];

/** Runs the bench. */
export async function run({ flags }: BenchOptions): Promise<BenchResult> {
  const [rounds, packets] = [Number(flags.rounds ?? 15), Number(flags.packets ?? 4000)];
  const costs = new Map<string, number[]>();
  // The first round warms up the compiler and is thrown away.
  for (let round = 0; round <= rounds; round++)
    for (const { suffix, profile, native } of SUITES) {
      const { protectUs, unprotectUs } = measure(profile, native, packets);
      if (round === 0) continue;
      for (const [name, us] of [
        [`protect${suffix}_us`, protectUs],
        [`unprotect${suffix}_us`, unprotectUs],
      ] as const)
        costs.set(name, [...(costs.get(name) ?? []), us]);
    }
  const rows = Array.from(costs, ([name, us]) => ({
    name,
    min: quantile(us, 0),
    p50: quantile(us, 0.5),
    max: quantile(us, 1),
  }));
  for (const { name, min, p50, max } of rows) {
    console.log(`${name}: ${p50.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)}) of ${rounds} rounds`);
  }
  return { metrics: Object.fromEntries(rows.map(({ name, p50 }) => [name, p50])), rows };
}

function measure(profile: SrtpProfile, native: boolean, count: number): { protectUs: number; unprotectUs: number } {
  const masterSalt = Buffer.alloc(srtpKeySizes[profile].salt, 2);
  const keys = { masterKey: Buffer.alloc(16, 1), masterSalt, gcm: native ? loadGcm() : undefined };
  const [sender, receiver] = [createSrtpContext({ profile, ...keys }), createSrtpContext({ profile, ...keys })];
  const plain = Array.from({ length: count }, (_, index) =>
    encodeRtp({
      marker: false,
      payloadType: 111,
      sequenceNumber: index & 0xffff,
      timestamp: index * 960,
      ssrc: 1,
      payload: Buffer.alloc(PAYLOAD_SIZE, index),
    }),
  );
  const start = cpuUs();
  const sealed = plain.map((packet) => sender.protectRtp(packet));
  const middle = cpuUs();
  const opened = sealed.filter((packet) => receiver.unprotectRtp(packet) !== undefined).length;
  const end = cpuUs();
  if (opened !== count) throw new Error(`only ${opened} of ${count} packets were opened`);
  return { protectUs: (middle - start) / count, unprotectUs: (end - middle) / count };
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
