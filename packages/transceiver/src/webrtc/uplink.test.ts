import assert from "node:assert/strict";
import { before, test } from "node:test";
import { durationMs, type EarlyAudio, type OrderedAudio } from "@sluice/conversation";
import { FRAME_SAMPLES, loadOpus, type OpusCodec, type OpusDecoder } from "../media/opus.ts";
import { opusPacketTicks } from "../media/opus-packet.ts";
import { decodeRed, encodeRed } from "./red.ts";
import type { RtpPacket } from "./rtp.ts";
import { Uplink, type UplinkAudio, type UplinkCounts, type UplinkOptions } from "./uplink.ts";

const OPUS = 111;
const RED = 63;
let opus: OpusCodec;
let frames: Uint8Array[]; // 10 s of tone with in-band FEC
let decoders: OpusDecoder[];

before(async () => {
  opus = await loadOpus();
  const encoder = await opus.createEncoder({ mode: "voip" });
  encoder.setPacketLossPercent(20);
  frames = Array.from({ length: 500 }, (_, index) => encoder.encode(voice(index)));
  encoder.free();
  decoders = [await opus.createDecoder(), await opus.createDecoder()];
});

test("in order, one decoding serves both clocks", () => {
  const run = createRun();
  for (let index = 0; index < 50; index++) run.receive(index * 20, packet(index));
  assert.equal(run.ordered.length, 50);
  assert.deepEqual(
    run.early.map(({ mediaMs }) => mediaMs),
    Array.from({ length: 50 }, (_, index) => index * 20),
  );
  run.ordered.forEach(({ pcm, mediaMs }, index) => {
    assert.equal(pcm, run.early[index]!.pcm);
    assert.equal(mediaMs, run.early[index]!.mediaMs);
  });
  assertCounts(run.uplink.takeCounts(), { received: 50 });
});

test("voice activity hears a packet beyond a hole at once, recognition once the hole is filled", () => {
  const run = createRun();
  run.receive(0, packet(0));
  run.receive(40, packet(2));
  assert.deepEqual(positions(run.early), [0, 40]);
  assert.deepEqual(positions(run.ordered), [0]);
  run.receive(45, packet(1));
  assert.deepEqual(positions(run.early), [0, 40], "what lies behind was heard too late to matter");
  assert.deepEqual(positions(run.ordered), [0, 20, 40]);
  assertCounts(run.uplink.takeCounts(), { received: 3, reordered: 1 });
});

test("RED fills a hole before anyone waits", () => {
  const run = createRun();
  run.receive(0, redPacket(0, 1));
  run.receive(40, redPacket(2, 1));
  assert.deepEqual(positions(run.early), [0, 20, 40]);
  assert.deepEqual(
    run.ordered.map(({ origin }) => origin),
    ["received", "repaired", "received"],
  );
  assert.equal(run.uplink.pollTimeout(), undefined);
  assertCounts(run.uplink.takeCounts(), { received: 2, repaired: 1, lost: 1 });
});

test("gives a hole up after a bounded time: first lost packets are concealed, the last comes from FEC", () => {
  const run = createRun({ minWaitMs: 30 });
  run.receive(0, packet(100));
  run.receive(60, packet(103));
  assert.equal(run.uplink.pollTimeout(), 90);
  run.advance(89);
  assert.equal(run.ordered.length, 1);
  run.advance(90);
  assert.deepEqual(
    run.ordered.map(({ origin }) => origin),
    ["received", "concealed", "fec", "received"],
  );
  assert.deepEqual(positions(run.ordered), [0, 20, 40, 60]);
  run.receive(95, packet(101));
  assertCounts(run.uplink.takeCounts(), { received: 2, lost: 2, concealed: 1, fec: 1, late: 1 });
});

test("what comes too late makes the next wait longer, up to the maximum", () => {
  const run = createRun({ minWaitMs: 20, maxWaitMs: 100 });
  run.receive(0, packet(0));
  run.receive(40, packet(2));
  assert.equal(run.uplink.waitMs, 20);
  run.receive(100, packet(1));
  assert.ok(run.uplink.waitMs > 60 && run.uplink.waitMs <= 75, `${run.uplink.waitMs}`);
  run.receive(140, packet(4));
  run.receive(600, packet(3));
  assert.equal(run.uplink.waitMs, 100);
});

