import assert from "node:assert/strict";
import { before, test } from "node:test";
import { SAMPLES_PER_MS, type Utterance } from "@sluice/conversation";
import { loadOpus, type OpusCodec, type OpusDecoder, type OpusEncoder } from "../media/opus.ts";
import { Downlink, type DownlinkFrame, type DownlinkOptions } from "./downlink.ts";
import { decodeRed } from "./red.ts";
import { decodeRtp } from "./rtp.ts";

const OPUS = 111;
const RED = 63;
let opus: OpusCodec;

before(async () => {
  opus = await loadOpus();
});

test("the first frame is due at once, the rest every 20 ms without drift", () => {
  const { downlink, drive } = createLine();
  assert.equal(downlink.pollTimeout(), undefined);
  downlink.play(1003.7, utterance("a"), tone(100));
  assert.equal(downlink.pollTimeout(), 1003.7);
  const sent = drive(1003.7, 2000, 0.4);
  const speech = sent.filter(({ frame }) => frame.sent !== undefined);
  assert.deepEqual(
    speech.map(({ due }) => round(due)),
    [1003.7, 1023.7, 1043.7, 1063.7, 1083.7],
  );
  const packets = sent.map(({ frame }) => decodeRtp(frame.packet!)!);
  packets.slice(1).forEach((packet, index) => {
    assert.equal((packet.timestamp - packets[index]!.timestamp) >>> 0, 960);
    assert.equal((packet.sequenceNumber - packets[index]!.sequenceNumber) & 0xffff, 1);
  });
  assert.deepEqual(
    packets.map(({ marker }) => marker),
    [true, ...Array(packets.length - 1).fill(false)],
  );
});

test("one that sleeps between packets, as others do, adds up every delay", () => {
  const { downlink, drive } = createLine({ pacing: "sleep" });
  downlink.play(1000, utterance("a"), tone(100));
  const sent = drive(1000, 2000, 2).filter(({ frame }) => frame.sent !== undefined);
  assert.deepEqual(
    sent.map(({ due }) => round(due)),
    [1000, 1022, 1044, 1066, 1088],
  );
});

test("reports what is out, and the first sample's timestamp", () => {
  const { downlink, drive } = createLine({ firstTimestamp: 0xffffffff });
  downlink.play(0, utterance("a"), tone(50));
  downlink.endUtterance(0, utterance("a"));
  const frames = drive(0, 300).map(({ frame }) => frame);
  assert.deepEqual(
    frames.flatMap(({ sent }) => sent?.sentMs ?? []),
    [20, 40, 50],
  );
  // As it is heard: the encoder of this test looks 2.5 ms ahead, and timestamps wrap.
  assert.ok(frames.every(({ sent }) => sent === undefined || sent.rtpTimestamp === 119));
  assert.deepEqual(
    frames.map(({ ended }) => ended.length),
    [0, 0, 1, 0, 0, 0, 0, 0],
  );
  assert.equal(decodeRtp(frames[0]!.packet!)!.timestamp, 0xffffffff);
});

test("five frames of silence follow speech, then the line pauses, and the timestamp goes on with the wall", () => {
  const { downlink, drive } = createLine();
  downlink.play(0, utterance("a"), tone(40));
  const first = drive(0, 1000);
  assert.equal(first.length, 7);
  assert.equal(downlink.pollTimeout(), undefined);
  downlink.play(1007, utterance("b"), tone(20));
  const [next] = drive(1007, 1008);
  const before = decodeRtp(first[0]!.frame.packet!)!;
  const after = decodeRtp(next!.frame.packet!)!;
  assert.equal(after.timestamp - before.timestamp, 1007 * 48);
  assert.equal(after.sequenceNumber - before.sequenceNumber, 7);
  assert.ok(after.marker);
});

test("speech that comes during trailing silence keeps the pace", () => {
  const { downlink, drive } = createLine();
  downlink.play(0, utterance("a"), tone(20));
  drive(0, 45);
  downlink.play(45, utterance("b"), tone(20));
  assert.equal(downlink.pollTimeout(), 60);
});

test("speech right after a pause begins no sooner than the last frame has played", () => {
  const { downlink, drive } = createLine();
  downlink.play(0, utterance("a"), tone(20));
  const sent = drive(0, 101);
  assert.equal(sent.at(-1)!.due, 100);
  downlink.play(105, utterance("b"), tone(20));
  assert.equal(downlink.pollTimeout(), 120);
});

