/**
 * Self-made certificates for `serverCertificateHashes` (W3C WebTransport, section 3.2.5: ECDSA P-256, at most 14 days).
 * They are computed from the fleet's keys and the date, so that a client whose first packet reaches another transceiver than
 * signaling did meets a certificate whose hash it was given.
 */
import { createHash } from "node:crypto";
import type { KeyRing, RingKey } from "@sluice/routing";
import { createCertificate } from "../webrtc/dtls-certificate.ts";
import { deriveP256Key, signDeterministic } from "./ecdsa.ts";
import type { QuicIdentity } from "./quic-engine.ts";

const HOUR_MS = 3_600_000;
/** Certificates are valid for 13 days and shown for the middle of them. */
export const CERTIFICATE_LIFE_MS = 13 * 24 * HOUR_MS;
/** Half of it: every so often the next one is shown. */
export const CERTIFICATE_PERIOD_MS = CERTIFICATE_LIFE_MS / 2;
/** How far clocks of a fleet, and of clients, may differ where certificates change. */
const CLOCK_SKEW_MS = HOUR_MS;
const MARGIN_MS = (CERTIFICATE_LIFE_MS - CERTIFICATE_PERIOD_MS) / 2;

/** What is shown in one period. */
export interface FleetCertificate {
  readonly identity: QuicIdentity;
  /** SHA-256 of the certificate. */
  readonly hash: Uint8Array;
  /** Unix milliseconds: when to show the next one. */
  readonly until: number;
}

/** The certificates of a fleet. */
export class FleetCertificates {
  readonly #ring: KeyRing;
  readonly #made = new Map<string, FleetCertificate>();

  constructor(ring: KeyRing) {
    this.#ring = ring;
  }

  /** What to show at `unixMs`. */
  current(unixMs: number): FleetCertificate {
    return this.#at(this.#ring.minting, periodOf(unixMs));
  }

  /** Hashes of whatever a transceiver of the fleet may show within the hour: of every live key, and of the next period. */
  hashes(unixMs: number): Uint8Array[] {
    const periods = new Set([periodOf(unixMs - CLOCK_SKEW_MS), periodOf(unixMs), periodOf(unixMs) + 1]);
    return this.#ring.keys.flatMap((key) => [...periods].map((period) => this.#at(key, period).hash));
  }

  #at(key: RingKey, period: number): FleetCertificate {
    const name = `${key.rotation} ${period}`;
    let made = this.#made.get(name);
    if (!made) {
      made = create(key.quicKey, period);
      this.#made.set(name, made);
      if (this.#made.size > MAX_MADE) this.#made.delete(this.#made.keys().next().value!);
    }
    return made;
  }
}

/** Of seven keys, three periods each. */
const MAX_MADE = 32;

const periodOf = (unixMs: number) => Math.floor(unixMs / CERTIFICATE_PERIOD_MS);

function create(secret: Uint8Array, period: number): FleetCertificate {
  const key = deriveP256Key(secret, `certificate ${period}`);
  const from = period * CERTIFICATE_PERIOD_MS;
  const certificate = createCertificate({
    publicKey: key.publicKey,
    notBefore: from - MARGIN_MS,
    notAfter: from + CERTIFICATE_PERIOD_MS + MARGIN_MS,
    sign: (content) => signDeterministic(key, content),
  });
  return {
    identity: { certificateChain: [certificate], privateKey: key.privateKey },
    hash: createHash("sha256").update(certificate).digest(),
    until: from + CERTIFICATE_PERIOD_MS,
  };
}