test("asks for a missing packet after a reordering allowance, again after a round trip, and takes the answer", () => {
  const run = createRun({ nack: true });
  run.uplink.handleRoundTrip(60);
  run.receive(0, packet(65535));
  run.receive(40, packet(65537));
  assert.equal(run.uplink.nextNack(), undefined);
  assert.equal(run.uplink.pollTimeout(), 50);
  run.advance(50);
  assert.deepEqual(run.uplink.nextNack(), [0]);
  assert.equal(run.uplink.nextNack(), undefined);
  run.receive(112, packet(65536));
  assert.deepEqual(positions(run.ordered), [0, 20, 40]);
  assertCounts(run.uplink.takeCounts(), { received: 2, repaired: 1, lost: 1 });
});

test("requests end with the hole", () => {
  const run = createRun({ nack: true, maxWaitMs: 100 });
  run.uplink.handleRoundTrip(20);
  run.receive(0, packet(0));
  run.receive(40, packet(2));
  run.advance(1000);
  let requests = 0;
  while (run.uplink.nextNack() !== undefined) requests += 1;
  assert.ok(requests <= 4);
  assert.equal(run.uplink.pollTimeout(), undefined);
});

test("a peer that never answers requests is not waited for", () => {
  const run = createRun({ nack: true, maxWaitMs: 300 });
  run.uplink.handleRoundTrip(100);
  assert.equal(run.uplink.waitMs, 160);
  for (let index = 0; index < 50; index += 2) run.receive(index * 20, packet(index));
  run.advance(2000);
  assert.equal(run.uplink.waitMs, 20);
});

test("a timestamp gap between consecutive packets is silence, not loss", () => {
  const run = createRun();
  run.receive(0, packet(0));
  run.receive(400, { ...packet(1), timestamp: 400 * 48 });
  assert.deepEqual(positions(run.ordered), [0, 20, 400]);
  assert.equal(durationMs(run.ordered[1]!.pcm), 380);
  assert.ok(run.ordered[1]!.pcm.every((sample) => sample === 0));
  assertCounts(run.uplink.takeCounts(), { received: 2 });
});

test("while the caller's side pauses with DTX, voice activity hears the silence as it lasts", () => {
  const run = createRun();
  run.receive(0, packet(0));
  run.receive(20, { ...packet(1), payload: Uint8Array.of(packet(1).payload[0]!) });
  for (let at = run.uplink.pollTimeout(); at !== undefined && at <= 400; at = run.uplink.pollTimeout()) run.advance(at);
  assert.deepEqual(positions(run.early), [0, 20, ...Array.from({ length: 18 }, (_, index) => 40 + index * 20)]);
  assert.equal(run.ordered.length, 2);
  run.receive(420, { ...packet(2), timestamp: 420 * 48 });
  assert.equal(run.early.at(-1)!.mediaMs, 420);
  assert.deepEqual(positions(run.ordered), [0, 20, 40, 420]);
  assert.equal(run.uplink.pollTimeout(), undefined);
});

test("a flood is cut to the pace of the wall", () => {
  const run = createRun();
  for (let index = 0; index < 30_000; index++) run.receive(index, packet(index));
  const spokenMs = run.ordered.reduce((sum, { pcm }) => sum + durationMs(pcm), 0);
  assert.ok(spokenMs > 59_000 && spokenMs < 62_000, `${spokenMs}`);
  assert.ok(run.uplink.takeCounts().excess > 25_000);
});

test("a far timestamp beyond a hole does not deafen voice activity", () => {
  const run = createRun();
  run.receive(0, packet(0));
  run.receive(40, { ...packet(2), timestamp: 48 * 3_600_000 });
  for (let index = 3; index < 20; index++)
    run.receive(index * 20, { ...packet(index), timestamp: 48 * 3_600_000 + (index - 2) * 960 });
  assert.ok(run.early.length > 10);
  assert.ok(
    run.early.every(({ mediaMs }) => mediaMs < 400),
    `${positions(run.early)}`,
  );
});

test("timestamps that restart, back or far ahead, leave no hole and no jump", () => {
  for (const timestamp of [123, 0xfff00000, 48 * 3_600_000]) {
    const run = createRun();
    for (let index = 0; index < 3; index++)
      run.receive(index * 20, { ...packet(index), timestamp: 48_000 + index * 960 });
    for (let index = 3; index < 6; index++) {
      run.receive(index * 20, { ...packet(index), timestamp: (timestamp + index * 960) >>> 0 });
    }
    assert.deepEqual(positions(run.ordered), [0, 20, 40, 60, 80, 100]);
  }
});

