/**
 * Networks that people call from, as others measured them. `measured` is what was published and what `profiles.test.ts`
 * holds the profile to; `assumed` is what no source told and we chose.
 */
import type { Impairments } from "./link.ts";

/** A network between a caller and a server. */
export interface NetworkProfile {
  readonly name: string;
  readonly about: string;
  readonly up: Impairments;
  readonly down: Impairments;
  /** How often the NAT forgets the caller and gives out another port. Default: never. */
  readonly rebindEveryMs?: number;
  readonly measured: string;
  readonly source: string;
  readonly assumed: string;
}

const WIFISEER =
  "Sui and others, Characterizing and Improving WiFi Latency in Large-Scale Operational Networks, MobiSys 2016";
const WEAKEST = "Pei and others, WiFi can be the weakest link of round trip network latency in the wild, INFOCOM 2016";
const OOKLA = "Ookla Speedtest Intelligence, United States, Q4 2023 (told by phonearena.com, 16 January 2024)";
const APNIC =
  "Michel and others, IMC 2022 and blog.apnic.net, Fact checking Starlink's performance figures, 28 November 2022";
const MULTIFACETED = "Mohan and others, A Multifaceted Look at Starlink Performance, WWW 2024 (arXiv 2310.09242)";
const RAIL =
  "Wang and others, An Active-Passive Measurement Study of TCP Performance over LTE on High-speed Rails, MobiCom 2019";
const GATEWAYS = "Hatonen and others, An Experimental Study of Home Gateway Characteristics, IMC 2010";

/** Nothing in the way: what loopback is. */
const clear: NetworkProfile = {
  name: "clear",
  about: "nothing in the way",
  up: {},
  down: {},
  measured: "-",
  source: "-",
  assumed: "-",
};

const goodWifi: NetworkProfile = {
  name: "good-wifi",
  about: "a quiet access point and a server in the same country",
  up: { delayMs: 8, jitterMs: 1.5, loss: 0.0005, outages: [{ everyMs: 1500, meanMs: 45 }] },
  down: { delayMs: 8, jitterMs: 1.5, loss: 0.0005, outages: [{ everyMs: 1500, meanMs: 45 }] },
  measured:
    "the radio hop adds 3 ms at the median and about 20 ms at the 90th percentile to a round trip (less its floor)",
  source: WIFISEER,
  assumed: "6.5 ms of internet each way; 0.05 % loss",
};

const CAFE: Impairments = {
  delayMs: 16,
  jitterMs: 6,
  loss: { goodToBad: 0.006, badToGood: 0.35 },
  bitsPerSecond: 2_000_000,
  queueBytes: 60_000,
  outages: [{ everyMs: 900, meanMs: 150 }],
};
const cafeWifi: NetworkProfile = {
  name: "cafe-wifi",
  about: "everybody's videos on one access point",
  up: CAFE,
  down: CAFE,
  measured: "the radio hop alone takes more than 20 ms for half of the packets, more than 100 ms for a tenth",
  source: WEAKEST,
  assumed: "5 ms of internet each way; 1.7 % loss in bursts of three; 2 Mbit/s left over",
};

const lte: NetworkProfile = {
  name: "lte",
  about: "a phone with a good signal",
  up: { delayMs: 30, jitterMs: 5, loss: 0.002, bitsPerSecond: 8_000_000, queueBytes: 200_000 },
  down: { delayMs: 25, jitterMs: 4, loss: 0.001, bitsPerSecond: 30_000_000, queueBytes: 500_000 },
  measured: "round trip of 50 to 64 ms at the median, 8 to 12 Mbit/s up",
  source: OOKLA,
  assumed:
    "5 ms of jitter from scheduling (10 ms and 4 ms frames of LTE); 0.1 to 0.2 % loss, as the radio repeats what it loses",
};