test("a starved utterance sends what it has, then silence, and goes on when more comes", () => {
  const { downlink, drive } = createLine();
  downlink.play(0, utterance("a"), tone(30));
  const starved = drive(0, 61).map(({ frame }) => frame.sent?.sentMs);
  assert.deepEqual(starved, [20, 30, undefined, undefined]);
  downlink.play(65, utterance("a"), tone(10));
  assert.deepEqual(
    drive(65, 81).map(({ frame }) => frame.sent?.sentMs),
    [undefined],
    "half a frame is not worth a blip",
  );
  downlink.play(85, utterance("a"), tone(10));
  assert.deepEqual(
    drive(85, 101).map(({ frame }) => frame.sent?.sentMs),
    [50],
  );
});

test("an end that comes after the last sample is reported without a packet when the line is idle", () => {
  const { downlink, drive } = createLine();
  downlink.play(0, utterance("a"), tone(20));
  drive(0, 500);
  downlink.endUtterance(500, utterance("a"));
  assert.equal(downlink.pollTimeout(), 500);
  const frame = downlink.nextFrame(500)!;
  assert.equal(frame.packet, undefined);
  assert.deepEqual(frame.ended, [utterance("a")]);
  assert.equal(downlink.nextFrame(500), undefined);
  assert.equal(downlink.pollTimeout(), undefined);
});

test("a flush leaves one faded frame and three of silence", async () => {
  const { downlink, drive } = createLine({ encoder: await opus.createEncoder() });
  const decoder = await opus.createDecoder();
  downlink.play(0, utterance("a"), tone(2000));
  drive(0, 201).forEach(({ frame }) => void decode(decoder, frame));
  downlink.flush();
  assert.equal(downlink.queuedMs, 0);
  const after = drive(201, 1000).map(({ frame }) => frame);
  assert.equal(after.length, 4);
  assert.ok(after.every(({ sent, ended }) => sent === undefined && ended.length === 0));
  const levels = after.map((frame) => level(decode(decoder, frame)));
  assert.ok(levels[0]! > 500, `${levels}`);
  assert.ok(levels[1]! < 200 && levels[2]! < 20, `${levels}`);
  assert.equal(downlink.pollTimeout(), undefined);
});

test("a flush of an idle line and before the first frame sends nothing", () => {
  const { downlink, drive } = createLine();
  downlink.flush();
  assert.equal(downlink.pollTimeout(), undefined);
  downlink.play(0, utterance("a"), tone(100));
  downlink.flush();
  assert.equal(drive(0, 1000).length, 0);
  downlink.play(1000, utterance("b"), tone(20));
  const [first] = drive(1000, 1001);
  assert.equal(first!.frame.sent!.utterance.itemId, "b");
});

test("new speech follows a flush without a gap", () => {
  const { downlink, drive } = createLine();
  downlink.play(0, utterance("a"), tone(200));
  drive(0, 50);
  downlink.flush();
  downlink.play(50, utterance("b"), tone(20));
  assert.deepEqual(
    drive(50, 81).map(({ frame }) => frame.sent?.utterance.itemId),
    [undefined, "b"],
  );
});

test("utterances leave in order, each in its own frames", () => {
  const { downlink, drive } = createLine();
  downlink.play(0, utterance("a"), tone(30));
  downlink.endUtterance(0, utterance("a"));
  downlink.play(0, utterance("b"), tone(20));
  downlink.endUtterance(0, utterance("b"));
  const frames = drive(0, 61).map(({ frame }) => [
    frame.sent?.utterance.itemId,
    frame.ended.map((e) => e.itemId).join(),
  ]);
  assert.deepEqual(frames.slice(0, 3), [
    ["a", ""],
    ["a", "a"],
    ["b", "b"],
  ]);
});

test("an utterance that was never ended does not hold up the next", () => {
  const { downlink, drive } = createLine();
  downlink.play(0, utterance("a"), tone(20));
  drive(0, 500);
  downlink.play(500, utterance("b"), tone(20));
  const [frame] = drive(500, 501).map(({ frame }) => frame);
  assert.deepEqual(frame!.ended, [utterance("a")]);
  assert.equal(frame!.sent!.utterance.itemId, "b");
});