test("sequence numbers and timestamps wrap", () => {
  const run = createRun();
  const start = 0xffff - 2;
  for (let index = 0; index < 6; index++) {
    run.receive(index * 20, { ...packet(start + index), timestamp: (0xffffffff - 1900 + index * 960) >>> 0 });
  }
  assert.deepEqual(positions(run.ordered), [0, 20, 40, 60, 80, 100]);
  assert.equal(run.uplink.receptionReport(120)!.highestSequenceNumber, 0x10002);
});

test("another SSRC takes over after silence only, and its place follows the wall", () => {
  const run = createRun();
  run.receive(0, packet(0));
  run.receive(20, { ...packet(7000), ssrc: 2 });
  assert.equal(run.uplink.ssrc, 1);
  run.receive(520, { ...packet(7001), ssrc: 2, timestamp: 99 });
  assert.equal(run.uplink.ssrc, 2);
  assert.deepEqual(positions(run.ordered), [0, 20, 520]);
});

test("a stream that restarts is believed at its second packet", () => {
  const run = createRun();
  run.receive(0, packet(0));
  run.receive(20, { ...packet(30_000), timestamp: 5 });
  run.receive(40, { ...packet(30_001), timestamp: 5 + 960 });
  run.receive(60, { ...packet(30_002), timestamp: 5 + 1920 });
  assert.deepEqual(positions(run.ordered), [0, 20, 40, 60]);
});

test("frames of any length and stereo keep their places", async () => {
  const { Application, createEncoder } = await import("libopus-wasm");
  const encoder = await createEncoder({ sampleRate: 48_000, channels: 2, application: Application.Audio });
  const run = createRun();
  let at = 0;
  [2.5, 5, 10, 20, 40, 60, 2.5].forEach((ms, index) => {
    const payload = encoder.encode(new Int16Array(ms * 48 * 2), { frameSize: ms * 48 });
    run.receive(at, { ...packet(index), timestamp: at * 48, payload });
    at += ms;
  });
  encoder.free();
  assert.deepEqual(positions(run.ordered), [0, 2.5, 7.5, 17.5, 37.5, 77.5, 137.5]);
  assert.deepEqual(
    run.ordered.map(({ pcm }) => durationMs(pcm)),
    [2.5, 5, 10, 20, 40, 60, 2.5],
  );
});

test("unreadable packets are counted and concealed", () => {
  const run = createRun();
  run.receive(0, packet(0));
  run.receive(20, { ...packet(1), payload: Uint8Array.of(0xff, 0x40) });
  run.receive(40, { ...packet(2), payloadType: RED, payload: Uint8Array.of(0x80) });
  run.receive(60, packet(3));
  run.advance(200);
  assert.deepEqual(positions(run.ordered), [0, 20, 40, 60]);
  const counts = run.uplink.takeCounts();
  assert.equal(counts.malformed, 2);
  assert.equal(counts.received, 2);
});

for (const loss of [0, 0.05, 0.1, 0.2]) {
  for (const way of ["RED", "NACK"]) {
    test(`at ${loss * 100} % loss ${way} and FEC leave little to invent`, (t) => {
      const total = noTotals();
      for (let seed = 1; seed <= 5; seed++) {
        const run = impairedRun({
          seed,
          packets: frames.map((_, index) => (way === "RED" ? redPacket(index, 1) : packet(index))),
          options: { nack: way === "NACK" },
          loss,
          duplicates: 0.02,
          jitterMs: 25,
          roundTripMs: 60,
          clockSkew: 1 + (seed - 3) * 1e-4,
        });
        assertWhole(run, frames.length, frames.length * 20, `seed ${seed}`);
        for (const key of Object.keys(total) as (keyof UplinkCounts)[]) total[key] += run.uplink.totals[key];
      }
      const concealed = total.concealed / (5 * frames.length);
      t.diagnostic(`${(100 * concealed).toFixed(2)} % concealed: ${JSON.stringify(total)}`);
      assert.ok(concealed <= { 0: 0, 0.05: 0.005, 0.1: 0.01, 0.2: 0.04 }[loss]!, `${concealed}`);
    });
  }
}

test("loss, jitter, frame lengths and pauses in any mixture leave every sample in its place", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = seeded(seed);
    const packets = mixedPackets(random, random() < 0.5);
    const run = impairedRun({
      seed,
      packets,
      options: { decoder: stub, earlyDecoder: stub, nack: random() < 0.5 },
      loss: 0.5 * random(),
      duplicates: 0.2 * random(),
      jitterMs: 200 * random(),
      roundTripMs: 300 * random(),
      clockSkew: 1,
    });
    assertWhole(run, packets.length, endOf(packets), `seed ${seed}`);
  }
});

