import assert from "node:assert/strict";
import { before, test } from "node:test";
import { durationMs, type EarlyAudio, type OrderedAudio } from "@sluice/conversation";
import { FRAME_SAMPLES, loadOpus, type OpusCodec, type OpusDecoder } from "../media/opus.ts";
import { encodeRed } from "./red.ts";
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
  for (const red of [true, false]) {
    test(`at ${loss * 100} % loss ${red ? "with RED" : "with NACK"}, every packet is accounted for and no hole is left`, (t) => {
      const total = noTotals();
      for (let seed = 1; seed <= 5; seed++) {
        const { uplink, ordered, early } = impairedRun({
          seed,
          loss,
          red,
          nack: !red,
          clockSkew: 1 + (seed - 3) * 1e-4,
        });
        const counts = uplink.takeCounts();
        assert.equal(counts.received + counts.repaired + counts.fec + counts.concealed, frames.length, `seed ${seed}`);
        assert.equal(counts.lost, counts.repaired + counts.fec + counts.concealed);
        assert.deepEqual(uplink.totals, counts);
        let end = 0;
        for (const { pcm, mediaMs } of ordered) {
          assert.equal(mediaMs, end, `seed ${seed}`);
          end += durationMs(pcm);
        }
        assert.equal(end, frames.length * 20);
        for (let index = 1; index < early.length; index++) {
          const before = early[index - 1]!;
          assert.ok(early[index]!.mediaMs >= before.mediaMs + durationMs(before.pcm));
        }
        for (const key of Object.keys(total) as (keyof UplinkCounts)[]) total[key] += counts[key];
      }
      const concealed = total.concealed / (5 * frames.length);
      t.diagnostic(JSON.stringify({ ...total, concealed_percent: 100 * concealed }));
      assert.ok(concealed <= { 0: 0, 0.05: 0.01, 0.1: 0.03, 0.2: 0.06 }[loss]!, `${concealed}`);
    });
  }
}

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
  readonly loss: number;
  readonly red: boolean;
  readonly nack: boolean;
  /** Milliseconds of the receiver's clock per one of the sender's. */
  readonly clockSkew: number;
}

/** A whole call over 30 ms (sigma 10) each way with loss, reordering by jitter, and 2 % duplicates; ends without loss. */
function impairedRun({ seed, loss, red, nack, clockSkew }: Impairment): Run {
  const random = seeded(seed);
  const run = createRun({ nack });
  run.uplink.handleRoundTrip(60);
  const inFlight: { at: number; index: number }[] = [];
  const travel = () => 30 + 10 * (random() + random() + random() - 1.5);
  const send = (now: number, index: number): void => {
    const certain = index === 0 || index >= frames.length - 2;
    if (certain || random() >= loss) inFlight.push({ at: now + travel(), index });
    if (random() < 0.02) inFlight.push({ at: now + travel(), index });
  };
  for (let index = 0; index < frames.length; index++) send(index * 20 * clockSkew, index);
  // The stream's first packet to arrive sets where it begins.
  for (const flight of inFlight) if (flight.index === 0) flight.at = 0;
  const answers: { at: number; index: number }[] = [];
  for (;;) {
    inFlight.sort((a, b) => a.at - b.at);
    answers.sort((a, b) => a.at - b.at);
    const next = Math.min(
      inFlight[0]?.at ?? Infinity,
      answers[0]?.at ?? Infinity,
      run.uplink.pollTimeout() ?? Infinity,
    );
    if (next === Infinity) return run;
    if (inFlight[0]?.at === next) {
      const { index } = inFlight.shift()!;
      run.receive(next, red ? redPacket(index, 1) : packet(index));
    } else if (answers[0]?.at === next) send(next, answers.shift()!.index);
    else run.advance(next);
    for (const index of run.uplink.nextNack() ?? []) {
      if (random() >= loss) answers.push({ at: next + travel(), index });
    }
  }
}

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