test("a late frame keeps its place, after a longer stall speech goes on from now with nothing lost", () => {
  const { downlink, drive } = createLine();
  downlink.play(0, utterance("a"), tone(400));
  const late = drive(20, 41);
  assert.deepEqual(
    late.map(({ due, frame }) => [due, frame.sent!.sentMs]),
    [
      [0, 20],
      [20, 40],
      [40, 60],
    ],
  );
  const stalled = drive(300, 341);
  assert.deepEqual(
    stalled.map(({ due, frame }) => [due, frame.sent!.sentMs]),
    [
      [300, 80],
      [320, 100],
      [340, 120],
    ],
  );
  const gap = decodeRtp(stalled[0]!.frame.packet!)!.timestamp - decodeRtp(late[2]!.frame.packet!)!.timestamp;
  assert.equal(gap, 260 * 48);
});

test("with RED each packet carries the frame before it, but not over a pause", () => {
  const { downlink, drive } = createLine({ payloadTypes: { opus: OPUS, red: RED } });
  downlink.play(0, utterance("a"), tone(40));
  const first = drive(0, 500).map(({ frame }) => decodeRed(decodeRtp(frame.packet!)!.payload)!);
  assert.equal(first[0]!.redundant.length, 0);
  assert.deepEqual(first[1]!.redundant[0]!.payload, first[0]!.primary.payload);
  assert.equal(first[1]!.redundant[0]!.timestampOffset, 960);
  downlink.play(500, utterance("b"), tone(20));
  const [next] = drive(500, 501);
  assert.equal(decodeRed(decodeRtp(next!.frame.packet!)!.payload)!.redundant.length, 0);
});

test("answers a NACK from the last five seconds, within a budget", () => {
  const { downlink, drive } = createLine({ firstSequenceNumber: 65_500 });
  downlink.play(0, utterance("a"), tone(8000));
  const packets = drive(0, 7000).map(({ frame }) => frame.packet!);
  const numbers = packets.map((packet) => decodeRtp(packet)!.sequenceNumber);
  assert.deepEqual(downlink.handleNack(7000, [numbers[340]!, numbers[345]!]), [packets[340], packets[345]]);
  assert.deepEqual(downlink.handleNack(7001, [numbers[340]!]), [], "it was sent a moment ago");
  assert.deepEqual(downlink.handleNack(7020, [numbers[10]!]), [], "too old");
  assert.deepEqual(downlink.handleNack(7020, [(numbers.at(-1)! + 1) & 0xffff]), [], "not sent yet");
  let resent = 0;
  for (let now = 7100; now < 8100; now += 10) resent += downlink.handleNack(now, numbers.slice(-200)).length;
  assert.ok(resent > 50 && resent <= 125, `${resent}`);
});

test("learns round trip and loss from reception reports", () => {
  const percents: number[] = [];
  const { downlink } = createLine({ encoder: { ...silentEncoder(), setPacketLossPercent: (p) => percents.push(p) } });
  downlink.play(0, utterance("a"), tone(20));
  downlink.nextFrame(0);
  const report = downlink.senderReport(1000, 1_700_000_000_500)!;
  assert.deepEqual(report.ntp, { seconds: (1_700_000_000 + 2_208_988_800) >>> 0, fraction: 0x80000000 });
  assert.equal(report.rtpTimestamp, 48_000);
  assert.equal(report.packetCount, 1);
  const middle = (((report.ntp.seconds & 0xffff) << 16) | 0x8000) >>> 0;
  const block = {
    ssrc: 5,
    fractionLost: 64,
    packetsLost: 1,
    highestSequenceNumber: 0,
    jitter: 0,
    lastSenderReport: middle,
    delaySinceLastSenderReport: 65536,
  };
  downlink.handleReceptionReport(2080, { ...block, ssrc: 6 });
  assert.equal(downlink.roundTripMs, undefined);
  downlink.handleReceptionReport(2080, block);
  assert.equal(downlink.roundTripMs, 80);
  assert.equal(downlink.lossPercent, 25);
  assert.deepEqual(percents, [25]);
});

