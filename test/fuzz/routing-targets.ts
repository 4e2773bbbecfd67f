/** The parsers of the token, STUN, QUIC headers and the relay hop. */
import { randomBytes } from "node:crypto";
import {
  createKeyRing,
  createServerId,
  decodeHop,
  encodeHop,
  formatBindingError,
  formatBindingRequest,
  formatBindingSuccess,
  formatRegistration,
  generateKey,
  hasValidFingerprint,
  hasValidIntegrity,
  icePassword,
  mintUfrag,
  parseIp,
  parseQuicHeader,
  parseRegistration,
  parseServerId,
  parseStun,
  readUfrag,
} from "@sluice/routing";
import { type FuzzTarget, textTarget } from "./target.ts";

const hex = (text: string) => Buffer.from(text, "hex");
const ring = createKeyRing([generateKey(randomBytes, 1), generateKey(randomBytes, 0)]);
const now = 1_800_000_000;
const ufrag = mintUfrag(ring, { serverId: createServerId(1, 2), expiresAt: now, random: randomBytes });
const password = icePassword(ring, ufrag);
const transactionId = new Uint8Array(12);
const client = { address: Uint8Array.of(192, 0, 2, 1), port: 1, unverified: false, entryRelay: 0 };

/** The parsers of `@sluice/routing`. */
export const routingTargets: readonly FuzzTarget[] = [
  {
    name: "STUN",
    seeds: [
      formatBindingRequest({ transactionId, username: `${ufrag}:abcd`, password, useCandidate: true }),
      formatBindingSuccess({ transactionId, address: "192.0.2.1", port: 5, password }),
      formatBindingSuccess({ transactionId, address: "2001:db8::1", port: 5, password }),
      formatBindingError({ transactionId, code: 420, reason: "Unknown Attribute", unknownRequired: [1, 2] }),
    ],
    parse(input) {
      const message = parseStun(input);
      // HMAC costs more than all parsing: every input that came this far gets the CRC, few get the HMAC.
      if (message && hasValidFingerprint(message)) hasValidIntegrity(message, password);
    },
  },
  textTarget("ufrag", [ufrag], (text) => readUfrag(ring, text, now), 48),
  {
    name: "QUIC header",
    seeds: [
      hex("c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11"),
      hex("ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba"),
      hex("d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485"),
      hex("4cfe4189655e5cd55c41f69080575d7999c25a5bfb"),
    ],
    parse: (input) => parseQuicHeader(input, 17),
  },
  {
    name: "connection ID",
    seeds: [ring.mintCid(createServerId(1, 2), randomBytes(12))],
    maxSize: 24,
    share: 0.25,
    parse: (input) => ring.readCid(input),
  },
  {
    name: "hop header",
    seeds: [
      encodeHop(client, randomBytes(20)),
      encodeHop({ ...client, address: new Uint8Array(16) }, randomBytes(20)),
      encodeHop(client, randomBytes(20), new Uint8Array(32)),
    ],
    parse: (input) => decodeHop(input),
  },
  textTarget("address", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"], parseIp, 48, 0.25),
  textTarget(
    "registration",
    [
      formatRegistration(ring, {
        serverId: createServerId(1, 2),
        address: "192.0.2.1",
        port: 5000,
        load: 0.5,
        draining: false,
        quic: true,
        expiresAt: now,
      }),
    ],
    (text) => parseRegistration(ring, text, now),
    256,
    0.1,
  ),
  textTarget("server id", ["1.2", "65535.65535"], parseServerId, 16, 0.1),
];
