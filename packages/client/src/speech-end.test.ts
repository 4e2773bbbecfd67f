import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameClock, SpeechEnd } from "./speech-end.ts";

const BLOCK_MS = 128 / 48;
const SPEECH = 0.1;

/** Feeds a level for a while; returns the ends of speech that were found. */
function feed(detector: SpeechEnd, clock: { ms: number }, forMs: number, level: (at: number) => number): number[] {
  const ends: number[] = [];
  for (const until = clock.ms + forMs; clock.ms < until; ) {
    clock.ms += BLOCK_MS;
    const end = detector.handleBlock(clock.ms, BLOCK_MS, level(clock.ms));
    if (end !== undefined) ends.push(end);
  }
  return ends;
}

test("finds the last voiced block, to the block, once the silence has lasted", () => {
  const detector = new SpeechEnd();
  const clock = { ms: 0 };
  assert.deepEqual(
    feed(detector, clock, 500, () => 0),
    [],
  );
  assert.deepEqual(
    feed(detector, clock, 800, () => SPEECH),
    [],
  );
  const spokeUntil = clock.ms;
  assert.deepEqual(
    feed(detector, clock, 110, () => 0),
    [],
  );
  assert.deepEqual(
    feed(detector, clock, 500, () => 0),
    [spokeUntil],
  );
});

test("a pause shorter than the silence is part of the speech", () => {
  const detector = new SpeechEnd();
  const clock = { ms: 0 };
  assert.deepEqual(
    feed(detector, clock, 300, () => SPEECH),
    [],
  );
  assert.deepEqual(
    feed(detector, clock, 80, () => 0),
    [],
  );
  assert.deepEqual(
    feed(detector, clock, 300, () => SPEECH),
    [],
  );
  assert.equal(feed(detector, clock, 400, () => 0).length, 1);
});

test("a click is no speech", () => {
  const detector = new SpeechEnd();
  const clock = { ms: 0 };
  feed(detector, clock, 300, () => 0);
  feed(detector, clock, 20, () => 0.8);
  assert.deepEqual(
    feed(detector, clock, 500, () => 0),
    [],
  );
});

test("speech is found above steady noise, and the noise alone is not", () => {
  const detector = new SpeechEnd();
  const clock = { ms: 0 };
  const noise = (at: number) => 0.004 * (1 + 0.3 * Math.sin(at));
  feed(detector, clock, 12_000, noise); // the floor needs its time to rise to the fan
  assert.deepEqual(feed(detector, clock, 2_000, noise), []);
  feed(detector, clock, 600, () => SPEECH);
  const spokeUntil = clock.ms;
  const ends = feed(detector, clock, 500, noise);
  assert.equal(ends.length, 1);
  assert.ok(Math.abs(ends[0]! - spokeUntil) < 1e-6);
});

test("the reverberation of a loud voice does not count as speech", () => {
  const detector = new SpeechEnd();
  const clock = { ms: 0 };
  feed(detector, clock, 600, () => 0.3);
  const spokeUntil = clock.ms;
  const ends = feed(detector, clock, 600, (at) => 0.3 * 10 ** (-(at - spokeUntil) / 100)); // 60 dB in 300 ms
  assert.equal(ends.length, 1);
  assert.ok(ends[0]! - spokeUntil < 190, `${ends[0]! - spokeUntil} ms late`);
});

test("digital silence and infinity raise nothing", () => {
  const detector = new SpeechEnd();
  assert.equal(detector.handleBlock(1, 1, 0), undefined);
  assert.equal(detector.handleBlock(2, 1, Number.NaN), undefined);
});

test("callbacks that queue do not move the clock", () => {
  const clock = new FrameClock();
  for (let count = 0; count < 100; count++) clock.handleCallback(1_000 + count * 10 + (count % 7), count * 10);
  assert.equal(clock.toClock(500), 1_500);
});

test("a slow drift between the clocks is followed", () => {
  const clock = new FrameClock(5_000);
  for (let media = 0; media < 60_000; media += 10) clock.handleCallback(media * 1.001 + 3, media);
  assert.ok(Math.abs(clock.toClock(60_000)! - (60_000 * 1.001 + 3)) < 11);
});

test("a step of the clock is taken at once", () => {
  const clock = new FrameClock();
  clock.handleCallback(1_000, 0);
  clock.handleCallback(61_000, 10);
  assert.equal(clock.toClock(10), 61_000);
});

test("there is no time before the first callback", () => {
  assert.equal(new FrameClock().toClock(0), undefined);
});