const lteEdge: NetworkProfile = {
  name: "lte-edge",
  about: "one bar: the radio repeats itself, then gives up",
  up: {
    delayMs: 60,
    jitterMs: 20,
    loss: { goodToBad: 0.012, badToGood: 0.3 },
    bitsPerSecond: 400_000,
    queueBytes: 50_000,
    outages: [{ everyMs: 4000, meanMs: 120 }],
  },
  down: {
    delayMs: 45,
    jitterMs: 15,
    loss: { goodToBad: 0.008, badToGood: 0.3 },
    bitsPerSecond: 1_500_000,
    queueBytes: 150_000,
    outages: [{ everyMs: 4000, meanMs: 120 }],
  },
  measured: "the worst operator's samples fail 5 Mbit/s down and 1 Mbit/s up in 19 % of cases; such a sample is meant",
  source: OOKLA,
  assumed:
    "round trip of 105 ms, 2.6 to 3.8 % loss in bursts of three, a pause of 120 ms every 4 s: no source gives them together",
};

const train: NetworkProfile = {
  name: "train",
  about: "LTE at 300 km/h: a handover every few seconds",
  up: { ...lte.up, delayMs: 45, jitterMs: 15, loss: 0.01, outages: [{ everyMs: 11_000, meanMs: 350, drops: true }] },
  down: {
    ...lte.down,
    delayMs: 40,
    jitterMs: 12,
    loss: 0.008,
    outages: [{ everyMs: 11_000, meanMs: 350, drops: true }],
  },
  measured:
    "handovers are frequent at 300 km/h and break the flow; round trip and loss are worse than standing and vary much",
  source: RAIL,
  assumed:
    "a handover every 11 s (cells of 1 km at 300 km/h are 12 s) that loses 350 ms at the mean; 0.8 to 1 % loss between them",
};

const satellite: NetworkProfile = {
  name: "satellite",
  about: "a dish that looks at another satellite every 15 s",
  up: {
    delayMs: 25,
    jitterMs: 7,
    loss: { goodToBad: 0.002, badToGood: 0.2 },
    outages: [{ everyMs: 15_000, meanMs: 60, regular: true, drops: true }],
  },
  down: {
    delayMs: 25,
    jitterMs: 7,
    loss: { goodToBad: 0.002, badToGood: 0.2 },
    outages: [{ everyMs: 15_000, meanMs: 60, regular: true, drops: true }],
  },
  measured:
    "round trip of 50 ms at the median, 40 and 60 at the quartiles; the link is set up anew every 15 s, everywhere at once",
  source: `${APNIC}; ${MULTIFACETED}`,
  assumed: "60 ms are lost at a new set-up; 1 % loss in bursts of five",
};

const hotelNat: NetworkProfile = {
  name: "hotel-nat",
  about: "a shared gateway that forgets who is who",
  up: { delayMs: 20, jitterMs: 4, loss: 0.005, bitsPerSecond: 1_000_000, queueBytes: 64_000, mtu: 1400 },
  down: { delayMs: 20, jitterMs: 4, loss: 0.005, bitsPerSecond: 3_000_000, queueBytes: 128_000, mtu: 1400 },
  rebindEveryMs: 30_000,
  measured: "the shortest UDP binding of 34 gateways lasts 30 s",
  source: GATEWAYS,
  assumed: "the binding ends although packets flow, as in a full table; rates, delay and 0.5 % loss",
};

/** All profiles, by name. */
export const PROFILES: Readonly<Record<string, NetworkProfile>> = {
  clear,
  "good-wifi": goodWifi,
  "cafe-wifi": cafeWifi,
  lte,
  "lte-edge": lteEdge,
  train,
  satellite,
  "hotel-nat": hotelNat,
};

/** The profile called `name`; throws the list of those there are. */
export function networkProfile(name: string): NetworkProfile {
  const profile = PROFILES[name];
  if (!profile) throw new RangeError(`no network profile "${name}"; there are: ${Object.keys(PROFILES).join(", ")}`);
  return profile;
}