test("random packets never throw", () => {
  const random = seeded(42);
  const run = createRun({ nack: true });
  for (let index = 0; index < 20_000; index++) {
    const payload = Uint8Array.from({ length: Math.floor(random() * 30) }, () => random() * 256);
    run.audio(
      run.uplink.handleRtp(index * 3, {
        marker: false,
        payloadType: [OPUS, RED, 13][Math.floor(random() * 3)]!,
        sequenceNumber: Math.floor(random() * (index % 2 === 0 ? 65536 : 300)),
        timestamp: Math.floor(random() * 2 ** 32),
        ssrc: 1,
        payload,
      }),
    );
    run.early.length = 0;
    run.ordered.length = 0;
    while (run.uplink.nextNack() !== undefined);
  }
});

interface Run {
  readonly uplink: Uplink;
  readonly early: EarlyAudio[];
  readonly ordered: OrderedAudio[];
  receive(now: number, packet: RtpPacket): void;
  advance(now: number): void;
  audio(audio: UplinkAudio): void;
}

function createRun(options: Partial<UplinkOptions> = {}): Run {
  const uplink = new Uplink({
    decoder: decoders[0]!,
    earlyDecoder: decoders[1]!,
    payloadTypes: { opus: OPUS, red: RED },
    nack: false,
    ...options,
  });
  const early: EarlyAudio[] = [];
  const ordered: OrderedAudio[] = [];
  const audio = (audio: UplinkAudio): void => {
    early.push(...audio.early);
    ordered.push(...audio.ordered);
  };
  return {
    uplink,
    early,
    ordered,
    audio,
    receive: (now, packet) =>
      audio(uplink.handleRtp(now, { ...packet, sequenceNumber: packet.sequenceNumber & 0xffff })),
    advance: (now) => audio(uplink.handleTimeout(now)),
  };
}

interface Impairment {
  readonly seed: number;
  readonly packets: readonly RtpPacket[];
  readonly options: Partial<UplinkOptions>;
  readonly loss: number;
  readonly duplicates: number;
  readonly jitterMs: number;
  readonly roundTripMs: number;
  /** Milliseconds of the receiver's clock per one of the sender's. */
  readonly clockSkew: number;
}

/** A whole call: random loss, duplicates, reordering by jitter, answers to requests. Both its ends arrive untouched. */
function impairedRun({ seed, packets, options, loss, duplicates, jitterMs, roundTripMs, clockSkew }: Impairment): Run {
  const random = seeded(seed);
  const run = createRun(options);
  run.uplink.handleRoundTrip(roundTripMs);
  const bySequenceNumber = new Map(packets.map((packet) => [packet.sequenceNumber, packet]));
  const inFlight: { at: number; packet: RtpPacket }[] = [];
  const send = (at: number, packet: RtpPacket): void => {
    if (random() >= loss) inFlight.push({ at: at + jitterMs * random(), packet });
    if (random() < duplicates) inFlight.push({ at: at + jitterMs * random(), packet });
  };
  packets.forEach((packet, index) => {
    const at = roundTripMs / 2 + (((packet.timestamp - packets[0]!.timestamp) >>> 0) / 48) * clockSkew;
    if (index === 0) inFlight.push({ at: at - 1, packet });
    else if (index < packets.length - 1) send(at, packet);
    else inFlight.push({ at: at + jitterMs, packet });
  });
  for (let now = 0; ; ) {
    inFlight.sort((a, b) => a.at - b.at);
    const next = Math.min(inFlight[0]?.at ?? Infinity, run.uplink.pollTimeout() ?? Infinity);
    if (next === Infinity) return run;
    now = Math.max(now, next);
    if (inFlight[0] !== undefined && inFlight[0].at <= now) run.receive(now, inFlight.shift()!.packet);
    else run.advance(now);
    for (const missing of run.uplink.nextNack() ?? []) {
      if (random() >= loss) send(now + roundTripMs, bySequenceNumber.get(missing)!);
    }
  }
}

/** Every packet has one fate; what is ordered has no hole and ends at `endMs`; what is early only moves forward. */
function assertWhole({ uplink, ordered, early }: Run, packets: number, endMs: number, label: string): void {
  const counts = uplink.totals;
  assert.equal(counts.received + counts.repaired + counts.fec + counts.concealed, packets, label);
  assert.equal(counts.lost, counts.repaired + counts.fec + counts.concealed, label);
  let end = 0;
  for (const { pcm, mediaMs } of ordered) {
    assert.equal(mediaMs, end, label);
    end += durationMs(pcm);
  }
  assert.equal(end, endMs, label);
  let heard = 0;
  for (const { pcm, mediaMs } of early) {
    assert.ok(mediaMs >= heard, label);
    heard = mediaMs + durationMs(pcm);
  }
}