test("the gain moves over its ramp", () => {
  const levels: number[] = [];
  const { downlink, drive } = createLine({
    encoder: {
      ...silentEncoder(),
      encode: (pcm) => {
        levels.push(pcm.at(-1)!);
        return Buffer.alloc(1);
      },
    },
  });
  downlink.play(0, utterance("a"), new Int16Array(200 * SAMPLES_PER_MS).fill(1000));
  drive(0, 1);
  downlink.setGain(0.2, 40);
  drive(20, 61);
  downlink.setGain(1, 0);
  drive(80, 81);
  assert.deepEqual(levels, [1000, 600, 200, 200, 1000]);
});

test("the queue is bounded and counts what it drops", () => {
  const { downlink } = createLine({ maxQueueMs: 100 });
  downlink.play(0, utterance("a"), tone(80));
  downlink.play(0, utterance("a"), tone(40));
  assert.equal(downlink.queuedMs, 80);
  assert.equal(downlink.droppedMs, 40);
});

test("for a peer that can repair nothing, each packet goes again with the next, while packets are lost", () => {
  const { downlink, drive } = createLine({ repeats: true });
  downlink.play(0, utterance("a"), tone(100));
  const first = drive(0, 1000).map(({ frame }) => frame);
  assert.equal(first[0]!.repeated, undefined);
  for (const [index, { repeated }] of first.slice(1).entries()) assert.equal(repeated, first[index]!.packet);
  downlink.play(1000, utterance("b"), tone(12_000));
  const frames = drive(1000, 13_000).map(({ frame }) => frame);
  assert.equal(frames[0]!.repeated, undefined, "what was before the pause is of no more use");
  assert.ok(frames[400]!.repeated !== undefined);
  assert.equal(frames[550]!.repeated, undefined, "ten seconds without a loss");
  const report = { ssrc: 5, packetsLost: 1, highestSequenceNumber: 1, jitter: 0, lastSenderReport: 0 };
  downlink.handleReceptionReport(13_000, { ...report, fractionLost: 3, delaySinceLastSenderReport: 0 });
  downlink.play(13_000, utterance("c"), tone(1000));
  const again = drive(13_000, 14_000).map(({ frame }) => frame);
  assert.equal(again[1]!.repeated, again[0]!.packet);
});

interface Line {
  readonly downlink: Downlink;
  /** Runs a scheduler that wakes `lateMs` after each due time until `to`. */
  drive(from: number, to: number, lateMs?: number): { due: number; frame: DownlinkFrame }[];
}

function createLine(options: Partial<DownlinkOptions> = {}): Line {
  const downlink = new Downlink({
    encoder: silentEncoder(),
    ssrc: 5,
    payloadTypes: { opus: OPUS },
    firstSequenceNumber: 0,
    firstTimestamp: 0,
    ...options,
  });
  const drive = (from: number, to: number, lateMs = 0) => {
    const sent: { due: number; frame: DownlinkFrame }[] = [];
    for (let due = downlink.pollTimeout(); due !== undefined && due < to; due = downlink.pollTimeout()) {
      const now = Math.max(from, due + lateMs);
      const frame = downlink.nextFrame(now);
      if (frame !== undefined) sent.push({ due: now - due > 20 ? now : due, frame });
    }
    return sent;
  };
  return { downlink, drive };
}

/** Frames whose payload tells them apart. */
function silentEncoder(): OpusEncoder {
  let count = 0;
  return {
    lookaheadMs: 2.5,
    encode: () => Buffer.from(`frame ${count++}`),
    setPacketLossPercent: () => {},
    setBitrate: () => {},
    free: () => {},
  };
}

function utterance(itemId: string): Utterance {
  return { responseId: "r", itemId, outputIndex: 0, contentIndex: 0 };
}

function tone(ms: number): Int16Array {
  return Int16Array.from(
    { length: ms * SAMPLES_PER_MS },
    (_, at) => 8000 * Math.sin((2 * Math.PI * 300 * at) / 24_000),
  );
}

function decode(decoder: OpusDecoder, frame: DownlinkFrame): Int16Array {
  return decoder.decode(decodeRtp(frame.packet!)!.payload)!;
}

function level(pcm: Int16Array): number {
  return Math.sqrt(pcm.reduce((sum, sample) => sum + sample * sample, 0) / pcm.length);
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