/** Packets of all lengths and modes with pauses between, from a random start of both counters. */
function mixedPackets(random: () => number, red: boolean): RtpPacket[] {
  const packets: RtpPacket[] = [];
  let timestamp = Math.floor(random() * 2 ** 32);
  let sequenceNumber = Math.floor(random() * 2 ** 16);
  let previous: { timestamp: number; payload: Uint8Array } | undefined;
  for (let count = 0; count < 150; count++) {
    const config = random() < 0.97 ? 9 : Math.floor(random() * 32);
    const payload = Uint8Array.of(config << 3, random() * 256, 1, 2, 3);
    const offset = previous === undefined ? Infinity : timestamp - previous.timestamp;
    const redundant =
      offset > 0x3fff ? [] : [{ payloadType: OPUS, timestampOffset: offset, payload: previous!.payload }];
    packets.push({
      marker: false,
      payloadType: red ? RED : OPUS,
      sequenceNumber: sequenceNumber & 0xffff,
      timestamp: timestamp >>> 0,
      ssrc: 1,
      payload: red ? encodeRed({ redundant, primary: { payloadType: OPUS, payload } }) : payload,
    });
    previous = { timestamp, payload };
    sequenceNumber += 1;
    timestamp += opusPacketTicks(payload)! + (random() < 0.02 ? Math.floor(random() * 3000) * 48 : 0);
  }
  return packets;
}

/** Milliseconds from the first packet's first sample to the last one's last. */
function endOf(packets: readonly RtpPacket[]): number {
  const last = packets.at(-1)!;
  const payload = last.payloadType === RED ? decodeRed(last.payload)!.primary.payload : last.payload;
  return (((last.timestamp - packets[0]!.timestamp) >>> 0) + opusPacketTicks(payload)!) / 48;
}

/** Gives every packet its length in zeros, and holds whoever calls it to libopus's terms. */
const stub: OpusDecoder = {
  decode: (packet) => new Int16Array(opusPacketTicks(packet)! / 2),
  decodeFec: (_, ms) => stub.conceal(ms),
  conceal: (ms) => {
    assert.ok(ms >= 2.5 && ms <= 120 && ms % 2.5 === 0, `${ms}`);
    return new Int16Array(ms * 24);
  },
  free: () => {},
};

function packet(index: number): RtpPacket {
  const sequenceNumber = index & 0xffff;
  const payload = frames[index % frames.length]!;
  return { marker: false, payloadType: OPUS, sequenceNumber, timestamp: (index * 960) >>> 0, ssrc: 1, payload };
}

function redPacket(index: number, distance: number): RtpPacket {
  const redundant = Array.from({ length: Math.min(index, distance) }, (_, at) => {
    const earlier = Math.max(0, index - distance) + at;
    return { payloadType: OPUS, timestampOffset: (index - earlier) * 960, payload: frames[earlier % frames.length]! };
  });
  const primary = { payloadType: OPUS, payload: frames[index % frames.length]! };
  return { ...packet(index), payloadType: RED, payload: encodeRed({ redundant, primary }) };
}

function positions(audio: readonly EarlyAudio[]): number[] {
  return audio.map(({ mediaMs }) => mediaMs);
}

function assertCounts(counts: UplinkCounts, expected: Partial<UplinkCounts>): void {
  assert.deepEqual(counts, { ...noTotals(), ...expected });
}

function noTotals(): UplinkCounts {
  return {
    received: 0,
    lost: 0,
    repaired: 0,
    fec: 0,
    concealed: 0,
    late: 0,
    duplicate: 0,
    reordered: 0,
    malformed: 0,
    excess: 0,
  };
}

/** A buzz of changing pitch, near enough to voice for Opus to use SILK. */
function voice(index: number): Int16Array {
  return Int16Array.from({ length: FRAME_SAMPLES }, (_, at) => {
    const time = (index * FRAME_SAMPLES + at) / 24_000;
    const phase = 2 * Math.PI * (140 * time + 4 * Math.sin(3 * time));
    let sum = 0;
    for (let harmonic = 1; harmonic < 12; harmonic++) sum += Math.sin(phase * harmonic) / harmonic;
    return 6000 * sum * (0.6 + 0.4 * Math.sin(9 * time));
  });
}

/** Mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
